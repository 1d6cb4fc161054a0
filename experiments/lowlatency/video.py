"""Labelled video, encoded as H.264, with all that a scheme may read of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data import cityscapes
from data.cityscapes.reading import RATE
from data.examples import DataError
from data.examples import Sequence as LabelledSequence
from experiments import camvid
from jaxseg import codec
from jaxseg.arrays import Clip
from jaxseg.classes import CITYSCAPES, Classes
from jaxseg.regions import RESIDUAL_THRESHOLD

GOP, QUALITY = 250, 18
"""Frames from one of the codec's I-frames to the next, and x264's constant rate factor."""


class Film(NamedTuple):
    """A clip and its labels.

    Attributes:
        clip: With frames and residual.
        labels: `[t, H, W]`, `IGNORE_LABEL` where there are none.
    """

    clip: Clip
    labels: UInt8[np.ndarray, "t H W"]


class Video(NamedTuple):
    """Labelled video.

    Attributes:
        title: What it is called.
        classes: Names and colours of its labels.
        rate: Frames a second.
        read_films: Reads it, a film at a time.
    """

    title: str
    classes: Classes
    rate: float
    read_films: Callable[[], Iterator[Film]]


def open_video(data_dir: Path | None, folder: Path, *, max_films: int | None) -> Video:
    """Find the labelled video.

    Args:
        data_dir: Folder of CamVid or Cityscapes; None for the embedded clip.
        folder: Where encoded videos go.
        max_films: Films to read, at most; None for all.

    Returns:
        The video.

    Raises:
        DataError: If the data set is unusable.
    """
    if data_dir is not None and (data_dir / "gtFine").is_dir():
        snippets = cityscapes.find_snippets(data_dir, "val")[:max_films]
        make: Callable[[], Iterable[LabelledSequence]] = partial(
            map, cityscapes.read_snippet, snippets
        )
        return Video("Cityscapes val", CITYSCAPES, RATE, partial(_films, make, folder))
    chosen = camvid.data_set(data_dir)
    sequences: Sequence[LabelledSequence] = chosen.read_sequences()
    if not sequences:
        raise DataError("the data set has no labelled sequence to measure on; see its val list")
    make = partial(islice, sequences, max_films)
    return Video(chosen.title, chosen.classes, sequences[0].rate, partial(_films, make, folder))


def _films(make: Callable[[], Iterable[LabelledSequence]], folder: Path) -> Iterator[Film]:
    folder.mkdir(parents=True, exist_ok=True)
    for one in make():
        path = folder / f"{one.name}_h264_gop{GOP}_q{QUALITY}.mp4"
        if not path.exists():
            codec.encode(one.frames, path, rate=one.rate, gop=GOP, quality=QUALITY)
        clip = codec.load(path, residual_threshold=RESIDUAL_THRESHOLD)
        assert clip.frames is not None
        # The encoder makes odd sizes even; the grids are the same.
        height, width = one.labels.shape[1:]
        frames = clip.frames[:, :height, :width]
        if frames.shape[:3] != one.labels.shape:
            raise DataError(
                f"{path}: holds frames of shape {frames.shape[:3]}, but the labels are "
                f"{one.labels.shape}; remove the video to have it made anew"
            )
        yield Film(clip._replace(frames=frames), one.labels)
