"""`add`, `delete`, `list` and `show iw-crs`: servers of other pools that are trusted (manual 4.5 to 4.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from crs.commands.files import AccountFiles
from rtlib.command.registry import Argument, BadArgument, Conflict, NotFound, Option, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.peers import Peers

MAX_PEERS: Final = 1000
DOWN: Final = "down"

Ip = Annotated[str, Argument("IP address of the inter-working server.", completes="iw-crs")]
SharedSecret = Annotated[str, Argument("As agreed between the hosts: letters and digits, or base64.")]
Comment = Annotated[str, Option("-c", "--comment", help='What it is, such as -c "comment with spaces".')]


class PeerRow(msgspec.Struct, frozen=True):
    """An inter-working server."""

    ip: Annotated[str, Column("IP", "IP address")]
    secret: Annotated[str, Column("shared secret", "the shared secret", secret=True)]
    comment: Annotated[str, Column("comment", "comment, if any")]


class PeerStateRow(msgspec.Struct, frozen=True):
    """The connections with an inter-working server: up, connecting or down."""

    ip: Annotated[str, Column("IW-CRS", "address of the inter-working server")]
    signal_link: Annotated[str, Column("SIGNAL-LINK", "state of the signal connection")]
    signal_outgoing: Annotated[str, Column("SIGNAL-OUTGOING", "state of the outgoing signal connection")]
    signal_incoming: Annotated[str, Column("SIGNAL-INCOMING", "state of the incoming signal connection")]
    data_link: Annotated[str, Column("DATA-LINK", "state of the data connection")]
    data_outgoing: Annotated[str, Column("DATA-OUTGOING", "state of the outgoing data connection")]
    data_incoming: Annotated[str, Column("DATA-INCOMING", "state of the incoming data connection")]
    version: Annotated[str, Column("VERSION", "its version, where it is known")]


class InterworkingCommands:
    """Changes are on disk when the command ends. This version opens no connection to these servers."""

    def __init__(self, files: AccountFiles, peers: Peers) -> None:
        """`files` gives commands that change files their turn."""
        self._files = files
        self._peers = peers

    @command("add iw-crs", role=Role.administrator)
    async def add(self, ip: Ip, shared_secret: SharedSecret, *, comment: Comment = "") -> None:
        """Trust a server of another pool. Its connections must come from just this address.

        Example: crs-cli add iw-crs 192.0.2.7 0123456789abcdef -c "the other house"
        """
        from crs.peers import Peer, check_comment, check_ip, check_secret

        peer = Peer(
            _checked("ip", check_ip, ip),
            _checked("shared-secret", check_secret, shared_secret),
            _checked("--comment", check_comment, comment),
        )
        async with self._files:
            peers = await self._files.do(self._peers.read)
            if peer.ip in peers:
                raise Conflict(f"iw-crs {peer.ip} exists already")
            if len(peers) >= MAX_PEERS:
                raise Conflict(f"there are {MAX_PEERS} inter-working servers, the limit")
            await self._files.do(self._peers.write, {**peers, peer.ip: peer})

    @command("delete iw-crs", role=Role.administrator)
    async def delete(self, ip: Ip) -> None:
        """Trust a server of another pool no more.

        Example: crs-cli delete iw-crs 192.0.2.7
        """
        from crs.peers import check_ip

        ip = _checked("ip", check_ip, ip)
        async with self._files:
            peers = await self._files.do(self._peers.read)
            if peers.pop(ip, None) is None:
                raise NotFound(f"there is no iw-crs {ip}")
            await self._files.do(self._peers.write, peers)

    @command("list iw-crs", role=Role.administrator)
    async def trusted(self) -> list[PeerRow]:
        """List the inter-working servers with their shared secrets.

        Example: crs-cli list iw-crs
        """
        peers = await self._files.do(self._peers.read)
        return [PeerRow(peer.ip, peer.secret, peer.comment) for peer in peers.values()]

    @command("show iw-crs", role=Role.viewer)
    async def show(self) -> list[PeerStateRow]:
        """Show the state of the connections with inter-working servers.

        Example: crs-cli show iw-crs
        """
        return [
            PeerStateRow(ip, DOWN, DOWN, DOWN, DOWN, DOWN, DOWN, "")
            for ip in await self._files.do(self._peers.read)
        ]


def _checked(label: str, check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise BadArgument(f"{label}: {error}") from None
