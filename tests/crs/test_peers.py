"""Inter-working servers on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from crs.linefile import LineFileError
from crs.peers import Peer, Peers, check_comment, check_ip, check_secret

PEERS = {
    "192.0.2.7": Peer("192.0.2.7", "0123456789abcdef", "the other house"),
    "2001:db8::1": Peer("2001:db8::1", "c2VjcmV0c2VjcmV0IQ=="),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    peers = Peers(tmp_path / "iw-crs.conf")
    assert peers.read() == {}
    peers.write(PEERS)
    assert peers.read() == PEERS
    assert (tmp_path / "iw-crs.conf").stat().st_mode & 0o777 == 0o600
    assert "0123" not in repr(PEERS)
    peers.write({})
    assert peers.read() == {}


def test_an_address_is_that_of_a_host() -> None:
    assert check_ip("::ffff:192.0.2.1") == "192.0.2.1"
    assert check_ip("2001:DB8:0::1") == "2001:db8::1"
    for text in ("0.0.0.0", "::", "224.0.0.1", "ff02::1"):
        with pytest.raises(ValueError, match="is no host's address"):
            check_ip(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("iw-crs 192.0.2.256 0123456789abcdef\n", "conf:1: '192.0.2.256' is no IP address"),
        ("\niw-crs 192.0.2.7 secret\n", "conf:2: the shared secret must be"),
        ("iw-crs\n", "conf:1: '' is no IP address"),
        ("peer 192.0.2.7\n", "conf:1: peer: unknown directive (allowed: iw-crs)"),
        ("iw-crs 192.0.2.7 aaaaaaaa\niw-crs 192.0.2.7 bbbbbbbb\n", "conf:2: 192.0.2.7 is there twice"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "iw-crs.conf"
    file.write_text(text)
    with pytest.raises(LineFileError) as caught:
        Peers(file).read()
    assert reason in str(caught.value)


def test_what_is_refused() -> None:
    assert check_ip("2001:DB8:0::1") == "2001:db8::1"
    assert check_comment(" a b ") == "a b"
    for check, text in (
        (check_ip, "crs1"),
        (check_secret, "with spaces in it"),
        (check_secret, "a" * 1025),
        (check_comment, "two\nlines"),
        (check_comment, "x" * 201),
    ):
        with pytest.raises(ValueError, match=r"must be|is no") as caught:
            check(text)
        assert "with spaces" not in str(caught.value)
