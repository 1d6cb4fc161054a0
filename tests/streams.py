"""Streams of frames for tests: cut into intervals, and broken in the middle."""

from collections.abc import Iterable, Iterator

import pytest

from jaxseg.arrays import CodedFrame, Gop
from jaxseg.intervals import cut_into_gops
from jaxseg.schedules import fixed
from tests import reference


def cut(frames: Iterable[CodedFrame], interval: int = 5, **options) -> list[Gop]:
    """Cut a video at keyframes a fixed distance apart."""
    return list(cut_into_gops(frames, schedule=fixed(interval), max_length=interval, **options))


def broken(num_frames: int) -> Iterator[CodedFrame]:
    """Read a file that is damaged after some frames."""
    yield from reference.numbered_frames(num_frames)
    raise RuntimeError("damaged")


def list_until_damage(items: Iterable) -> list:
    """List what comes before the error, which must come."""
    found = []
    with pytest.raises(RuntimeError, match="damaged"):
        found.extend(items)
    return found
