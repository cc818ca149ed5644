"""Who may register, and who may call Genesis (guide 7.1.5-7.1.8, 7.1.12). Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from haproxy.dispatcher.set import Dispatcher
from haproxy.protection.guard import Guard
from haproxy.proxy.domain import Domains
from haproxy.proxy.event import IGNORED, Offence
from haproxy.proxy.side import Sides
from haproxy.proxy.source import Sources
from haproxy.proxy.validation import Refused
from haproxy.registrar.authentication import PROXY, WWW, Authentication, Headers, Kind
from haproxy.registrar.location import Binding, LocationService, address_of_record
from haproxy.registrar.subscriber import Subscribers
from haproxy.sip.flow import Flow
from haproxy.sip.message import ParseError, Request
from haproxy.sip.uri import Uri, UriError
from haproxy.sip.uri import parse as parse_uri


class Ignored(Exception):
    """The request gets no answer at all."""


@dataclass(slots=True)
class Checks:
    """Which checks are on; may be changed while running."""

    register_auth: bool = False
    invite_auth: bool = False
    contact: bool = False
    registered: bool = False


class Admission:
    """Decides, and challenges where credentials would help."""

    def __init__(
        self,
        *,
        checks: Checks,
        domains: Domains,
        sides: Sides,
        sources: Sources,
        subscribers: Subscribers,
        location: LocationService,
        dispatcher: Dispatcher,
        authentication: Authentication,
        guard: Guard,
        tell: Callable[[Offence], None],
    ) -> None:
        self.checks = checks
        self._domains = domains
        self._sides = sides
        self._sources = sources
        self._subscribers = subscribers
        self._location = location
        self._dispatcher = dispatcher
        self._authentication = authentication
        self._guard = guard
        self._tell = tell

    def register(self, request: Request, flow: Flow, now: float) -> bool:
        """Refuse a REGISTER of somebody who is not a subscriber, or cannot prove it. Raises Refused.

        Whether it is a Genesis system's.
        """
        address = _address(request, b"to")
        user = address.username
        aor = address_of_record(user, address.host)
        system = self._dispatcher.set_of(user) is not None
        wanted = self.checks.register_auth or (system and not self._is_trusted(flow))
        if wanted and not self._has_come(request, aor, flow):
            self._authenticate(request, WWW, aor, now)
        if self._subscribers.find(aor) is None:
            raise Refused(403, "Not A Subscriber")
        if system:
            self._require_room(request, user)
        return system

    def challenge(self, request: Request, binding: Binding, now: float) -> Headers | None:
        """What a REGISTER by the short cut has to be answered with; None where it proves whose it is.

        Only where registrations have to prove that.
        """
        return self._authentication.check(request, WWW, binding.aor, now)

    @property
    def examines_calls(self) -> bool:
        """Whether there is anything that `call` looks at."""
        checks = self.checks
        return checks.invite_auth or checks.contact or checks.registered

    def call(self, request: Request, flow: Flow, now: float) -> None:
        """Refuse an INVITE for Genesis that the operator's checks forbid. Raises Refused and Ignored."""
        checks = self.checks
        if not self.examines_calls or flow.remote in self._sources.allow:
            return
        caller = _address(request, b"from")
        aor, bindings = self._registered(caller)
        if checks.contact and not _is_registered_contact(request, bindings):
            raise Ignored("the Contact is not the registered one")
        if checks.registered and not bindings:
            raise Ignored("the caller is not registered")
        if checks.invite_auth:
            self._authenticate(request, PROXY, aor, now)
            self._authentication.consume(request, aor)
            if not bindings:
                raise Refused(403, "Not Registered")

    def to_genesis(self, flow: Flow, now: float) -> None:
        """Count a request for Genesis outside of any dialog. Raises Ignored where strangers send too many.

        There is no answer, for it would go to somebody who has not asked; who means it sends it again.
        """
        if not self._guard.holds(flow.remote, now):
            return
        reason = "strangers send more requests than strangerRate"
        if not self._guard.policy.dry_run:
            raise Ignored(reason)
        self._tell(Offence(IGNORED, flow, f"{reason}; would be ignored"))

    def options(self, flow: Flow) -> None:
        """Whether a source may ask what there is here (7.1.12, 7.1.13): the first question of a scanner.

        Raises Ignored: a refusal would tell that somebody is here.
        """
        if not self._sources.listed(flow) and not self._sources.is_genesis(flow):
            raise Ignored("an OPTIONS from an address on neither allowList nor proxyList")

    def _registered(self, caller: Uri) -> tuple[bytes, tuple[Binding, ...]]:
        """The address-of-record that a caller has to prove, and what is registered for it.

        A phone that is registered with one of our names may call with another one.
        """
        aor = address_of_record(caller.username, caller.host)
        bindings = self._location.bindings(aor)
        if not self._domains.owns(caller):
            return aor, bindings
        names = (aor, *self._domains.records_of(caller.username))
        proved = next((name for name in names if self._subscribers.find(name) is not None), aor)
        return proved, bindings or self._location.bindings_of(names[1:])

    def _authenticate(self, request: Request, kind: Kind, aor: bytes, now: float) -> None:
        challenge = self._authentication.check(request, kind, aor, now)
        if challenge is not None:
            raise Refused(kind.status, None, *challenge)

    def _has_come(self, request: Request, aor: bytes, flow: Flow) -> bool:
        """Whether a REGISTER was accepted already and comes again, from the same place: its answer was lost.

        Its credentials are used up. It changes nothing now, and only who sent it hears what was registered.
        """
        for each in self._location.bindings(aor):
            if each.flow == flow and each.is_of(request.call_id, request.cseq_number):
                return True
        return False

    def _is_trusted(self, flow: Flow) -> bool:
        """Whether somebody there may become a Genesis system without a password."""
        side = self._sides.of(flow.local)
        inside = side is self._sides.private and side.contains(flow.remote)
        return inside or self._sources.listed(flow)

    def _require_room(self, request: Request, user: bytes) -> None:
        """Raises Refused where the dispatcher would not take a Genesis system."""
        try:
            contacts = request.addresses(b"contact")
        except ParseError:
            return  # the registrar says what is wrong with it
        reason = self._dispatcher.no_room(user, [contact.uri for contact in contacts])
        if reason:
            self._dispatcher.refuse(user, contacts[0].uri, reason)
            raise Refused(503, "Dispatch Set Is Full")


def _address(request: Request, key: bytes) -> Uri:
    try:
        address = (request.to if key == b"to" else request.from_).target
    except ValueError:
        raise Refused(400, "Malformed Address") from None
    if not address.is_sip:
        raise Refused(404)
    return address


def _is_registered_contact(request: Request, bindings: tuple[Binding, ...]) -> bool:
    try:
        contact = request.addresses(b"contact")[0].target
        wanted = _plain(contact)
        return any(_plain(parse_uri(binding.contact)).matches(wanted) for binding in bindings)
    except (ParseError, UriError, IndexError):
        return False


def _plain(contact: Uri) -> Uri:
    """Without what goes without saying: some phones give `;transport=udp` in REGISTER and not in INVITE."""
    return contact.without(b"transport") if contact.transport == b"udp" else contact
