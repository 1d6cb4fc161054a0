"""How well a video's motion vectors explain its frames, and what kind of file it is."""

import operator
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from av.container import InputContainer
from av.video.frame import PictureType as CodecPictureType
from jaxtyping import Float64, Int64, UInt8

from jaxseg.arrays import CodedFrame, PictureType
from jaxseg.codec.opening import decode, header_seconds, open_video
from jaxseg.codec.reading import PICTURE_TYPES
from jaxseg.codec.residual import motion_compensate

MOVES = 0.5
"""A block whose vector is shorter than this, in pixels, counts as standing still."""

PER_PIXEL = 4
"""Lengths are counted in quarters of a pixel, the finest that codecs use."""

LONGEST = 4096
"""Pixels; no codec has longer vectors."""

PER_DB = 100
"""PSNR is counted in hundredths of a decibel."""

NO_ERROR = 100
"""Decibels; less than one value in 150 000 is off by one, which counts as no error."""


CHUNK = 2**15
"""Values of two frames that are compared at once."""


class MotionStatistics(NamedTuple):
    """What motion does in a video, as sums: those of its parts add up to those of the whole.

    Measured are frames that show the scene of the frame before and may use motion: not
    the first one, no I-frames, no cuts.  Blocks are 8x8 pixels.  PSNR compares such a
    frame, in RGB, with the frame before ("still") and with the frame before moved by
    the vectors to whole pixels ("moved"); frames equal to the one before are left out.

    Attributes:
        num_frames: Frames seen.
        num_cuts: Cuts among them.
        num_measured: Frames measured.
        num_changed: Frames measured that differ from the one before.
        num_blocks: Blocks of the measured frames.
        lengths: `[n]`, how many blocks with a vector have one of `i / PER_PIXEL` pixels.
        length_sum: Sum of these lengths, pixels.
        error_sums: `[2]`, still and moved: sum of the changed frames' mean squared error.
        psnr: `[2, m]`, still and moved: how many changed frames have `i / PER_DB` dB,
            the last of them or more.
    """

    num_frames: int
    num_cuts: int
    num_measured: int
    num_changed: int
    num_blocks: int
    lengths: Int64[np.ndarray, "n"]
    length_sum: float
    error_sums: Float64[np.ndarray, "2"]
    psnr: Int64[np.ndarray, "2 m"]

    @property
    def intra_share(self) -> float | None:
        """Share of the blocks that have no vector, 0..1; None without blocks."""
        return 1 - self.lengths.sum() / self.num_blocks if self.num_blocks else None

    @property
    def moving_share(self) -> float | None:
        """Share of the blocks that move by `MOVES` pixels or more; None without blocks."""
        moving = self.lengths[round(MOVES * PER_PIXEL) :].sum()
        return moving / self.num_blocks if self.num_blocks else None

    @property
    def mean_length(self) -> float | None:
        """Mean length of the vectors, pixels; None where there are none."""
        count = self.lengths.sum()
        return self.length_sum / count if count else None

    def length(self, quantile: float) -> float | None:
        """Give the length, in quarter pixels, that a share of the vectors do not exceed.

        Args:
            quantile: 0.5 for the median, 1 for the longest.

        Returns:
            Pixels; None where there are no vectors.
        """
        place = _quantile(self.lengths, quantile)
        return None if place is None else place / PER_PIXEL

    @property
    def median_psnr(self) -> tuple[float | None, float | None]:
        """Median PSNR of the changed frames, dB, still and moved.

        None where no frame changed, or at least every second one has no error.
        """
        still, moved = (_quantile(counts, 0.5) for counts in self.psnr)
        return _decibels(still), _decibels(moved)

    @property
    def mean_psnr(self) -> tuple[float | None, float | None]:
        """PSNR of the changed frames' mean squared error, dB, still and moved.

        None where no frame changed, or there is no error.
        """
        places = _psnr_places(self.error_sums / max(self.num_changed, 1))
        still, moved = (int(place) if self.num_changed else None for place in places)
        return _decibels(still), _decibels(moved)


def measure_motion(frames: Iterable[CodedFrame]) -> MotionStatistics:
    """Measure motion and what it explains, in one pass and constant memory.

    Args:
        frames: Consecutive frames, from `read_frames` or `open_source`.

    Returns:
        The statistics.
    """
    statistics, previous = _nothing(), None
    for frame in frames:
        rgb = frame.rgb()
        if previous is None or frame.is_cut or frame.picture_type == PictureType.INTRA:
            found = _nothing()
        else:
            found = _measure_frame(previous, rgb, frame)
        found = found._replace(num_frames=1, num_cuts=int(frame.is_cut))
        statistics, previous = merge_statistics(statistics, found), rgb
    return statistics


def merge_statistics(first: MotionStatistics, second: MotionStatistics) -> MotionStatistics:
    """Add up the statistics of two parts of a video, or of two videos.

    Args:
        first: Of one part.
        second: Of the other.

    Returns:
        Those of both.
    """
    return MotionStatistics(*map(operator.add, first, second))


@dataclass(frozen=True)
class Container:
    """What a file says about itself, and `Probe` does not.

    Attributes:
        name: FFmpeg's long name of the container.
        num_bytes: Size of the file; None where it is an address.
        seconds: Length of the video by the header; None where it does not tell.
        profile: The codec's profile; None where there is none.
        pixel_format: FFmpeg's name of how pixels are stored; None where unknown.
        bit_depth: Bits of the first component of a pixel; None where unknown.
    """

    name: str
    num_bytes: int | None
    seconds: float | None
    profile: str | None
    pixel_format: str | None
    bit_depth: int | None


def probe_container(path: str | Path) -> Container:
    """Find out what the header of a video file says, without decoding it.

    Args:
        path: The file.

    Returns:
        What it says.

    Raises:
        CodecError: If there is no such file or no video in it.
    """
    with open_video(path) as stream:
        pixels = stream.codec_context.format
        return Container(
            name=cast(InputContainer, stream.container).format.long_name,
            num_bytes=os.path.getsize(path) if os.path.isfile(path) else None,
            seconds=header_seconds(stream),
            profile=stream.codec_context.profile,
            pixel_format=pixels.name if pixels else None,
            bit_depth=pixels.components[0].bits if pixels and pixels.components else None,
        )


def picture_types(path: str | Path) -> Iterator[PictureType]:
    """Read only how the pictures of a file were coded, with or without vectors.

    Args:
        path: The file.

    Returns:
        An iterator of their types in the order in which they are shown.

    Raises:
        CodecError: If the file is no video; after the last intact picture, if damaged.
    """
    with open_video(path) as stream:
        stream.thread_type = "AUTO"  # Frame threads change vectors, but no types.
        for picture in decode(path, stream):
            yield PICTURE_TYPES.get(CodecPictureType(picture.pict_type), PictureType.PREDICTED)


def _measure_frame(
    previous: UInt8[np.ndarray, "H W 3"], rgb: UInt8[np.ndarray, "H W 3"], frame: CodedFrame
) -> MotionStatistics:
    lengths = np.hypot(*np.moveaxis(frame.motion[frame.inter], -1, 0))
    places = np.rint(lengths * PER_PIXEL).astype(np.int64)
    found = _nothing()
    still = _mean_squared_error(previous, rgb)
    # Many frames of a screen or a cartoon repeat the one before: nothing to explain.
    if still:
        moved = _mean_squared_error(motion_compensate(previous, frame.motion), rgb)
        errors = np.array([still, moved])
        found.psnr[[0, 1], _psnr_places(errors)] = 1
        found = found._replace(num_changed=1, error_sums=errors)
    return found._replace(
        num_measured=1,
        num_blocks=frame.inter.size,
        lengths=np.bincount(
            places.clip(max=LONGEST * PER_PIXEL), minlength=LONGEST * PER_PIXEL + 1
        ),
        length_sum=float(lengths.sum(dtype=np.float64)),
    )


def _nothing() -> MotionStatistics:
    return MotionStatistics(
        num_frames=0,
        num_cuts=0,
        num_measured=0,
        num_changed=0,
        num_blocks=0,
        lengths=np.zeros(LONGEST * PER_PIXEL + 1, np.int64),
        length_sum=0.0,
        error_sums=np.zeros(2),
        psnr=np.zeros((2, NO_ERROR * PER_DB + 1), np.int64),
    )


def _mean_squared_error(first: np.ndarray, second: np.ndarray) -> float:
    one, other, total = first.ravel(), second.ravel(), 0.0
    # In parts that stay in the processor's cache.
    for start in range(0, one.size, CHUNK):
        part = slice(start, start + CHUNK)
        error = np.subtract(one[part], other[part], dtype=np.float32)
        total += float(error @ error)
    return total / one.size


def _psnr_places(errors: Float64[np.ndarray, "2"]) -> Int64[np.ndarray, "2"]:
    """Give the place of mean squared errors in a count by PSNR."""
    least = 255**2 / 10 ** (NO_ERROR / 10)
    decibels = 10 * np.log10(255**2 / np.maximum(errors, least))
    return np.rint(PER_DB * decibels).astype(np.int64)


def _decibels(place: int | None) -> float | None:
    return None if place is None or place >= NO_ERROR * PER_DB else place / PER_DB


def _quantile(counts: Int64[np.ndarray, "n"], quantile: float) -> int | None:
    """Find the first place up to which a share of all is counted."""
    counted = counts.cumsum()
    return int(np.searchsorted(counted, quantile * counted[-1])) if counted[-1] else None
