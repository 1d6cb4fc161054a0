"""Train on CamVid and measure every scheme; or, without data, on the embedded clip.

    python -m experiments.camvid
    python -m experiments.camvid --data-dir CAMVID --out runs/camvid
    python -m experiments.camvid --data-dir CAMVID --recipe light
    python -m experiments.camvid --data-dir CAMVID --recipe paper --weights runs/cityscapes
    python -m experiments.camvid --data-dir CAMVID --recipe bl2
    python -m experiments.camvid --data-dir CAMVID --recipe bl2-short
    python -m experiments.camvid --data-dir CAMVID --recipe pspnet
    python -m experiments.camvid --data-dir CAMVID --recipe pspnet-short

The first trains a small net on drawn streets and takes minutes on 2 cores.  The
second trains ResNet-18 with a light decoder from scratch on CamVid's 367 training
stills, as the SegNet tutorial publishes them, and measures on the 101 consecutive
frames of `val`; hours on 2 cores.  What to expect stands in
experiments/results/camvid/resnet18-ladder/results.json.  CAMVID may also hold the
original pictures and labels of 960x720, and films (see data/camvid/originals.py).

The third trains a backbone with 44 channels in its stem instead of 64, hence half as many
variables: the weights that ship with the package.

The fourth is the recipe of Jain & Gonzalez 2018, for those originals: a ResNet-101 with
deformable convolutions at stride 16, begun with the weights of a run of
`experiments.cityscapes --recipe paper`, trained for 150 epochs with one whole picture on
each of 4 GPUs (theirs were Tesla K80).  Expected, as the paper reports it on its test
split: 68.6 mIoU per frame, and at a keyframe every 10 frames 67.3 by interp-mv and 63.4
by prop-mv.

The fifth trains TapLab's second baseline as that paper does, on the originals with one GPU
(theirs was a GTX 1080 Ti); it reports 73.5 mIoU per frame.  `bl1` and `bl3` are its other
baselines.  The sixth is the same net on 480x360 in an hour on 2 cores, from scratch.  The
seventh is a small PSPNet, whose backbone is that of the weights that ship with the package,
trained on with a GPU: the net that `experiments.lowlatency` is about.  The eighth is the same
for 2 cores, with a tenth of the pictures.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from data import camvid
from data.augment import AugmentConfig
from data.camvid import originals
from data.examples import still
from data.street import loading as street
from experiments import cityscapes
from experiments.command import DataSet, Options, explain, run
from experiments.settings import EvaluationConfig, Experiment
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID
from jaxseg.nets import MobileNetConfig, NetConfig, PspnetConfig
from jaxseg.train import TrainConfig

NET = NetConfig(num_classes=len(CAMVID.names), depth=18, output_stride=32, ladder_stride=4)

REAL = Experiment(net=NET, train=TrainConfig(num_steps=2200))

LIGHT = Experiment(net=dataclasses.replace(NET, width=44), train=TrainConfig(num_steps=1400))
"""Half as many variables, and fewer steps: what ships with the package."""

TRAINING_STILLS, EPOCHS = 367, 150

BEFORE = cityscapes.RECIPES["paper"]

PAPER = dataclasses.replace(
    BEFORE,
    net=dataclasses.replace(BEFORE.net, num_classes=len(CAMVID.names)),
    train=dataclasses.replace(
        BEFORE.train,
        num_steps=round(EPOCHS * TRAINING_STILLS / BEFORE.batch_size),
        evaluate_every=1000,
    ),
    augment=dataclasses.replace(BEFORE.augment, crop=(720, 960)),
)
"""As on Cityscapes, from whose weights it begins, but with whole pictures and more epochs."""

TAPLAB = {
    name: dataclasses.replace(
        before,
        net=dataclasses.replace(before.net, num_classes=len(CAMVID.names)),
        train=dataclasses.replace(before.train, num_steps=20_000, evaluate_every=1000),
        augment=dataclasses.replace(before.augment, crop=(600, 600)),
    )
    for name, before in cityscapes.TAPLAB.items()
}
"""TapLab's baselines, section 4.4: as on Cityscapes, but for crops and steps."""

BL2_SHORT = Experiment(
    net=MobileNetConfig(len(CAMVID.names)),
    train=TrainConfig(num_steps=1400),
    augment=AugmentConfig(scales=(0.5, 2.0)),
)
"""As many pictures as ResNet-18 with few channels takes to get to know CamVid."""

PSPNET = Experiment(
    net=PspnetConfig(len(CAMVID.names), depth=18, width=44),
    train=TrainConfig(num_steps=4000, learning_rate=1e-3, evaluate_every=250),
    batch_size=16,
    weights=Path("camvid-light"),
)
"""Stride 8 on a backbone that knows CamVid already, from stride 32."""

PSPNET_SHORT = dataclasses.replace(
    PSPNET, train=TrainConfig(num_steps=700, learning_rate=1e-3), batch_size=8
)

RECIPES = {
    "light": LIGHT,
    "paper": PAPER,
    **TAPLAB,
    "bl2-short": BL2_SHORT,
    "pspnet": PSPNET,
    "pspnet-short": PSPNET_SHORT,
}

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


@dataclasses.dataclass(frozen=True)
class CamvidOptions(Options):
    """What the command does.

    Attributes:
        experiment: The settings.
        data_dir: Folder of CamVid; without one, the embedded clip is used.
        out: Folder of the run; gets checkpoints, results, plot and overlay video.
        stage: What to do.
        resume: Continue the run in `out`, or begin it where there is none.
        distributed: Train with the other processes of a cluster, one stage alone.
        recipe: The settings that the options change.
    """

    recipe: Literal[
        "small", "light", "paper", "bl1", "bl2", "bl3", "bl2-short", "pspnet", "pspnet-short"
    ] = "small"

    def __post_init__(self) -> None:
        """Refuse a recipe that is for real pictures without any."""
        if self.recipe != "small" and self.data_dir is None:
            raise ValueError(
                f"the recipe {self.recipe!r} must be given CamVid's pictures by --data-dir"
            )


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
    # Data and recipe decide the defaults of the other options.
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--data-dir", "--data_dir")
    chooser.add_argument("--recipe")
    chosen = chooser.parse_known_args(words)[0]
    is_real = chosen.data_dir is not None
    default = CamvidOptions(EMBEDDED, out=Path("runs/street"))
    if is_real:
        default = CamvidOptions(REAL, out=Path("runs/camvid"))
    if chosen.recipe in RECIPES:
        default = CamvidOptions(RECIPES[chosen.recipe], out=Path(f"runs/camvid-{chosen.recipe}"))
    options = tyro.cli(
        CamvidOptions,
        args=words,
        default=default,
        description=__doc__,
        config=(tyro.conf.AvoidSubcommands,),
    )
    command = ["python", "-m", "experiments.camvid", *words]
    run_fn = partial(run, options, data_set(options.data_dir), argv=command)
    return explain(run_fn, out=options.out)


if __name__ == "__main__":
    sys.exit(main())
