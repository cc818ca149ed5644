"""What setup.cfg cannot say: the native forwarder is built where there is a C compiler, else left out."""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("rtlib/media/native")

setup(
    ext_modules=[
        Extension(
            "rtlib.media._forwarder",
            sources=["rtlib/media/_forwarder.c", *sorted(map(str, NATIVE.glob("*.c")))],
            depends=sorted(map(str, NATIVE.glob("*.h"))),
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
            extra_link_args=["-pthread"],
            py_limited_api=True,
            # Without a compiler the reactor's own forwarder does the work, and the log says so.
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
