"""The registry: what a command is, and how it is called."""

from __future__ import annotations

import subprocess
import sys
from enum import StrEnum
from typing import Annotated, Any

import pytest
from msgspec import Meta
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rtlib.command.error import BadArgument, CommandError, Conflict, Denied, NotFound, from_kind
from rtlib.command.registry import Argument, Option, Registry, Role, Stream, command, declared


class Color(StrEnum):
    red = "red"
    blue = "blue"


class Paint:
    def __init__(self) -> None:
        self.gate: Deferred[str] = Deferred()

    @command("paint wall", role=Role.operator)
    def paint(
        self,
        wall_id: Annotated[str, Argument("Which wall.")],
        coats: Annotated[int, Meta(ge=1, le=3)] = 1,
        *,
        color: Annotated[Color, Option("-c", "--color", help="Which color.")] = Color.red,
        note: str | None = None,
        fast: bool = False,
    ) -> str:
        """Paint a wall.

        It dries within an hour.

        Example: paint paint wall north 2 -c blue
        """
        return f"{wall_id} {coats} {color.value} {note} {fast}"

    @command("paint later", role=Role.viewer)
    async def later(self) -> str:
        """Paint when the gate opens.

        Example: paint paint later
        """
        return await self.gate

    @command("trace paint")
    def trace(self) -> Stream[str]:
        """Follow the paint.

        Example: paint trace paint
        """
        return Stream()


def registry() -> Registry:
    made = Registry()
    made.add(Paint())
    return made


class CallTests(SynchronousTestCase):
    """Calls, with and without waiting."""

    def call(self, name: str, arguments: dict[str, Any], role: Role = Role.administrator) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(registry().call(name, arguments, role)))

    def refused(self, name: str, arguments: dict[str, Any], role: Role = Role.administrator) -> str:
        call = Deferred.fromCoroutine(registry().call(name, arguments, role))
        return str(self.failureResultOf(call, BadArgument, Denied).value)

    def test_arguments_are_converted_and_defaults_filled_in(self) -> None:
        self.assertEqual(self.call("paint wall", {"wall_id": "n"}), "n 1 red None False")
        given = {"wall_id": "n", "coats": 3, "color": "blue", "note": "x", "fast": True}
        self.assertEqual(self.call("paint wall", given), "n 3 blue x True")

    def test_wrong_arguments_are_named(self) -> None:
        self.assertEqual(self.refused("paint wall", {}), "wall-id is missing")
        self.assertEqual(
            self.refused("paint wall", {"wall_id": "n", "size": 1}), "paint wall has no argument size"
        )
        self.assertEqual(
            self.refused("paint wall", {"wall_id": "n", "coats": 4}), "coats: Expected `int` <= 3"
        )
        self.assertEqual(
            self.refused("paint wall", {"wall_id": "n", "coats": "2"}), "coats: Expected `int`, got `str`"
        )
        self.assertIn("--color: Invalid", self.refused("paint wall", {"wall_id": "n", "color": "green"}))
        self.assertEqual(self.refused("paint roof", {}), "there is no command 'paint roof'")

    def test_a_lower_role_is_denied_before_its_arguments_are_looked_at(self) -> None:
        self.assertEqual(self.refused("paint wall", {}, Role.viewer), "paint wall needs the role operator")

    def test_a_coroutine_is_awaited(self) -> None:
        paint, made = Paint(), Registry()
        made.add(paint)
        call = Deferred.fromCoroutine(made.call("paint later", {}, Role.viewer))
        self.assertNoResult(call)
        paint.gate.callback("done")
        self.assertEqual(self.successResultOf(call), "done")

    def test_a_stream_is_returned_as_it_is(self) -> None:
        self.assertIsInstance(self.call("trace paint", {}), Stream)

    def test_local_calls_need_no_reactor_and_refuse_to_wait(self) -> None:
        self.assertEqual(registry().call_now("paint wall", {"wall_id": "s"}), "s 1 red None False")
        with self.assertRaisesRegex(CommandError, "works only inside the daemon"):
            registry().call_now("paint later")


def test_the_spec_is_read_from_the_function() -> None:
    spec = registry().spec("paint wall")
    assert spec.help == "Paint a wall."
    assert spec.description == "It dries within an hour."
    assert spec.example == "paint paint wall north 2 -c blue"
    assert spec.words == ("paint", "wall")
    assert spec.usage == "paint wall WALL-ID [COATS] [-c COLOR] [--note NOTE] [--fast]"
    wall, _, color, *_ = spec.parameters
    assert (wall.label, wall.required, wall.help) == ("wall-id", True, "Which wall.")
    assert (color.label, color.choices, color.required) == ("--color", ("red", "blue"), False)


def test_streams_give_the_type_of_a_row() -> None:
    spec = registry().spec("trace paint")
    assert spec.stream
    assert spec.reply is str


def test_specs_are_sorted_and_known_without_an_instance() -> None:
    names = ["paint later", "paint wall", "trace paint"]
    assert [spec.name for spec in registry().specs] == names
    assert sorted(spec.name for spec in declared(Paint)) == names


def test_a_name_is_taken_once() -> None:
    made = registry()
    with pytest.raises(ValueError, match="two commands 'paint later'"):
        made.add(Paint())


def no_reply() -> Any:
    def function(self: object):  # type: ignore[no-untyped-def]  # the missing type is what is refused
        """Do it.

        Example: x
        """

    return function


def no_type() -> Any:
    def function(self: object, wall) -> None:  # type: ignore[no-untyped-def]  # as above
        """Do it.

        Example: x
        """

    return function


def no_example() -> Any:
    def function(self: object) -> None:
        """Do it."""

    return function


def positional_option() -> Any:
    def function(self: object, wall: Annotated[str, Option("-w")]) -> None:
        """Do it.

        Example: x
        """

    return function


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_reply, "has no reply type"),
        (no_type, "parameter 'wall' has no type"),
        (no_example, "needs a docstring with an `Example:` line"),
        (positional_option, "options are keyword-only"),
    ],
)
def test_an_incomplete_command_is_refused_where_it_is_written(make: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        command("do it")(make())


def test_a_name_is_words() -> None:
    with pytest.raises(TypeError, match="is not a command name"):
        command("Do_it")(no_example())


def test_errors_travel_by_kind() -> None:
    for error in (CommandError, BadArgument, NotFound, Conflict, Denied):
        back = from_kind(error.kind, "text")
        assert type(back) is error
        assert str(back) == "text"
    assert type(from_kind("later", "x")) is CommandError
    assert (BadArgument.exit_code, Conflict.exit_code) == (2, 1)


def test_the_command_line_path_imports_nothing_of_the_daemon() -> None:
    program = (
        "import sys, rtlib.command.registry, rtlib.command.render, rtlib.command.client, rtlib.command.cli;"
        "print([m for m in ('twisted', 'pydantic', 'sqlalchemy', 'cryptography') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
