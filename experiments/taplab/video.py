"""Labelled video as TapLab meets it: coded in GOPs, and labelled at any distance from I-frames.

Where all frames are labelled, every one of them takes every distance: the video is
encoded several times, each time begun some frames later, and what counts are the frames
that all of these films share.  Where one frame of a snippet is labelled, the film begins
a random number of frames before it, as in section 4.1.2 of the paper.

The threshold of RGFS is always found on other video than it is used on: frames belong to
one of two parts, and each part has the threshold that is found on the other.  Stretches
of frames, or snippets, take turns; how well a threshold does on video that is farther
away is told by the two halves.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from data import cityscapes
from data.cityscapes.reading import RATE, read_frames, read_labels, sparse_labels
from data.examples import DataError
from data.examples import Sequence as LabelledSequence
from experiments import camvid
from experiments.footage import fingerprint
from jaxseg import codec
from jaxseg.arrays import IGNORE_LABEL, Clip
from jaxseg.classes import CITYSCAPES, Classes
from jaxseg.regions import RESIDUAL_THRESHOLD

NUM_PARTS = 2

TURNS, HALVES = "turns", "halves"
"""How video is divided into two parts: in turn, or in the middle."""


@dataclasses.dataclass(frozen=True)
class Coding:
    """How the video is encoded and divided.

    Attributes:
        codec: "mpeg4" (MPEG-4 Part 2, the paper's) or "h264".
        quality: Quantiser (mpeg4) or constant rate factor (h264); lower is better.
        num_phases: Films of a sequence, begun at different frames, at most; as many as a
            GOP is long give every frame every distance.
        stretch: Frames that belong to one part before the other's turn comes.
        seed: Of the random distances where few frames are labelled.
    """

    codec: Literal["mpeg4", "h264"] = "mpeg4"
    quality: int = 4
    num_phases: int = 4
    stretch: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("num_phases", "stretch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")


class Film(NamedTuple):
    """An encoded video.

    Attributes:
        name: Tells it from other films of the same GOP.
        phase: At which frame it was begun.
        divisions: The part that each frame belongs to, `[t]`, by how that is decided.
        read_fn: Reads it: a clip with frames and residual, and labels `[t, H, W]`,
            `IGNORE_LABEL` in the frames that do not count.
    """

    name: str
    phase: int
    divisions: Mapping[str, Int[np.ndarray, "t"]]
    read_fn: Callable[[], tuple[Clip, UInt8[np.ndarray, "t H W"]]]


class Video(NamedTuple):
    """Labelled video, and the films that are made of it.

    Attributes:
        title: What it is called.
        classes: Names and colours of its labels.
        height: Of its frames, pixels.
        width: Of its frames, pixels.
        is_dense: Whether every frame is labelled.
        films_fn: Encodes it with GOPs of some length, in frames.
        fingerprint: Differs where the video, or how it is encoded, does.
    """

    title: str
    classes: Classes
    height: int
    width: int
    is_dense: bool
    films_fn: Callable[[int], list[Film]]
    fingerprint: str


def open_video(
    data_dir: Path | None, folder: Path, *, gops: Sequence[int], coding: Coding
) -> Video:
    """Find the labelled video, and how films are made of it.

    Args:
        data_dir: Folder of CamVid or Cityscapes; None for the embedded clip.
        folder: Where encoded videos go.
        gops: The lengths of GOPs that will be asked for, frames.
        coding: How it is encoded.

    Returns:
        The video.

    Raises:
        DataError: If the data set is unusable, or too short.
    """
    if data_dir is not None and (data_dir / "gtFine").is_dir():
        snippets = cityscapes.find_snippets(data_dir, "val")
        height, width = read_labels(snippets[0].labels).shape
        names = [snippet.name.encode() for snippet in snippets]
        return Video(
            title="Cityscapes val",
            classes=CITYSCAPES,
            height=height,
            width=width,
            is_dense=False,
            films_fn=partial(films_of_snippets, snippets, folder, coding=coding),
            fingerprint=fingerprint([str(coding).encode(), *names]),
        )
    chosen = camvid.data_set(data_dir)
    first = max(int(phases_of(gop, coding.num_phases)[-1]) for gop in gops)
    every = chosen.read_sequences()
    sequences = [one for one in every if len(one.frames) >= first + max(gops)]
    if not sequences:
        longest = max((len(one.frames) for one in every), default=0)
        raise DataError(
            f"the longest labelled sequence has {longest} frames, but GOPs of {max(gops)}, begun "
            f"up to {first} frames late, need {first + max(gops)}; give shorter GOPs, fewer "
            "phases or other data"
        )
    height, width = sequences[0].labels.shape[1:]
    return Video(
        title=chosen.title,
        classes=chosen.classes,
        height=height,
        width=width,
        is_dense=all((frame != IGNORE_LABEL).any() for one in sequences for frame in one.labels),
        films_fn=partial(films_of_sequences, sequences, folder, first=first, coding=coding),
        fingerprint=fingerprint(
            [f"{coding} {first}".encode(), *(it for one in sequences for it in one[2:])]
        ),
    )


def phases_of(gop: int, num_phases: int) -> Int[np.ndarray, "n"]:
    """Choose at which frames films begin, evenly spaced within a GOP.

    Args:
        gop: Frames of a GOP.
        num_phases: Films, at most.

    Returns:
        `min(num_phases, gop)` numbers of frames, from 0.
    """
    return np.linspace(0, gop, min(num_phases, gop), endpoint=False).astype(int)


def films_of_sequences(
    sequences: Sequence[LabelledSequence],
    folder: Path,
    gop: int,
    *,
    first: int,
    coding: Coding,
) -> list[Film]:
    """Encode densely labelled video, once for each phase.

    Args:
        sequences: Labelled sequences.
        folder: Where the films go.
        gop: Frames of a GOP.
        first: The first frame of each sequence that counts.
        coding: How they are encoded and divided.

    Returns:
        The films, all phases of a sequence one after the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    films, before, total = [], 0, sum(len(one.frames) for one in sequences)
    for one in sequences:
        numbers = before + np.arange(len(one.frames))
        before += len(one.frames)
        for phase in map(int, phases_of(gop, coding.num_phases)):
            name = f"{one.name}_{coding.codec}_gop{gop}_q{coding.quality}_from{phase}"
            path = folder / f"{name}.mp4"
            _encode(one.frames[phase:], path, rate=one.rate, gop=gop, coding=coding)
            labels = one.labels[phase:].copy()
            labels[: first - phase] = IGNORE_LABEL
            divisions = {
                TURNS: numbers[phase:] // coding.stretch % NUM_PARTS,
                HALVES: NUM_PARTS * numbers[phase:] // total,
            }
            films.append(Film(name, phase, divisions, partial(_load, path, labels)))
    return films


def films_of_snippets(
    snippets: Sequence[cityscapes.Snippet], folder: Path, gop: int, *, coding: Coding
) -> list[Film]:
    """Plan a film of each snippet, begun a random number of frames before the labelled one.

    Args:
        snippets: Snippets of one labelled frame each.
        folder: Where the films go; each is encoded when it is first read.
        gop: Frames of a GOP; the film ends with the next I-frame, or with the snippet.
        coding: How they are encoded.

    Returns:
        The films; those of one part and of the other take turns.

    Raises:
        DataError: If a snippet has too few frames before the labelled one.

    Source:
        TapLab (Feng et al. 2020), section 4.1.2.
    """
    distances = np.random.default_rng([coding.seed, gop]).integers(gop, size=len(snippets))
    films = []
    for number, (snippet, distance) in enumerate(zip(snippets, map(int, distances), strict=True)):
        start = snippet.labelled - distance
        if start < 0:
            raise DataError(
                f"{snippet.name}: {snippet.labelled} frames come before the labelled one, but "
                f"GOPs of {gop} need {gop - 1}; give shorter ones"
            )
        name = f"{snippet.name}_{coding.codec}_gop{gop}_q{coding.quality}_from{start}"
        chosen = snippet._replace(frames=snippet.frames[start : start + gop + 1], labelled=distance)
        whole = np.ones(len(chosen.frames), int)
        divisions = {
            TURNS: number % NUM_PARTS * whole,
            HALVES: NUM_PARTS * number // len(snippets) * whole,
        }
        read_fn = partial(_encode_and_load, chosen, folder / f"{name}.mp4", gop=gop, coding=coding)
        films.append(Film(name, 0, divisions, read_fn))
    return films


def _encode(
    frames: Iterable[np.ndarray], path: Path, *, rate: float, gop: int, coding: Coding
) -> None:
    codec.encode(frames, path, rate=rate, codec=coding.codec, gop=gop, quality=coding.quality)


def _load(path: Path, labels: np.ndarray) -> tuple[Clip, np.ndarray]:
    clip = codec.load(path, residual_threshold=RESIDUAL_THRESHOLD)
    assert clip.frames is not None
    # The encoder makes odd sizes even; the grids are the same.
    height, width = labels.shape[1:]
    frames = clip.frames[:, :height, :width]
    if frames.shape[:3] != labels.shape:
        raise DataError(
            f"{path}: holds frames of shape {frames.shape[:3]}, but the labels are "
            f"{labels.shape}; remove the video to have it made anew"
        )
    return clip._replace(frames=frames), labels


def _encode_and_load(
    snippet: cityscapes.Snippet, path: Path, *, gop: int, coding: Coding
) -> tuple[Clip, np.ndarray]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _encode(read_frames(snippet), path, rate=RATE, gop=gop, coding=coding)
    count, labels = len(snippet.frames), read_labels(snippet.labels)
    return _load(path, sparse_labels(labels, num_frames=count, labelled=snippet.labelled))
