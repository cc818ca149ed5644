"""Registrars that answer wrongly: each is named in log and command, and counted; the others go on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import own_host
from haproxy.testing.sipp import Sipp
from rtlib.testing.daemon import wait_until

pytestmark = pytest.mark.peer("sipp")

HERE = Path(__file__).parent
PORT = 5060

YES = {
    "no_contact": ("X-Contact: none", "registered", "no Contact in the answer"),
    "negative": ("Contact: <sip:negative@x.test>;expires=-5", "registered", "malformed expires"),
    "huge": ("Contact: <sip:huge@x.test>;expires=99999999999", "registered", "more than asked for"),
    "zero": ("Contact: <sip:zero@x.test>;expires=0", "failed", "granted for 0 seconds"),
    "others": ("Contact: <sip:somebody@x.test>;expires=60", "failed", "lists other contacts, not ours"),
}
"""What the registrar says, what becomes of it, and what the operator is told."""


@contextmanager
def babbler(host: str) -> Iterator[None]:
    """Answers every datagram with what is no SIP."""

    def babble() -> None:
        while True:
            data, source = sock.recvfrom(65536)
            if not data:
                return
            sock.sendto(b"SIP/2.0 banana\r\n\r\n", source)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, PORT))
        thread = threading.Thread(target=babble)
        thread.start()
        try:
            yield
        finally:
            sock.sendto(b"", (host, PORT))
            thread.join()


def test_wrong_answers(tmp_path: Path, entry: Any, lines: Any) -> None:
    class Place:
        def __init__(self) -> None:
            self.host = own_host()

    places = {uuid: Place() for uuid in [*YES, "challenge", "babble"]}
    entries = [entry(place, l_uuid=uuid) for uuid, place in places.items()]
    with ExitStack() as stack:
        stack.enter_context(babbler(places["babble"].host))
        for uuid in [*YES, "challenge"]:
            answer, scenario = (YES[uuid][0], "yes") if uuid in YES else ("", "challenge")
            folder = tmp_path / uuid
            folder.mkdir()
            arguments = ["-key", "answer", answer] if answer else []
            host = places[uuid].host
            sipp = Sipp(
                folder,
                HERE / f"{scenario}.xml",
                host,
                user=uuid,
                host=host,
                port=PORT,
                calls=2,  # one is made: it stays, and answers a REGISTER that comes again
                arguments=arguments,
            )
            stack.enter_context(sipp)
        world = stack.enter_context(lines(*entries))
        world.until("failed", "zero", "others", "challenge")
        rows = world.until("registered", "no_contact", "negative", "huge")
        for uuid, (_, state, reason) in YES.items():
            assert rows[uuid]["state"] == state
            assert reason in rows[uuid]["reason"]
            assert rows[uuid]["expires"] == 0 if state == "failed" else 3500 < rows[uuid]["expires"] <= 3600
        assert (rows["challenge"]["code"], rows["challenge"]["reason"]) == (401, "challenges without end")
        told = [text for text in world.text.splitlines() if " registration " in text]
        assert len(told) == len(YES) + 1  # one line for each
        wait_until(lambda: f"malformed from {places['babble'].host}" in world.text)
        # It may have been tried after the others; then its row was taken before.
        assert world.rows()["babble"]["state"] == "registering"  # until nobody has answered for 32 s
        assert world.proxy.metric("offences_total", 'kind="malformed"') >= 1
        assert world.proxy.metric("outbound_registration_complaints_total") == len(YES)
        assert world.proxy.metric("outbound_registration_attempts_total", 'code="401"') == 1
        assert "Traceback" not in world.text
