"""The transaction state machines as tables: RFC 3261 §17 as corrected by RFC 6026 and RFC 4320.

A table says, for a state and an input, the next state and the actions, in order. An input that a state
has no row for is absorbed. A step to `terminated` also stops all timers and forgets the transaction. A
machine starts with one timer or two and without any action: a client's request has been sent by then.

A transport error ends the wait for an answer (§17.1.4). To anybody else it is nothing: the user of a server,
whom §17.2.4 would tell, could not do anything about it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias


class State(StrEnum):
    """States of figures 5 to 8 of RFC 3261 and figures of RFC 6026."""

    calling = "calling"
    trying = "trying"
    proceeding = "proceeding"
    completed = "completed"
    confirmed = "confirmed"
    accepted = "accepted"
    terminated = "terminated"


class Input(StrEnum):
    """What happens to a transaction. Responses come from the network (client) or the user (server)."""

    request = "request"
    """A retransmission of the request."""
    ack = "ACK"
    provisional = "1xx"
    success = "2xx"
    failure = "300-699"
    silence = "silence"
    """The user answers 408 to a non-INVITE request, which must not be sent (RFC 4320 §4.2)."""
    transport_error = "transport error"
    timer_a = "A"
    timer_b = "B"
    timer_d = "D"
    timer_e = "E"
    timer_f = "F"
    timer_g = "G"
    timer_h = "H"
    timer_i = "I"
    timer_j = "J"
    timer_k = "K"
    timer_l = "L"
    timer_m = "M"
    timer_trying = "trying"
    """The user has said nothing for 200 ms (INVITE) or until timer E reaches T2 (others, RFC 4320 §4.1)."""
    timer_cancel = "cancel"
    """64 T1 after a CANCEL still no final response (RFC 3261 §9.1)."""


ACCEPTED: Final = State.accepted
COMPLETED: Final = State.completed
# For what is done for each call: until Python 3.11 to find a member of an enumeration takes as long as a call
# of a function.

CLASSES: Final = {
    1: Input.provisional,
    2: Input.success,
    3: Input.failure,
    4: Input.failure,
    5: Input.failure,
    6: Input.failure,
}
"""Class of a status to what it does to a transaction."""


class Action(StrEnum):
    """What the layer does in a step. A step that starts D, I, J, K, L or M does nothing after that."""

    send = "send"
    """Send the user's response and keep it for retransmissions."""
    resend = "resend"
    deliver = "deliver"
    """Pass the response to the user."""
    pass_ack = "pass_ack"  # noqa: S105 - not a password
    acknowledge = "acknowledge"
    """Send the ACK for a final response other than 2xx."""
    send_trying = "send_trying"
    send_cancel = "send_cancel"
    """Send the CANCEL that the user asked for before there was a provisional response."""
    inform_timeout = "inform_timeout"
    inform_error = "inform_error"
    stop = "stop"
    """Stop all timers; comes first."""
    start_a = "start_a"
    start_d = "start_d"
    start_e = "start_e"
    start_e_at_t2 = "start_e_at_t2"
    start_g = "start_g"
    start_h = "start_h"
    start_i = "start_i"
    start_j = "start_j"
    start_k = "start_k"
    start_l = "start_l"
    start_m = "start_m"


Table: TypeAlias = dict[State, dict[Input, tuple[State, tuple[Action, ...]]]]


class Start(NamedTuple):
    """How a machine starts."""

    state: State
    again: Input
    """The timer by which something is sent, if no answer comes before."""
    limit: Input | None
    """The timer by which all is over."""


_S, _I, _A = State, Input, Action

_SUCCEEDED: Final = (_S.accepted, (_A.stop, _A.deliver, _A.start_m))
_FAILED: Final = (_S.completed, (_A.stop, _A.acknowledge, _A.deliver, _A.start_d))

INVITE_CLIENT_START: Final = Start(_S.calling, _I.timer_a, _I.timer_b)
INVITE_CLIENT: Final[Table] = {
    _S.calling: {
        _I.timer_a: (_S.calling, (_A.resend, _A.start_a)),
        _I.timer_b: (_S.terminated, (_A.inform_timeout,)),
        _I.transport_error: (_S.terminated, (_A.inform_error,)),
        _I.provisional: (_S.proceeding, (_A.stop, _A.deliver, _A.send_cancel)),
        _I.success: _SUCCEEDED,
        _I.failure: _FAILED,
    },
    _S.proceeding: {
        _I.provisional: (_S.proceeding, (_A.deliver,)),
        _I.success: _SUCCEEDED,
        _I.failure: _FAILED,
        _I.timer_cancel: (_S.terminated, (_A.inform_timeout,)),
    },
    _S.completed: {
        _I.failure: (_S.completed, (_A.acknowledge,)),
        _I.timer_d: (_S.terminated, ()),
    },
    _S.accepted: {
        _I.success: (_S.accepted, (_A.deliver,)),
        _I.timer_m: (_S.terminated, ()),
    },
    _S.terminated: {},
}

_ANSWERED: Final = (_S.completed, (_A.stop, _A.deliver, _A.start_k))

NON_INVITE_CLIENT_START: Final = Start(_S.trying, _I.timer_e, _I.timer_f)
NON_INVITE_CLIENT: Final[Table] = {
    _S.trying: {
        _I.timer_e: (_S.trying, (_A.resend, _A.start_e)),
        _I.timer_f: (_S.terminated, (_A.inform_timeout,)),
        _I.transport_error: (_S.terminated, (_A.inform_error,)),
        _I.provisional: (_S.proceeding, (_A.deliver,)),
        _I.success: _ANSWERED,
        _I.failure: _ANSWERED,
    },
    _S.proceeding: {
        _I.timer_e: (_S.proceeding, (_A.resend, _A.start_e_at_t2)),
        _I.timer_f: (_S.terminated, (_A.inform_timeout,)),
        _I.transport_error: (_S.terminated, (_A.inform_error,)),
        _I.provisional: (_S.proceeding, (_A.deliver,)),
        _I.success: _ANSWERED,
        _I.failure: _ANSWERED,
    },
    _S.completed: {_I.timer_k: (_S.terminated, ())},
    _S.terminated: {},
}

INVITE_SERVER_START: Final = Start(_S.proceeding, _I.timer_trying, None)
INVITE_SERVER: Final[Table] = {
    _S.proceeding: {
        _I.request: (_S.proceeding, (_A.resend,)),
        _I.timer_trying: (_S.proceeding, (_A.send_trying,)),
        _I.provisional: (_S.proceeding, (_A.stop, _A.send)),
        _I.success: (_S.accepted, (_A.stop, _A.send, _A.start_l)),
        _I.failure: (_S.completed, (_A.stop, _A.send, _A.start_g, _A.start_h)),
    },
    _S.completed: {
        _I.request: (_S.completed, (_A.resend,)),
        _I.timer_g: (_S.completed, (_A.resend, _A.start_g)),
        _I.timer_h: (_S.terminated, (_A.inform_timeout,)),
        _I.ack: (_S.confirmed, (_A.stop, _A.start_i)),
    },
    _S.accepted: {
        _I.success: (_S.accepted, (_A.send,)),
        _I.ack: (_S.accepted, (_A.pass_ack,)),
        _I.timer_l: (_S.terminated, ()),
    },
    _S.confirmed: {_I.timer_i: (_S.terminated, ())},
    _S.terminated: {},
}

_FINAL: Final = (_S.completed, (_A.stop, _A.send, _A.start_j))
_SILENT: Final = (_S.completed, (_A.stop, _A.start_j))

NON_INVITE_SERVER_START: Final = Start(_S.trying, _I.timer_trying, None)
NON_INVITE_SERVER: Final[Table] = {
    _S.trying: {
        _I.timer_trying: (_S.proceeding, (_A.send_trying,)),
        _I.provisional: (_S.proceeding, (_A.stop, _A.send)),
        _I.success: _FINAL,
        _I.failure: _FINAL,
        _I.silence: _SILENT,
    },
    _S.proceeding: {
        _I.request: (_S.proceeding, (_A.resend,)),
        _I.provisional: (_S.proceeding, (_A.send,)),
        _I.success: _FINAL,
        _I.failure: _FINAL,
        _I.silence: _SILENT,
    },
    _S.completed: {
        _I.request: (_S.completed, (_A.resend,)),
        _I.timer_j: (_S.terminated, ()),
    },
    _S.terminated: {},
}
