from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtlib.wheel import Agenda, Delay, Entry, Reminders, Wheel

times = st.floats(0, 1e6) | st.integers(0, 200).map(lambda n: n * 0.05)


class AgainstSortedList(RuleBasedStateMachine):
    """The model is a list of (when, order, entry); the wheel may be late by its granularity, never early."""

    granularity = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.wheel: Wheel[int] = Wheel(self.granularity)
        self.model: dict[int, tuple[float, Entry[int]]] = {}
        self.now = 0.0
        self.count = 0

    @rule(delay=st.floats(0, 50) | st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 32.0]))
    def schedule(self, delay: float) -> None:
        self.count += 1
        when = self.now + delay
        self.model[self.count] = (when, self.wheel.schedule(self.count, when))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.model:
            item = data.draw(st.sampled_from(sorted(self.model)))
            _, entry = self.model.pop(item)
            entry.cancel()
            entry.cancel()
            assert not entry.active

    @rule(step=st.floats(0, 60))
    def pass_time(self, step: float) -> None:
        self.now += step
        self._expire()

    @rule()
    def pass_time_to_the_timer(self) -> None:
        due = self.wheel.get_timer()
        if due is not None:
            self.now = max(self.now, due)
            assert self._expire()

    def _expire(self) -> list[int]:
        fired = self.wheel.expire(self.now)
        whens = [self.model[item][0] for item in fired]
        assert all(when <= self.now for when in whens)
        assert whens == sorted(whens)
        for item in fired:
            del self.model[item]
        assert all(when + self.granularity > self.now - 1e-6 for when, _ in self.model.values())
        return fired

    @invariant()
    def timer_is_that_of_the_first(self) -> None:
        due = self.wheel.get_timer()
        assert len(self.wheel) == len(self.model)
        if not self.model:
            assert due is None
        else:
            first = min(when for when, _ in self.model.values())
            assert due is not None and first <= due < first + self.granularity + 1e-6


TestAgainstSortedList = AgainstSortedList.TestCase
TestAgainstSortedList.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(times, st.booleans()), max_size=50), st.floats(0.001, 10))
def test_everything_fires_once_in_order(entries: list[tuple[float, bool]], granularity: float) -> None:
    wheel: Wheel[int] = Wheel(granularity)
    kept = []
    for number, (when, keep) in enumerate(entries):
        entry = wheel.schedule(number, when)
        if keep:
            kept.append((when, number))
        else:
            entry.cancel()
    assert wheel.expire(1e7) == [number for _, number in sorted(kept)]
    assert wheel.expire(1e7) == [] and wheel.get_timer() is None


def test_cancelling_after_firing_does_not_touch_a_later_slot() -> None:
    wheel: Wheel[str] = Wheel()
    early = wheel.schedule("a", 1.0)
    assert wheel.expire(1.0) == ["a"]
    wheel.schedule("b", 1.0)
    early.cancel()
    assert wheel.expire(1.0) == ["b"]


def test_cancelled_items_are_let_go() -> None:
    wheel: Wheel[object] = Wheel()
    for _ in range(1000):
        wheel.schedule(object(), 30.0).cancel()
    assert len(wheel) == 0 and wheel.get_timer() is None and not wheel._slots and not wheel._order


def test_granularity_must_be_positive() -> None:
    with pytest.raises(ValueError):
        Wheel(0)


class TestReminders:
    def test_an_item_is_due_not_early_and_not_late(self) -> None:
        reminders: Reminders[str] = Reminders(0.5)
        reminders.add("a", 10.1)
        assert reminders.get_timer() == 10.5
        assert reminders.due(10.49) == []
        assert reminders.due(10.5) == ["a"]
        assert reminders.get_timer() is None
        assert reminders.due(99.0) == []

    def test_items_come_in_the_order_of_their_slots_and_as_often_as_they_were_added(self) -> None:
        reminders: Reminders[str] = Reminders(1.0)
        for item, when in (("c", 5.0), ("a", 2.0), ("b", 2.5), ("a", 4.0)):
            reminders.add(item, when)
        assert reminders.due(4.0) == ["a", "b", "a"]
        assert reminders.due(5.0) == ["c"]

    @given(st.floats(0.0, 1e6), st.floats(0.01, 1.0))
    def test_rounding_never_makes_it_early(self, when: float, granularity: float) -> None:
        reminders: Reminders[int] = Reminders(granularity)
        reminders.add(1, when)
        timer = reminders.get_timer()
        assert timer is not None
        assert when <= timer < when + granularity * 1.01
        assert reminders.due(timer) == [1]


class TestDelay:
    def test_the_first_in_is_the_first_due(self) -> None:
        delay: Delay[str] = Delay(5.0, 0.5)
        delay.add("a", 1.0)
        delay.add("b", 1.0)
        delay.add("c", 2.0)
        assert delay.get_timer() == 6.0
        assert list(delay) == ["a", "b", "c"]
        assert delay.due(5.9) == []
        assert delay.due(6.0) == [(6.0, ["a", "b"])]
        assert delay.get_timer() == 7.0
        assert delay.due(9.0) == [(7.0, ["c"])]
        assert delay.get_timer() is None
        assert not delay

    def test_it_is_wanted_as_late_as_the_granularity_allows_and_never_too_early(self) -> None:
        delay: Delay[int] = Delay(0.2, 0.05)
        for step in range(100):
            now = step * 0.0173
            delay.add(step, now)
            when = delay.get_timer()
            assert when is not None
            assert now + 0.2 <= when < now + 0.2 + 0.0501
            assert delay.due(when) == [(now + 0.2, [step])]

    def test_the_longest_wait_can_be_ended(self) -> None:
        delay: Delay[str] = Delay(5.0, 0.5)
        delay.add("a", 1.0)
        assert delay.pop() == "a"
        delay.add("b", 1.0)
        delay.add("c", 1.0)
        assert delay.pop() == "b"
        assert delay.due(6.0) == [(6.0, ["c"])]
        with pytest.raises(IndexError):
            delay.pop()

    def test_the_first_of_several_delays_is_on_the_agenda(self) -> None:
        agenda = Agenda()
        long: Delay[str] = Delay(5.0, 0.5, agenda)
        short: Delay[str] = Delay(0.3, 0.5, agenda)
        assert agenda.when == float("inf")
        long.add("a", 1.0)
        assert agenda.when == 6.0
        short.add("b", 4.0)
        assert agenda.when == 4.5
        long.add("c", 4.1)
        short.add("d", 4.1)
        assert agenda.when == 4.5
