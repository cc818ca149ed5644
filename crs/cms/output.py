"""Where the CMS's results go: private files that are not replaced by accident, or the screen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crs.cms import qrcode
from crs.cms.error import CmsError
from rtlib import secretfile


@dataclass(frozen=True)
class Target:
    """A file to write, and whether one that is there may be replaced."""

    path: Path
    force: bool

    def check(self) -> None:
        """Raise CmsError if the file may not be written because it is there."""
        if not self.force and self.path.exists():
            raise CmsError(f"{self.path}: exists already (--force replaces it)")

    def write(self, data: bytes) -> str:
        """Put the file there, mode 0600; gives its name."""
        self.check()
        try:
            secretfile.write(self.path, (data,), replace=self.force)
        except OSError as error:
            raise CmsError(f"{self.path}: {error.strerror or error}") from error
        return str(self.path)


@dataclass(frozen=True)
class Outputs:
    """Where a provisioning goes: to files, else to the screen."""

    qr: bool = False
    """On the screen, as a QR code."""
    output: Path | None = None
    png: Path | None = None
    svg: Path | None = None
    force: bool = False

    def give(self, text: str) -> str:
        """Write the files, all or none; gives what is to be shown: their names, or the text."""
        code = qrcode.make(text) if self.qr or self.png or self.svg else None
        files: list[tuple[Target, bytes]] = []
        if self.output:
            files.append((Target(self.output, self.force), text.encode() + b"\n"))
        if self.png and code:
            files.append((Target(self.png, self.force), qrcode.png(code)))
        if self.svg and code:
            files.append((Target(self.svg, self.force), qrcode.svg(code)))
        for target, _ in files:
            target.check()
        shown = [target.write(data) for target, data in files] or [text]
        return (qrcode.terminal(code) if self.qr and code else "") + "\n".join(shown)
