"""URLs of targets, and what may see the password."""

from __future__ import annotations

import pytest

from haproxy.notification.target import Target, Url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "http://192.0.2.1/"),
        ("Server.example:8080", "http://server.example:8080/"),
        ("https://server.example", "https://server.example/"),
        ("HTTPS://server.example:443/a/b?c=d", "https://server.example/a/b?c=d"),
        ("http://server.example:443", "http://server.example:443/"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/"),
        ("http://bücher.example", "http://xn--bcher-kva.example/"),
    ],
)
def test_a_url(text: str, expected: str) -> None:
    assert str(Url.of(text)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://server.example", "ftp is neither http nor https"),
        ("http://user:word@server.example", "user and password do not belong"),
        ("http://", "needs a server"),
        ("http://server.example:0", "port 0"),
        ("http://server.example:70000", "out of range"),
        ("http://server.example/ä", "%-encoding"),
        ("http://a..example", "label"),
    ],
)
def test_what_is_no_url(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Url.of(text)


def test_redirects() -> None:
    url = Url.of("http://server.example:8080/a/b?c")
    assert str(url.follow("/d")) == "http://server.example:8080/d"
    assert str(url.follow("d")) == "http://server.example:8080/a/d"
    assert str(url.follow("//other.example/")) == "http://other.example/"
    assert url.follow("/d").origin == url.origin
    for other in ("https://server.example:8080/", "http://server.example/", "http://other.example:8080/"):
        assert url.follow(other).origin != url.origin
    for nowhere in ("", "mailto:somebody", "ftp://server.example/"):
        with pytest.raises(ValueError, match=r"there is no Location|neither http nor"):
            url.follow(nowhere)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Target("t", Url.of("h"), user="u", password="secret"))
