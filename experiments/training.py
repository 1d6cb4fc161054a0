"""The training stage: labelled stills in, checkpoints and a log out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data.batches import training_batches
from data.examples import DataError, Example, class_counts
from experiments.settings import Experiment, SettingsError
from jaxseg.arrays import Frames, Labels, Params
from jaxseg.checkpoints import Checkpoints, write_model_card
from jaxseg.classes import Classes
from jaxseg.convert import load_backbone, read_weights
from jaxseg.geometry import pad_frames
from jaxseg.losses import balanced_weights, still_loss
from jaxseg.metrics import confusion_matrix, mean_iou
from jaxseg.nets import Net, predict_labels, segmenter
from jaxseg.pretrained import load, shipped
from jaxseg.train import TrainState, batch_mesh, init_state, make_optimizer, make_train_step, train


def train_stage(
    experiment: Experiment,
    examples: Sequence[Example],
    held_out: Sequence[tuple[Frames, Labels]],
    *,
    classes: Classes,
    out: Path,
    quiet: bool = False,
) -> None:
    """Train a net from scratch, or continue where a run stopped.

    All devices share each batch, those of other processes too (see
    `command.join_processes`), of which the first alone writes log and model card.

    Args:
        experiment: The settings.
        examples: Stills to train on.
        held_out: Frames `[t, H, W, 3]` and labels `[t, H, W]` to evaluate on.
        classes: Names and colours of the classes.
        out: The run's folder; gets `model.json`, `checkpoints/` and `train.jsonl`.
        quiet: Show no progress bar.

    Raises:
        SettingsError: If the devices cannot share a batch, or the weights to begin with
            cannot be used.
        CheckpointError: If a checkpoint cannot be used.
        DataError: If no pixel is labelled.
    """
    net = segmenter(experiment.net, dtype=jnp.dtype(experiment.dtype))
    optimizer, rates = make_optimizer(experiment.train), experiment.train.rates
    mesh = batch_mesh()
    if mesh is not None and experiment.batch_size % mesh.size:
        raise SettingsError(
            f"batch_size is {experiment.batch_size}, but {mesh.size} devices share each batch: "
            f"give a multiple of {mesh.size}, or fewer devices"
        )
    height, width = experiment.augment.crop
    blank = np.zeros((1, height, width, 3), np.uint8)
    is_first = jax.process_index() == 0

    def fresh_state() -> TrainState:
        return init_state(net, optimizer, blank, key=jax.random.key(experiment.seed))

    counts = class_counts(examples, num_classes=experiment.net.num_classes)
    if not counts.any():
        raise DataError("no training picture has a labelled pixel; are all of them void?")
    class_weights = balanced_weights(counts) if experiment.balance_classes else None
    with closing(Checkpoints(out / "checkpoints", cleanup=True)) as checkpoints:
        latest = checkpoints.latest()
        if latest is None:
            if is_first:
                write_model_card(out, experiment.net, classes)
            state = fresh_state()
            state = state._replace(params=starting_params(state.params, experiment))
        else:
            stored = jax.eval_shape(fresh_state)
            restored = checkpoints.restore(
                latest, params=stored.params, training=stored._replace(params={})
            )
            state = restored["training"]._replace(params=restored["params"])

        make_batches: Callable[..., Iterator[tuple[Frames, Labels]]] = training_batches
        if experiment.pipeline == "tf.data":
            from data import pipelines  # Needs TensorFlow.

            make_batches = pipelines.training_batches

        def batches(start: int) -> Iterator[tuple[Frames, Labels]]:
            return make_batches(
                examples,
                experiment.augment,
                batch_size=experiment.batch_size,
                seed=experiment.seed,
                start=start,
            )

        loss_fn = still_loss(net, class_weights=class_weights)
        train(
            state,
            make_train_step(loss_fn, optimizer, rates=rates, mesh=mesh),
            batches,
            config=experiment.train,
            checkpoints=checkpoints,
            evaluate_fn=held_out_miou(net, held_out),
            log_path=out / "train.jsonl" if is_first else None,
            quiet=quiet or not is_first,
        )


def starting_params(params: Params, experiment: Experiment) -> Params:
    """Put the weights that an experiment begins with into a new net.

    Args:
        params: Its random variables.
        experiment: The settings, which name the weights.

    Returns:
        Variables of the same shapes.

    Raises:
        SettingsError: If the weights do not fit.
        CheckpointError: If the folder of a run holds no model.
    """
    weights = experiment.weights
    if weights is None:
        return params
    if not weights.is_dir() and str(weights) not in shipped():
        try:
            return load_backbone(params, read_weights(weights))
        except (ValueError, ImportError) as error:
            raise SettingsError(str(error)) from error

    def shapes(tree: Params) -> Any:
        return jax.tree.map(jnp.shape, tree)

    model, own = load(str(weights)), params["params"]
    found, stats = model.params["params"], model.params["batch_stats"]
    if type(model.config) is type(experiment.net):
        learned = {name: found.get(name) for name in own}
        scorer = "classify" if "classify" in own else "project"  # What comes last.
        if shapes(learned[scorer]) != shapes(own[scorer]):
            learned[scorer] = own[scorer]  # That of other classes is of no use.
    else:
        backbone = {"backbone": found["features"].get("backbone")}
        learned = {**own, "features": {**own["features"], **backbone}}
        stats = {**params["batch_stats"], "backbone": stats.get("backbone")}
    taken = {"params": learned, "batch_stats": stats}
    if shapes(taken) != shapes(params):
        raise SettingsError(
            f"{weights}: holds a net of another make; begin with one whose settings are the "
            "same, but for the number of classes, or of another kind with the same backbone"
        )
    return taken


def held_out_miou(
    net: Net, held_out: Sequence[tuple[Frames, Labels]]
) -> Callable[[Params], dict[str, float]]:
    """Make a function that measures a net on every held-out frame.

    Args:
        net: The net.
        held_out: Frames `[t, H, W, 3]` and labels `[t, H, W]` by sequence.

    Returns:
        `params -> {"miou": ...}`, over one confusion matrix of all frames.
    """

    @jax.jit
    def label(params: Params, frame: Frames) -> Labels:
        height, width = frame.shape[-3:-1]
        features = net.features(params, pad_frames(frame))
        scores = net.classify(params, net.project(params, features))
        return predict_labels(scores, stride=net.stride, height=height, width=width)

    def evaluate(params: Params) -> dict[str, float]:
        confusion = np.zeros((net.num_classes, net.num_classes), np.int64)
        for frames, labels in held_out:
            for frame, truth in zip(frames, labels, strict=True):
                predicted = np.asarray(label(params, frame))
                confusion += confusion_matrix(truth, predicted, num_classes=net.num_classes)
        return {"miou": float(mean_iou(confusion))}

    return evaluate
