"""Is the loss that calibration promises without labels the one that there is?

    python -m experiments.calibration --checkpoint runs/camvid --data-dir CAMVID

Calibrates a trained net on a labelled sequence as `jaxseg calibrate` does on any video,
without its labels, and then measures with them what each setting, and the one chosen for
each loss allowed, loses in truth: on all whole intervals of the sequence.  Repeats it with
other reaches of the vote, to show how much hangs on that.  Without a folder of CamVid it
runs on the embedded clip.  Writes `results.json`, `tables.md` and `calibration.png`.  About
ten minutes on 2 cores.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Int64
from tqdm import tqdm

from data.examples import DataError, Example
from experiments.camvid import data_set
from experiments.command import explain
from experiments.evaluation import clip_of, encode_sequence
from experiments.results import markdown_table, provenance, provenance_note, write_results
from experiments.settings import EvaluationConfig
from jaxseg.calibration import (
    BASE,
    INTERVALS,
    NUM_GRIDS,
    REACH,
    Measured,
    Setting,
    calibrate,
    choose,
    compile_features,
    label_from,
    take_runs,
    with_known_features,
)
from jaxseg.checkpoints import Model, load_model
from jaxseg.cli.calibrate import SCHEMES as OFFERED
from jaxseg.cli.settings import maker_of
from jaxseg.draw.plots import plot_calibration
from jaxseg.files import write_text
from jaxseg.intervals import frames_of_clip
from jaxseg.metrics import confusion_matrix, mean_iou
from jaxseg.nets import Net
from jaxseg.runner import compile_scheme, keep_compilations
from jaxseg.schemes import Scheme, per_frame

ALLOWED = (0.005, 0.01, 0.02, 0.03, 0.05)
"""Losses of mIoU for which the fastest setting is chosen."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is calibrated, on what.

    Attributes:
        checkpoint: Folder of a trained run.
        data_dir: Folder of CamVid; without one, the embedded clip is used.
        out: Folder of the results.
        intervals: Keyframe intervals, frames; those that the command does not try by itself
            are measured, but not chosen.
        reaches: Frames before and after a frame that vote on its labels; the first is
            what the table of choices is of.
    """

    checkpoint: Path
    data_dir: Path | None = None
    out: Path = Path("runs/calibration")
    intervals: tuple[int, ...] = (*INTERVALS, 16)
    reaches: tuple[int, ...] = (REACH, 2, 8)


def measure(options: Options, model: Model, *, track: Any = tqdm) -> list[dict[str, Any]]:
    """Calibrate without labels, and compare with what the labels say.

    Args:
        options: What is calibrated.
        model: The trained net.
        track: Shows progress.

    Returns:
        Rows of `table` "settings", one a setting and reach, and "choices", one a loss
        allowed.

    Raises:
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
    """
    chosen_set = data_set(options.data_dir)
    sequences = chosen_set.read_sequences()
    if not sequences:
        raise DataError("the data set has no labelled sequence to measure on; see its val list")
    example = encode_sequence(sequences[0], options.out / "sequences", EvaluationConfig())
    makers = {name: maker_of(name, model) for name in ("copy-last", *OFFERED[1:])}
    about = {"data_set": chosen_set.title, "net": model.config.name}
    promised: dict[int, list[Measured]] = {}
    for reach in options.reaches:
        promised[reach] = calibrate(
            frames_of_clip(clip_of(example)),
            model.net,
            model.params,
            makers=makers,
            num_frames=len(example.labels),
            intervals=options.intervals,
            reach=reach,
            track=track,
        )
    settings = [Setting(*row[:2]) for row in promised[options.reaches[0]]]
    true = true_drops(example, model, makers, settings, track=track)
    rows = [
        {"table": "settings", **about, "reach": reach, **compared(row, true)}
        for reach, measured in promised.items()
        for row in measured
    ]
    measured = [
        row
        for row in promised[options.reaches[0]]
        if row.scheme in OFFERED and row.interval in (BASE.interval, *INTERVALS)
    ]
    for allowed in ALLOWED:
        row = choose(measured, max_drop=allowed)
        speedup = row.throughput_fps / measured[0].throughput_fps
        reach = options.reaches[0]
        rows.append(
            {"table": "choices", **about, "reach": reach, "miou_drop_allowed": allowed}
            | compared(row, true)
            | {"speedup": speedup}
        )
    return rows


def true_drops(
    example: Example,
    model: Model,
    makers: Mapping[str, Callable[[Net], Scheme]],
    settings: Sequence[Setting],
    *,
    track: Any = tqdm,
) -> dict[Setting, float]:
    """Measure by labels what each setting loses against the net on every frame.

    Args:
        example: A labelled clip.
        model: The trained net.
        makers: Constructors of the schemes, by name.
        settings: What is measured; intervals shorter than the clip.
        track: Shows progress.

    Returns:
        The mIoU that each loses on all whole intervals, every distance to the keyframe
        counted alike; negative where it gains.
    """
    light = with_known_features(model.net)
    frames = frames_of_clip(clip_of(example))
    every = range(len(example.labels))
    (run,) = take_runs(frames, [every], compile_features(model.net), model.params, track=track)

    def confusions(setting: Setting, starts: range) -> list[Int64[np.ndarray, "t k k"]]:
        scheme = {BASE.scheme: per_frame, **makers}[setting.scheme](light)
        labeller = compile_scheme(light, scheme, height=run.height, width=run.width)
        intervals = label_from(labeller, run, setting.interval, starts=starts)
        return [
            np.stack(
                [
                    confusion_matrix(truth, labels, num_classes=model.net.num_classes)
                    for truth, labels in zip(example.labels[start:], of_interval, strict=False)
                ]
            )
            for start, of_interval in zip(starts, intervals, strict=True)
        ]

    own = np.concatenate(confusions(BASE, every))
    drops = {BASE: 0.0}
    for setting in track(settings[1:], desc="truth", unit="setting"):
        interval = setting.interval
        starts = every[: -interval : max(1, interval // NUM_GRIDS)]
        ours = np.sum(confusions(setting, starts), axis=(0, 1))
        nets = np.sum([own[start : start + interval] for start in starts], axis=(0, 1))
        drops[setting] = float(mean_iou(nets) - mean_iou(ours))
    return drops


def compared(row: Measured, true: Mapping[Setting, float]) -> dict[str, Any]:
    """Put a promise beside the truth.

    Args:
        row: What calibration says of a setting.
        true: The mIoU that each setting loses, by labels.

    Returns:
        The columns of a row; `miou_drop_miss` is the promise less the truth.
    """
    loss = true[Setting(*row[:2])]
    found = row._asdict() | {"miou_drop_true": loss, "miou_drop_miss": row.miou_drop - loss}
    # The clip was in memory: its decoding was not measured.
    return {key: value for key, value in found.items() if key != "decoded_throughput_fps"}


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the choices, the settings, and how much hangs on the reach of the vote.

    Args:
        rows: From `measure`.

    Returns:
        Markdown, losses in points of mIoU.
    """
    first = rows[0]["reach"]
    choices = [row for row in rows if row["table"] == "choices"]
    settings = [row for row in rows if row["table"] == "settings" and row["scheme"] != BASE.scheme]
    misses = [
        {"reach": reach}
        | {
            scheme: max(
                (100 * row["miou_drop_miss"] for row in settings if _is(row, reach, scheme)),
                key=abs,
            )
            for scheme in dict.fromkeys(row["scheme"] for row in settings)
        }
        for reach in dict.fromkeys(row["reach"] for row in settings)
    ]
    main = [row for row in settings if row["reach"] == first]
    parts = {
        "The setting chosen for each loss allowed": list(map(_in_points, choices)),
        "Promised and true loss of every setting": list(map(_in_points, main)),
        "Largest miss, by the reach of the vote": misses,
    }
    return "\n".join(
        f"## {title}\n\n{markdown_table(part, list(part[0]))}" for title, part in parts.items()
    )


def _is(row: Mapping[str, Any], reach: int, scheme: str) -> bool:
    return (row["reach"], row["scheme"]) == (reach, scheme)


def _in_points(row: Mapping[str, Any]) -> dict[str, Any]:
    """Name and scale a row's columns for people."""
    shares = {
        "miou_drop_allowed": "allowed",
        "miou_agreement": "agreement (%)",
        "miou_drop": "promised",
        "miou_drop_error": "standard error",
        "miou_drop_true": "true",
        "miou_drop_miss": "promised - true",
    }
    plain = {"scheme": "scheme", "interval": "interval", "throughput_fps": "throughput_fps"}
    names = shares | plain | {"speedup": "speedup"}
    return {
        names[key]: round(100 * value, 2) if key in shares else value
        for key, value in row.items()
        if key in names
    }


def run(options: Options, *, argv: Sequence[str]) -> None:
    """Measure, and write what came out.

    Args:
        options: What is calibrated.
        argv: The command as typed, for the results' provenance.

    Raises:
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
    """
    keep_compilations()
    origin = provenance(argv)
    model = load_model(options.checkpoint)
    track = partial(tqdm, disable=None, dynamic_ncols=True)
    rows = measure(options, model, track=track)
    write_results(options.out / "results.json", rows, provenance=origin)
    text = tables(rows)
    write_text(options.out / "tables.md", f"{text}\n{provenance_note(origin)}")
    shown = [
        row for row in rows if row["table"] == "settings" and row["reach"] == options.reaches[0]
    ]
    allowed = ALLOWED[2]
    plot_calibration(shown, options.out / "calibration.png", max_drop=allowed)
    print(text)
    print(f"wrote {options.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(Options, args=words, description=__doc__)
    argv = ["python", "-m", "experiments.calibration", *words]
    return explain(partial(run, options, argv=argv))


if __name__ == "__main__":
    sys.exit(main())
