"""Training: an optimizer, one pure step, and the loop around it."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxseg.arrays import Array, Frames, Params
from jaxseg.checkpoints import Checkpoints
from jaxseg.losses import LossFn
from jaxseg.nets import Net

Rates: TypeAlias = tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        num_steps: Optimizer steps in all.
        optimizer: "adamw", "adam", or "sgd" with momentum 0.9.
        learning_rate: Its peak.
        schedule: What becomes of it after the warm-up: "poly", it falls to zero as
            `(1 - step / num_steps) ** power`; or "step", it stays, and is divided by ten
            once, at `drop_at`.
        weight_decay: Of kernels (not of biases and scales): decoupled for "adamw"; for
            "adam" and "sgd" added to the gradient, which is a term in the loss.
        warmup_steps: Steps of the warm-up.
        warmup_rate: The learning rate during the warm-up; None to climb from zero.
        power: Of the polynomial schedule.
        drop_at: Of the "step" schedule, a fraction of `num_steps`.
        rates: Factors of the learning rate, by how names of variables begin, such as
            ("features/backbone/layer1", 0.1): of those that fit, the longest counts.
            Zero freezes: no gradient is computed, and nothing decays.
        max_gradient_norm: Longer gradients are scaled down to this norm; None for never.
        evaluate_every: Steps between evaluations, and between checkpoints.
    """

    num_steps: int
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    schedule: Literal["poly", "step"] = "poly"
    weight_decay: float = 1e-2
    warmup_steps: int = 50
    warmup_rate: float | None = None
    power: float = 0.9
    drop_at: float = 0.75
    rates: Rates = ()
    max_gradient_norm: float | None = 5.0
    evaluate_every: int = 100

    def __post_init__(self) -> None:
        """Refuse what would never end in a checkpoint, or climb the loss."""
        for name in ("num_steps", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if not 0 <= self.drop_at <= 1:
            raise ValueError(
                f"drop_at is {self.drop_at}, but must be a fraction of num_steps, 0 to 1"
            )
        for name, factor in self.rates:
            if factor < 0:
                raise ValueError(f"the rate of {name!r} is {factor}, but must be 0 or more")


class TrainState(NamedTuple):
    """All that an exact continuation needs; batches are a function of the step.

    Attributes:
        step: int32, optimizer steps taken.
        params: The net's variables.
        opt_state: The optimizer's state.
    """

    step: Array
    params: Params
    opt_state: Any


def learning_rate_schedule(config: TrainConfig) -> optax.Schedule:
    """Give the learning rate as a function of the step.

    Args:
        config: How to train.

    Returns:
        `step -> rate`: a warm-up, then the configuration's schedule.
    """

    def schedule(step: Array) -> Array:
        step = jnp.asarray(step, jnp.float32)
        if config.schedule == "poly":
            decay = jnp.clip(1.0 - step / config.num_steps, 0.0, 1.0) ** config.power
        else:
            decay = jnp.where(step < config.drop_at * config.num_steps, 1.0, 0.1)
        rate = config.learning_rate * decay
        if config.warmup_rate is None:
            return rate * jnp.minimum(1.0, (step + 1.0) / max(1, config.warmup_steps))
        return jnp.where(step < config.warmup_steps, config.warmup_rate, rate)

    return schedule


def rate_factors(learned: Params, rates: Rates) -> Params:
    """Give every variable the factor of its learning rate.

    Args:
        learned: What is learned, a tree of arrays or of their shapes.
        rates: Beginnings of names, parts joined by a slash, with their factors; the
            longest that fits counts.

    Returns:
        A tree of the same structure, of floats; 1.0 where none fits.

    Raises:
        ValueError: If no name begins so.
    """
    paths = jax.tree_util.tree_flatten_with_path(learned)[0]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]
    for prefix, _ in rates:
        if not any(name.startswith(prefix) for name in names):
            tops = sorted({"/".join(name.split("/")[:2]) for name in names})
            raise ValueError(
                f"no variable's name begins with {prefix!r}; they begin with {', '.join(tops)}"
            )
    by_length = sorted(rates, key=lambda rate: -len(rate[0]))
    factors = [
        next((float(factor) for prefix, factor in by_length if name.startswith(prefix)), 1.0)
        for name in names
    ]
    return jax.tree.unflatten(jax.tree.structure(learned), factors)


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Make the optimizer that a configuration describes.

    Args:
        config: How to train.

    Returns:
        An optax transformation of the gradients of `params["params"]`; it keeps no
        state of what is frozen.

    Raises:
        ValueError: If the optimizer is unknown.
    """
    if config.optimizer not in ("adamw", "adam", "sgd"):
        raise ValueError(f"optimizer is {config.optimizer!r}, but must be 'adamw', 'adam' or 'sgd'")
    rate = learning_rate_schedule(config)

    def is_kernel(tree: Params) -> Params:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, tree)

    def update(factor: float) -> optax.GradientTransformation:
        if factor == 0:
            return optax.set_to_zero()

        def scaled(step: Array) -> Array:
            return factor * rate(step)

        if config.optimizer == "adamw":
            return optax.adamw(scaled, weight_decay=config.weight_decay, mask=is_kernel)
        decay = optax.add_decayed_weights(config.weight_decay, mask=is_kernel)
        if config.optimizer == "adam":
            return optax.chain(decay, optax.adam(scaled))
        return optax.chain(decay, optax.sgd(scaled, momentum=0.9))

    whole = update(1.0)
    if config.rates:
        factors = {1.0, *(float(factor) for _, factor in config.rates)}
        whole = optax.partition(
            {factor: update(factor) for factor in factors},
            lambda learned: rate_factors(learned, config.rates),
        )
    if config.max_gradient_norm is None:
        return whole
    return optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), whole)


def init_state(
    net: Net, optimizer: optax.GradientTransformation, frames: Frames, *, key: jax.Array
) -> TrainState:
    """Initialise a net and its optimizer.

    Args:
        net: The net.
        optimizer: What will train it.
        frames: `[*b, H, W, 3]`; only the shape matters.
        key: Randomness of the initial weights.

    Returns:
        The state at step zero.
    """
    params = jax.jit(net.init)(key, frames)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params["params"]))


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    rates: Rates = (),
    mesh: Mesh | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Array]]:
    """Make one step of stochastic gradient descent.

    Args:
        loss_fn: What is made small.
        optimizer: What updates the variables.
        rates: See `TrainConfig`; those of zero are left out of the gradient.
        mesh: Devices on an axis "batch" that share each batch, see `batch_mesh`; None
            for one device alone.

    Returns:
        A jitted `(state, batch) -> (state, loss)`; the state that goes in is donated.
        The numbers do not depend on the devices: loss and statistics are those of the
        whole batch.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Array]:
        learned, stats = state.params["params"], state.params["batch_stats"]
        factors = rate_factors(learned, rates)

        def loss_of(learned: Params) -> tuple[Array, Params]:
            learned = jax.tree.map(
                lambda leaf, factor: leaf if factor else jax.lax.stop_gradient(leaf),
                learned,
                factors,
            )
            return loss_fn(learned, stats, batch)

        (loss, new_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(learned)
        updates, opt_state = optimizer.update(gradients, state.opt_state, learned)
        learned = optax.apply_updates(learned, updates)
        params = {"params": learned, "batch_stats": new_stats}
        return TrainState(state.step + 1, params, opt_state), loss

    if mesh is None:
        return jax.jit(step, donate_argnums=0)
    everywhere = NamedSharding(mesh, PartitionSpec())
    compiled = jax.jit(step, donate_argnums=0, out_shardings=everywhere)

    def shared_step(state: TrainState, batch: Any) -> tuple[TrainState, Array]:
        return compiled(jax.tree.map(copy, state), share_batch(batch, mesh))

    def copy(leaf: Array) -> jax.Array:
        if isinstance(leaf, jax.Array) and leaf.sharding == everywhere:
            return leaf
        # By way of the host, since other processes' devices cannot be written to.
        return jax.make_array_from_callback(leaf.shape, everywhere, np.asarray(leaf).__getitem__)

    return shared_step


def batch_mesh() -> Mesh | None:
    """Line up all devices, of all processes, to share each batch.

    Returns:
        A mesh of one axis, "batch"; None where there is but one device.
    """
    return Mesh(jax.devices(), ("batch",)) if jax.device_count() > 1 else None


def share_batch(batch: Any, mesh: Mesh) -> Any:
    """Give each device its rows of a batch.

    Args:
        batch: A tree of arrays with a leading axis of examples: the whole batch, the
            same in every process.
        mesh: See `batch_mesh`.

    Returns:
        The tree, in global arrays split along their leading axis.

    Raises:
        ValueError: If the devices cannot have equally many examples.
    """
    rows = NamedSharding(mesh, PartitionSpec("batch"))

    def share(leaf: Array) -> jax.Array:
        if len(leaf) % mesh.size:
            raise ValueError(
                f"a batch of {len(leaf)} cannot be shared by {mesh.size} devices; make "
                f"batch_size a multiple of {mesh.size}"
            )
        return jax.make_array_from_callback(leaf.shape, rows, leaf.__getitem__)

    return jax.tree.map(share, batch)


def train(
    state: TrainState,
    step_fn: Callable[[TrainState, Any], tuple[TrainState, Array]],
    batches: Callable[[int], Iterator[Any]],
    *,
    config: TrainConfig,
    checkpoints: Checkpoints,
    evaluate_fn: Callable[[Params], dict[str, float]],
    log_path: Path | None,
    quiet: bool = False,
) -> TrainState:
    """Train to the last step, with a checkpoint and an evaluation every so often.

    Args:
        state: Where to begin: fresh, or as restored from a checkpoint.
        step_fn: See `make_train_step`.
        batches: `start_step -> iterator`; a function of the step alone, so that an
            interrupted run continues with the batches it would have seen.
        config: How to train.
        checkpoints: Where states go: the latest, and the one of the best "miou".
        evaluate_fn: `params -> {"miou": ...}`, on data that is not trained on; gets the
            copy of one device.
        log_path: A JSONL file, a line a step with its loss, a line an evaluation;
            TensorBoard's log lies beside it where tensorboardX is installed.  None
            where another process writes it.
        quiet: Show neither progress nor evaluations.

    Returns:
        The last state.

    Raises:
        FloatingPointError: If a loss is not finite.
    """
    first = int(state.step)
    stream = batches(first)
    bar = tqdm(
        total=config.num_steps, initial=first, unit="step", disable=quiet, dynamic_ncols=True
    )
    with _log(log_path, first) as record, bar:
        for step in range(first + 1, config.num_steps + 1):
            began = time.perf_counter()
            state, loss = step_fn(state, next(stream))
            value = float(loss)
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"the loss is {value} at step {step}; train anew with a learning_rate "
                    f"below {config.learning_rate}"
                )
            record(step, {"loss": value, "seconds": time.perf_counter() - began})
            bar.update()
            bar.set_postfix(loss=f"{value:.3f}", refresh=False)
            if step % config.evaluate_every == 0 or step == config.num_steps:
                metrics = evaluate_fn(
                    jax.tree.map(lambda leaf: leaf.addressable_data(0), state.params)
                )
                record(step, metrics)
                checkpoints.save(step, state.params, state._replace(params={}), metrics=metrics)
                if not quiet:
                    told = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
                    bar.write(f"step {step}: {told}")
    return state


@contextmanager
def _log(path: Path | None, step: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Open the log of a run that has taken some steps, to add lines to it."""
    if path is None:
        yield lambda step, values: None
        return
    _forget_after(path, step)
    with path.open("a", buffering=1) as lines, tensorboard(path.parent) as draw:

        def record(step: int, values: dict[str, float]) -> None:
            lines.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                draw(name, value, step)

        yield record


@contextmanager
def tensorboard(folder: Path) -> Iterator[Callable[[str, float, int], None]]:
    """Open TensorBoard's log of a run, where tensorboardX is installed.

    Args:
        folder: The run's folder; the log goes into `tensorboard/` there.

    Yields:
        `(name, value, step)`, which adds a point; does nothing without tensorboardX.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        yield lambda name, value, step: None
        return
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        yield writer.add_scalar


def _forget_after(log_path: Path, step: int) -> None:
    """Drop the lines of steps which a resumed run will take again."""
    if not log_path.exists():
        return
    lines = log_path.read_text().splitlines()
    # A killed run may have left half a line at the end.
    whole = [line for line in lines if line.endswith("}")]
    kept = [line for line in whole if json.loads(line)["step"] <= step]
    log_path.write_text("".join(line + "\n" for line in kept))
