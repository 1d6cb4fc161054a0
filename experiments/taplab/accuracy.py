"""The accuracy of TapLab's modules, on films from `video`."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Int, Int64, UInt8
from tqdm import tqdm

from experiments.footage import fingerprint
from experiments.log import append_to_log, read_log
from experiments.taplab.flows import NamedFlow, with_flow
from experiments.taplab.units import Carrying, Unit, scheme_of
from experiments.taplab.video import NUM_PARTS, TURNS, Film
from jaxseg.arrays import IGNORE_LABEL, Clip, Gop, Params
from jaxseg.checkpoints import Model
from jaxseg.intervals import cut_into_gops, frames_of_clip, prefetch
from jaxseg.metrics import confusion_matrix
from jaxseg.runner import Labeller, compile_scheme, label_gops
from jaxseg.schedules import at_intra_frames

Row: TypeAlias = dict[str, Any]
Confusion: TypeAlias = Int64[np.ndarray, "k k"]
Labellers: TypeAlias = Mapping[Unit, Sequence[Labeller]]
"""Of each unit one labeller for each part of the video; the same where no threshold matters."""


def compile_units(
    model: Model,
    units: Iterable[Unit],
    *,
    height: int,
    width: int,
    carrying: Carrying,
    flows: Mapping[str, NamedFlow],
    thresholds: Mapping[int, Sequence[float]],
) -> dict[Unit, list[Labeller]]:
    """Make the labellers of units; they compile at their first call.

    Args:
        model: The net.
        units: What is measured.
        height: Of the frames, pixels.
        width: Of the frames, pixels.
        carrying: How maps are carried.
        flows: Optical flows by name.
        thresholds: Of RGFS, by GOP, for each part of the video.

    Returns:
        A labeller for each part.
    """

    def compile_one(unit: Unit, threshold: float | None) -> Labeller:
        scheme = scheme_of(unit, model.net, carrying=carrying, flows=flows, threshold=threshold)
        return compile_scheme(model.net, scheme, height=height, width=width)

    return {
        unit: [compile_one(unit, threshold) for threshold in thresholds[unit.gop]]
        if "rgfs" in unit.scheme
        else [compile_one(unit, None)] * NUM_PARTS
        for unit in units
    }


def keys_of(
    units: Iterable[Unit],
    model: Model,
    *,
    video: str,
    carrying: Carrying,
    flows: Mapping[str, NamedFlow],
    thresholds: Mapping[int, Sequence[float]],
) -> dict[Unit, Row]:
    """Say all that the accuracy of units depends on.

    Args:
        units: What is measured.
        model: The net and its variables.
        video: The fingerprint of the video.
        carrying: How maps are carried.
        flows: Optical flows by name, with variables.
        thresholds: Of RGFS, by GOP, for each part of the video.

    Returns:
        What tells a unit's accuracy from any other, ready for JSON.
    """
    shared = {
        "net": model.config.name,
        "variables": fingerprint(jax.tree.leaves(model.params)),
        "video": video,
        **carrying._asdict(),
    }
    of_flows = {name: fingerprint(jax.tree.leaves(flow.learned)) for name, flow in flows.items()}
    return {
        unit: shared
        | unit._asdict()
        | ({"flow": of_flows[unit.motion]} if unit.motion in flows else {})
        | ({"thresholds": list(thresholds[unit.gop])} if "rgfs" in unit.scheme else {})
        for unit in units
    }


def gops_of(clip: Clip, labeller: Labeller, *, gop: int) -> list[Gop]:
    """Cut a clip into the codec's own GOPs.

    Args:
        clip: With frames and residual.
        labeller: Tells what of them it reads.
        gop: Frames of a whole one.

    Returns:
        The intervals, from each I-frame or cut to the next.
    """
    return list(
        cut_into_gops(
            frames_of_clip(clip),
            schedule=at_intra_frames(),
            max_length=gop,
            reads_all_frames=labeller.reads_all_frames,
            reads_residual=labeller.reads_residual,
        )
    )


def confusion_of(
    labellers: Sequence[Labeller],
    params: Params,
    clip: Clip,
    truth: UInt8[np.ndarray, "t H W"],
    parts: Int[np.ndarray, "t"],
    *,
    gop: int,
    num_classes: int,
) -> Confusion:
    """Compare the labels of a film with the truth, each frame's with its own part's threshold.

    Args:
        labellers: One for each part.
        params: The net's variables.
        clip: The film.
        truth: `[t, H, W]`, `IGNORE_LABEL` where nothing counts.
        parts: `[t]`, the part that each frame belongs to.
        gop: Frames of a GOP.
        num_classes: Number of classes, `k`.

    Returns:
        `[k, k]`.
    """
    total = np.zeros((num_classes, num_classes), np.int64)
    counts = (truth != IGNORE_LABEL).any(axis=(1, 2))
    for part, labeller in enumerate(labellers):
        if labeller in labellers[:part]:
            continue
        # One that serves several parts labels the frames of all of them at once.
        mine = [number for number, it in enumerate(labellers) if it == labeller]
        chosen = counts & np.isin(parts, mine)
        if not chosen.any():
            continue
        gops = gops_of(clip, labeller, gop=gop)
        labels = np.concatenate(list(label_gops(labeller, params, gops)))
        total += confusion_matrix(truth[chosen], labels[chosen], num_classes=num_classes)
    return total


def measure_units(
    films: Sequence[Film],
    labellers: Labellers,
    model: Model,
    keys: Mapping[Unit, Row],
    *,
    flows: Mapping[str, NamedFlow],
    log: Path,
) -> dict[Unit, Confusion]:
    """Measure units on films of one GOP, except what an earlier run has measured alike.

    Args:
        films: Each is read once, and serves all units.
        labellers: The compiled schemes, all of that GOP.
        model: The net's variables and classes.
        keys: For each unit what a line of the log must say to be of it.
        flows: Optical flows by name.
        log: Gets a line for each unit and film as soon as it is measured.

    Returns:
        The confusion over all films.

    Raises:
        DataError: If a film is unusable.
        CodecError: If it cannot be written or read.
    """
    known = {name: np.array(it, np.int64) for name, it in read_log(log).items()}

    def missing_of(film: Film) -> dict[Unit, str]:
        names = {unit: json.dumps(keys[unit] | {"film": film.name}) for unit in labellers}
        return {unit: name for unit, name in names.items() if name not in known}

    def read() -> Iterator[tuple[Film, dict[Unit, str], Clip, np.ndarray]]:
        for film in films:
            missing = missing_of(film)
            if missing:
                yield film, missing, *film.read_fn()

    num_missing = sum(len(missing_of(film)) for film in films)
    with tqdm(total=num_missing, unit="setting", disable=None, dynamic_ncols=True) as progress:
        for film, missing, clip, truth in prefetch(read(), num_ahead=1):
            for unit, name in missing.items():
                known[name] = confusion_of(
                    labellers[unit],
                    with_flow(model.params, flows.get(unit.motion)),
                    clip,
                    truth,
                    film.divisions[TURNS],
                    gop=unit.gop,
                    num_classes=model.net.num_classes,
                )
                append_to_log(log, name, known[name].tolist())
                progress.update()
    return {
        unit: sum(
            (known[json.dumps(keys[unit] | {"film": film.name})] for film in films),
            start=np.zeros((), np.int64),
        )
        for unit in labellers
    }
