"""QR codes (ISO/IEC 18004) of a text: for the terminal, as PNG and as SVG."""

from __future__ import annotations

import io
from typing import Final

import segno

from crs.cms.error import CmsError

WHITE_ON_BLACK: Final = "\x1b[97;40m"
PLAIN: Final = "\x1b[0m"
_SCALE: Final = 6
"""Pixels of a module."""


def make(text: str) -> segno.QRCode:
    """The code of a text. Raises CmsError if it is too long for one."""
    try:
        return segno.make(text, error="m", micro=False)
    except segno.DataOverflowError as error:
        raise CmsError(f"{len(text)} characters do not fit into a QR code") from error


def terminal(code: segno.QRCode) -> str:
    """Two modules in a character cell; white on black, whatever the terminal's own colours are."""
    output = io.StringIO()
    code.terminal(output, compact=True)
    return "".join(f"{WHITE_ON_BLACK}{line}{PLAIN}\n" for line in output.getvalue().splitlines())


def png(code: segno.QRCode) -> bytes:
    """A PNG picture, black on white."""
    return _saved(code, "png")


def svg(code: segno.QRCode) -> bytes:
    """An SVG picture, black on white."""
    return _saved(code, "svg")


def _saved(code: segno.QRCode, kind: str) -> bytes:
    output = io.BytesIO()
    code.save(output, kind=kind, scale=_SCALE, dark="black", light="white")
    return output.getvalue()
