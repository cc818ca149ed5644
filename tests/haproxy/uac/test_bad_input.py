"""Whatever a registrar answers: nothing is raised, nothing loops, and the state says how it is."""

import random
from typing import Any

from haproxy.uac.attempt import ROUNDS
from haproxy.uac.registration import State

NONSENSE = [
    "",
    "\x1b[2J",
    "0",
    "-1",
    "99999999999999999999999",
    "1e9",
    "\xff\xfe",
    "a,b;c=d",
    '"',
    "<sip:",
    "*",
    "=" * 300,
]
HEADERS = [
    "Contact: {}",
    "Contact: <sip:line1@192.0.2.1>;expires={}",
    "Expires: {}",
    "Min-Expires: {}",
    "Retry-After: {}",
    "WWW-Authenticate: {}",
    'WWW-Authenticate: Digest realm="provider.example", nonce="{}", stale=true',
    'WWW-Authenticate: Digest realm="{}", nonce="n", algorithm={}, qop="{}"',
    'Proxy-Authenticate: Digest realm="provider.example", nonce="{}", opaque="{}"',
]
STATUSES = [100, 180, 200, 202, 299, 301, 302, 400, 401, 403, 407, 423, 480, 500, 503, 600, 699]


def odd_answer(line: Any, dice: random.Random) -> bytes:
    """A response to the last request; in one of eight, some of its bytes are others."""
    response = line.request.response(dice.choice(STATUSES), to_tag=b"r")
    for _ in range(dice.randrange(4)):
        header = dice.choice(HEADERS)
        name, _, value = header.format(*dice.choices(NONSENSE, k=header.count("{}"))).partition(": ")
        response.append(name.encode(), value.encode("latin-1"))
    data = bytearray(bytes(response))
    if dice.random() < 0.125:
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


def test_odd_registrars(new: Any) -> None:
    seen = set()
    for seed in range(400):
        dice = random.Random(seed)
        line = new()
        for _ in range(30):
            if line.state in {State.REGISTERED, State.FAILED}:
                break
            line.core.receive(odd_answer(line, dice), line.flow, line.now)
            line.collect()
        if line.state is State.REGISTERING:
            line.advance(34)
        assert line.state in {State.REGISTERED, State.FAILED}
        assert len(line.requests) <= ROUNDS
        assert line.wait is not None
        assert line.find().reason.isprintable()
        assert len(line.told()) == 1
        seen.add((line.state, line.find().status))
        line.deactivate().advance(40)
        assert line.registrations.settled
    assert len(seen) > 10
