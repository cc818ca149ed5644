"""What the commands of `crs-cms` do. Each returns what is to be printed; raises CmsError and UpdateError."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from crs.cms import clients, issue
from crs.cms.account import CLIENTS, SECRET, Folder, checked, read_secret
from crs.cms.error import CmsError
from crs.cms.output import Outputs, Target
from crs.identity import client_key
from crs.provisioning import Provisioning, ProvisioningError, encode, split
from crs.update import content, protection
from crs.update.month import Month

SECRET_SIZE: Final = 16
"""Bytes of a shared secret that is made here: 128 bits, as `crs-cli create account` does."""


def create(folder: Folder, settings: dict[str, Any], secret_file: Path | None) -> str:
    """Make an account."""
    account = checked(settings)
    secret = os.urandom(SECRET_SIZE) if secret_file is None else read_secret(secret_file)
    folder.create(account, secret)
    return f"account {account.id} is in {folder.path}; the server needs the secret in {folder.path / SECRET}"


def show(folder: Folder, *, secret: bool) -> str:
    """The account's settings, and its secret if that is asked for."""
    account = folder.account()
    rows = {
        "account": account.id,
        "server": account.server,
        "clients": f"{len(folder.clients()):,}",
        "listed only": "yes" if account.listed_only else "no",
        "domain token": account.domain_token or "-",
        "connected domains": ", ".join(account.connected_domains) or "-",
        "latest update made": f"{content.when(account.issued):%FT%TZ}" if account.issued else "-",
    }
    if secret:
        folder.secret()
        rows["shared secret"] = (folder.path / SECRET).read_text().strip()
    return "\n".join(f"{name:<18}  {value}" for name, value in rows.items())


def change(folder: Folder, settings: dict[str, Any]) -> str:
    """Change some of the account's settings."""
    with folder.locked():
        before = folder.account()
        account = checked(msgspec.structs.asdict(before) | settings)
        folder.write_account(account)
    return f"account {account.id} is changed; the next update tells the server"


def rotate(folder: Folder, secret_file: Path | None) -> str:
    """Give the account another secret."""
    with folder.locked():
        account = folder.account()
        secret = os.urandom(SECRET_SIZE) if secret_file is None else read_secret(secret_file)
        folder.write_secret(secret)
    return (
        f"account {account.id} has another secret in {folder.path / SECRET}: give it to the server "
        "(crs-cli rotate secret), then provision the clients anew"
    )


def listing(folder: Folder) -> str:
    """The clients, in the format of the CSV file."""
    folder.account()
    return clients.text(folder.clients().values()).rstrip("\n")


def add(folder: Folder, file: Path) -> str:
    """Add the clients of a CSV file, or change those that are there."""
    new = {client.uri: client for client in clients.read(file)}
    with folder.locked():
        folder.account()
        before = folder.clients()
        folder.write_clients(before | new)
    changed = sum(uri in before for uri in new)
    return f"{len(new) - changed} added, {changed} replaced"


def remove(folder: Folder, uris: Sequence[str], file: Path | None) -> str:
    """Remove clients, all of them or none."""
    gone = set(uris)
    if file is not None:
        gone |= {client.uri for client in clients.read(file)}
    with folder.locked():
        folder.account()
        before = folder.clients()
        unknown = sorted(gone - before.keys())
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise CmsError(f"{unknown[0]}{more}: not in {folder.path / CLIENTS}; nothing was removed")
        folder.write_clients({uri: client for uri, client in before.items() if uri not in gone})
    return f"{len(gone)} removed"


def issue_update(
    folder: Folder,
    *,
    month: Month | None,
    blob_size: int,
    keep: Path | None,
    output: Path | None,
    force: bool,
) -> str:
    """Issue the protected update of a month, by default the current one."""
    now = datetime.now(UTC)
    month = month or Month.of(now)
    if month < Month.of(now):
        raise CmsError(f"{month} is over")
    with folder.locked():
        account, secrets, listed = folder.account(), folder.secrets(), folder.clients()
        kept = {} if keep is None else issue.kept_blobs(keep, account, secrets, month)
        blobs = issue.Blobs(os.urandom, blob_size, kept)(listed.values())
        created = issue.creation_time(account, now)
        data = issue.build(account, listed, blobs, month, created)
        protected = protection.protect(data, account.id, secrets[0], os.urandom(protection.SALT_SIZE))
        name = Target(output or folder.path / f"{account.id}-{month}.upd", force).write(protected)
        folder.write_account(msgspec.structs.replace(account, issued=created))
    return f"{name}: {month}, {len(listed):,} clients"


def inspect(folder: Folder, file: Path) -> str:
    """What a protected update of this account holds, but for the blobs."""
    _, outline = issue.open_update(file, folder.account(), folder.secrets())
    head = outline.head
    rows = {
        "account": head.account,
        "month": head.month,
        "made": f"{outline.created:%FT%TZ}",
        "clients": f"{len(outline):,}",
        "listed only": "yes" if head.listed_only else "no",
        "team codes": ", ".join(f"{team.code} ({len(team.members):,})" for team in head.team_codes) or "-",
        "domain token": head.domain_token or "-",
        "connected domains": ", ".join(head.connected_domains) or "-",
    }
    return "\n".join(f"{name:<18}  {value}" for name, value in rows.items())


def provision(folder: Folder, uri: str, end_to_end: Path | None, outputs: Outputs) -> str:
    """Give out a client's provisioning."""
    account = folder.account()
    if uri not in folder.clients():
        raise CmsError(f"{uri}: not in {folder.path / CLIENTS}")
    secret = None if end_to_end is None else read_secret(end_to_end)
    host, port = split(account.server)
    key = client_key(folder.secret(), uri)
    try:
        return outputs.give(encode(Provisioning(host, port, uri, account.id, key, secret)))
    except ProvisioningError as error:
        raise CmsError(str(error)) from error
