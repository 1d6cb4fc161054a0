"""Make the two files of a model that ships: half-precision weights, and a card of all facts.

    python -m experiments.publish RUN --results RESULTS --out OUT

RUN is a run of `experiments.camvid` on CamVid's pictures, whose best checkpoint is taken.
Nothing is measured here: what the net reaches is copied from RESULTS, which
`--stage evaluate` of the same run wrote, and so is where and how it was measured.  OUT ends
in `.safetensors`; in jaxseg/pretrained/ it ships, under the file's name.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.camvid import TRAINING_STILLS
from experiments.command import explain
from experiments.results import Results, provenance, read_results
from experiments.settings import SettingsError
from jaxseg.checkpoints import Checkpoints, Model, load_model
from jaxseg.classes import CAMVID
from jaxseg.pretrained import format_weights, save_weights

MAX_BYTES = 12_000_000
"""Of a file of weights, so that the package stays a small download."""

ACCURACY = (
    *("scheme", "interval", "net", "propagation", "reversal", "height", "width"),
    *("miou", "miou_min", "temporal_consistency"),
)
"""What the card takes from a row of results, and of the net on every frame each class's IoU."""

LICENCE = (
    "For research and personal use, not for commercial use (CC BY-NC 4.0).  The code's licence "
    "does not cover these weights: they were learned from CamVid, which was published for "
    "research (Brostow et al. 2008, 2009: please cite), in the copy that comes with the SegNet "
    "tutorial under CC BY-NC 4.0."
)

LIMITS = (
    f"Trained on CamVid's {TRAINING_STILLS} train stills alone, from random weights: three drives "
    "through one city (Cambridge, UK) with one camera behind the windscreen, two by day and one "
    "at dusk, in dry weather and left-hand traffic.  Expect much less elsewhere: at night, in "
    "rain or snow, in other cities, from other cameras or places than a car's.",
    "What it reaches was measured on the frames by which its checkpoint was chosen, and they are "
    "from one of the drives it was trained on: on other roads it is worse.",
    "Pictures were 480x360; of sizes far from that it knows nothing.  Scale a video first.",
    "It tells eleven classes apart and calls everything one of them; what is none (animals, "
    "rails, water, indoor scenes) gets a wrong name.  Thin and rare things (poles, signs, "
    "pedestrians) are often missed: see the IoU of each class.",
    "Not for driving, nor for anything where a mistake can hurt somebody.",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command does.

    Attributes:
        run: Folder of the run.
        results: What was measured of it.
        out: The `.safetensors` file to write; the card, a `.json`, is put beside it.
    """

    run: Annotated[Path, tyro.conf.Positional]
    results: Path
    out: Path


def describe_training(run: Path) -> dict[str, Any]:
    """Collect how a run was trained, and which of its checkpoints is the best.

    Args:
        run: Its folder, which holds a checkpoint.

    Returns:
        For the card.

    Raises:
        SettingsError: If the folder does not say, or it was not on CamVid alone.
    """
    path = run / "settings.json"
    try:
        content = json.loads(path.read_text())
        settings, origin = dict(content["experiment"]), content["provenance"]
        command, crop = origin["command"], settings["augment.crop"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: does not say how the run was trained ({error})") from error
    if "--data-dir" not in command or settings.get("weights") is not None:
        raise SettingsError(
            f"{path}: was trained by `{command}`, but the card is of nets that saw CamVid "
            "alone: train with --data-dir and without --weights"
        )
    with closing(Checkpoints(run / "checkpoints")) as checkpoints:
        step = checkpoints.best()
        metrics = checkpoints.steps().get(step or 0, {})
    return {
        "data": f"CamVid, {TRAINING_STILLS} train stills of 480x360",
        "crop_height": crop[0],
        "crop_width": crop[1],
        "step": step,
        "miou_at_step": None if math.isnan(miou := metrics.get("miou", math.nan)) else miou,
        "settings": {key: it for key, it in settings.items() if key != "evaluation"},
        "provenance": origin,
    }


def describe_results(path: Path, results: Results, model: Model) -> dict[str, Any]:
    """Copy what a net reaches out of its results.

    Args:
        path: The results file, to be named.
        results: What it holds.
        model: The net, of whose classes the IoU is taken.

    Returns:
        For the card.

    Raises:
        SettingsError: If the rows are of another net.
    """
    nets = {str(row.get("net")) for row in results.rows}
    if nets != {model.config.name}:
        raise SettingsError(
            f"{path}: was measured on {', '.join(sorted(nets))}, but the run's net is "
            f"{model.config.name}; give the results of this run"
        )
    return {
        "file": path.as_posix() if not path.is_absolute() else path.name,
        "provenance": results.provenance,
        "rows": [{key: row[key] for key in ACCURACY if key in row} for row in results.rows],
        "class_iou": _class_iou(path, results.rows, model.classes.names),
    }


def _class_iou(
    path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, float | None]:
    row = next((row for row in rows if row.get("scheme") == "per-frame"), {})
    columns = {name: f"iou_{name}" for name in names}
    missing = [column for column in columns.values() if column not in row]
    if missing:
        raise SettingsError(
            f"{path}: its row of per-frame lacks {', '.join(missing)}; give what "
            "`python -m experiments.camvid --stage evaluate` wrote"
        )
    return {name: row[column] for name, column in columns.items()}


def publish(options: Options, *, argv: Sequence[str]) -> None:
    """Write the weights of a run's best checkpoint, and their card.

    Args:
        options: What from, and where to.
        argv: The command as typed, for the card's provenance.

    Raises:
        CheckpointError: If the run holds no model.
        SettingsError: If run and results do not belong together, or the file is too large.
    """
    model = load_model(options.run)
    if model.classes != CAMVID:
        raise SettingsError(
            f"{options.run}: tells {', '.join(model.classes.names)} apart, but the card is of nets "
            "trained on CamVid; their licence and limits hold for no other"
        )
    try:
        results = read_results(options.results)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{options.results}: is no results file ({error})") from error
    measured = describe_results(options.results, results, model)
    training = describe_training(options.run)
    num_bytes = len(format_weights(model.params))
    if num_bytes > MAX_BYTES:
        raise SettingsError(
            f"{options.out}: would have {num_bytes} bytes, but at most {MAX_BYTES} may ship; "
            "publish a narrower net, see --net.width"
        )
    about = {
        "licence": LICENCE,
        "limits": LIMITS,
        "training": training,
        "results": measured,
        "provenance": provenance(argv),
    }
    save_weights(options.out, model, about=about)
    for path in (options.out, options.out.with_suffix(".json")):
        print(f"wrote {path}: {path.stat().st_size} bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(Options, args=words, description=__doc__)
    command = ["python", "-m", "experiments.publish", *words]
    return explain(partial(publish, options, argv=command))


if __name__ == "__main__":
    sys.exit(main())
