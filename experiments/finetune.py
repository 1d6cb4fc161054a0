"""Train what a scheme learns on video: the fusion of two keyframes, or an optical flow.

    python -m experiments.finetune --checkpoint runs/camvid --data-dir CAMVID
    python -m experiments.finetune --checkpoint runs/camvid --data-dir CAMVID --learn flownet-s

A labelled frame lies between two keyframes (a fusion), or after one (a flow), at random
distances; the rest of the net is frozen, or trained at `--rest` times the rate.  The
data set's own neighbours of labelled frames are used where it has them (Cityscapes,
CamVid with its films).  Else a simulated camera drives into every still, and a real
encoder finds the motion (see data/simulated.py).  Every sixteenth clip is held out, to
choose the best step by; nothing that is measured on later is read.

`--out` gets a run that holds the whole net, so that fusion and flow can be learned one
after the other.  A published FlowNet-S to begin with is given by `--flow-weights`.
Without a folder of data it runs on the embedded streets.  On CamVid's 367 stills a
fusion takes minutes on 2 cores.

Source: Jain & Gonzalez 2018, section 4.1; Zhu et al. 2017, section 3.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from data import cityscapes
from data.augment import AugmentConfig
from data.cache import encode_record, save_record, stored_examples
from data.camvid import originals
from data.examples import DataError, Example, Lazy
from data.examples import Sequence as LabelledSequence
from data.intervals import interval_batches, pair_batches
from data.simulated import CameraConfig, simulated_records
from experiments import camvid
from experiments.command import explain
from experiments.results import provenance
from experiments.settings import SettingsError
from jaxseg.arrays import LabelledGop, Labels, Params
from jaxseg.checkpoints import Checkpoints, Model, load_model, write_model_card
from jaxseg.convert import load_flow, read_weights
from jaxseg.files import write_text
from jaxseg.fusion import LEARNED, init_fusion
from jaxseg.losses import scheme_loss
from jaxseg.metrics import confusion_matrix, mean_iou
from jaxseg.nets import flownet_s, predict_labels
from jaxseg.runner import keep_compilations
from jaxseg.schemes import Scheme, interp_mv, prop_flow
from jaxseg.train import TrainConfig, TrainState, make_optimizer, make_train_step, train

HELD_OUT = 16
"""One clip of so many is not trained on."""

HELD_OUT_BATCHES = 6


@dataclasses.dataclass(frozen=True)
class Options:
    """What is learned, and from what.

    Attributes:
        checkpoint: Folder of a trained run.
        data_dir: Folder of CamVid or Cityscapes; without one, the embedded streets.
        out: Folder of the new run.
        learn: A fusion for interp-mv: "conv", the task net's first layer over both maps,
            or "conv-before", a layer before it; or "flownet-s", an optical flow.
        flow_weights: A published FlowNet-S to begin with.
        rest: Factor of the learning rate of all else; 0 freezes it.
        max_interval: Frames of the longest interval between keyframes.
        batch_size: Intervals a step.
        seed: Of clips, order and augmentation.
        train: How it is trained.
        augment: How clips are varied.
        camera: How stills become clips.
        resume: Continue the run in `out`, or begin it where there is none.
    """

    checkpoint: Path
    data_dir: Path | None = None
    out: Path = Path("runs/finetuned")
    learn: Literal["conv", "conv-before", "flownet-s"] = "conv"
    flow_weights: Path | None = None
    rest: float = 0.0
    max_interval: int = 10
    batch_size: int = 8
    seed: int = 0
    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            num_steps=300, learning_rate=1e-3, warmup_steps=20, evaluate_every=50
        )
    )
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    camera: CameraConfig = dataclasses.field(default_factory=CameraConfig)
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what leaves nothing between keyframes."""
        if self.max_interval < 2:
            raise ValueError(f"max_interval is {self.max_interval}, but must be at least 2")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, but must be at least 1")


class Lesson(NamedTuple):
    """Something to learn.

    Attributes:
        entry: Where in `params["params"]` its variables are.
        scheme: The scheme that uses it.
        params: The net's variables, with its own as they are before training.
        make_batches: `(clips, seed, start) -> batches` to learn it from.
    """

    entry: str
    scheme: Scheme
    params: Params
    make_batches: Callable[[Sequence[Example], int, int], Iterator[LabelledGop]]


def lesson_of(options: Options, model: Model) -> Lesson:
    """Prepare what is to be learned.

    Args:
        options: What that is.
        model: The trained net.

    Returns:
        The lesson.

    Raises:
        SettingsError: If published weights do not fit.
        OSError: If they cannot be read.
    """
    if options.learn == "flownet-s":
        flow = flownet_s()
        frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
        if options.flow_weights is None:
            blank = np.zeros(frame.shape, np.uint8)
            learned = jax.jit(flow.init)(jax.random.key(options.seed), blank)
        else:
            shapes = jax.eval_shape(flow.init, jax.random.key(0), frame)
            try:
                learned = load_flow(shapes, read_weights(options.flow_weights))
            except (ValueError, ImportError) as error:
                raise SettingsError(f"{options.flow_weights}: {error}") from error
        params = {**model.params, "params": {**model.params["params"], "flow": learned}}
        return Lesson(
            "flow",
            prop_flow(model.net, flow),
            params,
            lambda clips, seed, start: pair_batches(
                clips,
                options.augment,
                max_offset=options.max_interval - 1,
                batch_size=options.batch_size,
                seed=seed,
                start=start,
            ),
        )
    fusion = LEARNED[options.learn]
    return Lesson(
        "fusion",
        interp_mv(model.net, fusion=fusion),
        init_fusion(model.net, model.params, fusion),
        lambda clips, seed, start: interval_batches(
            clips,
            options.augment,
            max_interval=options.max_interval,
            batch_size=options.batch_size,
            seed=seed,
            start=start,
        ),
    )


def labelled_clips(
    data_dir: Path | None, folder: Path, camera: CameraConfig, *, seed: int
) -> Sequence[Example]:
    """Find, or simulate, clips around the labelled frames of the training split.

    Args:
        data_dir: Folder of the data set; None for the embedded streets.
        folder: Where clips are kept.
        camera: How stills become clips.
        seed: Of the clips that are simulated.

    Returns:
        The clips, which stay in files until they are asked for.

    Raises:
        DataError: If the data set is unusable.
    """
    if data_dir is not None and (data_dir / "gtFine").is_dir():
        snippets = cityscapes.find_snippets(data_dir, "train")
        return stored_clips(map(cityscapes.read_snippet, snippets), folder)
    if data_dir is not None and (data_dir / originals.FILMS).is_dir():
        return stored_clips(
            (one for one in originals.read_originals(data_dir, "train") if len(one.frames) > 1),
            folder,
        )
    stills = camvid.data_set(data_dir).read_stills()
    return simulated_records(stills, camera, seed=seed, folder=folder)


def stored_clips(sequences: Iterable[LabelledSequence], folder: Path) -> Sequence[Example]:
    """Encode sequences, each as one GOP, and keep them in files.

    Args:
        sequences: With at least one labelled frame each; taken one at a time.
        folder: Where the files go; what is there is not encoded again.

    Returns:
        The clips, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for one in sequences:
        path = folder / f"{one.name}.npz"
        if not path.is_file():
            gop = len(one.frames)
            save_record(path, encode_record(one.frames, one.labels, rate=one.rate, gop=gop))
        paths.append(path)
    return stored_examples(tuple(paths))


def held_out_miou(
    options: Options, model: Model, lesson: Lesson, clips: Sequence[Example]
) -> Callable[[Params], dict[str, float]]:
    """Make a function that measures the scheme on clips that are not trained on.

    Args:
        options: Sizes.
        model: The net.
        lesson: The scheme, and what its batches are.
        clips: The clips.

    Returns:
        `params -> {"miou": ...}`, over one confusion matrix of all chosen frames.
    """
    height, width = options.augment.crop
    num_classes = model.net.num_classes

    @jax.jit
    def label(params: Params, batch: LabelledGop) -> Labels:
        def one(element: LabelledGop) -> Any:
            gop = element.gop
            _, scores = lesson.scheme.step(params, lesson.scheme.init(params, gop), gop)
            return jax.lax.dynamic_index_in_dim(scores, element.offset, keepdims=False)

        scores = jax.lax.map(one, batch)
        return predict_labels(scores, stride=model.net.stride, height=height, width=width)

    def evaluate(params: Params) -> dict[str, float]:
        confusion = np.zeros((num_classes, num_classes), np.int64)
        for batch in islice(lesson.make_batches(clips, options.seed + 1, 0), HELD_OUT_BATCHES):
            predicted = np.asarray(label(params, batch))
            confusion += confusion_matrix(batch.labels, predicted, num_classes=num_classes)
        return {"miou": float(mean_iou(confusion))}

    return evaluate


def run(options: Options, *, argv: Sequence[str]) -> None:
    """Train, and write a run that holds the whole net.

    Args:
        options: What is learned.
        argv: The command as typed, for the provenance.

    Raises:
        SettingsError: If `out` holds another run, or weights do not fit.
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        FloatingPointError: If training diverges.
    """
    keep_compilations()
    out, settings = options.out, options.out / "settings.json"
    if settings.exists():
        if not options.resume:
            raise SettingsError(
                f"{out}: holds a run already; continue it with --resume, or give another --out"
            )
        before = json.loads(settings.read_text())["options"]
        for key, new in _plain(options).items():
            if before.get(key) != new:
                raise SettingsError(
                    f"{out}: was begun with {key} = {before.get(key)}, not {new}; resume with "
                    "the same settings, or give another --out"
                )
    model = load_model(options.checkpoint)
    lesson = lesson_of(options, model)
    clips = labelled_clips(
        options.data_dir, options.out.parent / "clips", options.camera, seed=options.seed
    )
    if len(clips) < 2:
        raise DataError(f"there are {len(clips)} clips, but at least 2 are needed: one is held out")
    held_out = Lazy(range(0, len(clips), HELD_OUT), clips.__getitem__)
    trained = Lazy([i for i in range(len(clips)) if i % HELD_OUT], clips.__getitem__)
    out.mkdir(parents=True, exist_ok=True)
    if not settings.exists():
        content = {"options": _plain(options), "provenance": provenance(argv)}
        write_text(settings, json.dumps(content, indent=1) + "\n")
    extras = {**model.extras, lesson.entry: options.learn}
    write_model_card(out, model.config, model.classes, extras=extras)
    others = [name for name in lesson.params["params"] if name != lesson.entry]
    config = dataclasses.replace(
        options.train, rates=tuple((name, options.rest) for name in others) + options.train.rates
    )
    optimizer = make_optimizer(config)
    loss_fn = scheme_loss(model.net, lesson.scheme)
    evaluate_fn = held_out_miou(options, model, lesson, held_out)
    state = TrainState(
        jnp.zeros((), jnp.int32), lesson.params, optimizer.init(lesson.params["params"])
    )
    with closing(Checkpoints(out / "checkpoints", cleanup=True)) as checkpoints:
        latest = checkpoints.latest()
        if latest is None:
            print(f"held-out mIoU before training: {evaluate_fn(state.params)['miou']:.4f}")
        else:
            restored = checkpoints.restore(
                latest, params=state.params, training=state._replace(params={})
            )
            state = restored["training"]._replace(params=restored["params"])
        train(
            state,
            make_train_step(loss_fn, optimizer, rates=config.rates),
            lambda start: lesson.make_batches(trained, options.seed, start),
            config=config,
            checkpoints=checkpoints,
            evaluate_fn=evaluate_fn,
            log_path=out / "train.jsonl",
        )
    print(f"wrote {out}")


def _plain(options: Options) -> dict[str, Any]:
    content = json.loads(json.dumps(dataclasses.asdict(options), default=str))
    del content["resume"], content["out"]
    return content


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
        partial(run, options, argv=["python", "-m", "experiments.finetune", *words]),
        out=options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
