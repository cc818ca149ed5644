"""SIPp rings for longer than Timer C of genproxy allows: RFC 3261 section 16.6 step 11, 16.7 step 2, 16.8.

    python -m endurance.timers

A phone rings, and says so again after a minute, with which Timer C begins anew. The call has to be cancelled
181 s after that, and its caller told 408. It takes four minutes. Exit code 1 if anything goes otherwise.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from endurance.report import conclude
from haproxy.testing import script
from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.sipp import Sipp

AGAIN: Final = 60.0
"""Seconds until the phone rings again."""
LIMIT: Final = 181.0
"""Seconds: Timer C is longer than three minutes."""
ALLOWED: Final = 2.0
"""Seconds that it may be late."""
LATEST: Final = AGAIN + LIMIT + 30
PATIENCE: Final = "-timeout", f"{LATEST:.0f}s"


def trial(folder: Path) -> list[str]:
    """Make the call and give what is wrong, if anything. Blocks for four minutes. Raises SippError."""
    user = own_host()
    rings = script.write(
        folder,
        "rings",
        *(script.heard("INVITE", keep=True), script.response(180), script.pause(AGAIN)),
        script.response(180, kept="1 INVITE", tagged=True),
        *(script.heard("CANCEL"), script.response(200)),
        *(script.response(487, kept="1 INVITE"), script.heard("ACK")),
    )
    with (
        Genproxy(folder / "proxy", settings={"proxy": {"proxyList": [user]}}) as proxy,
        Sipp(folder, rings, proxy.server, user="far", host=own_host(), arguments=PATIENCE) as phone,
    ):
        uri = f"sip:far@{phone.host}:{phone.port}"
        calls = script.write(
            folder,
            "calls",
            *(
                script.request("INVITE", uri),
                script.heard(100, optional=True),
                script.heard(180),
                script.heard(180),
            ),
            *(script.heard(408), script.ack(uri=uri)),
        )
        with Sipp(folder, calls, proxy.server, user="near", host=user, arguments=PATIENCE) as caller:
            caller.finish(LATEST)
            phone.finish()
            begun, cancelled = phone.heard("INVITE")[0].when, phone.heard("CANCEL")[0].when
    waited = cancelled - begun - AGAIN
    print(f"it was cancelled {waited:.2f} s after it had rung again")
    return (
        [] if LIMIT <= waited <= LIMIT + ALLOWED else [f"it had to be between {LIMIT} and {LIMIT + ALLOWED}"]
    )


def main() -> None:
    """Run and report; exit code 1 if something is wrong."""
    with TemporaryDirectory() as folder:
        problems = trial(Path(folder))
    conclude(problems)


if __name__ == "__main__":
    main()
