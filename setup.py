"""What setup.cfg cannot say: the native forwarder is built where there is a C compiler, else left out.

With COMPILE=1 in the environment the hot path of SIP is compiled, too, by mypyc from the same source
(`make compiled`): it needs mypy and a C compiler, and takes about a minute.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("rtlib/media/native")
COMPILED = bool(os.environ.get("COMPILE"))

LEFT_OUT = {"cache", "framing"}
"""`cache` stands on a dictionary of Python's; in `framing` mypyc 2.4 takes for None what ends its loop."""

HOT = [
    "rtlib/address.py",
    "rtlib/digest.py",
    "rtlib/digestform.py",
    "rtlib/nonce.py",
    "rtlib/wheel.py",
    *sorted(str(path) for path in Path("haproxy/sip").glob("[a-z]*.py") if path.stem not in LEFT_OUT),
    *sorted(map(str, Path("haproxy/proxy").glob("[a-z]*.py"))),
    "haproxy/dispatcher/destination.py",
    "haproxy/dispatcher/set.py",
    "haproxy/protection/accesslist.py",
    "haproxy/protection/guard.py",
    "haproxy/protection/scanner.py",
    "haproxy/protection/source.py",
    "haproxy/registrar/authentication.py",
    "haproxy/registrar/location.py",
    "haproxy/registrar/registrar.py",
    "haproxy/registrar/subscriber.py",
]
"""What runs for each SIP message. The classes among them call each other directly, so they go together.

`rtlib.driver` takes no fewer instructions compiled, and `rtlib.mmsg` a tenth fewer for a datagram, which a
call does not show. Besides, mypyc gives a variable's memory back after its last use, when the system still
has to read it there.
"""

forwarder = Extension(
    "rtlib.media._forwarder",
    sources=["rtlib/media/_forwarder.c", *sorted(map(str, NATIVE.glob("*.c")))],
    depends=sorted(map(str, NATIVE.glob("*.h"))),
    extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
    extra_link_args=["-pthread"],
    py_limited_api=True,
    # Without a compiler the reactor's own forwarder does the work, and the log says so.
    optional=True,
)


def compiled() -> list[Extension]:
    """The hot path as extensions."""
    from mypyc.build import mypycify

    return mypycify(HOT, opt_level="2", debug_level="0")


setup(
    ext_modules=[forwarder, *(compiled() if COMPILED else ())],
    # What mypyc makes is bound to one version of Python.
    options={} if COMPILED else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
