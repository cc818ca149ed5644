"""From the settings to TLS sections."""

from pathlib import Path
from typing import Any

from haproxy.settings import Settings
from haproxy.tls.credential import load
from haproxy.tls.identity import names_of
from haproxy.tlsconfig import default_pair, sections_of, uses_tls

KEYS = Path("/keys")


def settings_of(*sections: dict[str, Any], **keys: Any) -> Settings:
    system = {"privateIP": "192.0.2.1", "privateSubnet": 24, "tlsKeyPath": str(KEYS)}
    system |= keys.pop("system", {})
    return Settings.model_validate({"system": system, "proxy": keys, "tls": sections})


def test_the_two_default_sections_are_always_there() -> None:
    pair = Path("/state/default.pem")
    sections = sections_of(settings_of(), pair)
    assert [(each.domain, each.role) for each in sections] == [("default", "client"), ("default", "server")]
    assert {(each.key, each.certificate, each.verify, each.method) for each in sections} == {
        (pair, pair, "default", "TLSv1.2+")
    }


def test_one_file_or_two() -> None:
    server = {"tlsDomain": "default", "tlsRole": "server"}
    for given, files in (
        ({"tlsPrivateKey": "a.key", "tlsCertificate": "a.crt"}, ("a.key", "a.crt")),
        ({"tlsPrivateKey": "a.pem"}, ("a.pem", "a.pem")),
        ({"tlsCertificate": "a.pem"}, ("a.pem", "a.pem")),
    ):
        section = next(
            each for each in sections_of(settings_of(server | given), KEYS) if each.role == "server"
        )
        assert (section.key, section.certificate) == tuple(KEYS / name for name in files)


def test_a_domain_without_a_port_is_for_any() -> None:
    sections = sections_of(settings_of({"tlsDomain": "192.0.2.7", "tlsRole": "client"}), KEYS)
    assert [each.domain for each in sections if each.domain != "default"] == ["192.0.2.7"]


def test_the_default_pair_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "default.pem"
    names = {"publicIP": "sip.example", "mappedIP": "10.0.0.1", "alias": ["203.0.113.1", "b.example:5061"]}
    settings = settings_of(system=names)
    assert default_pair(settings, path, 1e9) == path
    made = path.read_bytes()
    assert names_of(load(path, path).certificate) == [
        "sip.example", "b.example", "192.0.2.1", "10.0.0.1", "203.0.113.1",
    ]  # fmt: skip
    default_pair(settings, path, 1e9)
    assert path.read_bytes() == made


def test_who_needs_sections() -> None:
    assert not uses_tls(settings_of())
    assert uses_tls(settings_of(enableTLS=True))
    assert uses_tls(settings_of(dispatchListenSock=["tls:192.0.2.1:8443"]))
