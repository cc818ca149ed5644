"""SIPp scenarios in a few words: each step is one call here, and `write` makes the file that SIPp reads.

Lines of messages may hold SIPp's keywords, such as `[next_url]`. A header that is given replaces the usual
one of its name. Nothing is sent again unless `repeat` says so: what a proxy does about silence is then seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROXY: Final = "[remote_ip]"
"""In URIs: the host that SIPp sends to."""

BRANCH: Final = "z9hG4bK[pid]x[call_number]"
"""How all branches of a call begin."""

KEPT: Final = ("Via:[$via1]", "Via:[$via2]")
"""Via lines of the request that was heard with `keep`."""

AUDIO: Final = """\
v=0
o=- 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
"""A body, of the type SDP."""
SDP: Final = "Content-Type: application/sdp"

_HEAD: Final = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
_KEEP: Final = "".join(
    f'<ereg regexp=".*" search_in="hdr" header="Via:" occurrence="{number}" assign_to="via{number}"/>'
    for number in (1, 2)
)


def write(folder: Path, name: str, *steps: str) -> Path:
    """The file of a scenario."""
    path = folder / f"{name}.xml"
    used = '<Reference variables="via1,via2"/>' if any(_KEEP in step for step in steps) else ""
    path.write_text(f'{_HEAD}<scenario name="{name}">\n{"".join(steps)}{used}</scenario>\n')
    return path


def request(
    method: str,
    uri: str = f"sip:100@{PROXY}",
    *headers: str,
    number: int = 1,
    branch: int = 0,
    answered: bool = False,
    body: str = "",
    repeat: bool = False,
) -> str:
    """Send a request with this CSeq number. Those with the same `branch` are one transaction.

    `answered`: To has the tag that the last response had. `repeat`: again and again until it is answered.
    """
    usual = {
        "Via": f"SIP/2.0/[transport] [local_ip]:[local_port];branch={BRANCH}x{branch or number}",
        "Max-Forwards": "70",
        "From": f"<sip:[service]@{PROXY}>;tag=[pid]s[call_number]",
        "To": f"<{uri}>" if uri != "[next_url]" else f"<sip:100@{PROXY}>",
        "Call-ID": "[call_id]",
        "CSeq": f"{number} {method}",
        "Contact": "<sip:[service]@[local_ip]:[local_port];transport=[transport]>",
        "Content-Length": "[len]",
    }
    if answered:
        usual["To"] += "[peer_tag_param]"
    return _send(f"{method} {uri} SIP/2.0", _replaced(usual, headers), body, repeat)


def ack(number: int = 1, uri: str = f"sip:100@{PROXY}") -> str:
    """Acknowledge a refusal of the INVITE with this CSeq number."""
    return request("ACK", uri, number=number, answered=True)


def ack_of_2xx(number: int = 1) -> str:
    """Acknowledge the 200 heard last, along its route set."""
    return request("ACK", "[next_url]", "[routes]", number=number, branch=number + 100, answered=True)


def bye(number: int = 2) -> str:
    """End the call."""
    return request("BYE", "[next_url]", "[routes]", number=number, answered=True, repeat=True)


def response(
    status: int, *headers: str, kept: str = "", tagged: bool = False, body: str = "", repeat: bool = False
) -> str:
    """Answer the request that came last, or the one heard with `keep`, whose CSeq is `kept`.

    `tagged`: the request has a To tag already. `repeat`: again and again until something comes.
    """
    to = "[last_To:]" if tagged else "[last_To:];tag=[pid]u[call_number]"
    via, cseq = (KEPT, f"CSeq: {kept}") if kept else (["[last_Via:]"], "[last_CSeq:]")
    lines = [*via, "[last_Record-Route:]", "[last_From:]", to, "[last_Call-ID:]", cseq]
    if not any(line.startswith("Contact:") for line in headers):
        lines.append("Contact: <sip:[service]@[local_ip]:[local_port];transport=[transport]>")
    return _send(f"SIP/2.0 {status} x", [*lines, *headers, "Content-Length: [len]"], body, repeat)


def heard(
    what: str | int,
    *,
    keep: bool = False,
    optional: bool = False,
    challenge: bool = False,
    take: tuple[str, str, str] | None = None,
) -> str:
    """Wait for a request or a status.

    `keep` remembers the Via lines of a request for a response after others. A line `[authentication]` answers
    the `challenge` in a response. `take` is the name of a variable,
    a header, and the regular expression of what the variable takes from it: `[$name]` stands for it then.
    """
    kind = "request" if isinstance(what, str) else "response"
    more = ' optional="true"' if optional else ' auth="true"' if challenge else ""
    actions = _KEEP if keep else ""
    if take is not None:
        name, header, pattern = take
        actions += f'<ereg regexp="{pattern}" search_in="hdr" header="{header}:" assign_to="{name}"/>'
    action = f"<action>{actions}</action>" if actions else ""
    # SIPp keeps the first Contact that it records: of several phones that ring, that of the one that answers.
    record = "" if optional else ' rrs="true"'
    return f'<recv {kind}="{what}"{record}{more}>{action}</recv>\n'


def pause(seconds: float) -> str:
    """Let time pass; what comes meanwhile again is ignored."""
    return f'<pause milliseconds="{seconds * 1000:.0f}"/>\n'


def note(text: str) -> str:
    """Write a line into SIPp's own file of notes (`-log_file`)."""
    return f'<nop><action><log message="{text}"/></action></nop>\n'


def _replaced(usual: dict[str, str], headers: tuple[str, ...]) -> list[str]:
    given = {line.partition(":")[0] for line in headers}
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in given]
    return [*lines[:-1], *headers, *lines[-1:]]


def _send(start: str, lines: list[str], body: str, repeat: bool) -> str:
    text = "\n".join([start, *lines, "", body])
    again = ' retrans="500"' if repeat else ""
    return f"<send{again}><![CDATA[\n{text}]]></send>\n"
