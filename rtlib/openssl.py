"""Loads the OpenSSL of `cryptography` so that no server of this process sends session tickets.

A ticket (RFC 8446 section 4.6.1) is for resumption, which a server that forgets its sessions never grants;
making one costs each handshake a key derivation and 250 bytes. SSL_OP_NO_TICKET does not stop it in TLS 1.3,
and the binding lacks SSL_CTX_set_num_tickets(3), but OpenSSL takes the same from its configuration file
(config(5), NumTickets of SSL_CONF_cmd(3)), which it reads once, when it is loaded.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Final

VARIABLE: Final = "OPENSSL_CONF"
CONFIGURATION: Final = b"""\
openssl_conf = start
[start]
ssl_conf = contexts
[contexts]
system_default = every_context
[every_context]
NumTickets = 0
"""
_OPENSSL: Final = "cryptography.hazmat.bindings._rust"


def load() -> bool:
    """Load it, before anybody imports `cryptography`; False if that, or the operator, was first.

    A configuration file that the operator has chosen (OPENSSL_CONF) stays in force.
    """
    if _OPENSSL in sys.modules or VARIABLE in os.environ:
        return False
    descriptor = os.memfd_create("openssl.cnf")
    try:
        os.write(descriptor, CONFIGURATION)
        # For this one library only: Python's own, and programs that we start, go by the system's file.
        os.environ[VARIABLE] = f"/proc/self/fd/{descriptor}"
        import_module(_OPENSSL)
    finally:
        os.environ.pop(VARIABLE, None)
        os.close(descriptor)
    return True
