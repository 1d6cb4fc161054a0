"""Measure every table and figure of Li, Shi & Lin 2018, with all schemes of this project.

    python -m experiments.lowlatency --checkpoint RUN --data-dir CAMVID --out OUT

RUN is what `experiments.lowlatency.train` wrote.  OUT gets `tables.md` (Tables 1 to 4, all
schemes, and how they keep pace with the video; the paper's numbers beside), `figure1.png`
(latency and accuracy of every scheme), `figure5.png` (schedules) and `results.json`.
Without a folder of data it runs on the embedded clip.  Only the tables that are named, say

    python -m experiments.lowlatency --checkpoint RUN --data-dir CAMVID --tables propagation

Accuracy is that of `jaxseg.schemes.afp`, which simulates the slow track by a delay in frames;
latency, and the labels of the table "live", come from `jaxseg.track`, whose slow track runs
in another process.  The delay that is simulated is the one that was found there.

The accuracies measured so far are in OUT/rows.jsonl, from which `--resume` goes on; times are
taken anew, as are the schedules of Figure 5.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import jax
import numpy as np
import tyro
from tqdm import tqdm

from experiments.command import explain
from experiments.footage import fingerprint
from experiments.log import append_to_log, read_log
from experiments.lowlatency.accuracy import NUM_STARTS, Found, measure_unit, threshold_for
from experiments.lowlatency.parts import open_parts
from experiments.lowlatency.published import published_rows
from experiments.lowlatency.schedules import compare_schedules, label_pairs
from experiments.lowlatency.speed import Ran, run_units, time_intervals, time_modules
from experiments.lowlatency.tables import write_figures, write_tables
from experiments.lowlatency.units import (
    DEVIATIONS,
    WAYS,
    Making,
    Unit,
    other_units,
    paper_units,
)
from experiments.lowlatency.video import Film, open_video
from experiments.paper import MEASURED
from experiments.results import provenance, write_results
from experiments.settings import SettingsError
from jaxseg.arrays import PictureType
from jaxseg.checkpoints import load_model
from jaxseg.flows import dis_flow
from jaxseg.metrics import class_accuracy, confusion_matrix, mean_iou, pixel_accuracy
from jaxseg.runner import keep_compilations
from jaxseg.schedules import residual_per_pixel, threshold_for_share

Table: TypeAlias = Literal["schemes", "propagation", "modules", "schedules", "overview"]

TABLES: tuple[Table, ...] = get_args(Table)
"""Tables 1 and 4 with the live one, 2, 3, Figure 5, and Figure 1."""

RGFS_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured, on what.

    Attributes:
        checkpoint: Folder of a run with all that is learned.
        data_dir: Folder of CamVid or Cityscapes; without one, the embedded clip is used.
        out: Gets the results.
        tables: What is measured: Tables 1 and 4 with how schemes keep pace, 2, 3, Figure 5,
            and Figure 1, which needs the first.
        interval: Frames from one keyframe to the next, where that is fixed; where keyframes
            are chosen they are as many.
        shares: Of keyframes in Figure 5, as intervals between them.
        max_films: Films to measure on, at most.
        flow: Whether optical flow is measured, too, which needs OpenCV.
        resume: Keep what was measured in `out` of the same net and video.
    """

    checkpoint: Path
    data_dir: Path | None = None
    out: Path = Path("runs/lowlatency-measured")
    tables: tuple[Table, ...] = TABLES
    interval: int = 5
    shares: tuple[int, ...] = (2, 3, 5, 7, 10)
    max_films: int | None = None
    flow: bool = True
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for interval in (self.interval, *self.shares):
            if not 2 <= interval <= NUM_STARTS:
                raise ValueError(
                    f"a keyframe interval is {interval}, but must be between 2 and {NUM_STARTS}"
                )
        if "overview" in self.tables and "schemes" not in self.tables:
            raise ValueError("the table 'overview' needs 'schemes': name it, too")


def rgfs_threshold(films: Sequence[Film]) -> float:
    """Find RGFS's threshold for the paper's share, on the video itself, without labels.

    Args:
        films: The video.

    Returns:
        Grey levels a pixel.
    """
    scores = []
    for clip, labels in films:
        assert clip.residual is not None
        height, width = labels.shape[1:]
        own = np.asarray(residual_per_pixel(clip.residual, height=height, width=width))
        scores.append(own[clip.picture_types != PictureType.INTRA])
    return threshold_for_share(np.concatenate(scores), share=RGFS_SHARE)


def run(options: Options, *, argv: Sequence[str]) -> None:
    """Measure everything, and write what came out.

    Args:
        options: What is measured.
        argv: The command as typed, for the results' provenance.

    Raises:
        SettingsError: If `out` holds results already, or the net has no parts, or is of
            other classes than the labels.
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
        ImportError: If optical flow is wanted, but not installed.
    """
    keep_compilations()
    out, origin = options.out, provenance(argv)
    log = out / "rows.jsonl"
    if log.exists() and not options.resume:
        raise SettingsError(
            f"{out}: holds results already; continue with --resume, or give another --out"
        )
    model = load_model(options.checkpoint)
    parts = open_parts(model)
    video = open_video(options.data_dir, out / "films", max_films=options.max_films)
    if model.classes.names != video.classes.names:
        raise SettingsError(
            f"{model.config.name} has {len(model.classes.names)} classes, other than the "
            f"{len(video.classes.names)} of {video.title}; give a net that was trained for them"
        )
    films = list(video.read_films())
    making = Making(model.net, parts, dis_flow() if options.flow else None, rgfs_threshold(films))
    config = parts.config
    height, width = films[0].labels.shape[1:]
    shared = {
        "source": MEASURED,
        "data_set": video.title,
        "net": model.config.name,
        "after": config.after,
        "channels": config.channels,
        "height": height,
        "width": width,
    }
    rows: list[dict[str, Any]] = []
    digest = fingerprint(jax.tree.leaves(model.params))
    made_of = {"params": digest, "video": video.title, "max_films": options.max_films}
    measure = Measuring(
        options, making, model.params, films, video.rate, log, read_log(log), made_of
    )
    if "modules" in options.tables:
        found = time_modules(making, model.params, films[0].clip)
        rows += [
            {
                "table": "modules",
                "part": name,
                "time_ms": it,
                "share_of_net": it / found["whole net"],
            }
            for name, it in found.items()
        ]
    # All that is timed comes first, one after the other.
    if "schemes" in options.tables:
        thresholds = measure.thresholds()
        timed = measure.latencies(thresholds)
        others = measure.other_latencies() if "overview" in options.tables else {}
        rows += measure.schemes(thresholds, timed)
        if others:
            rows += measure.overview(rows, others)
    if "propagation" in options.tables:
        ways = [way for way in WAYS if options.flow or way != "flow"]
        for way in tqdm(ways, unit="way", disable=None):
            found_way = measure.found(Unit(way, way, options.interval))
            rows.append(
                {"table": "propagation", "way": way, "interval": options.interval}
                | found_way.columns()
            )
    if "schedules" in options.tables:
        rows += measure.schedules()
    rows = [shared | row for row in rows] + published_rows()
    write_results(out / "results.json", rows, provenance=origin)
    write_tables(out / "tables.md", rows, provenance=origin)
    figures = write_figures(out, rows)
    print((out / "tables.md").read_text())
    for path in (out / "results.json", out / "tables.md", *figures):
        print(f"wrote {path}")


@dataclasses.dataclass(frozen=True)
class Measuring:
    """What all measurements need."""

    options: Options
    making: Making
    params: Any
    films: Sequence[Film]
    rate: float
    log: Path
    known: dict[str, Any]
    made_of: Mapping[str, Any]

    def found(self, unit: Unit, *, threshold: float | None = None, delay: int = 0) -> Found:
        """Compare a unit's labels with the truth, if no earlier run has."""
        settings = unit._asdict() | {"threshold": threshold, "delay": delay}
        name = json.dumps(settings | dict(self.made_of))
        if name not in self.known:
            found = measure_unit(
                unit, self.making, self.params, self.films, threshold=threshold, delay=delay
            )
            self.known[name] = found._replace(confusion=found.confusion.tolist())
            append_to_log(self.log, name, self.known[name])
        confusion, *others = self.known[name]
        return Found(np.array(confusion, np.int64), *others)

    def thresholds(self) -> dict[Unit, float]:
        """Find how much may change until there is a keyframe, by unit."""
        return {unit: self._threshold(unit) for unit in self._units() if unit.deviation}

    def latencies(self, thresholds: dict[Unit, float]) -> tuple[dict[Unit, Ran], dict[Unit, Ran]]:
        """Run the schemes through the first film, at its own rate and one frame after another."""
        units, clip = self._units(), self.films[0].clip
        run = partial(run_units, thresholds=thresholds)
        live = run(units, self.making, self.params, clip, rate=self.rate)
        punctual = [unit for unit in units if not unit.is_late]
        return live, run(punctual, self.making, self.params, clip, rate=None)

    def other_latencies(self) -> dict[Unit, dict[str, float]]:
        """Time the project's other schemes on the first film."""
        units, clip = other_units(interval=self.options.interval), self.films[0].clip
        framewise = [unit for unit in units if unit.way is not None]
        at_once = [unit for unit in units if unit.way is None]
        ran = run_units(framewise, self.making, self.params, clip, thresholds={}, rate=None)
        timed = time_intervals(at_once, self.making, self.params, clip, rate=self.rate)
        return {unit: it.columns | {"delay_ms": 0.0} for unit, it in ran.items()} | timed

    def schemes(
        self,
        thresholds: dict[Unit, float],
        timed: tuple[dict[Unit, Ran], dict[Unit, Ran]],
    ) -> list[dict[str, Any]]:
        """Measure Tables 1 and 4, and how schemes keep pace with the video."""
        units, labels = self._units(), self.films[0].labels
        live, alone = timed
        net_ms = next(it for unit, it in alone.items() if unit.scheme == "per-frame")
        rows = []
        for unit in tqdm(units, unit="scheme", disable=None):
            ran, seen_live = alone.get(unit, live[unit]), live[unit]
            delay = 0
            if unit.is_late:
                delay = unit.delay or max(1, seen_live.delay)
            found = self.found(unit, threshold=thresholds.get(unit), delay=delay)
            own = found.columns() | {"interval": unit.interval, "delay": delay}
            times = {key: it for key, it in ran.columns.items() if key.endswith("_ms")}
            share = {"share_of_net": times["max_ms"] / net_ms.columns["max_ms"]}
            rows.append({"table": "schemes", "scheme": unit.scheme} | own | times | share)
            rows.append({"table": "accuracy", "scheme": unit.scheme} | own)
            counted = slice(NUM_STARTS - 1, None)
            confusion = confusion_matrix(
                labels[counted],
                seen_live.labels[counted],
                num_classes=self.making.net.num_classes,
            )
            rows.append(
                {
                    "table": "live",
                    "scheme": unit.scheme,
                    "miou": float(mean_iou(confusion)),
                    "pixel_accuracy": float(pixel_accuracy(confusion)),
                    "class_accuracy": float(class_accuracy(confusion)),
                    "share_keys": seen_live.share_keys,
                    "delay": seen_live.delay if unit.is_late else None,
                    "rate_fps": self.rate,
                }
                | seen_live.columns
            )
        return rows

    def overview(
        self, measured: Sequence[dict[str, Any]], others: dict[Unit, dict[str, float]]
    ) -> list[dict[str, Any]]:
        """Measure the project's other schemes, and put all in one table."""
        rows = [
            row | {"table": "overview", "delay_ms": 0.0}
            for row in measured
            if row["table"] == "schemes"
        ]
        for unit, times in tqdm(others.items(), unit="scheme", disable=None):
            found = self.found(unit)
            rows.append(
                {"table": "overview", "scheme": unit.scheme, "interval": unit.interval}
                | found.columns()
                | times
            )
        return rows

    def schedules(self) -> list[dict[str, Any]]:
        """Measure Figure 5: the same propagation, with keyframes chosen in several ways."""
        films = [
            label_pairs("adaptive+fuse", DEVIATIONS, self.making, self.params, film)
            for film in self.films
        ]
        shares = [1 / interval for interval in self.options.shares]
        return [{"table": "schedules"} | row for row in compare_schedules(films, shares)]

    def _units(self) -> list[Unit]:
        interval = self.options.interval
        units = paper_units(interval=interval, share=1 / interval)
        return [unit for unit in units if self.options.flow or unit.way != "flow"]

    def _threshold(self, unit: Unit) -> float:
        if unit.share is None:
            return 0.0
        return threshold_for(unit, self.making, self.params, self.films, share=unit.share)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(
        Options, args=words, prog="python -m experiments.lowlatency", description=__doc__
    )
    return explain(
        partial(run, options, argv=["python", "-m", "experiments.lowlatency", *words]),
        out=options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
