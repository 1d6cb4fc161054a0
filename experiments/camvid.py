"""Train on CamVid and measure every scheme; or, without data, on the embedded clip.

    python -m experiments.camvid
    python -m experiments.camvid --data-dir CAMVID --out runs/camvid

The first trains a small net on drawn streets and takes minutes on 2 cores.  The
second trains ResNet-18 with a light decoder from scratch on CamVid's 367 training
stills, as the SegNet tutorial publishes them, and measures on the 101 consecutive
frames of `val`; hours on 2 cores.  What to expect stands in
experiments/results/camvid/resnet18-ladder/results.json.  CAMVID may also hold the
original pictures and labels of 960x720, and films (see data/camvid/originals.py).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from data import camvid
from data.augment import AugmentConfig
from data.camvid import originals
from data.examples import still
from data.street import loading as street
from experiments.command import DataSet, Options, run_or_explain
from experiments.settings import EvaluationConfig, Experiment
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID
from jaxseg.nets import NetConfig
from jaxseg.train import TrainConfig

NET = NetConfig(num_classes=len(CAMVID.names), depth=18, output_stride=32, ladder_stride=4)

REAL = Experiment(net=NET, train=TrainConfig(num_steps=2200))

EMBEDDED = Experiment(
    net=NET,
    train=TrainConfig(num_steps=200, evaluate_every=200, warmup_steps=20),
    augment=AugmentConfig(crop=(160, 160), scales=(0.8, 1.4)),
    evaluation=EvaluationConfig(num_phases=2),
)
"""Small enough for minutes on 2 cores."""

TRAINING_STREETS = range(14)
STILLS_A_STREET = 12
MEASURED_STREET = 100
MEASURED_FRAMES = 61


def data_set(data_dir: Path | None) -> DataSet:
    """Choose CamVid or, without a folder, the embedded clip.

    Args:
        data_dir: Folder of CamVid.

    Returns:
        What to run on.
    """
    if data_dir is None:
        return DataSet(
            title="the embedded street",
            classes=CAMVID,
            read_stills=lambda: street.read_stills(
                seeds=TRAINING_STREETS, num_frames=STILLS_A_STREET
            ),
            read_sequences=lambda: [
                street.read_sequence(seed=MEASURED_STREET, num_frames=MEASURED_FRAMES)
            ],
        )
    if (data_dir / originals.LABELS).is_dir():
        return DataSet(
            title="CamVid val, 960x720",
            classes=CAMVID,
            read_stills=lambda: [
                still(frame, labels)
                for sequence in originals.read_originals(data_dir, "train")
                for frame, labels in zip(sequence.frames, sequence.labels, strict=True)
                if (labels != IGNORE_LABEL).any()
            ],
            read_sequences=lambda: [
                sequence
                for sequence in originals.read_originals(data_dir, "val")
                if len(sequence.frames) > 1
            ],
        )
    return DataSet(
        title="CamVid val, 15 Hz",
        classes=CAMVID,
        read_stills=lambda: camvid.read_stills(data_dir, "train"),
        read_sequences=lambda: list(camvid.read_sequences(data_dir, "val")),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    is_real = any(word.split("=")[0] in ("--data-dir", "--data_dir") for word in words)
    default = Options(
        experiment=REAL if is_real else EMBEDDED,
        out=Path("runs/camvid" if is_real else "runs/street"),
    )
    options = tyro.cli(Options, args=words, default=default, description=__doc__)
    command = ["python", "-m", "experiments.camvid", *words]
    return run_or_explain(options, data_set(options.data_dir), argv=command)


if __name__ == "__main__":
    sys.exit(main())
