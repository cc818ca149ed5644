"""Remote administrators: a file `admins/<name>` for each, with the lines

    secret <base64>
    created <time>
    account <ID> [authorization...]

They are read whenever a command asks for them: an edited file counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast, get_args

from crs import linefile
from crs.accounts import decode_secret, encode_secret
from crs.identity import is_account
from crs.linefile import Line, LineFileError
from rtlib import secretfile

Authorization: TypeAlias = Literal["update", "statistics"]
AUTHORIZATIONS: Final[tuple[Authorization, ...]] = get_args(Authorization)
DIRECTIVES: Final = ("account", "created", "secret")


@dataclass(frozen=True)
class Admin:
    """One administrator, who may do nothing but what `accounts` says."""

    name: str
    secret: bytes = field(repr=False)
    created: datetime
    accounts: Mapping[str, frozenset[Authorization]] = field(default_factory=dict)
    """The accounts that the administrator may see, and what is authorized on each."""

    def having(self, account: str, authorizations: frozenset[Authorization]) -> Admin:
        """With just these authorizations on an account."""
        return replace(self, accounts={**self.accounts, account: authorizations})

    def without(self, account: str) -> Admin:
        """Without access to an account."""
        return replace(self, accounts={name: each for name, each in self.accounts.items() if name != account})


class Admins:
    """The files of all administrators. Everything blocks, and raises LineFileError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> list[Admin]:
        """All administrators, by name; other files in the folder are ignored."""
        try:
            names = sorted(path.name for path in self._directory.iterdir() if is_account(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LineFileError(f"{self._directory}: {error.strerror or error}") from error
        return [admin for admin in map(self.get, names) if admin is not None]

    def get(self, name: str) -> Admin | None:
        """An administrator; None if there is none of that name."""
        path = self._directory / name
        return _admin(name, path, linefile.read(path, DIRECTIVES)) if path.is_file() else None

    def write(self, admin: Admin) -> None:
        """Put an administrator on disk."""
        linefile.write(self._directory / admin.name, _lines(admin))

    def erase(self, name: str) -> bool:
        """Take an administrator off the disk, also one whose file is damaged; whether there was one."""
        try:
            (self._directory / name).unlink()
            secretfile.synchronise(self._directory)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LineFileError(f"{self._directory / name}: {error.strerror or error}") from error
        return True

    def forget_account(self, account: str) -> None:
        """An account goes: who may have its name later gets no administrator with it.

        All forget it, or none.
        """
        changed: list[Admin] = []
        try:
            for admin in self.all():
                if account in admin.accounts:
                    changed.append(admin)
                    self.write(admin.without(account))
        except LineFileError:
            for admin in changed[:-1]:
                self.write(admin)
            raise


def _admin(name: str, path: Path, lines: list[Line]) -> Admin:
    values = {line.word: line.value for line in lines if line.word != "account"}
    try:
        secret = decode_secret(values["secret"])
        created = datetime.fromisoformat(values.get("created", "1970-01-01T00:00:00Z"))
    except KeyError:
        raise LineFileError(f"{path}: secret: is required") from None
    except ValueError as error:
        raise LineFileError(f"{path}: {error}") from None
    accounts = dict(_access(path, line) for line in lines if line.word == "account")
    return Admin(name, secret, created.astimezone(UTC), accounts)


def _access(path: Path, line: Line) -> tuple[str, frozenset[Authorization]]:
    account, *words = line.value.split() or [""]
    if not is_account(account):
        raise LineFileError(f"{path}:{line.number}: account: {account!r} is no account ID")
    unknown = set(words) - set(AUTHORIZATIONS)
    if unknown:
        allowed = ", ".join(AUTHORIZATIONS)
        raise LineFileError(f"{path}:{line.number}: account: {min(unknown)} is no authorization ({allowed})")
    return account, frozenset(cast("list[Authorization]", words))


def _lines(admin: Admin) -> list[str]:
    access = (" ".join(["account", name, *sorted(words)]) for name, words in sorted(admin.accounts.items()))
    return [
        f"secret {encode_secret(admin.secret)}",
        f"created {linefile.moment(admin.created)}",
        *access,
    ]
