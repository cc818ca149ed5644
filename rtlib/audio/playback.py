"""Where outgoing audio comes from: an endless source of samples cut into frames of PCMU."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice, repeat

from rtlib.audio import mulaw
from rtlib.audio.rtp import FRAME_SAMPLES


def frames(samples: Iterable[int]) -> Iterator[bytes]:
    """Frames of 20 ms until the samples end; the last one is filled up with silence."""
    source = iter(samples)
    while frame := array("h", islice(source, FRAME_SAMPLES)):
        frame.extend(repeat(0, FRAME_SAMPLES - len(frame)))
        yield mulaw.encode(frame)
