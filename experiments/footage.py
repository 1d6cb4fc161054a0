"""Labelled video and the accuracy of schemes on it, labelled throughout or here and there."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from data.cityscapes import find_snippets
from data.cityscapes.reading import RATE
from data.examples import DataError, Example
from experiments import camvid
from experiments.cityscapes import read_clip
from experiments.evaluation import encode_sequence, measure_accuracy
from experiments.settings import EvaluationConfig
from experiments.sparse import (
    Setting,
    SparseClip,
    last_offset,
    measure_sparse,
    midway_offset,
    rotating_offset,
)
from experiments.variants import Unit, Variant
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.checkpoints import Model
from jaxseg.metrics import mean_iou
from jaxseg.runner import Labeller


class Accuracy(NamedTuple):
    """What a unit got right, each 0..1.

    Attributes:
        miou: Mean IoU of all frames.
        miou_min: That of the frames farthest from keyframes.
        temporal_consistency: Share of pixels that keep their label along the motion;
            None where no consecutive frames are labelled.
    """

    miou: float
    miou_min: float
    temporal_consistency: float | None = None


MeasureFn = Callable[
    [Mapping[Variant, Labeller], Model, Sequence[Unit]], Iterator[tuple[Unit, Accuracy]]
]


class Footage(NamedTuple):
    """Labelled video.

    Attributes:
        title: What it is called.
        rate: Frames a second.
        example: A clip of it, which is timed and drawn.
        is_dense: Whether every frame is labelled.
        measure: Yields the accuracy of each unit.
        fingerprint: Differs where the video does.
    """

    title: str
    rate: float
    example: Example
    is_dense: bool
    measure: MeasureFn
    fingerprint: str


def open_footage(data_dir: Path | None, folder: Path, config: EvaluationConfig) -> Footage:
    """Find the labelled video, and how it is measured.

    Args:
        data_dir: Folder of CamVid or Cityscapes; None for the embedded clip.
        folder: Where encoded videos go.
        config: How they are encoded.

    Returns:
        The video.

    Raises:
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
    """
    if data_dir is not None and (data_dir / "gtFine").is_dir():
        snippets = find_snippets(data_dir, "val")
        read = partial(read_clip, folder=folder, config=config)
        return Footage(
            title="Cityscapes val",
            rate=RATE,
            example=read(snippets[0]).example,
            is_dense=False,
            measure=partial(measure_sparsely, lambda: map(read, snippets), len(snippets)),
            fingerprint=fingerprint([snippet.name.encode() for snippet in snippets]),
        )
    chosen = camvid.data_set(data_dir)
    sequences = chosen.read_sequences()
    if not sequences:
        raise DataError("the data set has no labelled sequence to measure on; see its val list")
    examples = [encode_sequence(one, folder, config) for one in sequences]
    return Footage(
        title=chosen.title,
        rate=sequences[0].rate,
        example=max(examples, key=lambda example: len(example.labels)),
        is_dense=all((frame != IGNORE_LABEL).any() for one in examples for frame in one.labels),
        measure=partial(measure_densely, examples),
        fingerprint=fingerprint(leaf for one in examples for leaf in one),
    )


def measure_densely(
    examples: Sequence[Example],
    labellers: Mapping[Variant, Labeller],
    model: Model,
    units: Sequence[Unit],
) -> Iterator[tuple[Unit, Accuracy]]:
    """Measure on every labelled frame at every distance from its keyframe.

    Args:
        examples: Labelled clips.
        labellers: The compiled schemes.
        model: The net's variables and classes.
        units: What is measured.

    Yields:
        The accuracy of each unit.
    """
    for unit in tqdm(units, unit="setting", disable=None, dynamic_ncols=True):
        measured = measure_accuracy(
            labellers[unit.variant],
            model,
            examples,
            name=unit.variant.scheme,
            interval=unit.interval,
            num_phases=unit.interval,
        )
        miou, miou_min = float(mean_iou(measured.total)), float(mean_iou(measured.farthest))
        yield unit, Accuracy(miou, miou_min, measured.consistency)


def measure_sparsely(
    read_clips: Callable[[], Iterable[SparseClip]],
    num_clips: int,
    labellers: Mapping[Variant, Labeller],
    model: Model,
    units: Sequence[Unit],
) -> Iterator[tuple[Unit, Accuracy]]:
    """Measure on clips of one labelled frame each, whose distance rotates.

    Args:
        read_clips: Reads them.
        num_clips: How many there are.
        labellers: The compiled schemes.
        model: The net's variables and classes.
        units: What is measured.

    Yields:
        The accuracy of each unit, after the last clip.

    Raises:
        DataError: If a clip is too short for an interval, or unusable.

    Source:
        Jain & Gonzalez 2018, section 4.1.
    """
    settings = {}
    for unit in units:
        far = midway_offset if unit.variant.scheme == "interp-mv" else last_offset
        for which, offset_fn in (("all", rotating_offset), ("farthest", far)):
            settings[unit, which] = Setting(str(unit.variant), unit.interval, offset_fn)
    clips = tqdm(read_clips(), total=num_clips, unit="clip", disable=None, dynamic_ncols=True)
    by_name = {str(variant): labeller for variant, labeller in labellers.items()}
    confusions = measure_sparse(by_name, model, clips, settings)
    for unit in units:
        every, farthest = confusions[unit, "all"], confusions[unit, "farthest"]
        yield unit, Accuracy(float(mean_iou(every)), float(mean_iou(farthest)))


def fingerprint(parts: Iterable[Any]) -> str:
    """Tell data apart by a few letters.

    Args:
        parts: Arrays or bytes.

    Returns:
        Another text for other data.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]
