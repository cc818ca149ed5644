"""What every command that changes an account shares: its turn, its thread, its errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, cast

from crs.identity import is_account, is_uri
from rtlib.command.registry import Argument, BadArgument, CommandError, NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from crs.accounts import Account, Accounts
    from crs.blacklist import Blacklists
    from crs.rooms import Rooms
    from crs.update.applied import Updates

T = TypeVar("T")

NewAccountId = Annotated[str, Argument("At most 20 of the characters a-z, A-Z, 0-9, - and _.")]
AccountId = Annotated[str, Argument("The account's ID.", completes="account")]
Uri = Annotated[str, Argument("The mobile number of the client.", completes="client")]


class _Content(NamedTuple):
    """What is on disk, by account."""

    accounts: dict[str, Account]
    blacklists: dict[str, frozenset[str]]
    updates: dict[str, Updates]
    rooms: dict[str, Mapping[str, str]]


class AccountFiles:
    """The accounts' files, changed by one command at a time: `async with files:` waits for its turn."""

    def __init__(
        self,
        accounts: Accounts,
        blacklists: Blacklists,
        rooms: Rooms,
        in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        """`in_thread(function, *arguments)` calls where blocking is allowed."""
        from twisted.internet.defer import DeferredLock

        self.accounts = accounts
        self.blacklists = blacklists
        self.rooms = rooms
        self._in_thread = in_thread
        self._turn = DeferredLock()

    async def __aenter__(self) -> None:
        await self._turn.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._turn.release()

    async def do(self, work: Callable[..., T], *arguments: object) -> T:
        """Read or write files in a thread. Raises CommandError for what cannot be read, written or used."""
        from crs.accounts import AccountError
        from crs.linefile import LineFileError
        from crs.update.error import ArchiveError, UpdateError

        try:
            return cast("T", await self._in_thread(work, *arguments))
        except (AccountError, LineFileError, ArchiveError, UpdateError) as error:
            raise CommandError(str(error)) from error

    async def change(self, name: str, changed: Callable[[Account], Account]) -> Account:
        """Put what `changed` makes of an account on disk, then in force.

        Raises CommandError, and what `changed` raises.
        """
        async with self:
            self.require(name)
            old = self.accounts.get(name)
            assert old is not None
            new = changed(old)
            await self.do(self.accounts.write, new)
            self.accounts.add(new)
            return new

    async def reload(self) -> set[str]:
        """Read all files anew; returns the accounts whose secret is another one now, or that are gone.

        Raises CommandError, and then nothing has changed.
        """
        return self._take(await self.do(self._read))

    def _read(self) -> _Content:
        accounts = self.accounts.read()
        return _Content(
            accounts,
            self.blacklists.read(accounts),
            self.accounts.updates.read_all(accounts),
            self.rooms.read(accounts),
        )

    def _take(self, content: _Content) -> set[str]:
        accounts = content.accounts
        now = self.accounts.now()
        changed = {old.name for old in self.accounts if old.secret not in _secrets(accounts, old.name, now)}
        self.accounts.replace(accounts)
        self.accounts.updates.replace(content.updates)
        self.blacklists.replace(content.blacklists)
        self.rooms.replace(content.rooms)
        return changed

    def require(self, account: str) -> None:
        """Raises BadArgument for what is no account ID, NotFound where there is no such account."""
        check_account(account)
        if account not in self.accounts:
            raise NotFound(f"there is no account {account}")


def _secrets(accounts: dict[str, Account], name: str, now: datetime) -> tuple[bytes, ...]:
    account = accounts.get(name)
    return () if account is None else account.secrets(now)


def check_account(account: str) -> None:
    """Raises BadArgument for what is no account ID."""
    if not is_account(account):
        raise BadArgument("account-id: must be 1 to 20 of the characters a-z, A-Z, 0-9, - and _")


def check_uri(uri: str) -> None:
    """Raises BadArgument for what is no client's URI."""
    if not is_uri(uri):
        raise BadArgument("uri: must be 1 to 255 printable characters without spaces")
