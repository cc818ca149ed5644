"""Directive files: crs.conf and its like."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

from rtlib.settings import Section, SettingsError, keyvalue, setting
from rtlib.settings.directives import Directive, Grammar, parse, read
from rtlib.settings.types import Duration, IpAddress, ListenPort


class Address(Section):
    host: str
    address: IpAddress


class Push(Section):
    service: str
    option: str
    value: str


class Conf(Section):
    key: str = setting(..., "The pool's secret.", secret=True, min_length=4)
    port: ListenPort = setting(5223, "Where clients connect.")
    addresses: list[Address] = setting(list, "The hosts' addresses.")
    features: list[str] = setting(list, "What is switched on.")
    push: list[Push] = setting(list, "Push services.")
    grace: Duration = setting(30.0, "How long.", live=True)
    quiet: bool = setting(False, "No messages.")


GRAMMAR = Grammar(
    (
        Directive("key", "key", ("secret",)),
        Directive("client-listen-port", "port", ("port",)),
        Directive("ip", "addresses", ("host", "address"), repeatable=True),
        Directive("features", "features", ("feature",), optional=1, rest=True),
        Directive("push-config", "push", ("service", "option", "value"), repeatable=True),
        Directive("grace", "grace", ("time",)),
        Directive("quiet", "quiet", ()),
        Directive("app", "", ("module",), rest=True),
    ),
    {"GLOBAL": "", "POOL": "", "push-config": "push-config"},
)

EVERYTHING = """\
# the pool
[GLOBAL]
key "a \\"long\\" secret # with a hash"   # but this is a comment
client-listen-port 6000
features push other
quiet
grace 2m

[pool]   # any case
ip crs1 192.0.2.1
    app attach
ip crs2 2001:DB8::1

[PUSH-CONFIG]
apns type direct
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(text, "crs.conf", Conf, GRAMMAR)
    return str(caught.value).splitlines()


def test_everything_a_file_may_hold() -> None:
    conf = parse(EVERYTHING, "crs.conf", Conf, GRAMMAR)
    assert conf.key == 'a "long" secret # with a hash'
    assert conf.port == 6000
    assert conf.features == ["push", "other"]
    assert conf.quiet is True
    assert conf.grace == 120.0
    assert [(item.host, item.address) for item in conf.addresses] == [
        ("crs1", "192.0.2.1"),
        ("crs2", "2001:db8::1"),
    ]
    assert conf.push == [Push(service="apns", option="type", value="direct")]
    assert "port" in conf.model_fields_set


def test_a_hash_inside_a_word_is_part_of_it_and_an_empty_list_is_none() -> None:
    conf = parse("key ab#cd==\nfeatures\n", "crs.conf", Conf, GRAMMAR)
    assert conf.key == "ab#cd=="
    assert conf.features == []


def test_all_problems_at_once_each_with_its_line() -> None:
    text = "client-listen-prt 1\nclient-listen-port 70000\nip crs1\n[POLL]\nip crs1 1.2.3\nquiet now\n"
    assert problems(text) == [
        "crs.conf: key: is required",
        "crs.conf:1: client-listen-prt: unknown directive (did you mean client-listen-port?)",
        "crs.conf:2: client-listen-port: '70000' must be at most 65535",
        "crs.conf:3: ip: is written: ip <host> <address>",
        "crs.conf:4: [POLL]: unknown heading (did you mean POOL?)",
        "crs.conf:5: ip address: '1.2.3' is not an IPv4 or IPv6 address",
        "crs.conf:6: quiet: is written: quiet",
    ]


def test_a_directive_that_is_given_twice_names_the_first() -> None:
    assert problems("key abcd\n\nkey efgh\n") == ["crs.conf:3: key: is given twice, first in line 1"]


def test_an_open_quote_is_refused() -> None:
    assert problems('key "abcd\n')[1] == (
        "crs.conf:1: a quote is not closed, or something follows it without a space"
    )


def test_the_value_of_a_secret_is_not_repeated() -> None:
    assert problems("key xyz\n") == ["crs.conf:1: key: must have at least 4 characters"]


def test_a_problem_of_the_whole_file_has_no_line_and_no_key() -> None:
    class Whole(Section):
        low: int = setting(1, "Low.")
        high: int = setting(2, "High.")

        @model_validator(mode="after")
        def _ordered(self) -> Whole:
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    grammar = Grammar((Directive("low", "low"), Directive("high", "high")))
    with pytest.raises(SettingsError) as caught:
        parse("low 5\n", "w.conf", Whole, grammar)
    assert str(caught.value) == "w.conf: low is above high"
    with pytest.raises(SettingsError) as caught:
        keyvalue.parse("low=5\n", "w.conf", Whole)
    assert str(caught.value) == "w.conf: low is above high"


def test_a_missing_file_is_an_error_unless_optional(tmp_path: Path) -> None:
    path = tmp_path / "no.conf"
    with pytest.raises(SettingsError, match=r"no\.conf: the file does not exist"):
        read(path, Conf, GRAMMAR)
    with pytest.raises(SettingsError, match="key: is required"):
        read(path, Conf, GRAMMAR, optional=True)


def test_files_that_are_no_text_or_cannot_be_read_say_why(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_bytes(b"key abcd\n\xff\n")
    with pytest.raises(SettingsError, match=r"a\.conf:2: is not UTF-8 text"):
        read(path, Conf, GRAMMAR)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        read(tmp_path, Conf, GRAMMAR)


@given(st.text(alphabet=st.sampled_from('keyip "\\#[]\n\tab1.')))
def test_no_text_raises_anything_but_settings_errors(text: str) -> None:
    try:
        parse(text, "crs.conf", Conf, GRAMMAR)
    except SettingsError as error:
        assert all(problem.reason for problem in error.problems)
