"""`[proxy]`: what the SIP proxy does, and for whom (guide 7)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from haproxy.protection.scanner import NAMES
from haproxy.settings.types import Agent, Entries, ListenSockets, Md5, UserPrefix
from rtlib.settings import Section, setting

Algorithms = Annotated[tuple[Literal["SHA-512-256", "SHA-256", "MD5"], ...], Field(min_length=1)]


class Proxy(Section):
    """Proxy configuration."""

    serverHeader: str = setting(
        "",
        "Server header of replies; None for none, kamDefault for name and version, empty for 'Genesis Proxy'",
    )
    userAgent: str = setting(
        "",
        "User-Agent header of requests; None, kamDefault and empty as for serverHeader",
    )
    enableTLS: bool = setting(False, "enable TLS for SIPS communications")
    rrIgnoreSips: bool = setting(False, "always use sip: in Record-Route headers")
    enableRegAuth: bool = setting(False, "enable inbound REGISTER authentication", live=True)
    authAlgorithms: Algorithms = setting(
        ("MD5",),
        "beyond the guide: digest algorithms that are offered, best first: SHA-512-256, SHA-256, MD5; "
        "only MD5 to subscribers without password. Many phones know MD5 only, and some take the first",
    )
    enableInviteAuth: bool = setting(False, "enable inbound INVITE authentication", live=True)
    enableContactCheck: bool = setting(
        False, "calls to Genesis only from registered users whose Contact is the registered one", live=True
    )
    enableRegCheck: bool = setting(False, "calls to Genesis only from registered users", live=True)
    regRetryInterval: int = setting(
        180,
        "seconds between retries of failed outbound registrations, at least 90, rounded to 90; 0 never",
        live=True,
        unit="s",
        ge=0,
    )
    notifyCaCert: str = setting(
        "",
        "file of trusted CA certificates for notifications over TLS; absent for those of the system",
        pattern=r"^(/.*)?$",
        live=True,
    )
    denyList: Entries = setting((), "addresses that are not allowed to send SIP messages", live=True)
    allowList: Entries = setting(
        (), "addresses that bypass INVITE authentication and flood control", live=True
    )
    proxyList: Entries = setting((), "addresses that are allowed to use the system as a proxy", live=True)
    enableNAT: bool = setting(False, "enable NAT traversal: media goes through the proxy")
    enableAntiFlood: bool = setting(
        True, "limit the requests of any address that is on neither allowList nor proxyList", live=True
    )
    enableAstFailover: bool = setting(
        True, "ask registered Genesis systems periodically whether they are alive"
    )
    astPersistentFailover: bool = setting(True, "a failover swaps primary and secondary for good", live=True)
    astPingMethod: Literal["OPTIONS", "INFO"] = setting("OPTIONS", "request to ask with")
    astPingInterval: int = setting(30, "seconds between queries", live=True, unit="s", ge=1, le=86400)
    astPingTimeout: int = setting(
        4, "beyond the guide: seconds to wait for the answer to a query", live=True, unit="s", ge=1, le=32
    )
    astPingRetry: int = setting(
        2,
        "beyond the guide: seconds until the next query after one failed",
        live=True,
        unit="s",
        ge=1,
        le=3600,
    )
    astDownThreshold: int = setting(
        2, "beyond the guide: failures in a row that make a system inactive", live=True, ge=1, le=100
    )
    astUpThreshold: int = setting(
        2,
        "beyond the guide: answers in a row that make an inactive system active again",
        live=True,
        ge=1,
        le=100,
    )
    astHoldDown: int = setting(
        60,
        "beyond the guide: seconds that a system stays inactive which fails again soon after it came back;"
        " twice as long each time. Without queries: seconds until an inactive system is tried again",
        live=True,
        unit="s",
        ge=1,
        le=3600,
    )
    dispatchPriUser: UserPrefix = setting("genesis_a", "user prefix of systems in the primary set")
    dispatchSecUser: UserPrefix = setting("genesis_b", "user prefix of systems in the backup set")
    dispatchLimit: int = setting(10, "destinations in one dispatch set at most", ge=1, le=65536)
    dispatchSize: int = setting(8, "destinations at most, as a power of two", ge=1, le=16)
    dispatchListenSock: ListenSockets = setting(
        (), "[proto:]ip[:port] to listen on for HTTP dispatcher control; proto is tcp or tls"
    )
    dispatchAuthUser: str = setting(
        "", "user name for HTTP dispatcher control; empty for no authentication", live=True
    )
    dispatchAuthRealm: str = setting(
        "", "realm for HTTP dispatcher control; required with a user name", live=True
    )
    dispatchAuthPassword: str = setting("", "password for HTTP dispatcher control", live=True, secret=True)
    dispatchAuthHa1: Md5 = setting(
        "", "MD5 of user:realm:password, instead of the password", live=True, secret=True
    )
    dispatchAuthHa1b: Md5 = setting(
        "", "MD5 of user@realm:realm:password, instead of the password", live=True, secret=True
    )
    registerDefaultExpires: int = setting(
        3600,
        "beyond the guide: life of a registration that asks for none",
        live=True,
        unit="s",
        ge=60,
        le=604800,
    )
    registerMinExpires: int = setting(
        60,
        "beyond the guide: shortest life of a registration; shorter ones are refused",
        live=True,
        unit="s",
        ge=1,
    )
    registerMaxExpires: int = setting(
        86400,
        "beyond the guide: longest life of a registration; longer ones are shortened",
        live=True,
        unit="s",
        ge=60,
    )

    floodRate: int = setting(
        8,
        "beyond the guide: requests a second that an address may send for long",
        live=True,
        ge=1,
        le=1_000_000,
    )
    floodBurst: int = setting(
        128,
        "beyond the guide: messages a second, responses included, above which more are dropped at once",
        live=True,
        ge=1,
        le=1_000_000,
    )
    floodInterval: int = setting(
        2, "beyond the guide: seconds over which they are counted", live=True, unit="s", ge=1, le=60
    )
    floodIntervals: int = setting(
        2,
        "beyond the guide: intervals in a row with too many until the address is blocked",
        live=True,
        ge=1,
        le=30,
    )
    floodBlockTime: int = setting(
        300,
        "beyond the guide: how long an address is blocked, until its rate is looked at again",
        live=True,
        unit="s",
        ge=1,
        le=86400,
    )
    strangerRate: int = setting(
        100,
        "beyond the guide: requests a second that go on to Genesis from all addresses together that are on "
        "no list and that nobody is registered from; 0 for no limit",
        live=True,
        ge=0,
        le=1_000_000,
    )
    scannerAgents: tuple[Agent, ...] = setting(
        NAMES,
        "beyond the guide: parts of the User-Agent, or of the caller's name, of scanners that get no answer "
        "and are blocked",
        live=True,
    )
    protectionDryRun: bool = setting(
        False,
        "beyond the guide: count and log which floods and scanners would be blocked, and block none",
        live=True,
    )

    @field_validator("dispatchListenSock")
    @classmethod
    def _streams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for socket in value:
            if socket.startswith("udp:"):
                raise ValueError(f"{socket!r}: HTTP is spoken over tcp or tls")
        return value

    @field_validator("regRetryInterval")
    @classmethod
    def _at_least_90(cls, value: int) -> int:
        if 0 < value < 90:
            raise ValueError("must be 0 or at least 90")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Proxy:
        if self.dispatchPriUser.startswith(self.dispatchSecUser):
            raise ValueError(
                f"dispatchSecUser {self.dispatchSecUser!r} must not be the beginning of dispatchPriUser"
                f" {self.dispatchPriUser!r}: no system could tell which set it belongs to"
            )
        if self.floodBurst < self.floodRate:
            raise ValueError("floodBurst must not be less than floodRate")
        if self.dispatchAuthUser and not self.dispatchAuthRealm:
            raise ValueError("dispatchAuthRealm is required with dispatchAuthUser")
        if self.dispatchAuthUser and not (
            self.dispatchAuthPassword or self.dispatchAuthHa1 or self.dispatchAuthHa1b
        ):
            raise ValueError(
                "dispatchAuthPassword, dispatchAuthHa1 or dispatchAuthHa1b is required with dispatchAuthUser"
            )
        lives = (self.registerMinExpires, self.registerDefaultExpires, self.registerMaxExpires)
        if list(lives) != sorted(lives):
            raise ValueError(
                "registerMinExpires, registerDefaultExpires and registerMaxExpires must be in this order"
            )
        return self
