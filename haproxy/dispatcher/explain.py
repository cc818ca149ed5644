"""Why the dispatcher does what it does, in sentences for the operator. Sans-IO."""

from __future__ import annotations

from haproxy.dispatcher.destination import Destination, Rules, State
from haproxy.dispatcher.set import Dispatcher


def why(destination: Destination, rules: Rules, now: float) -> str:
    """Why a destination is in its state, and what it takes to leave it."""
    parts = [destination.reason]
    if destination.state is State.PROBING:
        parts.append(f"{destination.failures} of the {rules.down} failures in a row that make it inactive")
    elif not destination.usable and not rules.probing:
        left = max(0.0, destination.since + rules.hold_down - now)
        parts.append(f"nobody probes it: it is tried again in {left:.0f} s, or when it registers")
    elif not destination.usable:
        parts.append(f"{destination.successes} of the {rules.up} signs of life in a row that bring it back")
        if now < destination.held_until:
            left, falls = destination.held_until - now, destination.falls + 1
            parts.append(f"held down for another {left:.0f} s, as it has failed {falls} times in short order")
    if destination.usable and now < destination.rests_until:
        left = destination.rests_until - now
        parts.append(f"has answered 503 and asked for no calls for another {left:.0f} s (Retry-After)")
    return "; ".join(parts)


def why_primary(dispatcher: Dispatcher) -> str:
    """Why the primary set is the one that it is."""
    current, preferred = dispatcher.primary, dispatcher.preferred
    up = any(destination.usable for destination in dispatcher.destinations(current))
    if not up:
        return f"set {current} is primary, and neither set has a system that is up: calls get 503"
    if current != preferred:
        return f"set {current} is primary, because set {preferred} has no system that is up"
    after = "for good" if dispatcher.persistent else "until one of its systems is back"
    return f"set {current} is primary; should all its systems fail, set {1 - current} takes over {after}"
