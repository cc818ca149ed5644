from array import array
from itertools import islice

from rtlib.audio.playback import frames
from rtlib.audio.recording import Recording
from rtlib.audio.rtp import Packetizer, parse
from rtlib.audio.tone import share, sine


def test_a_played_tone_is_recorded_in_order() -> None:
    packetizer = Packetizer(1, 7, 0xFFFFFFF0)
    packets = [parse(packetizer.packet(frame)) for frame in islice(frames(sine(440)), 50)]
    packets[10], packets[11] = packets[11], packets[10]
    recording = Recording()
    for packet in packets:
        recording.add(packet)
    assert len(recording.samples) == 8000
    assert share(recording.samples, 440) > 0.98


def test_what_is_lost_stays_silent() -> None:
    packetizer = Packetizer(1, 0, 0)
    first, _, third = (parse(packetizer.packet(bytes([code]) * 160)) for code in (0x80, 0x90, 0x00))
    recording = Recording()
    recording.add(first)
    recording.add(third)
    assert recording.samples == array("h", [32124] * 160 + [0] * 160 + [-32124] * 160)


def test_what_lies_before_the_start_or_beyond_the_limit_is_counted() -> None:
    packetizer = Packetizer(1, 0, 1000)
    packets = [parse(packetizer.packet(bytes(160))) for _ in range(4)]
    recording = Recording(seconds=0.04)
    recording.add(packets[1])
    for packet in (packets[0], packets[2], packets[3]):
        recording.add(packet)
    assert (len(recording.samples), recording.outside) == (320, 2)


def test_the_last_frame_is_filled_with_silence() -> None:
    last = list(frames([1000] * 161))[-1]
    assert (len(last), last[1:]) == (160, b"\xff" * 159)
    assert list(frames([])) == []
