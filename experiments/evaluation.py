"""The evaluation stage: a trained net and labelled sequences in, accuracy and speed out."""

import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from tqdm import tqdm

from data.examples import Example, labelled_clip
from data.examples import Sequence as LabelledSequence
from experiments.results import write_markdown, write_results
from experiments.settings import EvaluationConfig
from experiments.timing import gops_of, prepare_step, speed_columns, time_in_turn
from jaxseg import codec
from jaxseg.arrays import Clip
from jaxseg.checkpoints import Model
from jaxseg.draw import legend, overlay, plot_accuracy_throughput
from jaxseg.metrics import class_iou, confusion_matrix, mean_iou, temporal_consistency
from jaxseg.nets import Net
from jaxseg.runner import Labeller, compile_scheme, label_gops
from jaxseg.schemes import Scheme, copy_last, interp_mv, per_frame, prop_mv
from jaxseg.warping import (
    CHAIN,
    COMPOSED,
    FillFn,
    ReverseFn,
    fill,
    invert,
    is_anywhere,
    negate,
    rest,
)

PROPAGATIONS = {
    ("chain", "border"): CHAIN,
    ("chain", "other"): CHAIN,
    ("composed", "border"): COMPOSED._replace(is_seen=is_anywhere),
    ("composed", "other"): COMPOSED,
}
REVERSALS: dict[str, ReverseFn] = {"negate": negate, "invert": invert}
FILLINGS: dict[str, FillFn] = {"rest": rest, "fill": fill}

COLUMNS = (
    "scheme",
    "interval",
    "miou",
    "miou_min",
    "throughput_fps",
    "speedup",
    "keyframe_ms",
    "intermediate_ms",
)


class Measured(NamedTuple):
    """What a scheme got right.

    Attributes:
        total: `[k, k]` confusion of every frame.
        farthest: `[k, k]` of the frames farthest from keyframes, in whole intervals.
        consistency: Share of pixels that keep their label along the motion.
    """

    total: Int64[np.ndarray, "k k"]
    farthest: Int64[np.ndarray, "k k"]
    consistency: float


def schemes_by_name(config: EvaluationConfig) -> dict[str, Callable[[Net], Scheme]]:
    """List the schemes that are compared.

    Args:
        config: What is measured.

    Returns:
        Their constructors, the baseline first.
    """
    propagation = PROPAGATIONS[config.propagation, config.unseen]
    reverse_fn, fill_fn = REVERSALS[config.reversal], FILLINGS[config.intra]
    return {
        "per-frame": per_frame,
        "copy-last": copy_last,
        "prop-mv": partial(prop_mv, propagation=propagation, fill_fn=fill_fn),
        "interp-mv": partial(
            interp_mv, propagation=propagation, reverse_fn=reverse_fn, fill_fn=fill_fn
        ),
    }


def way_columns(scheme: str, config: EvaluationConfig) -> dict[str, str | None]:
    """Say in a row how a scheme carried features.

    Args:
        scheme: Its name.
        config: What is measured.

    Returns:
        The columns; None where a scheme has no such choice.
    """
    uses_motion, fuses = scheme.endswith("-mv"), scheme == "interp-mv"
    # A chain forgets where things came from.
    unseen = config.unseen if config.propagation == "composed" else "border"
    return {
        "propagation": config.propagation if uses_motion else None,
        "reversal": config.reversal if fuses else None,
        "intra": config.intra if uses_motion else None,
        "unseen": unseen if fuses else None,
    }


def encode_sequence(sequence: LabelledSequence, folder: Path, config: EvaluationConfig) -> Example:
    """Encode a sequence with a real encoder, and read it back with its side data.

    Args:
        sequence: Labelled frames.
        folder: Where the video file goes.
        config: Codec, GOP and quality.

    Returns:
        Frames as decoded, labels, and what the codec says about the motion.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{sequence.name}_{config.codec}_gop{config.gop}_q{config.quality}.mp4"
    path = folder / name
    codec.encode(
        sequence.frames,
        path,
        rate=sequence.rate,
        codec=config.codec,
        gop=config.gop,
        quality=config.quality,
    )
    clip = codec.load(path)
    assert clip.frames is not None
    # The encoder makes odd sizes even; the motion grid is the same.
    height, width = sequence.labels.shape[1:]
    return labelled_clip(clip._replace(frames=clip.frames[:, :height, :width]), sequence.labels)


def evaluate_stage(
    model: Model,
    examples: Sequence[Example],
    *,
    rate: float,
    config: EvaluationConfig,
    out: Path,
    provenance: dict[str, Any],
    title: str,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Measure every scheme at every interval, and write what came out.

    Args:
        model: The net, its variables and classes.
        examples: Labelled clips of one size.
        rate: Frames a second of the clips.
        config: What is measured.
        out: Gets `results.json`, `results.md`, `accuracy_throughput.png`, `overlay.mp4`.
        provenance: Goes into the results.
        title: Over the plot.
        quiet: Show no progress bar.

    Returns:
        The rows of the results.
    """
    height, width = examples[0].labels.shape[1:]
    clips = [clip_of(example) for example in examples]
    labellers = {
        name: compile_scheme(model.net, make_scheme(model.net), height=height, width=width)
        for name, make_scheme in schemes_by_name(config).items()
    }
    work = [("per-frame", 1)] + [
        (name, interval)
        for name in labellers
        if name != "per-frame"
        for interval in config.intervals
    ]

    def prepare(setting: tuple[str, int]) -> Callable[[], None]:
        name, interval = setting
        return prepare_step(labellers[name], model.params, clips[0], interval=interval)

    # Compilation takes longer than all else on a short clip, and one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = tqdm(pool.map(prepare, work), total=len(work), unit="compiled", disable=quiet)
        steps = dict(zip(work, compiled, strict=True))
    rows = []
    for name, interval in tqdm(work, unit="setting", disable=quiet, dynamic_ncols=True):
        measured = measure_accuracy(
            labellers[name],
            model,
            examples,
            name=name,
            interval=interval,
            num_phases=config.num_phases,
        )
        keyframe_ms, interval_ms = time_in_turn(steps["per-frame", 1], steps[name, interval])
        rows.append(
            {
                "scheme": name,
                "interval": interval,
                "net": model.config.name,
                **way_columns(name, config),
                "miou": float(mean_iou(measured.total)),
                "miou_min": float(mean_iou(measured.farthest)),
                "temporal_consistency": measured.consistency,
                **speed_columns(interval, keyframe_ms=keyframe_ms, interval_ms=interval_ms),
                "height": height,
                "width": width,
                **{
                    f"iou_{class_name}": float(value)
                    for class_name, value in zip(
                        model.classes.names, class_iou(measured.total), strict=True
                    )
                },
            }
        )
    write_results(out / "results.json", rows, provenance=provenance)
    write_markdown(out / "results.md", rows, columns=COLUMNS, provenance=provenance)
    plot_accuracy_throughput(rows, out / "accuracy_throughput.png", title=title)
    overlay_gops = gops_of(
        clips[0], labellers["interp-mv"], interval=config.overlay_interval, phase=0
    )
    labels = label_gops(labellers["interp-mv"], model.params, overlay_gops)
    write_overlay(model, clips[0], labels, out / "overlay.mp4", rate=rate)
    return rows


def measure_accuracy(
    labeller: Labeller,
    model: Model,
    examples: Sequence[Example],
    *,
    name: str,
    interval: int,
    num_phases: int,
) -> Measured:
    """Compare a scheme's labels with the truth, over shifted grids of keyframes.

    Args:
        labeller: The compiled scheme.
        model: The net's variables and classes.
        examples: Labelled clips.
        name: The scheme's name; interpolation is farthest from keyframes midway.
        interval: Frames from one keyframe to the next.
        num_phases: Grids of keyframes to average over, at most `interval`, evenly
            spaced; with all of them every frame takes every distance once.

    Returns:
        The confusion of all frames, and of the farthest ones.

    Source:
        Jain & Gonzalez 2018, section 4.1.
    """
    num_classes = model.net.num_classes
    total = np.zeros((num_classes, num_classes), np.int64)
    farthest = np.zeros_like(total)
    consistency = []
    far = {interval // 2, (interval + 1) // 2} if name == "interp-mv" else {interval - 1}
    phases = np.unique(np.linspace(0, interval, num_phases, endpoint=False).astype(int))
    for example in examples:
        for phase in phases if num_phases < interval else range(interval):
            gops = gops_of(clip_of(example), labeller, interval=interval, phase=int(phase))
            start, predicted = 0, []
            for gop, labels in zip(gops, label_gops(labeller, model.params, gops), strict=True):
                is_whole = len(labels) == interval and bool(gop.is_linked)
                for offset, frame_labels in enumerate(labels):
                    confusion = confusion_matrix(
                        example.labels[start + offset], frame_labels, num_classes=num_classes
                    )
                    total += confusion
                    if is_whole and offset % interval in far:
                        farthest += confusion
                start += len(labels)
                predicted.append(labels)
            consistency.append(
                temporal_consistency(np.concatenate(predicted), example.motion, example.inter)
            )
    return Measured(total, farthest, statistics.mean(consistency))


def write_overlay(
    model: Model,
    clip: Clip,
    labels: Iterable[UInt8[np.ndarray, "t H W"]],
    path: Path,
    *,
    rate: float,
) -> None:
    """Write a clip with its labels drawn over it and a legend below.

    Args:
        model: Has the classes' names and colours.
        clip: With frames.
        labels: `[t, H, W]` of each interval, in order.
        path: The video file.
        rate: Frames a second.
    """
    assert clip.frames is not None
    strip = legend(model.classes, width=clip.frames.shape[2])
    every = (one for interval in labels for one in interval)
    pictures = (
        np.concatenate([overlay(frame, one, palette=model.classes.palette), strip])
        for frame, one in zip(clip.frames, every, strict=True)
    )
    codec.encode(pictures, path, rate=rate)


def clip_of(example: Example) -> Clip:
    """Take what a scheme reads out of a labelled clip.

    Args:
        example: With frames.

    Returns:
        The clip, without labels.
    """
    return Clip(
        frames=example.frames,
        motion=example.motion,
        inter=example.inter,
        picture_types=example.picture_types,
        residual=None,
        is_cut=example.is_cut,
    )
