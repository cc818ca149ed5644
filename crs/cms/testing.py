"""For tests: the CMS of a server's account, run as its people run it."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from crs.client.testing import ACCOUNT, CrsServer, run


class Cms:
    """The CMS's folder of one of the server's accounts, and `crs-cms` for it."""

    def __init__(self, folder: Path, server: CrsServer, account: str = ACCOUNT) -> None:
        self.folder = folder
        secret = folder.with_suffix(".secret")
        secret.write_text(b64encode(server.secrets[account]).decode())
        self("create", account, "--server", str(server.address), "--secret-file", str(secret))

    def __call__(self, *arguments: str) -> str:
        """What `crs-cms` prints."""
        done = run("crs.cms.cli", "-d", str(self.folder), *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def list_clients(self, *uris: str) -> None:
        """From now on these are all clients."""
        (self.folder / "clients.csv").write_text("\n".join(("uri", *uris)) + "\n")

    def issue(self, *options: str) -> str:
        """The path of a new update file."""
        return self("issue", "--force", *options).split(":")[0]
