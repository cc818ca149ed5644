"""Keys of many slots in one order: always those that a sort gives, whatever the slots hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtlib.store.merge import Merge

SLOTS = 5
contents = st.lists(
    st.sets(st.text("abc", min_size=1, max_size=4), max_size=30), min_size=SLOTS, max_size=SLOTS
)


def read(slots: list[list[str]], after: str, limit: int) -> tuple[list[str], int]:
    """The merged keys, and how many were read for them."""
    merge, taken = Merge(range(SLOTS), after, limit), 0
    while wanted := merge.wanted():
        for slot, place in wanted.items():
            page = [(key, b"") for key in slots[slot] if key > place][: merge.count]
            taken += len(page)
            merge.add(slot, page)
        merge.count *= 2
    return [key for key, _ in merge.result()], taken


@given(contents, st.text("abc", max_size=2), st.integers(0, 40))
def test_the_first_keys_of_all_slots(slots: list[set[str]], after: str, limit: int) -> None:
    merged, _ = read([sorted(slot) for slot in slots], after, limit)
    assert merged == sorted(key for slot in slots for key in slot if key > after)[:limit]


def test_little_more_is_read_than_is_given() -> None:
    slots = [[f"{number:05}" for number in range(slot, 50_000, SLOTS)] for slot in range(SLOTS)]
    merged, taken = read(slots, "", 1000)
    assert merged == [f"{number:05}" for number in range(1000)]
    assert taken <= 2 * 1000 + 2 * SLOTS
