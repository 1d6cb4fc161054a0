"""Measure every table and figure of TapLab (Feng et al. 2020) on trained nets.

    python -m experiments.taplab --checkpoint RUN --data-dir CAMVID --out OUT
    python -m experiments.taplab --checkpoint BL1 --checkpoint BL2 --data-dir CITYSCAPES --out OUT

OUT gets `tables.md` (Tables 2 to 6 and 8, the paper's numbers beside), `figure6.png`,
`figure8.png` to `figure12.png`, and `results.json` with all rows, the paper's marked by
their `source`.  Without a folder of data it runs on the embedded clip.  Table 5 alone:

    python -m experiments.taplab --checkpoint RUN --data-dir CAMVID --tables modules

With `--margin 64 --score remembered` the net sees some of the frame around each region that
RGC corrects, and regions are chosen by the residual of all frames since they last were.

The video is encoded as MPEG-4 Part 2, and its I-frames are the keyframes.  On CamVid, whose
frames are all labelled, each frame takes all distances to its I-frame, or `--num-phases` of
them; on Cityscapes the film of each snippet begins a random number of frames before the
labelled one, as in section 4.1.2 of the paper.  The threshold of RGFS is found on other
frames than it is used on, see `video`.

The accuracies measured so far are in OUT/rows.jsonl, from which `--resume` goes on;
times are taken anew, all in turn, so that a machine's changes of pace hit all alike.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from experiments.command import explain
from experiments.paper import MEASURED
from experiments.results import provenance, write_results
from experiments.settings import SettingsError
from experiments.taplab.accuracy import compile_units, keys_of, measure_units
from experiments.taplab.calibration import Calibration, calibrate, thresholds_of
from experiments.taplab.figures import write_figures
from experiments.taplab.flows import FlowName, NamedFlow, open_flows
from experiments.taplab.pictures import hardest_scene, write_pictures
from experiments.taplab.published import baseline_of, published_rows
from experiments.taplab.rows import Row, calibration_rows, rows_of
from experiments.taplab.speed import time_propagation, time_units
from experiments.taplab.tables import write_tables
from experiments.taplab.units import TABLES, Carrying, Table, Unit, units_of
from experiments.taplab.video import TURNS, Coding, Film, Video, open_video
from jaxseg.checkpoints import Model, load_model
from jaxseg.metrics import mean_iou
from jaxseg.runner import keep_compilations

CODING, CARRYING = Coding(), Carrying()


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured, on what.

    Attributes:
        checkpoint: Folder of a trained run; may be given several times.
        data_dir: Folder of CamVid or Cityscapes; without one, the embedded clip is used.
        out: Gets the results.
        tables: What is measured: Tables 2, 3, 4, 5 and 8, 6 with Figure 8, Figure 11, and
            Figures 6, 9, 10 and 12.
        gops: Frames of a GOP in Table 6; the last is that of the other tables.
        share: Of the P-frames that RGFS is to make keyframes of.
        coding: How the video is encoded.
        carrying: How maps are carried and corrected.
        flow: Optical flows that the codec's motion is compared with: "dis", OpenCV's, or a
            flow net, which is only timed where it has no weights.  If not given, "dis"
            where OpenCV is installed, and those with weights.
        flow_weights: Published weights of flow nets, such as `pwc-net pwc_net.pth.tar`.
        resume: Keep what was measured in `out` with the same settings.
    """

    checkpoint: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction]
    data_dir: Path | None = None
    out: Path = Path("runs/taplab")
    tables: tuple[Table, ...] = TABLES
    gops: tuple[int, ...] = (3, 6, 9, 12)
    share: float = 0.1
    coding: Annotated[Coding, tyro.conf.arg(name="")] = CODING
    carrying: Annotated[Carrying, tyro.conf.arg(name="")] = CARRYING
    flow: tuple[FlowName, ...] | None = None
    flow_weights: dict[FlowName, Path] = dataclasses.field(default_factory=dict)
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not self.gops or min(self.gops) < 2:
            raise ValueError(f"gops are {self.gops}, but each must be at least 2 frames")
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share}, but must be between 0 and 1")


def open_models(checkpoints: Sequence[Path]) -> list[Model]:
    """Load the trained nets.

    Args:
        checkpoints: Folders of runs.

    Returns:
        The nets.

    Raises:
        SettingsError: If there is none, or two cannot be told apart in tables.
        CheckpointError: If one cannot be read.
    """
    if not checkpoints:
        raise SettingsError("give the folder of a trained run by --checkpoint")
    models = {folder: load_model(folder) for folder in checkpoints}
    names = [model.config.name for model in models.values()]
    for folder, name in zip(models, names, strict=True):
        if names.count(name) > 1:
            raise SettingsError(f"{folder}: is one of several {name}; measure one at a time")
    return list(models.values())


def measure_net(
    model: Model,
    video: Video,
    films: Mapping[int, Sequence[Film]],
    calibrations: Mapping[int, Sequence[Calibration]],
    *,
    options: Options,
    flows: Mapping[str, NamedFlow],
    log: Path,
) -> list[Row]:
    """Measure the tables of one net.

    Args:
        model: The net, its variables and classes.
        video: The labelled video.
        films: Of it, by GOP.
        calibrations: Of the parts of the video, by GOP.
        options: What is measured.
        flows: Optical flows by name.
        log: Gets the accuracies measured so far.

    Returns:
        The rows, table by table.
    """
    size = {"height": video.height, "width": video.width}
    # Labels that random variables make say nothing.
    learned = {name: flow for name, flow in flows.items() if flow.learned is not None}
    by_table = {
        table: units_of(table, model.net, gops=options.gops, flows=learned, **size)
        for table in options.tables
        if table != "pictures"
    }
    units = dict.fromkeys(unit for table in by_table.values() for unit in table)
    thresholds = thresholds_of(calibrations)
    labellers = compile_units(
        model, units, carrying=options.carrying, flows=learned, thresholds=thresholds, **size
    )
    timed = dict.fromkeys(
        unit for name, table in by_table.items() if name != "alpha" for unit in table
    )
    frame_ms = time_units(films, {unit: labellers[unit] for unit in timed}, model, flows=learned)
    keys = keys_of(
        units,
        model,
        video=video.fingerprint,
        carrying=options.carrying,
        flows=learned,
        thresholds=thresholds,
    )
    miou: dict[Unit, float] = {}
    for gop in dict.fromkeys(unit.gop for unit in units):
        chosen = {unit: it for unit, it in labellers.items() if unit.gop == gop}
        found = measure_units(films[gop], chosen, model, keys, flows=learned, log=log)
        miou |= {unit: float(mean_iou(confusion)) for unit, confusion in found.items()}
    parts_ms = {}
    if "propagation" in by_table:
        clip, _ = films[options.gops[-1]][0].read_fn()
        parts_ms = time_propagation(model, clip, carrying=options.carrying, flows=flows)
    return [
        row
        for table, its in by_table.items()
        for row in rows_of(table, its, miou, frame_ms, calibrations, parts_ms)
    ]


def draw_net(
    model: Model,
    video: Video,
    film: Film,
    calibrations: Mapping[int, Sequence[Calibration]],
    *,
    options: Options,
    flows: Mapping[str, NamedFlow],
) -> list[Path]:
    """Draw Figures 6, 9, 10 and 12.

    Args:
        model: The net, its variables and classes.
        video: The labelled video.
        film: Of it, where the scene is taken from.
        calibrations: Of the parts of the video, by GOP.
        options: What is measured.
        flows: Optical flows by name.

    Returns:
        The files.

    Raises:
        DataError: If the film is too short.
    """
    size = {"height": video.height, "width": video.width}
    learned = {name: flow for name, flow in flows.items() if flow.learned is not None}
    units = units_of("pictures", model.net, gops=options.gops, flows=learned, **size)
    labellers = compile_units(
        model,
        units,
        carrying=options.carrying,
        flows=learned,
        thresholds=thresholds_of(calibrations),
        **size,
    )
    scene = hardest_scene(film, gop=options.gops[-1])
    return write_pictures(
        options.out, model, scene, labellers, carrying=options.carrying, flows=learned
    )


def run(options: Options, *, argv: Sequence[str]) -> None:
    """Measure everything, and write what came out.

    Args:
        options: What is measured.
        argv: The command as typed, for the results' provenance.

    Raises:
        SettingsError: If `out` holds results already, weights are missing, or a net is of
            other classes than the labels.
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
        ImportError: If a wanted flow, or what draws plots, is not installed.
    """
    keep_compilations()
    out, origin = options.out, provenance(argv)
    log = out / "rows.jsonl"
    if log.exists() and not options.resume:
        raise SettingsError(
            f"{out}: holds results already; continue with --resume, or give another --out"
        )
    models = open_models(options.checkpoint)
    flows = open_flows(options.flow, options.flow_weights)
    video = open_video(options.data_dir, out / "films", gops=options.gops, coding=options.coding)
    for model in models:
        if model.classes.names != video.classes.names:
            raise SettingsError(
                f"{model.config.name} has {len(model.classes.names)} classes, other than the "
                f"{len(video.classes.names)} of {video.title}; give a net that was trained for them"
            )
    gops = options.gops if "gops" in options.tables else options.gops[-1:]
    films = {gop: video.films_fn(gop) for gop in gops}
    calibrations = {gop: calibrate(films[gop], share=options.share) for gop in gops}
    shared = {
        "source": MEASURED,
        "data_set": video.title,
        "is_dense": video.is_dense,
        "height": video.height,
        "width": video.width,
        **dataclasses.asdict(options.coding),
        **options.carrying._asdict(),
    }
    by_turns = {gop: found[TURNS] for gop, found in calibrations.items()}
    rows: list[Row] = [
        shared | {"net": "any"} | row for row in calibration_rows(calibrations, share=options.share)
    ]
    for model in models:
        name = model.config.name
        measured = measure_net(model, video, films, by_turns, options=options, flows=flows, log=log)
        rows += [shared | {"net": name, "baseline": baseline_of(name)} | row for row in measured]
    rows += published_rows()
    write_results(out / "results.json", rows, provenance=origin)
    write_tables(out / "tables.md", rows, provenance=origin)
    figures = write_figures(out, rows)
    if "pictures" in options.tables:
        film = films[gops[-1]][0]
        # As in the paper, what is drawn is its second baseline, where that is measured.
        model = max(models, key=lambda it: baseline_of(it.config.name) == "BL2")
        figures += draw_net(model, video, film, by_turns, options=options, flows=flows)
    print((out / "tables.md").read_text())
    for path in (out / "results.json", out / "tables.md", *figures):
        print(f"wrote {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(
        Options, args=words, prog="python -m experiments.taplab", description=__doc__
    )
    return explain(
        partial(run, options, argv=["python", "-m", "experiments.taplab", *words]),
        out=options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
