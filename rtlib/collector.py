"""Python's cyclic garbage collector, kept from stopping a daemon for long.

What lives while a daemon serves thousands is millions of objects, which each full collection goes through,
and the cores take care that they leave no cycles behind: they need no collector.
"""

from __future__ import annotations

import gc


def rest_collector(youngest: int) -> None:
    """Call this once all is built: what was made until now is never garbage.

    `youngest`: how many more objects there must be for the cheapest collection, which takes about 0.1 µs for
    each of them. What survives is gone through again after 500 of those, so all but never: there is no time
    at which a daemon may stand still for a third of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(youngest, 500, 100)
