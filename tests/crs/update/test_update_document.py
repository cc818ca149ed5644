"""docs/update-files.md says what the code does, and its test vector is right."""

import re
from pathlib import Path

import msgspec
import pytest

from crs import identity, provisioning
from crs.cms import clients
from crs.cms.cli import _program
from crs.provisioning import Provisioning
from crs.update import content, protection, roster
from crs.update.content import Head, TeamCode
from crs.update.protection import protect, read_header, unprotect

DOCUMENT = (Path(__file__).parents[3] / "docs" / "update-files.md").read_text()
BLOCK = re.search(r"^## 8 Test vector\n.*?```\n(.*?)```.*?```\n(.*?)```", DOCUMENT, re.M | re.S)
assert BLOCK is not None
VECTOR = dict(re.split(r" {2,}", line, maxsplit=1) for line in BLOCK[1].splitlines())
PROVISIONING = BLOCK[2].strip()


def quoted(name: str) -> list[str]:
    return re.findall(r'"([^"]*)"', VECTOR[name])


def octets(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


def test_content_vector() -> None:
    head = Head(
        account=quoted("account")[0],
        month=quoted("month")[0],
        created=int(VECTOR["created"]),
        listed_only=VECTOR["listed only"] == "true",
        team_codes=(TeamCode("red", (quoted("clients")[0],)),),
        domain_token=quoted("domain token")[0],
        connected_domains=tuple(quoted("connected domains")),
    )
    blobs = dict(zip(quoted("clients"), (blob.encode() for blob in quoted("blobs")), strict=True))
    assert content.build(head, blobs) == octets("content")
    assert content.parse(octets("content")).head == head


def test_file_vector() -> None:
    account = quoted("account")[0]
    assert protect(octets("content"), account, octets("shared secret"), octets("salt")) == octets("file")
    assert unprotect(octets("file"), account, [octets("shared secret")]) == octets("content")
    assert read_header(octets("file")).key_check == octets("key check")


def test_the_file_by_the_documents_words_alone() -> None:
    """With the primitives as the document names them, none of our code."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    data, account = octets("file"), quoted("account")[0].encode()
    assert data[:8] == b"crs-upd\1" and data[16:48] == octets("salt") and data[80] == len(account)
    info = b"crs update file v1" + bytes([len(account)]) + account
    okm = HKDF(SHA256(), 76, octets("salt"), info).derive(octets("shared secret"))
    assert (okm[:32], okm[32:44], okm[44:]) == (octets("key"), octets("nonce"), octets("key check"))
    end = 81 + len(account) + 8
    assert AESGCM(okm[:32]).decrypt(okm[32:44], data[end:], data[:end]) == octets("content")
    assert int.from_bytes(data[8:16]) == len(octets("content")) == len(data) - end - 16


def test_provisioning_vector() -> None:
    key = identity.client_key(octets("shared secret"), quoted("clients")[0])
    value = Provisioning("192.0.2.1", 5223, quoted("clients")[0], quoted("account")[0], key, b"end-to-end")
    assert provisioning.encode(value) == PROVISIONING
    assert provisioning.decode(PROVISIONING) == value


@pytest.mark.parametrize("struct", [Head, TeamCode])
def test_every_entry_is_documented_and_nothing_else(struct: type[msgspec.Struct]) -> None:
    tables = re.findall(r"^\| entry \| type \| \|\n\|[-|]+\n((?:\|[^\n]*\n)+)", DOCUMENT, re.M)
    rows = dict(row.split("|")[1:3] for row in tables[0 if struct is Head else 1].splitlines())
    entries = {name.strip(" `"): kind for name, kind in rows.items()}
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    assert list(entries) == list(fields)
    assert {name for name, kind in entries.items() if "optional" in kind} == {
        name for name, field in fields.items() if not field.required
    }


@pytest.mark.parametrize(
    "bound",
    [
        content.MAX_CONTENT,
        content.MAX_HEAD,
        content.MAX_CLIENTS,
        content.MAX_BLOB,
        content.MAX_TEAM_CODES,
        content.MAX_MEMBERS,
        content.MAX_TOKEN,
        content.MAX_DOMAINS,
        content.MAX_CREATED,
        content.MAX_CODE,
        protection.MAX_FILE,
        roster.MAX_CLIENTS,
        clients.MAX_NAME,
        provisioning.MAX_END_TO_END_SECRET,
        provisioning.DEFAULT_PORT,
    ],
)
def test_bounds_are_documented(bound: int) -> None:
    assert f"{bound:,}" in DOCUMENT or f" {bound}" in DOCUMENT


def test_columns_are_documented() -> None:
    table = re.search(r"^\| column \| \|\n\|[-|]+\n((?:\|[^\n]*\n)+)", DOCUMENT, re.M)
    assert table is not None
    assert tuple(re.findall(r"^\| `(\w+)`", table[1], re.M)) == clients.COLUMNS


def test_commands_and_options_in_the_document_exist() -> None:
    """Those in its examples and in its text."""
    examples = re.findall(r"^crs-cms (.*)$", DOCUMENT, re.M)
    assert len(examples) > 5
    for example in examples:
        words = example.split()
        assert words[:2] == ["-d", "demo"]
        options = {option for each in _program.commands[words[2]].params for option in each.opts}
        assert {word for word in words[3:] if word.startswith("--")} <= options, example
    named = set(re.findall(r"`crs-cms ([a-z]+)`", DOCUMENT))
    assert named and named <= _program.commands.keys()
