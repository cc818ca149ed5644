"""Pieces of SIPp's scenarios (Debian's sip-tester 3.6): what a call says, and what SIPp notes of it."""

from __future__ import annotations

from typing import Final

NOTHING: Final = "Content-Length: 0\n"
AUDIO: Final = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
"""Bodies of messages, with the headers that tell of them."""

ACCEPTED: Final = """\
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
"""
"""The answer to a request in a dialog."""

_REQUEST: Final = """\
<send{retransmit}><![CDATA[
{method} {uri} SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
{routes}From: <sip:caller@[remote_ip]>;tag=[pid]c[call_number]
To: <sip:100@[remote_ip]>{tag}
Call-ID: [call_id]
CSeq: {number} {method}
Contact: <sip:caller@[local_ip]:[local_port]>
{body}
]]></send>
"""
_RESPONSE: Final = """\
<send{retransmit}><![CDATA[
SIP/2.0 {status}
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=[pid]g[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:100@[local_ip]:[local_port]>
{headers}{body}
]]></send>
"""
_REPEATED: Final = ' retrans="500"'


def request(method: str, number: int, *, dialog: bool, body: str = NOTHING) -> str:
    """A request of `caller` to 100, with this CSeq number; `dialog`: after that one has answered."""
    return _REQUEST.format(
        method=method,
        number=number,
        uri="[next_url]" if dialog else "sip:100@[remote_ip]:[remote_port]",
        routes="[routes]\n" if dialog else "",
        tag="[peer_tag_param]" if dialog else "",
        body=body,
        retransmit="" if method == "ACK" else _REPEATED,
    )


def response(status: str, body: str = NOTHING, *, headers: str = "", retransmit: bool = False) -> str:
    """A response to a request that begins a dialog; `headers` are whole lines."""
    repeated = _REPEATED if retransmit else ""
    return _RESPONSE.format(status=status, headers=headers, body=body, retransmit=repeated)


def note(text: str) -> str:
    """A line in SIPp's own file of notes, at this point of the call."""
    return f'<nop><action><log message="{text}"/></action></nop>\n'


def scenario(name: str, *parts: str) -> str:
    """A whole scenario."""
    begin = f'<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="{name}">\n'
    return begin + "".join(parts) + "</scenario>\n"
