import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.audio.rtp import Packet, Packetizer, Reception, RtpError, parse


def test_packets_count_up_and_wrap() -> None:
    packetizer = Packetizer(0xDEADBEEF, 0x7FFF, 0xFFFFFFFF)
    first, second = parse(packetizer.packet(b"a" * 160)), parse(packetizer.packet(b"b" * 160))
    assert first == Packet(0, True, 0x7FFF, 0xFFFFFFFF, 0xDEADBEEF, b"a" * 160)
    assert second == Packet(0, False, 0x8000, 159, 0xDEADBEEF, b"b" * 160)


def test_after_a_pause_the_sequence_goes_on_and_the_clock_has_too() -> None:
    packetizer = Packetizer(1, 5, 0xFFFFFF00)
    packetizer.packet(b"a" * 160)
    packetizer.pause(1.0)
    assert parse(packetizer.packet(b"b")) == Packet(0, True, 6, 8000 - 256 + 160, 1, b"b")


def test_sequence_starts_in_the_lower_half() -> None:
    """RFC 3711 section 3.3.1: the first packets may be lost without losing the rollover counter."""
    assert parse(Packetizer(1, 0xFFFF, 0).packet(b"x")).sequence == 0x7FFF


def test_contributors_extension_and_padding_are_skipped() -> None:
    header = bytes.fromhex("b2 80 0001 00000002 00000003")
    between = bytes.fromhex("0000000a 0000000bbede 0001 11223344")
    assert parse(header + between + b"voice\0\0\3") == Packet(0, True, 1, 2, 3, b"voice")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(12),
        bytes([0x80]) + bytes(10),
        bytes([0x8F]) + bytes(11),
        bytes([0x90]) + bytes(13),
        bytes([0xA0]) + bytes(11) + bytes([2]),
    ],
)
def test_malformed_packets(data: bytes) -> None:
    with pytest.raises(RtpError):
        parse(data)


@given(st.binary(max_size=64))
def test_parse_raises_nothing_else(data: bytes) -> None:
    try:
        packet = parse(data)
    except RtpError:
        return
    assert len(packet.payload) <= len(data) - 12


@given(st.integers(0, 0xFFFF), st.sets(st.integers(0, 999), max_size=200), st.randoms())
def test_loss_is_counted_across_the_wrap_and_reordering(start: int, lost: set[int], dice: object) -> None:
    """The first and the last packet arrive; of 1,000, those in `lost` do not, and neighbours swap."""
    lost -= {0, 999}
    arriving = [index for index in range(1000) if index not in lost]
    for index in range(2, len(arriving) - 2, 7):
        arriving[index], arriving[index + 1] = arriving[index + 1], arriving[index]
    reception = Reception()
    for index in arriving:
        reception.count(start + index & 0xFFFF)
    assert (reception.received, reception.expected, reception.lost) == (len(arriving), 1000, len(lost))


def test_duplicates_are_told_from_new_packets() -> None:
    reception = Reception()
    for sequence in (5, 6, 6, 8, 7):
        reception.count(sequence)
    assert (reception.duplicates_or_late, reception.expected, reception.lost) == (2, 4, 0)


def test_nothing_received() -> None:
    assert (Reception().expected, Reception().lost) == (0, 0)
