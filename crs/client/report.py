"""What `crs-client` says of calls that are over, line by line, and the files that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crs.client.call import Call
from crs.client.error import CallEnded, ClientError
from crs.client.group import GroupCall
from rtlib.audio import wav


def report_group(call: GroupCall, end: CallEnded, directory: Path | None) -> None:
    """Say how a group ended for us and what came from whom; keep the recordings. Raises ClientError."""
    say(str(end))
    assert call.stream is not None
    counters = call.stream.counters
    say(f"packets: {counters.sent} sent, {counters.refused} refused")
    for identifier, heard in call.stream.heard.items():
        name = str(call.names.get(identifier, identifier))
        say(f"from {name}: {heard.reception.received} received, {heard.reception.lost} lost")
        if directory is not None:
            file = directory / f"{call.session}-{name.replace('/', '_')}.wav"
            with user_files():
                wav.write(file, heard.recording.samples)
            say(f"recorded {file}")


def report_call(call: Call, end: CallEnded, record: Path | None) -> None:
    """Say how the call ended and what went through it; keep the recording. Raises ClientError."""
    say(str(end))
    for stream in call.streams:
        counters, reception = stream.counters, stream.reception
        say(
            f"packets: {counters.sent} sent, {reception.received} received, {reception.lost} lost,"
            f" {counters.refused} refused"
        )
    if record is not None:
        with user_files():
            wav.write(record, call.streams[0].recording.samples)
        say(f"recorded {record}")


def save(file: Path, data: bytes) -> None:
    """Write a user's file. Raises ClientError."""
    try:
        file.write_bytes(data)
    except OSError as error:
        raise ClientError(f"{file}: {error.strerror}") from error


@contextmanager
def user_files() -> Iterator[None]:
    """What is wrong with the user's files is told like everything else that goes wrong."""
    try:
        yield
    except wav.WavError as error:
        raise ClientError(str(error)) from error


def say(line: str) -> None:
    """Print one line at once, also into a pipe."""
    print(line, flush=True)  # noqa: T201  the program's output
