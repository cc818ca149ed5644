"""A PJSIP phone (PyPI's pjsua2-python 2.15) as a program: registers, makes one call, tells what it heard.

    python -m haproxy.testing.pjsua FOLDER HOST:PORT USER PASSWORD CALLED TRANSPORT TONE SECONDS [CA [PAIR]]
    python -m haproxy.testing.pjsua FOLDER HOST:PORT USER PASSWORD

With the transport `tls` it trusts the authority in the file CA, and proves itself with the key and
certificate in the file PAIR.

It prints one line of JSON: `packets` received, and `recording`, the name of a WAV file. The exit code
is 0 when the call was answered and had audio. Without a call it prints
the status that ended the registration. One process is one endpoint: the library allows no second.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pjsua2 as pj

from haproxy.testing import recording
from rtlib.audio.mulaw import SAMPLE_RATE

PATIENCE: Final = 8.0
"""Seconds for the registration, and for the answer."""

_TRANSPORTS: Final = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}


class Call(pj.Call):
    """Connects player and recorder as soon as there is audio."""

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self.up = False
        self._account = account

    def onCallMediaState(self, prm: Any) -> None:
        """Find the audio and connect it."""
        info = self.getInfo()  # kept: its media list dies with it
        for index, media in enumerate(info.media):
            active = media.status == pj.PJSUA_CALL_MEDIA_ACTIVE
            if media.type == pj.PJMEDIA_TYPE_AUDIO and active and not self.up:
                audio = self.getAudioMedia(index)
                self._account.player.startTransmit(audio)
                audio.startTransmit(self._account.recorder)
                self.up = True


class Account(pj.Account):
    """One registered user, with what it plays and where it records."""

    def __init__(self, source: Path, target: Path) -> None:
        super().__init__()
        self.status = 0
        self.player = pj.AudioMediaPlayer()
        self.player.createPlayer(str(source))
        self.recorder = pj.AudioMediaRecorder()
        self.recorder.createRecorder(str(target))

    def onRegState(self, prm: Any) -> None:
        """Note how the registration went."""
        self.status = prm.code


def endpoint(folder: Path, transport: str, authority: str = "", pair: str = "") -> Any:
    """The one endpoint: on loopback, without sound card and threads, speaking PCMU only.

    Over TLS it verifies the server if it has an authority, and proves itself if it has a key and certificate.
    """
    end = pj.Endpoint()
    end.libCreate()
    config = pj.EpConfig()
    config.logConfig.consoleLevel = 0
    config.logConfig.filename = str(folder / "pjsua.log")
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.medConfig.noVad = True
    config.medConfig.clockRate = SAMPLE_RATE
    config.medConfig.ecTailLen = 0
    end.libInit(config)
    own = pj.TransportConfig()
    own.boundAddress = own.publicAddress = "127.0.0.1"
    if authority:
        own.tlsConfig.CaListFile = authority
        own.tlsConfig.verifyServer = True
    if pair:
        own.tlsConfig.certFile = own.tlsConfig.privKeyFile = pair
    end.transportCreate(_TRANSPORTS[transport], own)
    end.audDevManager().setNullDev()
    end.libStart()
    for codec in end.codecEnum2():
        end.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMU") else 0)
    return end


def account_of(server: str, user: str, password: str, transport: str) -> Any:
    """The settings of the account: digest credentials, and the server as outbound proxy."""
    suffix = f";transport={transport}"
    config = pj.AccountConfig()
    config.idUri = f"sip:{user}@{server.rpartition(':')[0]}"
    config.regConfig.registrarUri = f"sip:{server}{suffix}"
    config.sipConfig.proxies.append(f"sip:{server}{suffix};lr")
    config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
    config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    return config


def wait(end: Any, condition: Callable[[], object], seconds: float) -> bool:
    """Run the endpoint until the condition holds; whether it did within the time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        end.libHandleEvents(10)
    return bool(condition())


def registered(end: Any, account: Account) -> int:
    """The status that ends the registration; 0 where none comes."""
    wait(end, lambda: account.status >= 200, PATIENCE)
    return account.status


def talk(end: Any, account: Account, called: str, seconds: float) -> int:
    """Register was asked for: wait for it, call, talk, hang up; the packets received."""
    if registered(end, account) != 200:
        raise SystemExit(f"the registration ended with {account.status}")
    call = Call(account)
    call.makeCall(called, pj.CallOpParam(True))
    wait(end, lambda: call.up or not call.isActive(), PATIENCE)
    if not call.up:
        del call  # which the exception would keep beyond the library's end
        raise SystemExit("the call was not answered, or has no audio")
    wait(end, lambda: False, seconds)
    packets = int(call.getStreamStat(0).rtcp.rxStat.pkt)
    call.hangup(pj.CallOpParam(True))
    wait(end, lambda: not call.isActive(), PATIENCE)
    return packets


def main(arguments: list[str]) -> None:
    """Parse the arguments, do it, print the result."""
    place, server, user, password, *call = arguments
    called, transport, frequency, seconds, *files = call or ("", "udp", "440", "0")
    folder = Path(place)
    source, target = folder / "pjsua-tone.wav", folder / "pjsua-heard.wav"
    recording.write_tone(source, float(frequency), float(seconds) + 5)
    end = endpoint(folder, transport, *files)
    account = Account(source, target)
    try:
        account.create(account_of(server, user, password, transport))
        if called:
            packets = talk(end, account, called, float(seconds))
            result = json.dumps({"packets": packets, "recording": str(target)})
        else:
            result = f"{registered(end, account)}"
    finally:
        # Every object of the library must be gone before the library is.
        account.recorder = account.player = None
        account.shutdown()
        del account
        end.libDestroy()
    sys.stdout.write(result + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
