"""The reference documents: nothing that exists is left out, and no secret's default is shown."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from rtlib import reference
from rtlib.command.registry import Argument, Option, Stream, command, declared
from rtlib.command.render import Column
from rtlib.settings import Section, setting
from rtlib.settings.directives import Directive, Grammar
from rtlib.settings.types import Duration, Port


class Peer(Section):
    name: str = setting(..., "Its name.")


class File(Section):
    port: Port = setting(5223, "Where clients | connect.")
    key: str = setting("sesame", "The secret.", secret=True)
    wait: Duration = setting(2.0, "How long.", live=True)
    level: Annotated[str, "x"] = setting("info", "How much.", pattern="^(info|warn)$")
    peers: list[Peer] = setting(list, "The peers.")
    master: Peer | None = setting(None, "The first peer.")


GRAMMAR = Grammar(
    (
        Directive("client-listen-port", "port", ("port",)),
        Directive("peer", "peers", ("name",), repeatable=True),
        Directive("master", "master", ("name", "other")),
        Directive("app", "", ("module",)),
    )
)


class Row(Struct):
    uri: Annotated[str, Column("URI", "the mobile number")]


class Commands:
    @command("show attach")
    def show(
        self,
        account: Annotated[str | None, Argument("Only of this account.")] = None,
        *,
        size: Annotated[int, Option("-B", help="How many.")] = 16,
    ) -> list[Row]:
        """Show who is attached.

        Everybody.

        Example: crs-cli show attach
        """
        return []

    @command("trace attach")
    def trace(self) -> Stream[Row]:
        """Follow who attaches.

        Example: crs-cli trace attach
        """
        return Stream()

    @command("create secret", local=True)
    def secret(self) -> str:
        """Make a secret.

        Example: crs-cli create secret
        """
        return ""


def test_settings() -> None:
    text = reference.settings("a.toml", File, "About it.")
    assert text.startswith("## a.toml\n\nAbout it.\n\n| key | meaning | value | default | reload |\n")
    lines = text.splitlines()
    assert (
        "| `port` | Where clients \\| connect. | port, at least 1, at most 65535 | `5223` | restart |"
        in lines
    )
    assert "| `wait` | How long. | seconds, or with ms, s, m, h, d | `2.0` | at once |" in lines
    assert "| `key` | The secret. | text |  | restart |" in lines
    assert "### [[peers]]" in lines
    assert "| `name` | Its name. | text | required | restart |" in lines
    assert "sesame" not in text


def test_directives() -> None:
    text = reference.directives("a.conf", File, GRAMMAR)
    assert "| `client-listen-port <port>` | Where clients \\| connect |" in text
    assert "| `peer <name>` | The peers; may be repeated |" in text
    assert "| `master <name> <other>` | The first peer |" in text
    assert "| `app <module>` | accepted; it has no effect |" in text


def test_commands() -> None:
    text = reference.commands("crs-cli", declared(Commands))
    show = text.partition("### crs-cli show attach\n")[2].partition("### ")[0]
    assert "    crs-cli show attach [ACCOUNT] [-B SIZE]\n" in show
    assert "Show who is attached.\n\nEverybody.\n" in show
    assert "| `ACCOUNT` | Only of this account. |  |" in show
    assert "| `-B` | How many. | `16` |" in show
    assert "Reply: a table.\n\n| column | meaning |\n| --- | --- |\n| URI | the mobile number |\n" in show
    assert "It needs the role operator. Example: `crs-cli show attach`" in show
    assert "Reply: a line for each event, until ctrl-c." in text
    assert "It runs without the daemon. Example: `crs-cli create secret`" in text
    assert text.index("create secret") < text.index("show attach") < text.index("trace attach")
