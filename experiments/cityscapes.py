"""Train on Cityscapes' labelled frames, and measure every scheme on its snippets.

    python -m experiments.cityscapes --data-dir CITYSCAPES --weights resnet101.pth
    python -m experiments.cityscapes --data-dir CITYSCAPES --recipe small
    python -m experiments.cityscapes --data-dir CITYSCAPES --recipe bl2 --stage train

CITYSCAPES holds gtFine/ and leftImg8bit_sequence/ (324 GB), as they are published.
The recipe `paper` is that of Jain & Gonzalez 2018: Deformable DeepLab on a ResNet-101
with ImageNet's weights, trained for 53 epochs with one crop of 768x1024 pixels on each
of 4 GPUs (theirs were Tesla K80).  Expected, as the paper reports it: 75.2 mIoU per
frame, and with a keyframe every 10 frames 66.6 by interp-mv and 61.7 by prop-mv.  The
recipe `small` trains a ResNet-18 with a light decoder from scratch, on whatever there
is.  The recipes `bl1`, `bl2` and `bl3` train TapLab's baselines as that paper does, from
scratch on one GPU (theirs was a GTX 1080 Ti): ICNet on half a ResNet-50, MobileNet with a
feature pyramid, and PSPNet on a ResNet-101.  It reports 67.3, 73.6 and 77.3 mIoU per frame.

The schemes are measured on the 500 snippets of `val`, as section 4.1 of the paper
says: each is encoded once at 17 frames a second (into OUT/sequences), and the distance
of its labelled frame from the keyframe rotates.  OUT/submission/ gets the labels of
those frames as the official evaluation takes them, a folder for each scheme.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from jaxtyping import UInt8
from tqdm import tqdm

from data import cityscapes
from data.augment import AugmentConfig
from data.cityscapes.reading import RATE, WHERE_FROM, read_frames, read_labels, sparse_labels
from data.examples import DataError, Lazy, labelled_clip
from experiments.command import Options, begin, explain
from experiments.evaluation import (
    COLUMNS,
    clip_of,
    schemes_by_name,
    way_columns,
    write_overlay,
)
from experiments.results import markdown_table, provenance, write_markdown, write_results
from experiments.settings import (
    EvaluationConfig,
    Experiment,
    save_settings,
)
from experiments.sparse import (
    Setting,
    SparseClip,
    last_offset,
    measure_sparse,
    midway_offset,
    rotating_offset,
)
from experiments.timing import gops_of, prepare_step, speed_columns, time_in_turn
from experiments.training import train_stage
from jaxseg import codec
from jaxseg.checkpoints import Model, load_model
from jaxseg.classes import CITYSCAPES
from jaxseg.draw import plot_accuracy_throughput
from jaxseg.metrics import class_iou, mean_iou
from jaxseg.nets import (
    IcnetConfig,
    MobileNetConfig,
    NetConfig,
    PspnetConfig,
    deformable_deeplab,
)
from jaxseg.runner import compile_scheme, label_gops
from jaxseg.train import TrainConfig

NUM_CLASSES = len(CITYSCAPES.names)
TRAINING_STILLS = 2975
BATCH_SIZE = 4
EPOCHS, DROP_EPOCH = 53, 40.3

FROZEN = ("conv1", "bn1", "layer1")

TAPLAB_STEPS = round(20_000 * TRAINING_STILLS / 367)
"""The paper does not say: as often through the data as its 20000 steps go on CamVid's 367."""

TAPLAB = {
    name: Experiment(
        net=net,
        train=TrainConfig(
            num_steps=TAPLAB_STEPS,
            optimizer="adam",
            learning_rate=2e-4,
            weight_decay=1e-6,
            warmup_steps=0,
            max_gradient_norm=None,
            evaluate_every=5000,
        ),
        augment=AugmentConfig(crop=(800, 800), scales=(0.5, 2.0), brightness=0.0),
        batch_size=8,
        balance_classes=False,
    )
    for name, net in (
        ("bl1", IcnetConfig(NUM_CLASSES)),
        ("bl2", MobileNetConfig(NUM_CLASSES)),
        ("bl3", PspnetConfig(NUM_CLASSES)),
    )
}
"""TapLab's baselines, section 4.2.1."""

RECIPES = {
    "paper": Experiment(
        net=dataclasses.replace(deformable_deeplab(NUM_CLASSES), num_void=1),
        train=TrainConfig(
            num_steps=round(EPOCHS * TRAINING_STILLS / BATCH_SIZE),
            optimizer="sgd",
            learning_rate=5e-4,
            schedule="step",
            drop_at=DROP_EPOCH / EPOCHS,
            weight_decay=5e-4,
            warmup_steps=1000,
            warmup_rate=5e-5,
            rates=tuple((f"features/backbone/{name}", 0.0) for name in FROZEN),
            max_gradient_norm=None,
            evaluate_every=3000,
        ),
        augment=AugmentConfig(crop=(768, 1024), scales=(1.0, 1.0), brightness=0.0),
        evaluation=EvaluationConfig(propagation="chain", reversal="negate", intra="rest"),
        batch_size=BATCH_SIZE,
        balance_classes=False,
    ),
    "small": Experiment(
        net=NetConfig(num_classes=NUM_CLASSES, depth=18, output_stride=32, ladder_stride=4),
        train=TrainConfig(num_steps=2200, evaluate_every=1100),
        augment=AugmentConfig(crop=(512, 512)),
    ),
    **TAPLAB,
}

SCHEMES = {"per-frame": last_offset, "prop-mv": last_offset, "interp-mv": midway_offset}
"""What is compared, and where each is farthest from keyframes."""


@dataclasses.dataclass(frozen=True)
class CityscapesOptions(Options):
    """What the command does.

    Attributes:
        experiment: The settings.
        data_dir: Folder of Cityscapes.
        out: Folder of the run; gets checkpoints, results, plot, overlay video and
            submissions.
        stage: What to do.
        resume: Continue the run in `out`, or begin it where there is none.
        distributed: Train with the other processes of a cluster, see
            `command.join_processes`.
        recipe: The settings that the options change.
        split: What is measured on; "test" has no public labels, and gives submissions
            and speed alone.
        submit: Scheme and keyframe interval of the submission besides that of the net
            on each frame.
    """

    out: Path = Path("runs/cityscapes")
    recipe: Literal["paper", "small", "bl1", "bl2", "bl3"] = "paper"
    split: Literal["val", "test"] = "val"
    submit: tuple[Literal["prop-mv", "interp-mv"], int] = ("interp-mv", 5)


def read_clip(snippet: cityscapes.Snippet, folder: Path, config: EvaluationConfig) -> SparseClip:
    """Encode a snippet, unless that was done before, and read it back.

    Args:
        snippet: Where its files are.
        folder: Where the video file goes, or is.
        config: Codec, GOP and quality.

    Returns:
        Frames as decoded, labels, and what the codec says about the motion.

    Raises:
        DataError: If a file is unusable.
        CodecError: If the video cannot be written or read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{snippet.name}_{config.codec}_gop{config.gop}_q{config.quality}.mp4"
    labels = read_labels(snippet.labels)
    if not path.exists():
        codec.encode(
            read_frames(snippet),
            path,
            rate=RATE,
            codec=config.codec,
            gop=config.gop,
            quality=config.quality,
        )
    clip = codec.load(path)
    height, width = labels.shape
    even = (len(snippet.frames), height + height % 2, width + width % 2, 3)
    assert clip.frames is not None
    if clip.frames.shape != even:
        raise DataError(
            f"{path}: holds frames of shape {clip.frames.shape}, but the snippet's files and "
            f"labels say {even}; check their sizes, and remove the video to have it made anew"
        )
    every = sparse_labels(labels, num_frames=len(snippet.frames), labelled=snippet.labelled)
    example = labelled_clip(clip._replace(frames=clip.frames[:, :height, :width]), every)
    return SparseClip(snippet.name, example, snippet.labelled)


def evaluate(
    model: Model,
    clips: Iterable[SparseClip],
    *,
    config: EvaluationConfig,
    submit: tuple[str, int],
    out: Path,
    provenance: dict[str, Any],
    title: str,
) -> list[dict[str, Any]]:
    """Measure every scheme at every interval, and write what came out.

    Args:
        model: The net, its variables and classes.
        clips: One or more, all of one size.
        config: What is measured.
        submit: Scheme and interval of the submission besides that of the net on each
            frame.
        out: Gets `results.json`, `results.md`, `accuracy_throughput.png`, `overlay.mp4`
            and `submission/`.
        provenance: Goes into the results.
        title: Over the plot.

    Returns:
        The rows of the results.

    Raises:
        DataError: If a clip is too short for an interval, or unusable.
        CodecError: If a video cannot be written or read.
    """
    clips = iter(clips)
    first = next(clips)
    clip = clip_of(first.example)
    height, width = first.example.labels.shape[1:]
    constructors = schemes_by_name(config)
    labellers = {
        name: compile_scheme(model.net, constructors[name](model.net), height=height, width=width)
        for name in SCHEMES
    }
    work = [("per-frame", 1)]
    work += [(name, n) for name in SCHEMES if name != "per-frame" for n in config.intervals]

    def prepare(setting: tuple[str, int]) -> Callable[[], None]:
        name, interval = setting
        return prepare_step(labellers[name], model.params, clip, interval=interval)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        steps = dict(zip(work, pool.map(prepare, work), strict=True))

    settings = {(*at, "mean"): Setting(*at, rotating_offset) for at in [*work, submit]}
    settings |= {(*at, "min"): Setting(*at, SCHEMES[at[0]]) for at in work}
    folders = {("per-frame", 1, "mean"): "per-frame", (*submit, "mean"): f"{submit[0]}_{submit[1]}"}

    def keep(key: tuple[str, int, str], name: str, labels: UInt8[np.ndarray, "H W"]) -> None:
        if key in folders:
            cityscapes.write_submission(labels, out / "submission" / folders[key], name)

    confusions = measure_sparse(labellers, model, chain([first], clips), settings, keep_fn=keep)
    rows = []
    for name, interval in work:
        keyframe_ms, interval_ms = time_in_turn(steps["per-frame", 1], steps[name, interval])
        total = confusions[name, interval, "mean"]
        iou = zip(model.classes.names, class_iou(total), strict=True)
        rows.append(
            {
                "scheme": name,
                "interval": interval,
                "net": model.config.name,
                **way_columns(name, config),
                "miou": float(mean_iou(total)),
                "miou_min": float(mean_iou(confusions[name, interval, "min"])),
                **speed_columns(interval, keyframe_ms=keyframe_ms, interval_ms=interval_ms),
                "height": height,
                "width": width,
                **{f"iou_{class_name}": float(value) for class_name, value in iou},
            }
        )
    write_results(out / "results.json", rows, provenance=provenance)
    write_markdown(out / "results.md", rows, columns=COLUMNS, provenance=provenance)
    plot_accuracy_throughput(rows, out / "accuracy_throughput.png", title=title)
    overlay_gops = gops_of(clip, labellers["interp-mv"], interval=config.overlay_interval)
    labels = label_gops(labellers["interp-mv"], model.params, overlay_gops)
    write_overlay(model, clip, labels, out / "overlay.mp4", rate=RATE)
    return rows


def run(options: CityscapesOptions, *, argv: Sequence[str]) -> None:
    """Run the stages of the experiment.

    Args:
        options: What to do.
        argv: The command as typed, for the results' provenance.

    Raises:
        SettingsError: If `out` holds another run.
        CheckpointError: If there is nothing to evaluate.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
        FloatingPointError: If training diverges.
    """
    begin(options)
    experiment, out, data_dir = options.experiment, options.out, options.data_dir
    settings = out / "settings.json"
    if data_dir is None:
        raise DataError(f"give the folder of Cityscapes by --data-dir; {WHERE_FROM}")
    # What is missing is said before hours of training.
    snippets = [] if options.stage == "train" else cityscapes.find_snippets(data_dir, options.split)
    if options.stage != "evaluate":
        stills, held_out = (cityscapes.read_stills(data_dir, split) for split in ("train", "val"))
        if not settings.exists() and jax.process_index() == 0:
            save_settings(settings, experiment, provenance=provenance(argv))
        train_stage(
            experiment,
            stills,
            Lazy(held_out, lambda example: (example.frames, example.labels)),
            classes=CITYSCAPES,
            out=out,
        )
    if options.stage != "train":

        def read_clips() -> Iterator[SparseClip]:
            for snippet in tqdm(snippets, unit="snippet", dynamic_ncols=True):
                yield read_clip(snippet, out / "sequences", experiment.evaluation)

        rows = evaluate(
            load_model(out),
            read_clips(),
            config=experiment.evaluation,
            submit=options.submit,
            out=out,
            provenance=provenance(argv),
            title=f"Cityscapes {options.split}",
        )
        print(markdown_table(rows, COLUMNS))
        written = "results.json", "results.md", "accuracy_throughput.png", "overlay.mp4"
        for name in (*written, "submission"):
            print(f"wrote {out / name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # The recipe's settings are the defaults of the other options.
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--recipe", default="paper")
    recipe = chooser.parse_known_args(words)[0].recipe
    default = CityscapesOptions(experiment=RECIPES.get(recipe, RECIPES["paper"]))
    options = tyro.cli(
        CityscapesOptions,
        args=words,
        default=default,
        description=__doc__,
        config=(tyro.conf.AvoidSubcommands,),
    )
    return explain(
        partial(run, options, argv=["python", "-m", "experiments.cityscapes", *words]),
        out=options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
