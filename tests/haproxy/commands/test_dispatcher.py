"""`dispatcher show`, `set` and `explain`, and the sentences that explain."""

import msgspec
import pytest

from haproxy.commands.dispatcher import DispatcherCommands, Explanation
from haproxy.dispatcher.destination import Destination, Rules
from haproxy.dispatcher.explain import why, why_primary
from haproxy.dispatcher.probe import Prober
from haproxy.dispatcher.set import Dispatcher
from rtlib.command import render
from rtlib.command.registry import BadArgument, NotFound


class Desk:
    """Two systems, and the commands about them."""

    def __init__(self, rules: Rules | None = None, *, persistent: bool = True) -> None:
        self.now = 0.0
        self.dispatcher = Dispatcher(rules=rules, persistent=persistent)
        for user in ("genesis_a", "genesis_b"):
            self.dispatcher.registered(user.encode(), f"sip:{user}@host".encode(), None, 0.0)
        self.first, self.second = self.dispatcher.destinations()
        self.prober = Prober(self.dispatcher)
        self.prober.refresh(0.0)
        self.commands = DispatcherCommands(
            self.dispatcher,
            self.prober,
            set_primary=lambda number: self.dispatcher.set_primary(number, "by command", self.now),
            now=lambda: self.now,
        )

    def why(self, destination: Destination) -> str:
        return why(destination, self.dispatcher.rules, self.now)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_show_has_the_columns_of_the_guide(desk: Desk) -> None:
    desk.now = 7.0
    lines = render.text(desk.commands.show(), list[type(desk.commands.show()[0])]).splitlines()  # type: ignore[misc]  # a type made for the test
    assert lines[0].split() == ["DISPATCH", "SET", "STATUS", "URI", "SINCE", "REASON"]
    assert lines[1].split() == ["0", "(Backup)", "Active", "sip:genesis_b@host", "7", "registered"]
    assert lines[2].split() == ["1", "(Primary)", "Active", "sip:genesis_a@host", "7", "registered"]
    assert desk.commands.listed() == desk.commands.show()


def test_set(desk: Desk) -> None:
    assert desk.commands.set(0) == "set 0 is primary"
    desk.dispatcher.failed(desk.first, "gone", 0.0)
    assert desk.commands.set(1) == "set 1 will be primary once one of its systems is up"
    with pytest.raises(BadArgument, match="no dispatch set 2"):
        desk.commands.set(2)


def test_explain_shows_the_evidence(desk: Desk) -> None:
    (asked,) = desk.prober.due(10.0)
    desk.prober.answered(asked, 200, 10.012, 0.012, "OPTIONS")
    desk.dispatcher.failed(desk.first, "cannot be reached: connection refused", 12.0)
    desk.now = 13.0
    reply = desk.commands.explain("genesis_a")
    (row,) = reply.destinations
    assert (row.status, row.since, row.next_probe, row.failed) == ("Inactive", 1, 27, 1)
    assert [(each.ago, each.kind, each.code, each.rtt, each.status) for each in reply.evidence] == [
        (13.0, "REGISTER", None, None, "Active"),
        (3.0, "OPTIONS", 200, 12.0, "Active"),
        (1.0, "call", None, None, "Inactive"),
    ]
    text = render.text(reply, Explanation)
    assert text.splitlines()[0].startswith("PRIMARY  set 0 is primary")
    assert (
        "cannot be reached: connection refused; 0 of the 2 signs of life in a row that bring it back" in text
    )
    assert msgspec.json.decode(render.json(reply))["evidence"][1]["rtt"] == 12.0


def test_explain_of_all_and_of_nobody(desk: Desk) -> None:
    assert [row.uri for row in desk.commands.explain().destinations] == [
        "sip:genesis_a@host",
        "sip:genesis_b@host",
    ]
    assert len(desk.commands.explain("sip:genesis_b@host").destinations) == 1
    with pytest.raises(NotFound, match="genesis_c"):
        desk.commands.explain("genesis_c")


def test_why_it_is_in_doubt(desk: Desk) -> None:
    desk.dispatcher.failed(desk.first, "did not answer a probe", 0.0, certain=False)
    text = "did not answer a probe; 1 of the 2 failures in a row that make it inactive"
    assert desk.why(desk.first) == text


def test_why_it_is_held_down() -> None:
    desk = Desk(Rules(up=1, hold_down=60.0))
    desk.dispatcher.failed(desk.first, "gone", 0.0)
    desk.dispatcher.answered(desk.first, 1.0)
    desk.dispatcher.failed(desk.first, "gone", 2.0)
    desk.now = 12.0
    assert desk.why(desk.first).endswith(
        "held down for another 50 s, as it has failed 2 times in short order"
    )


def test_why_it_gets_no_calls(desk: Desk) -> None:
    desk.dispatcher.rest(desk.first, 600, 0.0)
    desk.now = 12.0
    assert desk.why(desk.first).endswith(
        "has answered 503 and asked for no calls for another 48 s (Retry-After)"
    )
    desk.now = 60.0
    assert "Retry-After" not in desk.why(desk.first)


def test_why_nobody_asks() -> None:
    desk = Desk(Rules(probing=False))
    desk.dispatcher.failed(desk.first, "gone", 0.0)
    assert desk.why(desk.first) == "gone; nobody probes it: it is tried again in 60 s, or when it registers"


@pytest.mark.parametrize(
    ("persistent", "after"), [(True, "for good"), (False, "until one of its systems is back")]
)
def test_why_a_set_is_primary(persistent: bool, after: str) -> None:
    desk = Desk(persistent=persistent)
    assert (
        why_primary(desk.dispatcher)
        == f"set 1 is primary; should all its systems fail, set 0 takes over {after}"
    )
    desk.dispatcher.failed(desk.first, "gone", 0.0)
    assert "set 0 is primary" in why_primary(desk.dispatcher)
    desk.dispatcher.failed(desk.second, "gone", 0.0)
    assert why_primary(desk.dispatcher).endswith("calls get 503")


def test_why_the_preferred_set_is_not_primary() -> None:
    desk = Desk(persistent=False)
    desk.dispatcher.failed(desk.first, "gone", 0.0)
    assert why_primary(desk.dispatcher) == "set 0 is primary, because set 1 has no system that is up"
