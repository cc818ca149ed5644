"""TOML files: genproxy.toml."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.settings import Section, SettingsError, setting
from rtlib.settings.toml import locations, parse
from rtlib.settings.types import Duration, ListEntry, Port


class Mode(StrEnum):
    udp = "udp"
    tcp = "tcp"


class Proxy(Section):
    privatePort: Port = setting(5060, "The port.")
    denyList: list[ListEntry] = setting(list, "Who may not.")
    mode: Mode = setting(Mode.udp, "How.")
    level: Literal["low", "high"] = setting("low", "How much.")
    wait: Duration = setting("30s", "How long.", live=True)
    enable: bool = setting(False, "Whether.")


class Subscriber(Section):
    username: str = setting(..., "Who.")
    password: str = setting("", "Its secret.", secret=True, max_length=5)


class File(Section):
    proxy: Proxy = setting(Proxy, "The proxy.")
    subscribers: list[Subscriber] = setting(list, "Who may register.")


GOOD = """
[proxy]
privatePort = 5070
denyList = [
  "192.0.2.0/24",   # ] a comment
  "[2001:db8::1]:5060/128",
]
mode = "tcp"
wait = 5
enable = true

[[subscribers]]
username = "a"
[[subscribers]]
username = '''
[b]
'''
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(text, "g.toml", File)
    return str(caught.value).splitlines()


def test_tables_and_lists_of_tables() -> None:
    file = parse(GOOD, "g.toml", File)
    assert file.proxy.mode is Mode.tcp
    assert file.proxy.wait == 5.0
    assert [str(entry) for entry in file.proxy.denyList] == ["192.0.2.0/24", "[2001:db8::1]:5060"]
    assert [subscriber.username for subscriber in file.subscribers] == ["a", "[b]\n"]
    assert parse("", "g.toml", File).proxy.wait == 30.0


def test_all_problems_at_once_each_with_its_line() -> None:
    text = """\
[proxy]
privatePort = "5070"
enable = 1
mode = "sctp"
level = "middle"
denyList = ["192.0.2.0/24",
  "nonsense:1:2"]
pivatePort = 1
wait = "soon"

[[subscribers]]
username = "a"
[[subscribers]]
password = "far too long"

[prxy]
"""
    assert problems(text) == [
        "g.toml:2: proxy.privatePort: '5070' must be a whole number",
        "g.toml:3: proxy.enable: 1 must be true or false",
        "g.toml:4: proxy.mode: 'sctp' must be 'udp' or 'tcp'",
        "g.toml:5: proxy.level: 'middle' must be 'low' or 'high'",
        "g.toml:6: proxy.denyList[2]: 'nonsense:1:2' is not an IP network such as"
        " 192.0.2.0/24 or 2001:db8::/32",
        "g.toml:8: proxy.pivatePort: unknown key (did you mean privatePort?)",
        "g.toml:9: proxy.wait: 'soon' is not a duration such as 30, 30s, 5m, 2h or 1d",
        "g.toml:13: subscribers[2].username: is required",
        "g.toml:14: subscribers[2].password: must have at most 5 characters",
        "g.toml:16: prxy: unknown key (did you mean proxy?)",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("privatePort 5", "Expected '=' after a key in a key/value pair"),
        ("enable = Yes", "Invalid value; text stands in quotation marks, yes and no are true and false"),
        ('mode = "udp', r"Illegal character '\n'; a quotation mark is missing"),
    ],
)
def test_text_that_is_not_toml_says_where(line: str, reason: str) -> None:
    assert problems(f"[proxy]\n{line}\n") == [f"g.toml:2: is not valid TOML: {reason}"]


def test_a_table_where_a_value_belongs_and_the_other_way_round() -> None:
    assert problems("proxy = 3\n[[subscribers]]\nusername = {x = 1}\n") == [
        "g.toml:1: proxy: 3 must be a table",
        "g.toml:3: subscribers[1].username: must be text in quotes",
    ]


def test_lines_inside_long_strings_and_arrays_are_no_keys() -> None:
    text = 'a = """\nb = 1\n"""\nc = [\n  "d = 1",\n  [1, 2],\n]\ne.f = 2\n'
    assert dict(locations(text)) == {("a",): 1, ("c",): 4, ("e", "f"): 8}


keys = st.sampled_from(["a", "b", "c"])
values = st.one_of(
    st.integers(0, 9).map(str),
    st.sampled_from(['"x"', '"[[y]]"', '"""\nz = 1\n"""', "'''\n[q]\n'''", '[\n1,\n"]",\n]', "[[1], [2]]"]),
)


@given(st.dictionaries(keys, values), st.lists(st.dictionaries(keys, values), max_size=3))
def test_every_key_is_found_on_a_line_that_names_it(top: dict[str, str], items: list[dict[str, str]]) -> None:
    text = "".join(f"{key} = {value}\n" for key, value in top.items())
    for item in items:
        text += "[[list]] # one\n" + "".join(f"{key} = {value}\n" for key, value in item.items())
    found = dict(locations(text))
    data: dict[str, Any] = tomllib.loads(text)
    lines = text.splitlines()
    expected = {(key,) for key in top} | {
        ("list", i, key) for i, item in enumerate(data.get("list", [])) for key in item
    }
    assert {location for location in found if location[:1] != ("list",) or len(location) == 3} == expected
    assert all(lines[found[location] - 1].startswith(f"{location[-1]} =") for location in expected)
