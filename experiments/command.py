"""The command of an experiment: its options, its stages, and one line for what goes wrong."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import jax
import tyro
from jax.experimental.multihost_utils import sync_global_devices

from data.examples import DataError, Example
from data.examples import Sequence as LabelledSequence
from experiments.evaluation import COLUMNS, encode_sequence, evaluate_stage
from experiments.results import markdown_table, provenance
from experiments.settings import (
    Experiment,
    SettingsError,
    check_begins,
    check_same_training,
    save_settings,
)
from experiments.training import train_stage
from jaxseg.checkpoints import CheckpointError, load_model
from jaxseg.classes import Classes
from jaxseg.codec import CodecError
from jaxseg.runner import keep_compilations


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command does.

    Attributes:
        experiment: The settings.
        data_dir: Folder of the data set; without one, the embedded clip is used.
        out: Folder of the run; gets checkpoints, results, plot and overlay video.
        stage: What to do.
        resume: Continue the run in `out`, or begin it where there is none.
        distributed: Train with the other processes of a cluster, see `join_processes`.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    data_dir: Path | None = None
    out: Path = Path("runs/camvid")
    stage: Literal["train", "evaluate", "all"] = "all"
    resume: bool = False
    distributed: bool = False


class DataSet(NamedTuple):
    """What an experiment is run on.

    Attributes:
        title: What it is called in plots.
        classes: Names and colours.
        read_stills: Reads what is trained on.
        read_sequences: Reads what is measured on.
    """

    title: str
    classes: Classes
    read_stills: Callable[[], list[Example]]
    read_sequences: Callable[[], list[LabelledSequence]]


def join_processes(options: Options) -> None:
    """Join the other processes of a cluster, if the options say so, before any computation.

    Each process is started with the same words.  How many there are, and where, is
    found out by JAX: from Slurm, Open MPI, Kubernetes or a TPU pod.  Their devices
    share each batch; `out` lies on a disk that all of them see, and the first process
    alone writes there, checkpoints apart, which all write together.

        srun --nodes 2 python -m experiments.camvid --stage train --distributed --out RUN

    Args:
        options: What the command does.

    Raises:
        SettingsError: If there is no cluster, or more to do than to train.
    """
    if not options.distributed:
        return
    if options.stage != "train":
        raise SettingsError(
            "several processes can only train together: give --stage train, then measure "
            "in one process, with --stage evaluate"
        )
    try:
        jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        raise SettingsError(
            f"no cluster to join ({error}); start the processes by srun or mpirun, or leave "
            "out --distributed"
        ) from error


def begin(options: Options) -> None:
    """Join other processes, and refuse what could only fail later.

    Args:
        options: What the command does.

    Raises:
        SettingsError: If `out` holds another run, or the training cannot begin.
    """
    join_processes(options)
    keep_compilations()
    settings = options.out / "settings.json"
    if options.stage != "evaluate":
        check_begins(options.experiment)
        if settings.exists() and not options.resume:
            raise SettingsError(
                f"{options.out}: holds a run already; continue it with --resume, or give another "
                "--out"
            )
        if settings.exists():
            check_same_training(settings, options.experiment)
    sync_global_devices("settings checked")


def run(options: Options, data_set: DataSet, *, argv: Sequence[str]) -> None:
    """Run the stages of an experiment.

    Args:
        options: What to do.
        data_set: On what.
        argv: The command as typed, for the results' provenance.

    Raises:
        SettingsError: If `out` holds another run, or the training cannot begin.
        CheckpointError: If there is nothing to evaluate.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
        FloatingPointError: If training diverges.
    """
    begin(options)
    experiment, out = options.experiment, options.out
    settings = out / "settings.json"
    sequences = data_set.read_sequences()
    if not sequences:
        raise DataError("the data set has no labelled sequence to measure on; see its val list")
    evaluation = experiment.evaluation
    out.mkdir(parents=True, exist_ok=True)
    examples = [encode_sequence(one, out / "sequences", evaluation) for one in sequences]
    if options.stage != "evaluate":
        if not settings.exists() and jax.process_index() == 0:
            save_settings(settings, experiment, provenance=provenance(argv))
        train_stage(
            experiment,
            data_set.read_stills(),
            [(example.frames, example.labels) for example in examples],
            classes=data_set.classes,
            out=out,
        )
    if options.stage != "train":
        rows = evaluate_stage(
            load_model(out),
            examples,
            rate=sequences[0].rate,
            config=evaluation,
            out=out,
            provenance=provenance(argv),
            title=data_set.title,
        )
        print(markdown_table(rows, COLUMNS))
        for name in ("results.json", "results.md", "accuracy_throughput.png", "overlay.mp4"):
            print(f"wrote {out / name}")


def explain(run_fn: Callable[[], None], *, out: Path | None = None) -> int:
    """Run an experiment; what a user can mend ends in one line.

    Args:
        run_fn: Runs it.
        out: The folder with which it can be resumed, if it can.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    try:
        run_fn()
    except (
        SettingsError,
        CheckpointError,
        DataError,
        CodecError,
        FloatingPointError,
        ImportError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = f"; continue with --resume --out {out}" if out else ""
        print(f"interrupted{hint}", file=sys.stderr)
        return 130
    return 0
