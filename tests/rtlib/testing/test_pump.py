"""The wire between machines, with two small machines: one repeats until it is answered."""

from __future__ import annotations

from rtlib.testing.pump import Pump


class Asker:
    """Sends a question every second until an answer comes."""

    def __init__(self, to: str) -> None:
        self.to, self.next, self.events = to, 0.0, list[bytes]()
        self.answered = False

    def receive(self, data: bytes, source: str, now: float) -> None:
        self.answered = True
        self.events.append(data)

    def to_send(self, now: float) -> list[tuple[bytes, str]]:
        if self.answered or now < self.next:
            return []
        self.next = now + 1.0
        return [(b"?", self.to)]

    def get_timer(self) -> float | None:
        return None if self.answered else self.next

    def handle_timer(self, now: float) -> None: ...

    def next_event(self) -> bytes | None:
        return self.events.pop(0) if self.events else None


class Answerer(Asker):
    def __init__(self) -> None:
        super().__init__("")
        self.answered = True
        self.out: list[tuple[bytes, str]] = []

    def receive(self, data: bytes, source: str, now: float) -> None:
        self.out.append((b"!", source))

    def to_send(self, now: float) -> list[tuple[bytes, str]]:
        out, self.out = self.out, []
        return out


def pair(pump: Pump[str]) -> None:
    pump.add("a", Asker("b"))
    pump.add("b", Answerer())


def test_delivers_both_ways_after_the_delay() -> None:
    pump: Pump[str] = Pump(delay=0.25)
    pair(pump)
    pump.run(0.4)
    assert pump.events["a"] == []
    pump.run(0.2)
    assert pump.events["a"] == [b"!"]
    assert pump.now == 0.6000000000000001


def test_loss_is_repeatable_and_counted_and_timers_fire() -> None:
    def once() -> tuple[int, int, list[bytes]]:
        pump: Pump[str] = Pump(seed=3, loss=0.7)
        pair(pump)
        pump.run(60)
        return pump.lost, pump.delivered, pump.events["a"]

    lost, delivered, events = once()
    assert lost > 0
    assert delivered >= 2
    assert events == [b"!"]
    assert once() == (lost, delivered, events)


def test_duplicates_arrive_and_nobody_gets_what_is_sent_to_nobody() -> None:
    pump: Pump[str] = Pump(duplicate=1.0)
    pair(pump)
    pump.add("c", Asker("nobody"))
    pump.run(0.5)
    assert pump.events["a"] == [b"!"] * 4
    assert pump.lost == 1


def test_jitter_reorders() -> None:
    pump: Pump[str] = Pump(seed=1, jitter=5.0, delay=0.0)
    for name in "acde":
        pump.add(name, Asker("b"))
    pump.add("b", Sink())
    pump.run(10)
    assert sorted(pump.events["b"]) != pump.events["b"]


class Sink(Answerer):
    def receive(self, data: bytes, source: str, now: float) -> None:
        self.events.append(source.encode())
