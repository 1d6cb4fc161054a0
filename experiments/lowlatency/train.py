r"""Learn to carry maps, and when to make new ones, beside a trained net that stays as it is.

    python -m experiments.lowlatency.train --checkpoint runs/pspnet --data-dir CAMVID --out RUN
    python -m experiments.lowlatency.train --checkpoint runs/pspnet --data-dir CAMVID --out RUN \
        --parts.after layer3_2 --parts.channels 256 --side 720

Pairs of frames 1 to 10 apart (in the paper 2 to 10): the first is the keyframe, the second is
labelled, and the net is asked about both, once for all that is learned.  What is learned
shares no variable, so that training all of it together is training each alone: every
propagation of the paper's Table 2 and ours, by the cross-entropy of the second frame's labels;
and the deviations, by that of the share of labels which differ between what the net says of
the two frames.

Real neighbours of labelled frames are used where the data set has them (Cityscapes, CamVid
with its films), else clips that a simulated camera makes of stills.  Every sixteenth clip is
held out, to choose the best step by.  RUN holds the whole net and all parts.  Without a
folder of data it runs on the embedded streets.

Where CHECKPOINT is such a RUN, learning goes on from its parts; `--only-deviations` leaves
those that carry maps as they are, and takes less time.

Source: Li, Shi & Lin 2018, section 4.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from data.examples import DataError, Example, Lazy
from data.pairs import Pair, drift_pair_batches
from data.simulated import CameraConfig
from experiments.command import explain
from experiments.finetune import HELD_OUT, HELD_OUT_BATCHES, labelled_clips
from experiments.lowlatency.parts import Parts, card_of, init_parts, parts_of, view_of
from experiments.results import provenance
from experiments.settings import SettingsError
from jaxseg.adaptive import AdaptiveConfig
from jaxseg.arrays import Array, Labels, Params, Scores
from jaxseg.checkpoints import Checkpoints, Model, load_model, write_model_card
from jaxseg.drift import Drift, extend, no_drift
from jaxseg.files import write_text
from jaxseg.losses import LossFn, cross_entropy
from jaxseg.metrics import confusion_matrix, mean_iou
from jaxseg.nets import Net, predict_labels
from jaxseg.runner import keep_compilations
from jaxseg.train import TrainConfig, TrainState, make_optimizer, make_train_step, train

PARTS = AdaptiveConfig(after="layer2_1", channels=48)
"""For a ResNet-18 of 44 channels, whose third stage has a sixth of a ResNet-101's."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is learned, from what.

    Attributes:
        checkpoint: Folder of a trained run.
        data_dir: Folder of CamVid or Cityscapes; without one, the embedded streets.
        out: Folder of the new run; clips are kept in a folder `clips` beside it.
        parts: Sizes of what is learned.
        only_deviations: Learn only when keyframes are due.
        distances: Frames between the two of a pair, the smallest and the largest.
        side: Of the square crops, pixels, a multiple of 16.
        batch_size: Pairs a step.
        seed: Of clips, order and crops.
        train: How it is trained.
        camera: How stills become clips.
        resume: Continue the run in `out`, or begin it where there is none.
    """

    checkpoint: Path
    data_dir: Path | None = None
    out: Path = Path("runs/lowlatency")
    parts: AdaptiveConfig = PARTS
    only_deviations: bool = False
    distances: tuple[int, int] = (1, 10)
    side: int = 320
    batch_size: int = 8
    seed: int = 0
    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            num_steps=500,
            learning_rate=2e-3,
            warmup_steps=20,
            evaluate_every=100,
            max_gradient_norm=None,
        )
    )
    camera: CameraConfig = dataclasses.field(default_factory=CameraConfig)
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        if not 1 <= self.distances[0] <= self.distances[1]:
            raise ValueError(f"distances are {self.distances}, but must be 1 or more, and in order")
        if self.side < 16 or self.side % 16:
            raise ValueError(f"side is {self.side}, but must be a multiple of 16 pixels")
        if self.train.max_gradient_norm is not None:
            raise ValueError(
                "max_gradient_norm would let the parts' gradients scale each other; leave it None"
            )


def drift_of(pair: Pair) -> Drift:
    """Go from each keyframe to its pair's second frame.

    Args:
        pair: `[b, ...]`.

    Returns:
        The drift, `[b, h, w, ...]`.
    """

    def one(motion: Array, inter: Array, residual: Array, distance: Array) -> Drift:
        def go(drift: Drift, step: Any) -> tuple[Drift, None]:
            index, *others = step
            further = extend(drift, *others)
            chosen = jax.tree.map(
                lambda own, before: jnp.where(index < distance, own, before), further, drift
            )
            return chosen, None

        steps = jnp.arange(motion.shape[0]), motion, inter, residual
        return jax.lax.scan(go, no_drift(*motion.shape[1:3]), steps)[0]

    return jax.vmap(one)(pair.motion, pair.inter, pair.residual, pair.distance)


def score_pairs(
    parts: Parts, net: Net, params: Params, pair: Pair
) -> tuple[dict[str, Scores], dict[str, Array], Scores, Array]:
    """Say with all that is learned what the second frame of each pair shows.

    Args:
        parts: What is learned.
        net: The net.
        params: All variables.
        pair: `[b, ...]`.

    Returns:
        Scores `[b, h, w, k]` by way; logits `[b]` of the learned deviations; scores of the
        lower part alone; and `[b]`, the share of labels that differ between what the net says
        of the two frames.
    """
    height, width = pair.frames.shape[-3:-1]
    key, own = (view_of(parts.split, net, params, pair.frames[:, index]) for index in (0, 1))
    features = []
    for view in (key, own):
        assert view.halfway is not None
        features.append(parts.split.high(params, view.halfway))
    said = [net.classify(params, net.project(params, it)) for it in features]
    before, now = (predict_labels(it, stride=net.stride, height=height, width=width) for it in said)
    drift = drift_of(pair)
    scores = {}
    for name, (propagator, fuser) in parts.ways.items():
        seen = propagator.look(params, key), propagator.look(params, own)
        # What is affine in each cell may come before kernels whose weights sum to one.
        carried = features[0] if fuser else net.project(params, features[0])
        carried = propagator.propagate(params, carried, *seen, drift)
        if fuser:
            base = net.classify(params, net.project(params, carried))
            scores[name] = base + fuser.score(params, carried, own)
        else:
            scores[name] = net.classify(params, carried)
    logits = {
        name: it.logit(params, it.look(params, key), it.look(params, own), drift)
        for name, it in parts.deviations.items()
        if it.logit is not None
    }
    differs = (before != now).mean((-2, -1))
    return scores, logits, parts.low_labels.score(params, own), differs


def pair_loss(parts: Parts, net: Net) -> LossFn:
    """Make the sum of the losses of all that is learned.

    Args:
        parts: What is learned.
        net: The net.

    Returns:
        The loss of a batch of pairs.
    """

    def loss_fn(learned: Params, stats: Params, pair: Pair) -> tuple[Array, Params]:
        params = {"params": learned, "batch_stats": stats}
        scores, logits, low, differs = score_pairs(parts, net, params, pair)
        learning = [it for name, it in scores.items() if name not in ("clockwork", "warp")]
        losses = [cross_entropy(it, pair.labels) for it in (*learning, low)]
        # The share is a probability: that a pixel's label differs.
        losses += [(jax.nn.softplus(logit) - differs * logit).mean() for logit in logits.values()]
        return jnp.sum(jnp.stack(losses)), stats

    return loss_fn


def held_out_metrics(
    parts: Parts, net: Net, batches: Callable[[], Sequence[Pair]]
) -> Callable[[Params], dict[str, float]]:
    """Make a function that measures all that is learned on pairs that are not trained on.

    Args:
        parts: What is learned.
        net: The net.
        batches: Makes them.

    Returns:
        `params -> metrics`: "miou", the mean over the ways, and "miou_<way>", where maps are
        carried; "error_<deviation>", the mean absolute error of the share of labels that
        differ.
    """

    @jax.jit
    def say(params: Params, pair: Pair) -> tuple[dict[str, Labels], dict[str, Array]]:
        height, width = pair.frames.shape[-3:-1]
        scores, logits, _, differs = score_pairs(parts, net, params, pair)
        to_labels = partial(predict_labels, stride=net.stride, height=height, width=width)
        errors: dict[str, Array] = {
            name: jnp.abs(jax.nn.sigmoid(logit) - differs).mean() for name, logit in logits.items()
        }
        return {name: to_labels(it) for name, it in scores.items()}, errors

    def evaluate(params: Params) -> dict[str, float]:
        confusions: dict[str, np.ndarray] = {}
        errors: dict[str, list[float]] = {}
        for pair in batches():
            labels, apart = say(params, pair)
            for name, it in labels.items():
                found = confusion_matrix(pair.labels, np.asarray(it), num_classes=net.num_classes)
                confusions[name] = confusions.get(name, 0) + found
            for name, value in apart.items():
                errors.setdefault(name, []).append(float(value))
        miou = {name: float(mean_iou(it)) for name, it in confusions.items()}
        metrics = {f"error_{name}": float(np.mean(it)) for name, it in errors.items()}
        if miou:
            metrics |= {f"miou_{name}": it for name, it in miou.items()}
            metrics["miou"] = float(np.mean(list(miou.values())))
        return metrics

    return evaluate


def begin(options: Options, settings: Path, *, argv: Sequence[str]) -> None:
    """Refuse to mix runs, and write down the settings of a new one.

    Args:
        options: What is learned.
        settings: The run's settings file.
        argv: The command as typed.

    Raises:
        SettingsError: If `out` holds another run.
    """
    plain = json.loads(json.dumps(dataclasses.asdict(options), default=str))
    plain = {name: it for name, it in plain.items() if name not in ("resume", "out")}
    if settings.exists():
        if not options.resume:
            raise SettingsError(
                f"{options.out}: holds a run already; continue it with --resume, or give another "
                "--out"
            )
        before = json.loads(settings.read_text())["options"]
        if before != plain:
            name = next(it for it in plain if before.get(it) != plain[it])
            raise SettingsError(
                f"{options.out}: was begun with {name} = {before.get(name)}, not {plain[name]}; "
                "resume with the same settings, or give another --out"
            )
        return
    settings.parent.mkdir(parents=True, exist_ok=True)
    content = {"options": plain, "provenance": provenance(argv)}
    write_text(settings, json.dumps(content, indent=1) + "\n")


def starting_parts(parts: Parts, model: Model, options: Options) -> dict[str, Params]:
    """Take what a model carries of the parts, and initialise the others.

    Args:
        parts: What is learned.
        model: The net, and what was learned beside it before.
        options: Sizes and seed.

    Returns:
        Variables by entry of `params["params"]`.

    Raises:
        SettingsError: If the model carries parts of other sizes.
    """
    learned = init_parts(parts, model.net, model.params, key=jax.random.key(options.seed))
    for entry, size in card_of(learned, options.parts).items():
        if model.extras.get(entry, size) != size:
            raise SettingsError(
                f"{options.checkpoint}: carries {entry!r} of the sizes {model.extras[entry]}, not "
                f"{size}; give the same by --parts, or a net without"
            )
    return {name: model.params["params"].get(name, it) for name, it in learned.items()}


def run(options: Options, *, argv: Sequence[str]) -> None:
    """Train, and write a run that holds the whole net with all its parts.

    Args:
        options: What is learned.
        argv: The command as typed, for the provenance.

    Raises:
        SettingsError: If `out` holds another run, or the net cannot be cut there, or carries
            parts of other sizes.
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        FloatingPointError: If training diverges.
    """
    keep_compilations()
    out = options.out
    model: Model = load_model(options.checkpoint)
    parts = parts_of(model.net, model.config, options.parts)
    if options.only_deviations:
        parts = parts._replace(ways={})
    learned = starting_parts(parts, model, options)
    begin(options, out / "settings.json", argv=argv)
    clips: Sequence[Example] = labelled_clips(
        options.data_dir, out.parent / "clips", options.camera, seed=options.seed
    )
    if len(clips) < 2:
        raise DataError(f"there are {len(clips)} clips, but at least 2 are needed: one is held out")
    held_out = Lazy(range(0, len(clips), HELD_OUT), clips.__getitem__)
    trained = Lazy([i for i in range(len(clips)) if i % HELD_OUT], clips.__getitem__)
    shape: Mapping[str, Any] = {
        "distances": options.distances,
        "side": options.side,
        "batch_size": options.batch_size,
    }
    extras = {**model.extras, **card_of(learned, options.parts)}
    write_model_card(out, model.config, model.classes, extras=extras)
    params = {**model.params, "params": {**model.params["params"], **learned}}
    # Each by its own name, as "codec" is how "codec-aks" begins.
    rates = tuple((name, float(name in learned)) for name in params["params"])
    config = dataclasses.replace(options.train, rates=rates + options.train.rates)
    optimizer = make_optimizer(config)
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params["params"]))
    evaluate_fn = held_out_metrics(
        parts,
        model.net,
        lambda: list(
            islice(drift_pair_batches(held_out, seed=options.seed + 1, **shape), HELD_OUT_BATCHES)
        ),
    )
    with closing(Checkpoints(out / "checkpoints", cleanup=True)) as checkpoints:
        latest = checkpoints.latest()
        if latest is not None:
            restored = checkpoints.restore(
                latest, params=state.params, training=state._replace(params={})
            )
            state = restored["training"]._replace(params=restored["params"])
        train(
            state,
            make_train_step(pair_loss(parts, model.net), optimizer, rates=config.rates),
            lambda start: drift_pair_batches(trained, seed=options.seed, start=start, **shape),
            config=config,
            checkpoints=checkpoints,
            evaluate_fn=evaluate_fn,
            log_path=out / "train.jsonl",
        )
    print(f"wrote {out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(
        Options, args=words, prog="python -m experiments.lowlatency.train", description=__doc__
    )
    return explain(
        partial(run, options, argv=["python", "-m", "experiments.lowlatency.train", *words]),
        out=options.out,
    )


if __name__ == "__main__":
    sys.exit(main())
