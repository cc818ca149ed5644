"""Where the server's files are (manual 4.1.2): shared by the daemon and by commands that need none."""

from __future__ import annotations

from pathlib import Path
from typing import Final

DEFAULT_HOME: Final = Path("/opt/crs")
DEFAULT_LOG: Final = Path("/var/log/crs")
SOCKET: Final = "run/crs.sock"
DATABASE: Final = "data/crs.db"
ADMINS: Final = "admins"
PEERS: Final = "iw-crs.conf"


def log_folder(home: Path) -> Path:
    """Where the manual says, or in another home."""
    return DEFAULT_LOG if home == DEFAULT_HOME else home / "log"


def audit_file(home: Path) -> Path:
    """The audit log."""
    return log_folder(home) / "audit.log"


def notify_script(home: Path) -> Path:
    """What is run for every system event (manual 7.1)."""
    return home / "scripts" / "notify.sh"


RELAY_SOCKET: Final = Path("run") / "relay.sock"
"""Where a relay that is a process of its own takes commands."""
