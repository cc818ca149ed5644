"""docs/crs-protocol.md says what crs.signaling.message declares, and its test vectors are right."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from crs import identity
from crs.client.keying import KeyOffer, Parties, Profile, accept
from crs.client.sealing import Route, seal
from crs.relay import packet
from crs.signaling import message

DOCUMENT = (Path(__file__).parents[3] / "docs" / "crs-protocol.md").read_text()
PARTS = [
    message.Relay,
    message.Resume,
    message.Recipient,
    message.PostResult,
    message.Invitee,
    message.Member,
    message.Refusal,
    *get_args(message.Item),
]
MESSAGES = [*get_args(message.ClientMessage), *get_args(message.ServerMessage)]


def table(heading: str) -> dict[str, str]:
    """The rows of the one table whose first head is `heading`: entry to description of its type."""
    head = rf"^\| {re.escape(heading)} \| type \|[^\n]*\n\|[-|]+\n"
    found = re.findall(head + r"((?:\|[^\n]*\n)+)", DOCUMENT, re.M)
    assert len(found) == 1, f"{len(found)} tables of {heading}"
    rows = [[cell.strip() for cell in row.strip("|\n").split("|")] for row in found[0].splitlines()]
    return {cells[0].strip("`"): cells[1] for cells in rows}


def vector(section: str) -> dict[str, str]:
    """The names and values of a test vector."""
    block = re.search(rf"^### {re.escape(section)}\n.*?```\n(.*?)```", DOCUMENT, re.M | re.S)
    assert block is not None
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in block.group(1).splitlines())


@pytest.mark.parametrize("struct", [*MESSAGES, *PARTS], ids=lambda struct: struct.__name__)
def test_every_entry_is_documented_and_nothing_else(struct: type[msgspec.Struct]) -> None:
    tag = struct.__struct_config__.tag
    name = f"*{tag or struct.__name__.lower()}*" if struct in PARTS else f"`{tag}`"
    rows = table(name)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    assert list(rows) == list(fields)
    for name, field in fields.items():
        assert ("optional" in rows[name]) is not field.required, name
        assert ("null" in rows[name]) is (type(None) in get_args(field.type)), name


@pytest.mark.parametrize(
    "enum",
    [
        message.ErrorCode,
        message.EndReason,
        message.Who,
        message.Kind,
        message.RelayKind,
        message.ItemKind,
        message.ChangeEnd,
        message.MemberState,
    ],
)
def test_every_code_is_documented(enum: type[message.ErrorCode]) -> None:
    assert [member.value for member in enum if f"`{member.value}`" not in DOCUMENT] == []


def test_limits_are_documented() -> None:
    assert f"at most 40 KiB ({message.MAX_MESSAGE:,} bytes)" in DOCUMENT
    assert f"at most 32 KiB ({message.MAX_PAYLOAD:,} bytes)" in DOCUMENT
    assert f"subprotocol\n`{message.SUBPROTOCOL}`" in DOCUMENT


def test_client_key_vector() -> None:
    values = vector("10.1 Client key")
    uri, account = values["uri"].strip('"'), values["account"].strip('"')
    key = identity.client_key(bytes.fromhex(values["secret"]), uri)
    assert key.hex() == values["key"]
    assert identity.build(uri, account, key).decode() == values["identity"].strip('"')


def test_message_vector() -> None:
    data = bytes.fromhex(vector("10.2 A message")["attach"])
    assert message.decode_client_message(data) == message.Attach(id=1, version="example/1.0")
    assert message.encode(message.Attach(id=1, version="example/1.0")) == data


@pytest.mark.parametrize("kind", [packet.Type.bind, packet.Type.bind_ack])
def test_bind_packet_vector(kind: packet.Type) -> None:
    values = vector("10.3 Bind packets")
    data = bytes.fromhex(values["bind" if kind is packet.Type.bind else "bind-ack"])
    number, counter = int(values["identifier"], 16), int(values["counter"])
    assert packet.build(kind, number, counter, bytes.fromhex(values["bind key"])) == data


def test_media_keys_vector() -> None:
    values = vector("10.4 Media keys")
    parties = Parties("s1", "+4670111", "red", "+4670222", "blue")
    assert values["session"] == '"s1"'
    assert values["caller"] == '"+4670111" account "red"'
    assert values["callee"] == '"+4670222" account "blue"'
    secret = values["end-to-end secret"].strip('"').encode()
    offer = KeyOffer(parties, 1, secret, lambda _: bytes.fromhex(values["caller's private key"]))
    answer, keys = accept(
        parties, offer.payload, 1, secret, lambda _: bytes.fromhex(values["callee's private key"])
    )
    assert offer.payload.hex() == values["payload of invite"]
    assert answer.hex() == values["payload of answer"]
    assert keys[0].profile is Profile.aead_aes_256_gcm
    assert (keys[0].caller.hex(), keys[0].callee.hex()) == (
        values["caller sends with"],
        values["callee sends with"],
    )


def test_sealed_message_vector() -> None:
    values = vector("10.5 A sealed message")
    assert values["sender"] == '"+4670111" account "red"'
    assert values["recipient"] == '"+4670222" account "blue"'
    route = Route(values["message id"].strip('"'), "+4670111", "red", "+4670222", "blue")
    secret, text = values["end-to-end secret"].strip('"').encode(), values["text"].strip('"')
    payload = seal(text, route, secret, lambda _: bytes.fromhex(values["salt"]))
    assert payload.hex() == values["payload of post"]
