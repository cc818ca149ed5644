"""Sample files: what they say when their comments are taken away is the defaults."""

from __future__ import annotations

import re

from rtlib.settings import Section, setting
from rtlib.settings import directives as directive_files
from rtlib.settings import keyvalue as keyvalue_files
from rtlib.settings import toml as toml_files
from rtlib.settings.directives import Directive, Grammar
from rtlib.settings.sample import directives, keyvalue, toml
from rtlib.settings.types import Duration, Endpoint


class Proxy(Section):
    port: int = setting(5060, "The port.", ge=1)
    names: list[str] = setting(lambda: ["a", "b c"], "Names that it answers to.")
    wait: Duration = setting(2.5, "How long to wait.")
    size: int = setting(9, "How much.", unit="bytes")
    on: bool = setting(True, "Whether.")
    listen: Endpoint | None = setting(None, "Where.")


class Item(Section):
    name: str = setting(..., "Its name.")


class File(Section):
    title: str = setting('with "quotes"', "The title.")
    proxy: Proxy = setting(Proxy, "The proxy.")
    items: list[Item] = setting(list, "Items.")


class Flat(Section):
    limit: int = setting(7, "A limit.", alias="MAX")
    name: str = setting("two words", "A name.")


GRAMMAR = Grammar((Directive("limit", "limit"), Directive("name", "name"), Directive("app", "")))


def uncommented(text: str, sign: str) -> str:
    return re.sub(rf"^# (\S+ ?{sign} ?.+)$", r"\1", text, flags=re.MULTILINE)


def test_a_toml_sample_is_the_defaults() -> None:
    text = toml(File, "A sample.")
    assert toml_files.parse(text, "s", File) == File()
    some = uncommented(text.partition("# [[items]]")[0], "=")
    assert 'names = ["a", "b c"]' in some
    assert toml_files.parse(some, "s", File) == File()


def test_a_toml_sample_explains() -> None:
    text = toml(File, "A sample.")
    assert text.startswith("# A sample.\n")
    assert "# The port. (whole number, at least 1)\n# port = 5060\n" in text
    assert "# [[items]]" in text
    assert "# Its name. (text, required)\n# name =\n" in text


def test_a_keyvalue_sample_is_the_defaults() -> None:
    text = keyvalue(Flat)
    assert "# A limit. (whole number)\n# MAX=7\n" in text
    assert keyvalue_files.parse(uncommented(text, "="), "s", Flat) == Flat()


def test_a_directive_of_several_words_is_explained_by_its_own_field() -> None:
    class Conf(Section):
        item: Item | None = setting(None, "The item.")

    text = directives(Conf, Grammar((Directive("item", "item", ("name", "size")),)))
    assert text == "# The item.\n# item <name> <size>\n"


def test_a_directive_sample_is_the_defaults() -> None:
    text = directives(Flat, GRAMMAR)
    assert "app" not in text
    active = re.sub(r"^# ((limit|name) .+)$", r"\1", text, flags=re.MULTILINE)
    assert directive_files.parse(active, "s", Flat, GRAMMAR) == Flat()
    assert "\nlimit 7\n" in active
