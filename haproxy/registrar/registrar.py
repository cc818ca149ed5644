"""What a REGISTER does to the bindings of its address-of-record: RFC 3261 section 10.3, Path of RFC 3327.

Who may register is decided before: here a request is already known to be allowed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from haproxy.registrar.location import Binding, LocationService, address_of_record
from haproxy.sip.address import NameAddr
from haproxy.sip.message import Request
from haproxy.sip.syntax import ParseError
from haproxy.sip.uri import Uri, UriError
from haproxy.sip.uri import parse as parse_uri

SUPPORTED = frozenset({b"path"})
LONGEST = 2**32 - 1

_MEANT: Final = frozenset(
    [b"to", b"contact", b"expires", b"path", b"user-agent"]
    + [b"supported", b"require", b"proxy-require", b"max-forwards"]
)
"""The headers that decide, beside the Request-URI, what a REGISTER does."""

_TWO_DIGITS: Final = 2**60 - 1
"""What an int holds in 32 bytes: a binding has one."""

_SHARED: Final = 4096
"""Values of User-Agent and Path that are kept once for all bindings, before all are forgotten."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds that a binding lives: what a request without wish gets, and the limits for its wish."""

    default: int = 3600
    shortest: int = 60
    longest: int = 86400


class Wish(NamedTuple):
    """What a REGISTER asks for one contact; a life of 0 removes it."""

    contact: NameAddr
    uri: Uri
    life: int
    q: float


class Refused(Exception):
    """The REGISTER is answered with `status` and changes nothing."""

    def __init__(self, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Outcome(NamedTuple):
    """How a REGISTER is answered."""

    status: int
    reason: bytes | None
    """None for the usual phrase of the status."""
    lines: list[bytes]
    """Headers that the answer has beside the usual ones."""


class Registrar:
    """Applies registrations to a location service: each request as a whole, or not at all."""

    def __init__(self, location: LocationService, lifetimes: Lifetimes) -> None:
        self._location = location
        self._lifetimes = lifetimes
        self._shared: dict[bytes, bytes] = {}
        self.accepted = 0
        self.refused = 0

    @property
    def lifetimes(self) -> Lifetimes:
        """How long bindings live; may be changed while running."""
        return self._lifetimes

    @lifetimes.setter
    def lifetimes(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        for binding in self._location:
            binding.said = 0  # it may mean another lifetime now

    def renewal(self, request: Request, flow: Hashable | None) -> Binding | None:
        """The binding that a REGISTER renews without any other change; None where there is more to do.

        A user agent says the same again and again. What was found out about it by `process` is known by what
        it said, where it was the only Contact.
        """
        for binding in self._record_near(request):
            if binding.said and binding.flow == flow and binding.said == _said(request):
                overtaken = request.cseq_number <= binding.cseq and binding.call_id == request.call_id
                return None if overtaken else binding
        return None

    def renew(self, request: Request, binding: Binding, now: float) -> list[bytes]:
        """Carry out what `renewal` has found, and give the header lines of the 200."""
        expires = now + round(binding.expires - binding.modified)
        record = self._location.renew(binding, expires, request.call_id, request.cseq_number, now)
        self.accepted += 1
        return _granted(request, record, now)

    def process(
        self, request: Request, flow: Hashable | None, now: float, *, renewable: bool = True
    ) -> Outcome:
        """Carry out a REGISTER that its sender may make, and tell how to answer it.

        `renewable`: whether it may be told by `renewal` when it comes again.
        """
        try:
            aor = aor_of(request)
            self._apply(request, aor, flow, now, renewable)
        except Refused as refusal:
            self.refused += 1
            lines = [name + b": " + value for name, value in refusal.headers]
            return Outcome(refusal.status, refusal.reason.encode(), lines)
        self.accepted += 1
        return Outcome(200, None, _granted(request, self._location.bindings(aor), now))

    def _record_near(self, request: Request) -> tuple[Binding, ...]:
        """What is registered for the end of To as nearly everybody writes it: `<sip:user@host>`.

        No more than a place to look at: whether it is the right one is for `said` to tell, which has the
        whole To in it.
        """
        line = request.line(b"to") or b""
        near = line[line.rfind(b":") + 1 : -1]
        found = self._location.bindings(near)
        if not found:
            user, _, host = near.rpartition(b"@")
            found = self._location.bindings(address_of_record(user, host))
        return found

    def _apply(
        self, request: Request, aor: bytes, flow: Hashable | None, now: float, renewable: bool
    ) -> None:
        _require_known_extensions(request)
        present = list(self._location.bindings(aor))
        if request.all(b"contact") == [b"*"]:
            self._remove_all(request, present)
            return
        wishes = self._wishes(request)
        matched = [_match(present, wish) for wish in wishes]
        if wishes and all(map(partial(_is_done, request), wishes, matched)):
            return
        for binding in filter(None, matched):
            _require_order(request, binding)
        new = sum(1 for wish, old in zip(wishes, matched, strict=True) if wish.life and old is None)
        if new and not self._location.room_for(aor, new):
            raise Refused(503, "Too Many Contacts")
        said = _said(request) if renewable and len(wishes) == 1 else 0
        for wish, old in zip(wishes, matched, strict=True):
            if wish.life:
                made = self._binding(request, old.aor if old is not None else aor, wish, flow, now)
                made.said = said
                self._location.save(made, replaced=old)
            elif old is not None:
                self._location.remove(old)

    def _remove_all(self, request: Request, present: list[Binding]) -> None:
        if _seconds(request.first(b"expires")) != 0:
            raise Refused(400, "Contact * Needs Expires 0")
        for binding in present:
            _require_order(request, binding)
        for binding in present:
            self._location.remove(binding)

    def _wishes(self, request: Request) -> list[Wish]:
        if b"*" in request.values(b"contact"):
            raise Refused(400, "Contact * Must Be Alone")
        try:
            contacts = request.addresses(b"contact")
        except ParseError as error:
            raise Refused(400, "Malformed Contact") from error
        general = _seconds(request.first(b"expires"))
        wishes: list[Wish] = []
        for contact in contacts:
            wish = self._wish(contact, general)
            if not any(wish.uri.matches(other.uri) for other in wishes):
                wishes.append(wish)
        return wishes

    def _wish(self, contact: NameAddr, general: int | None) -> Wish:
        try:
            target = parse_uri(contact.uri)
        except UriError as error:
            raise Refused(400, "Malformed Contact URI") from error
        own = _seconds(contact.param(b"expires"))
        life = next((value for value in (own, general) if value is not None), self.lifetimes.default)
        if 0 < life < self.lifetimes.shortest:
            minimum = b"%d" % self.lifetimes.shortest
            raise Refused(423, "Interval Too Brief", (b"Min-Expires", minimum))
        return Wish(contact, target, min(life, self.lifetimes.longest), _quality(contact.param(b"q")))

    def _binding(
        self, request: Request, aor: bytes, wish: Wish, flow: Hashable | None, now: float
    ) -> Binding:
        return Binding(
            aor=aor,
            contact=wish.contact.uri,
            expires=now + wish.life,
            call_id=request.call_id,
            cseq=request.cseq_number,
            q=wish.q,
            path=self._share(b", ".join(request.all(b"path"))),
            user_agent=self._share((request.first(b"user-agent") or b"")[:255]),
            flow=flow,
            modified=now,
        )

    def _share(self, value: bytes) -> bytes:
        """The same object for equal values: many user agents are of one kind, behind one proxy."""
        if len(self._shared) >= _SHARED:
            self._shared.clear()
        return self._shared.setdefault(value, value)


def _granted(request: Request, record: tuple[Binding, ...], now: float) -> list[bytes]:
    """What a 200 says: the address-of-record's contacts, and the Path if the user agent knows it."""
    lines = []
    for binding in record:
        left = round(binding.expires - now)
        q = b";q=%g" % binding.q if binding.q < 1 else b""
        lines.append(b"Contact: <%b>%b;expires=%d" % (binding.contact, q, left if left > 1 else 1))
    if b"path" in request and b"path" in map(bytes.lower, request.values(b"supported")):
        lines += [b"Path: " + value for value in request.all(b"path")]
    return lines


def aor_of(request: Request) -> bytes:
    """The address-of-record that a REGISTER is about: user and host of its To. Raises Refused."""
    try:
        target = request.to.target
    except ValueError as error:
        raise Refused(400, "Malformed To URI") from error
    if not target.is_sip or not target.username:
        raise Refused(404, "Not A User's Address")
    return address_of_record(target.username, target.host)


def _said(request: Request) -> int:
    """Tells REGISTERs of one user agent apart by what they say, but for what differs each time.

    Python's own hash, whose key is the process's: nobody can make another one that has the same.
    """
    return hash(b"\r\n".join((request.uri, *request.chosen(_MEANT)))) & _TWO_DIGITS or 1


def _require_known_extensions(request: Request) -> None:
    unknown = [tag for tag in request.values(b"require") if tag.lower() not in SUPPORTED]
    if unknown:
        raise Refused(420, "Bad Extension", (b"Unsupported", b", ".join(unknown)))


def _require_order(request: Request, binding: Binding) -> None:
    """A request that was overtaken by a later one of the same user agent changes nothing (step 7)."""
    if binding.call_id == request.call_id and request.cseq_number <= binding.cseq:
        raise Refused(500, "Registration Out Of Order")


def _is_done(request: Request, wish: Wish, binding: Binding | None) -> bool:
    """Whether this very request has come before: its answer may have been lost (section 8.2.7)."""
    return wish.life > 0 and binding is not None and binding.is_of(request.call_id, request.cseq_number)


def _match(present: list[Binding], wish: Wish) -> Binding | None:
    for binding in present:
        if binding.contact == wish.contact.uri or parse_uri(binding.contact).matches(wish.uri):
            return binding
    return None


def _seconds(value: bytes | None) -> int | None:
    """Delta-seconds; what is malformed counts as absent (step 6: "invalid" is treated like 3600)."""
    if value is None or not value.isdigit():
        return None
    return min(int(value[:11]), LONGEST)


def _quality(value: bytes | None) -> float:
    try:
        return min(1.0, max(0.0, float(value))) if value else 1.0
    except ValueError:
        return 1.0
