"""Measure every table and figure of Jain & Gonzalez 2018 on a trained net.

    python -m experiments.jain_gonzalez --checkpoint runs/camvid --data-dir CAMVID --out OUT
    python -m experiments.jain_gonzalez --checkpoint runs/cityscapes --data-dir CITYSCAPES --out OUT

OUT gets `tables.md` (Tables 1 or 3, and 2, the paper's numbers beside), `figure2.png`,
`figure4.png`, `figure5.png`, `figure6.png`, and `results.json` with all rows, the
paper's marked by their `source`.  On CamVid, whose frames are all labelled, each frame
takes every distance to its keyframe; on Cityscapes the distance rotates as in section
4.1 of the paper.  Without a folder of data it runs on the embedded clip.  Features are
carried in our way, or with `--propagation chain --reversal negate --intra rest` in the paper's.

The accuracies measured so far are in OUT/rows.jsonl, from which `--resume` goes on;
times are taken anew, all in turn, so that a machine's changes of pace hit all alike.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
import tyro
from PIL import Image
from tqdm import tqdm

from data.examples import DataError, Example
from experiments.breakdown import time_extraction, time_parts
from experiments.command import explain
from experiments.evaluation import clip_of
from experiments.footage import Accuracy, Footage, fingerprint, open_footage
from experiments.paper import MEASURED, write_figures, write_tables
from experiments.published import published_rows
from experiments.results import provenance, write_results
from experiments.settings import EvaluationConfig, SettingsError
from experiments.sparse import cut_around
from experiments.timing import prepare_step, speed_columns, time_in_turn
from experiments.variants import Unit, Variant, choose_flow, key_of, makers_of, units_of
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.checkpoints import Model, load_model
from jaxseg.draw import grid_of_pictures, legend, overlay
from jaxseg.files import replacing, write_text
from jaxseg.nets import default_dtype, flownet_s
from jaxseg.runner import (
    Labeller,
    compile_scheme,
    delay_frames,
    delay_ms,
    keep_compilations,
    label_gops,
)
from jaxseg.schemes import Scheme

Row: TypeAlias = dict[str, Any]

MIN_ROUNDS = 9
"""Turns in which all settings are timed, at least."""

STRIP_INTERVAL, STRIP_OFFSETS = 7, (0, 2, 4, 6)
"""Of Figure 5."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured, on what.

    Attributes:
        checkpoint: Folder of a trained run.
        data_dir: Folder of CamVid or Cityscapes; without one, the embedded clip is used.
        out: Gets the results.
        intervals: Keyframe intervals of Tables 1 and 3, frames.
        distances: Distances to both keyframes of Table 2, frames.
        propagation: As in `EvaluationConfig`; the paper's is "chain".
        reversal: As in `EvaluationConfig`; the paper's is "negate".
        intra: As in `EvaluationConfig`; the paper's is "rest".
        unseen: As in `EvaluationConfig`; the paper's is "border".
        flow: Which optical flow stands for prop-flow: "dis", OpenCV's; "flownet-s", the
            paper's, with learned weights; or "none".  If not given, "dis" where OpenCV
            is installed.
        flow_weights: Published weights of FlowNet-S; else those in the checkpoint.
        resume: Keep what was measured in `out` with the same settings.
    """

    checkpoint: Path
    data_dir: Path | None = None
    out: Path = Path("runs/jain_gonzalez")
    intervals: tuple[int, ...] = tuple(range(1, 11))
    distances: tuple[int, ...] = (1, 2, 3, 4)
    propagation: Literal["composed", "chain"] = "composed"
    reversal: Literal["invert", "negate"] = "invert"
    intra: Literal["fill", "rest"] = "fill"
    unseen: Literal["other", "border"] = "other"
    flow: Literal["dis", "flownet-s", "none"] | None = None
    flow_weights: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in ("intervals", "distances"):
            wrong = [value for value in getattr(self, name) if value < 1]
            if wrong or not getattr(self, name):
                raise ValueError(f"{name} are {getattr(self, name)}, but must be at least 1")


def measure_units(
    footage: Footage,
    labellers: Mapping[Variant, Labeller],
    model: Model,
    keys: Mapping[Unit, Row],
    *,
    log: Path,
) -> dict[Unit, Accuracy]:
    """Measure the accuracy of units, except what an earlier run has measured alike.

    Args:
        footage: The labelled video.
        labellers: The compiled schemes.
        model: The net's variables and classes.
        keys: For each unit what a line of the log must say to be of it.
        log: Gets a line a unit as soon as it is measured.

    Returns:
        The accuracy of each unit.

    Raises:
        DataError: If the data set is unusable.
    """
    known: dict[Unit, Accuracy] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        with suppress(json.JSONDecodeError):  # The last line of a run that was killed.
            row = json.loads(line)
            known |= {
                unit: Accuracy(*(row[name] for name in Accuracy._fields))
                for unit, key in keys.items()
                if key.items() <= row.items()
            }
    lines = [json.dumps(keys[unit] | known[unit]._asdict()) for unit in known]
    write_text(log, "".join(f"{line}\n" for line in lines))
    missing = [unit for unit in keys if unit not in known]
    if missing:
        with log.open("a") as file:
            for unit, accuracy in footage.measure(labellers, model, missing):
                known[unit] = accuracy
                file.write(f"{json.dumps(keys[unit] | accuracy._asdict())}\n")
                file.flush()
    return known


def time_units(
    labellers: Mapping[Variant, Labeller],
    model: Model,
    example: Example,
    units: Sequence[Unit],
) -> dict[Unit, float]:
    """Time one interval of each unit, all in turn, compilation excluded.

    Args:
        labellers: The compiled schemes.
        model: The net's variables.
        example: Where the interval is taken from.
        units: What is timed.

    Returns:
        Milliseconds an interval.
    """
    clip = clip_of(example)

    def prepare(unit: Unit) -> Callable[[], None]:
        labeller = labellers[unit.variant]
        return prepare_step(labeller, model.params, clip, interval=unit.interval)

    # Compilation takes longer than all else on a short clip, and one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = tqdm(pool.map(prepare, units), total=len(units), unit="compiled", disable=None)
        steps = list(compiled)
    return dict(zip(units, time_in_turn(*steps, min_repeats=MIN_ROUNDS), strict=True))


def accuracy_rows(
    keys: Mapping[Unit, Row],
    schemes: Mapping[Variant, Scheme],
    accuracy: Mapping[Unit, Accuracy],
    times_ms: Mapping[Unit, float],
    *,
    rate: float,
) -> list[Row]:
    """Join accuracy, time and delay of the units of Tables 1 and 3.

    Args:
        keys: What says in a row which unit it is of.
        schemes: The scheme of each variant.
        accuracy: Of each unit.
        times_ms: Of an interval of each unit that is to have a row.
        rate: Frames a second of the video.

    Returns:
        A row a unit.
    """
    frame_ms = times_ms[Unit(Variant("per-frame"), 1)]
    rows = []
    for unit, interval_ms in times_ms.items():
        scheme = schemes[unit.variant]
        rows.append(
            {
                "table": "accuracy",
                **keys[unit],
                **accuracy[unit]._asdict(),
                **speed_columns(unit.interval, keyframe_ms=frame_ms, interval_ms=interval_ms),
                "delay_frames": delay_frames(scheme, unit.interval),
                "delay_ms": delay_ms(scheme, unit.interval, rate=rate),
            }
        )
    return rows


def draw_strip(
    model: Model,
    example: Example,
    labellers: Mapping[str, Labeller],
    *,
    max_width: int = 480,
) -> np.ndarray:
    """Draw what schemes make of frames farther and farther from a keyframe.

    Args:
        model: The net's variables and classes.
        example: A clip; of the intervals with the most labels the middle one is drawn.
        labellers: The compiled schemes, by the names of their rows.
        max_width: Of one picture, pixels; larger ones are thinned out.

    Returns:
        `[H, W, 3]` uint8: the input, a row a scheme, and the truth where it is known.

    Raises:
        DataError: If the clip is too short.

    Source:
        Jain & Gonzalez 2018, Figure 5.
    """
    clip, palette = clip_of(example), model.classes.palette
    is_labelled = (example.labels != IGNORE_LABEL).any(axis=(1, 2))
    count = len(is_labelled)
    if count <= STRIP_INTERVAL:
        raise DataError(
            f"the clip has {count} frames, but the strip shows an interval of {STRIP_INTERVAL} "
            "between two keyframes; give a longer one"
        )

    def fitness(key: int) -> tuple[int, int]:
        labelled = sum(bool(is_labelled[key + offset]) for offset in STRIP_OFFSETS)
        return labelled, -abs(2 * key + STRIP_INTERVAL - count)

    key = max(range(count - STRIP_INTERVAL), key=fitness)
    shown = [key + offset for offset in STRIP_OFFSETS]
    frames = example.frames[shown]
    rows = {"input": frames}
    for name, labeller in labellers.items():
        gop = cut_around(clip, key, interval=STRIP_INTERVAL, offset=0, labeller=labeller)
        (labels,) = label_gops(labeller, model.params, [gop])
        rows[name] = np.asarray(
            overlay(frames, labels[list(STRIP_OFFSETS)], palette=palette, opacity=0.65)
        )
    truth = example.labels[shown]
    if is_labelled[shown].any():
        rows["ground truth"] = np.asarray(overlay(frames, truth, palette=palette, opacity=0.65))
    every = -(-frames.shape[2] // max_width)
    sheet = grid_of_pictures(
        np.stack(list(rows.values()))[:, :, ::every, ::every],
        row_names=list(rows),
        column_names=["keyframe k", *(f"k + {offset}" for offset in STRIP_OFFSETS[1:])],
    )
    return np.concatenate([sheet, legend(model.classes, width=sheet.shape[1])])


def run(options: Options, *, argv: Sequence[str]) -> None:
    """Measure everything, and write what came out.

    Args:
        options: What is measured.
        argv: The command as typed, for the results' provenance.

    Raises:
        SettingsError: If `out` holds results already, or weights are missing.
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
        ImportError: If the wanted flow, or what draws plots, is not installed.
    """
    keep_compilations()
    out, origin = options.out, provenance(argv)
    log = out / "rows.jsonl"
    if log.exists() and not options.resume:
        raise SettingsError(
            f"{out}: holds results already; continue with --resume, or give another --out"
        )
    flow, model = choose_flow(
        options.flow, load_model(options.checkpoint), weights=options.flow_weights
    )
    config = EvaluationConfig(
        intervals=options.intervals,
        propagation=options.propagation,
        reversal=options.reversal,
        intra=options.intra,
        unseen=options.unseen,
    )
    footage = open_footage(options.data_dir, out / "sequences", config)
    height, width = footage.example.labels.shape[1:]
    makers = makers_of(config, model, flow=flow)
    schemes = {variant: make_scheme(model.net) for variant, make_scheme in makers.items()}
    labellers = {
        variant: compile_scheme(model.net, scheme, height=height, width=width)
        for variant, scheme in schemes.items()
    }
    by_interval, by_distance = units_of(
        makers, intervals=options.intervals, distances=options.distances
    )
    times_ms = time_units(labellers, model, footage.example, by_interval)
    keys = {unit: key_of(unit, config) for unit in [*by_interval, *by_distance]}
    origins = {
        "variables": fingerprint(jax.tree.leaves(model.params)),
        "video": footage.fingerprint,
    }
    accuracy = measure_units(
        footage, labellers, model, {unit: keys[unit] | origins for unit in keys}, log=log
    )
    rows = accuracy_rows(keys, schemes, accuracy, times_ms, rate=footage.rate)
    rows += [
        {
            "table": "fusion",
            **keys[unit],
            "distance": distance,
            "miou": accuracy[unit].miou_min,
        }
        for unit, distance in by_distance.items()
    ]
    flows = {"flownet-s": flownet_s(dtype=default_dtype())}
    if flow is not None:
        flows[flow.name] = flow.flow
    clip = clip_of(footage.example)
    parts_ms = time_parts(model, clip, flows=flows)
    parts_ms |= time_extraction(clip, rate=footage.rate, gop=config.gop, quality=config.quality)
    rows += [
        {"table": "runtime", "part": part, "time_ms": time_ms} for part, time_ms in parts_ms.items()
    ]
    shared = {
        "source": MEASURED,
        "data_set": footage.title,
        "is_dense": footage.is_dense,
        "net": model.config.name,
        "height": height,
        "width": width,
    }
    rows = [shared | row for row in rows] + published_rows()
    write_results(out / "results.json", rows, provenance=origin)
    write_tables(out / "tables.md", rows, provenance=origin)
    figures = write_figures(out, rows)
    drawn = {
        variant.scheme: labeller
        for variant, labeller in labellers.items()
        if variant.scheme == ("prop-mv" if flow is None else "prop-flow")
        or variant.fusion == "by-distance"
    }
    strip = Image.fromarray(draw_strip(model, footage.example, drawn))
    with replacing(out / "figure5.png") as hidden:
        strip.save(hidden)
    print((out / "tables.md").read_text())
    for path in (out / "results.json", out / "tables.md", *figures, out / "figure5.png"):
        print(f"wrote {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(Options, args=words, description=__doc__)
    return explain(
        partial(run, options, argv=["python", "-m", "experiments.jain_gonzalez", *words]),
        out=options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
