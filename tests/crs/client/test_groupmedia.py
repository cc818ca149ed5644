"""What parties of a group send each other."""

from crs.client.groupmedia import HEADER, MAX_SENDERS, WINDOW, Opener, Sealer


def test_who_has_the_secret_opens_it() -> None:
    sealer, opener = Sealer(b"secret", 7), Opener(b"secret")
    packets = [sealer.seal(bytes([number])) for number in range(3)]
    assert packets[0].startswith(HEADER + bytes([0, 0, 0, 7]))
    assert [opener.open(packet) for packet in packets] == [(7, b"\0"), (7, b"\1"), (7, b"\2")]
    assert Opener(b"another").open(packets[0]) is None


def test_nothing_comes_twice_and_late_packets_not_too_late() -> None:
    sealer, opener = Sealer(b"secret", 7), Opener(b"secret")
    packets = [sealer.seal(b"x") for _ in range(WINDOW + 2)]
    for packet in packets[2:]:
        assert opener.open(packet) is not None
        assert opener.open(packet) is None
    assert opener.open(packets[1]) is None
    later, opener = [sealer.seal(b"y") for _ in range(3)], Opener(b"secret")
    assert [opener.open(later[each]) is not None for each in (2, 0, 1, 0)] == [True, True, True, False]


def test_a_sender_that_begins_anew() -> None:
    opener = Opener(b"secret")
    assert opener.open(Sealer(b"secret", 7).seal(b"before")) == (7, b"before")
    assert opener.open(Sealer(b"secret", 7).seal(b"after")) == (7, b"after")


def test_garbage_and_too_many_senders() -> None:
    opener = Opener(b"secret")
    packet = Sealer(b"secret", 7).seal(b"x")
    for wrong in (b"", packet[:20], packet[:-1], packet[:7] + b"\x08" + packet[8:], b"\x11" + packet[1:]):
        assert opener.open(wrong) is None
    for identifier in range(1, MAX_SENDERS + 1):
        assert opener.open(Sealer(b"secret", identifier).seal(b"x")) is not None
    assert opener.open(Sealer(b"secret", MAX_SENDERS + 1).seal(b"x")) is None
