"""Checkpoints: training states that continue exactly, and models that others load.

A run's folder holds `model.json` (what the net is, its classes, how it was
trained) and `checkpoints/`, orbax's folder of steps.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.arrays import Params
from jaxseg.classes import Classes
from jaxseg.errors import InputError
from jaxseg.files import write_text
from jaxseg.nets import NET_CONFIGS, AnyNetConfig, Net, default_dtype, segmenter

NO_EXTRAS: Mapping[str, str] = MappingProxyType({})
"""Of a net with nothing learned beside it."""


class CheckpointError(InputError):
    """A checkpoint that cannot be used; the message says why and what to do."""


class Model(NamedTuple):
    """A net with its learned variables and the meaning of its classes.

    Attributes:
        net: The net.
        params: Its variables, with those of `extras`.
        config: What the net is made of.
        classes: Names and colours of its classes.
        extras: What was learned beside the net: entries of `params["params"]` such as
            "fusion" or "flow", and what each of them is.
    """

    net: Net
    params: Params
    config: AnyNetConfig
    classes: Classes
    extras: Mapping[str, str] = NO_EXTRAS


class Checkpoints:
    """A folder of training states: the latest, and the one of the best "miou".

    A state appears under its step only once it is whole, so a run may be killed
    at any moment.
    """

    def __init__(self, folder: str | Path, *, cleanup: bool = False) -> None:
        """Open a folder, which need not exist yet.

        Args:
            folder: Where the states are.
            cleanup: Remove what a killed run left half-written; for the run that
                writes alone, since it would remove another's.
        """
        from orbax.checkpoint import v1 as ocp  # Takes a second: only when used.

        policies = ocp.training.preservation_policies
        self._folder = Path(folder).absolute()
        self._checkpointer = ocp.training.Checkpointer(
            str(self._folder),
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(1),
                    policies.BestN(
                        get_metric_fn=_goodness,
                        n=1,
                        keep_checkpoints_without_metrics=False,
                    ),
                ]
            ),
            cleanup_tmp_directories=cleanup,
        )

    def save(
        self, step: int, params: Params, training: Any, *, metrics: Mapping[str, float]
    ) -> None:
        """Write a state and wait until it is safe on disk.

        Args:
            step: Optimizer steps taken.
            params: The net's variables, which can be restored alone.
            training: A tree of whatever else training needs to continue.
            metrics: Of an evaluation; "miou" decides which state is the best.
        """
        items = {"params": params, "training": training}
        self._checkpointer.save_checkpointables(step, items, metrics=dict(metrics))

    def steps(self) -> dict[int, dict[str, float]]:
        """List the steps at hand with their metrics.

        Returns:
            Metrics by step, in the order of the steps.
        """
        found = {c.step: dict(c.metrics or {}) for c in self._checkpointer.checkpoints}
        return dict(sorted(found.items()))

    def latest(self) -> int | None:
        """Name the last step.

        Returns:
            The step; None where there is none.
        """
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """Name the step whose "miou" is the highest, of equals the latest.

        Returns:
            The step; None where there is none.
        """
        steps = self.steps()
        return max(steps, key=lambda step: (_goodness(steps[step]), step), default=None)

    def restore(self, step: int, **templates: Any) -> dict[str, Any]:
        """Read a state, or a part of it.

        Args:
            step: Which one.
            **templates: `params=` and, if wanted, `training=`: trees of arrays or of
                their shapes, of the stored structure.

        Returns:
            The trees by the same names, on the default device.

        Raises:
            CheckpointError: If a stored tree has another structure or other shapes, or
                is damaged.
        """
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), templates
        )
        stored = self._checkpointer.checkpointables_metadata(step).metadata
        self._check_shapes(step, stored, templates)
        try:
            return self._checkpointer.load_checkpointables(step, abstract)
        except (ValueError, KeyError, TypeError) as error:
            cause = error.__cause__ or error  # Orbax tells first which of its parts failed.
            raise CheckpointError(
                f"{self._folder}: the checkpoint of step {step} is damaged "
                f"({str(cause).splitlines()[0][:200]}); remove its folder and resume"
            ) from error

    def extras(self, step: int, names: Iterable[str]) -> dict[str, Any]:
        """Describe what a state holds beside a net's own variables.

        Args:
            step: Which state.
            names: Entries of `params["params"]`.

        Returns:
            A tree of shapes by name, for the template of `restore`; none of a damaged state.

        Raises:
            CheckpointError: If there is no such entry.
        """
        params = self._checkpointer.checkpointables_metadata(step).metadata.get("params")
        if params is None:
            return {}
        for name in names:
            if name not in params["params"]:
                raise CheckpointError(
                    f"{self._folder}: the checkpoint of step {step} has no {name!r}, which the "
                    f"model card names; it holds {', '.join(sorted(params['params']))}"
                )
        return {name: params["params"][name] for name in names}

    def _check_shapes(
        self, step: int, stored: Mapping[str, Any], templates: Mapping[str, Any]
    ) -> None:
        readable = [name for name in templates if stored.get(name) is not None]
        there = _shapes({name: stored[name] for name in readable})
        here = _shapes({name: templates[name] for name in readable})
        for name in here | there:
            if here.get(name) != there.get(name):
                raise CheckpointError(
                    f"{self._folder}: the checkpoint of step {step} is of another net or "
                    f"optimizer: the shape of {name} is {there.get(name, 'nothing')} there, but "
                    f"{here.get(name, 'nothing')} here; use the settings it was trained with, or "
                    "another folder"
                )

    def close(self) -> None:
        """Release the folder."""
        self._checkpointer.close()


def flatten(tree: Any) -> dict[str, Any]:
    """List a tree's leaves by their path.

    Args:
        tree: Of variables, or of whatever stands for them.

    Returns:
        The leaves, by names such as "params.project.conv.kernel".
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Make a tree of leaves: the inverse of `flatten` for trees of dicts.

    Args:
        leaves: By their path.

    Returns:
        Nested dicts.
    """
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *path, last = name.split(".")
        branch = tree
        for key in path:
            branch = branch.setdefault(key, {})
        branch[last] = leaf
    return tree


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """List the shapes of a tree's leaves by their path."""
    return {name: tuple(leaf.shape) for name, leaf in flatten(tree).items()}


def _goodness(metrics: Mapping[str, float]) -> float:
    """Rank a state; one whose "miou" is not known comes last."""
    miou = metrics.get("miou", math.nan)
    return -1.0 if math.isnan(miou) else miou


def model_card(
    config: AnyNetConfig, classes: Classes, *, extras: Mapping[str, str] = NO_EXTRAS
) -> dict[str, Any]:
    """Describe a model, for JSON.

    Args:
        config: What the net is made of.
        classes: Names and colours of its classes.
        extras: What is learned beside the net, by its entry in `params["params"]`, such as
            `{"fusion": "conv"}`.

    Returns:
        What `read_model_card` understands.
    """
    card: dict[str, Any] = {
        "net": {"type": type(config).__name__, **dataclasses.asdict(config)},
        "classes": dataclasses.asdict(classes),
    }
    return card | {"extras": dict(extras)} if extras else card


def write_model_card(
    folder: str | Path,
    config: AnyNetConfig,
    classes: Classes,
    *,
    extras: Mapping[str, str] = NO_EXTRAS,
) -> None:
    """Write `model.json`, from which `load_model` rebuilds the net.

    Args:
        folder: A run's folder.
        config: What the net is made of.
        classes: Names and colours of its classes.
        extras: As in `model_card`.
    """
    card = model_card(config, classes, extras=extras)
    write_text(Path(folder) / "model.json", json.dumps(card, indent=1) + "\n")


def read_model_card(path: Traversable) -> tuple[Model, dict[str, Any]]:
    """Build the net that a card describes.

    Args:
        path: A JSON file that begins as `model_card` does; there is such a file.

    Returns:
        The model, with the shapes of the net's own variables for params, and the card.

    Raises:
        CheckpointError: If it is no card.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        options = dict(card["net"])
        # Cards of when there was one kind of net do not name it.
        config = NET_CONFIGS[options.pop("type", "NetConfig")](**options)
        classes = Classes(
            names=tuple(card["classes"]["names"]),
            palette=tuple((r, g, b) for r, g, b in card["classes"]["palette"]),
        )
        extras = dict(card.get("extras", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: is no model card ({error}); train again") from error
    if len(classes.names) != config.num_classes:
        raise CheckpointError(
            f"{path}: names {len(classes.names)} classes, but the net tells "
            f"{config.num_classes} apart; train again"
        )
    net = segmenter(config, dtype=default_dtype())
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    shapes = jax.eval_shape(net.init, jax.random.key(0), frame)
    return Model(net, shapes, config, classes, extras), card


def load_model(folder: str | Path) -> Model:
    """Load the best checkpoint of a run.

    Args:
        folder: A run's folder, which holds `model.json` and `checkpoints/`.

    Returns:
        The net, its variables and its classes; whatever the card says was learned beside
        the net is in the variables too, as the checkpoint holds it.

    Raises:
        CheckpointError: If the folder holds no model, or one that cannot be read.
    """
    folder = Path(folder)
    card_path = folder / "model.json"
    if not card_path.is_file():
        raise CheckpointError(
            f"{folder}: holds no model.json; give the folder that training wrote with --out"
        )
    model, _ = read_model_card(card_path)
    none_yet = CheckpointError(f"{folder}: has no checkpoint yet; let training reach its first one")
    if not (folder / "checkpoints").is_dir():
        raise none_yet
    with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        step = checkpoints.best()
        if step is None:
            raise none_yet
        learned = {**model.params["params"], **checkpoints.extras(step, model.extras)}
        params = checkpoints.restore(step, params={**model.params, "params": learned})["params"]
    return model._replace(params=params)
