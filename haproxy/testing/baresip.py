"""A headless baresip user agent (Debian's baresip-core 1.0), registered and driven over its control port.

It plays a tone from a WAV file instead of a microphone and records what it hears.
"""

from __future__ import annotations

import json
import re
import socket
import time
from array import array
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from haproxy.testing import recording
from rtlib.testing.daemon import Daemon, free_port, wait_until

MODULES: Final = Path("/usr/lib/baresip/modules")
"""Where Debian puts baresip's modules."""

_CONFIG: Final = """\
sip_listen 127.0.0.1:0
net_interface 127.0.0.1
call_local_timeout 30
call_max_calls 4
audio_source aufile,{tone}
audio_player nil,x
audio_alert nil,x
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_level no
jitter_buffer_delay 5-10
rtp_ports 24000-31998
rtp_stats yes
snd_path {folder}
module_path {modules}
module g711.so
module aufile.so
module sndfile.so
module uuid.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""

_ACCOUNT: Final = (
    "<sip:{user}@{server};transport={transport}>;auth_user={user};auth_pass={password};answermode={answer}"
    ';audio_codecs=PCMU/8000/1;regint=60;outbound="sip:{server};transport={transport}"\n'
)


class Packets(NamedTuple):
    """The `packets:` and `errors:` lines that baresip prints at the end of a call."""

    sent: int
    received: int
    errors: int


class Baresip:
    """One user agent, started registered and stopped as a context manager."""

    def __init__(
        self,
        folder: Path,
        user: str,
        server: str,
        *,
        password: str,
        tone: float,
        transport: str = "udp",
        answer: str = "auto",
        authority: Path | None = None,
    ) -> None:
        """`folder` is made for it, `server` is HOST:PORT, `tone` in hertz, `answer` auto or manual.

        `authority` is the file of the CA that it trusts, with the transport `tls`.
        """
        self._folder = folder
        folder.mkdir()
        control = free_port()
        source = folder / "tone.wav"
        recording.write_tone(source, tone, 20)
        (folder / "contacts").touch()
        (folder / "config").write_text(
            _CONFIG.format(tone=source, folder=folder, modules=MODULES, control=control)
            + (f"sip_cafile {authority}\n" if authority is not None else "")
        )
        (folder / "accounts").write_text(
            _ACCOUNT.format(user=user, server=server, transport=transport, password=password, answer=answer)
        )
        # The registration is answered before the control port has a client: it is seen in the output only.
        self._daemon = Daemon(["baresip", "-4", "-v", "-f", folder], rf"{user}@\S+: .*200 OK", timeout=60)
        self._control = ("127.0.0.1", control)
        self._socket: socket.socket | None = None
        self._received = b""

    def __enter__(self) -> Baresip:
        try:
            self._daemon.start()
            self._socket = socket.create_connection(self._control, 5)
        except BaseException:
            self._daemon.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._command("quit")
            self._socket.close()
        with suppress(AssertionError):
            wait_until(lambda: self._daemon.returncode is not None, 3)
        self._daemon.close()

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._daemon.output

    def dial(self, uri: str) -> None:
        """Call somebody."""
        self._command("dial", uri)

    def hang_up(self) -> None:
        """End the call."""
        self._command("hangup")

    def wait_for(self, *events: str, timeout: float = 10.0) -> dict[str, Any]:
        """Wait for one of these, such as CALL_ESTABLISHED; AssertionError after `timeout` s."""
        deadline = time.monotonic() + timeout
        while (message := self._message(deadline)) is not None:
            if message.get("event") and message.get("type") in events:
                return message
        raise AssertionError(f"baresip reported no {events} within {timeout} s:\n{self.output[-3000:]}")

    def wait_until_heard(self, seconds: float, timeout: float = 15.0) -> None:
        """Wait until the recording of the far end is this long."""
        wait_until(lambda: len(self.heard()) >= seconds * 8000, timeout, f"a recording of {seconds} s")

    def heard(self) -> array[int]:
        """The samples recorded from the far end so far."""
        files = list(self._folder.glob("*-dec.wav"))
        with suppress(ValueError):
            return array("h", [sample for file in files for sample in recording.read(file)])
        return array("h")

    def packets(self) -> Packets:
        """What it counted in the call that has just ended."""
        self._daemon.wait_for_text(r"errors:\s+\d+\s+\d+")
        counts = re.findall(r"packets:\s+(\d+)\s+(\d+)", self.output)[-1]
        errors = re.findall(r"errors:\s+(\d+)\s+(\d+)", self.output)[-1]
        return Packets(int(counts[0]), int(counts[1]), int(errors[0]) + int(errors[1]))

    def _command(self, command: str, params: str = "") -> None:
        assert self._socket is not None
        message = json.dumps({"command": command, "params": params, "token": command}).encode()
        self._socket.sendall(b"%d:%s," % (len(message), message))

    def _message(self, deadline: float) -> dict[str, Any] | None:
        """The next message of the control port (a netstring of JSON); None after the deadline."""
        assert self._socket is not None
        while (match := re.match(rb"(\d+):", self._received)) is None or not self._complete(match):
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not data:
                return None
            self._received += data
        start, end = match.end(), match.end() + int(match[1])
        message: dict[str, Any] = json.loads(self._received[start:end])
        self._received = self._received[end + 1 :]
        return message

    def _complete(self, match: re.Match[bytes]) -> bool:
        return len(self._received) > match.end() + int(match[1])
