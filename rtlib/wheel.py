"""A timer wheel of coarse slots: thousands of protocol timers for the price of one (Varghese and Lauck,
1987).

Slots exist only while something is due in them, so the wheel has no size and no longest time.
Nothing fires early; everything fires at most one `granularity` late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from math import ceil
from operator import attrgetter
from typing import Final, Generic, TypeVar

T = TypeVar("T")

NEVER: Final = float("inf")
"""A time that does not come."""


class Entry(Generic[T]):
    """One scheduled item; keep it to cancel."""

    __slots__ = ("_slot", "item", "when")

    def __init__(self, item: T, when: float, slot: dict[Entry[T], None]) -> None:
        self.item = item
        self.when = when
        self._slot = slot

    def cancel(self) -> None:
        """Take the item off the wheel, in constant time; nothing happens if it has fired or was cancelled."""
        self._slot.pop(self, None)

    @property
    def active(self) -> bool:
        """Whether the item is still to fire."""
        return self in self._slot


class Wheel(Generic[T]):
    """Items and the time, in seconds of the caller's clock, at which each is due."""

    def __init__(self, granularity: float = 0.1) -> None:
        if granularity <= 0:
            raise ValueError(f"a wheel's granularity must be above 0, not {granularity}")
        self._granularity = granularity
        self._slots: dict[int, dict[Entry[T], None]] = {}
        self._order: list[int] = []  # heap of the numbers in _slots

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def schedule(self, item: T, when: float) -> Entry[T]:
        """Have `expire` return `item` once its `now` is at or after `when`, and before `when +
        granularity`.
        """
        # In line, not a function of its own: this runs a dozen times for each call of a proxy.
        granularity = self._granularity
        number = ceil(when / granularity)
        if number * granularity < when:  # division rounds: the product, which expire() compares, counts
            number += 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            heappush(self._order, number)
        entry = Entry(item, when, slot)
        slot[entry] = None
        return entry

    def get_timer(self) -> float | None:
        """Tell when `expire` will next have something to return; None for never."""
        while self._order:
            number = self._order[0]
            if self._slots[number]:
                return number * self._granularity
            del self._slots[heappop(self._order)]
        return None

    def expire(self, now: float) -> list[T]:
        """Take off and return all that is due, the longest due first, equals in the order they were
        scheduled.
        """
        due: list[T] = []
        while self._order and self._order[0] * self._granularity <= now:
            slot = self._slots.pop(heappop(self._order))
            due += [entry.item for entry in sorted(slot, key=_when)]
            slot.clear()  # a later cancel() finds nothing to do
        return due


_when = attrgetter("when")


class Reminders(Generic[T]):
    """A wheel for items that know themselves when they are due: nothing can be taken off it.

    What is not due any more when it is reminded does nothing, and what has become due later asks again. That
    is cheaper than an entry for each time, where most times are put off before they come.
    """

    def __init__(self, granularity: float) -> None:
        self._granularity = granularity
        self._slots: dict[int, list[T]] = {}
        self._order: list[int] = []  # heap of the numbers in _slots

    def add(self, item: T, when: float) -> None:
        """Have `due` return `item` once its `now` is at or after `when`, and before `when + granularity`."""
        granularity = self._granularity
        number = ceil(when / granularity)
        if number * granularity < when:  # division rounds: the product, which due() compares, counts
            number += 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = []
            heappush(self._order, number)
        slot.append(item)

    def __iter__(self) -> Iterator[T]:
        """All that will be reminded, in no particular order."""
        for slot in self._slots.values():
            yield from slot

    def get_timer(self) -> float | None:
        """Tell when `due` will next have something to return; None for never."""
        return self._order[0] * self._granularity if self._order else None

    def due(self, now: float) -> list[T]:
        """Take off and return what is to be reminded, in the order of its time."""
        due: list[T] = []
        while self._order and self._order[0] * self._granularity <= now:
            due += self._slots.pop(heappop(self._order))
        return due


class Agenda:
    """When the first of several delays is to be looked at, so that they need not be asked one by one."""

    __slots__ = ("when",)

    def __init__(self) -> None:
        self.when = NEVER
        """That time or earlier: what is taken off early leaves it as it is."""


class Delay(Generic[T]):
    """Items that all wait equally long, so that the first in is the first due: nothing is sorted.

    What comes at the same time stands together, as a batch of messages does. Nothing can be taken off it but
    the first; what needs no waiting any more is told apart by who gets it.
    """

    def __init__(self, seconds: float, granularity: float, agenda: Agenda | None = None) -> None:
        """`seconds` above 0 is how long each waits, and `granularity` how much longer it may."""
        self.seconds = seconds
        self.agenda = agenda or Agenda()
        """Is told of the first that comes; `get_timer` says what follows."""
        self._granularity = granularity
        self._groups: deque[tuple[float, list[T]]] = deque()
        self.begun = -1.0
        """When those in `last` came. Who adds many looks at these two, and calls `begin` or nothing."""
        self.last: list[T] = []

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __iter__(self) -> Iterator[T]:
        """All that wait, the longest wait first."""
        for _, group in self._groups:
            yield from group

    def add(self, item: T, now: float) -> None:
        """Have `due` return `item` from `now` and the delay on; times do not go back."""
        (self.last if now == self.begun else self.begin(now)).append(item)

    def begin(self, now: float) -> list[T]:
        """Where those go that come now."""
        self.begun, self.last = now, []
        when = now + self.seconds
        self._groups.append((when, self.last))
        if when < self.agenda.when:
            self.agenda.when = self._rounded(when)
        return self.last

    def get_timer(self) -> float | None:
        """Tell when `due` is wanted next: as late as the granularity allows; None for never."""
        return self._rounded(self._groups[0][0]) if self._groups else None

    def due(self, now: float) -> list[tuple[float, list[T]]]:
        """Take off and return what has waited long enough, in order: those that came together, and when each
        of them was due.
        """
        due = []
        groups = self._groups
        while groups and groups[0][0] <= now:
            due.append(groups.popleft())
        return due

    def pop(self) -> T:
        """Take off and return the one that has waited longest. Raises IndexError where there is none."""
        group = self._groups[0][1]
        item = group.pop(0)
        if not group:
            self._groups.popleft()
            self.begun = -1.0
        return item

    def _rounded(self, when: float) -> float:
        rounded = ceil(when / self._granularity) * self._granularity
        return rounded if rounded >= when else when
