from pathlib import Path

import pytest

from crs import identity
from crs.client.credentials import Credentials, CredentialsError, Server, read_base64


def test_derived_from_the_secret() -> None:
    credentials = Credentials.derived("+4670111", "demo", b"secret")
    assert credentials.identity == b"+4670111@demo:0e82124b"
    assert credentials.key == identity.client_key(b"secret", "+4670111")
    assert credentials.key.hex() not in repr(credentials)
    assert repr(credentials.key) not in repr(credentials)


@pytest.mark.parametrize(
    ("uri", "account", "key", "reason"),
    [
        ("+46", "demo", b"short", "32 bytes, not 5"),
        ("", "demo", bytes(32), "no valid URI"),
        ("a b", "demo", bytes(32), "no valid URI"),
        ("+46", "no such@thing", bytes(32), "no valid account ID"),
    ],
)
def test_what_cannot_be_an_identity(uri: str, account: str, key: bytes, reason: str) -> None:
    with pytest.raises(CredentialsError, match=reason):
        Credentials(uri, account, key)


def test_server_as_text() -> None:
    assert str(Server("192.0.2.1", 5223)) == "192.0.2.1:5223"
    assert str(Server("::1", 5223)) == "[::1]:5223"


def test_files_in_base64(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("c2VjcmV0\n")
    assert read_base64(file) == b"secret"
    file.write_text("c2Vjc!!!")
    with pytest.raises(CredentialsError, match="not base64"):
        read_base64(file)
    with pytest.raises(CredentialsError, match="No such file"):
        read_base64(tmp_path / "none")
