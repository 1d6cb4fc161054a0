"""Training: an optimizer, one pure step, and the loop around it."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float
from tqdm import tqdm

from jaxseg.arrays import Array, Frames, Labels, Params
from jaxseg.checkpoints import Checkpoints
from jaxseg.losses import cross_entropy
from jaxseg.nets import Net


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        num_steps: Optimizer steps in all.
        optimizer: "adamw", or "sgd" with momentum 0.9.
        learning_rate: Its peak; falls to zero as `(1 - step / num_steps) ** power`.
        weight_decay: Decoupled decay of kernels (not of biases and scales).
        warmup_steps: Steps over which the rate climbs from zero.
        power: Of the polynomial schedule.
        max_gradient_norm: Longer gradients are scaled down to this norm.
        evaluate_every: Steps between evaluations, and between checkpoints.
    """

    num_steps: int
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 50
    power: float = 0.9
    max_gradient_norm: float = 5.0
    evaluate_every: int = 100

    def __post_init__(self) -> None:
        """Refuse what would never end in a checkpoint."""
        for name in ("num_steps", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least 1")


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
    """Give the learning rate as a function of the step: linear warm-up, then polynomial decay.

    Args:
        config: How to train.

    Returns:
        `step -> rate`; zero from `num_steps` on.
    """

    def schedule(step: Array) -> Array:
        step = jnp.asarray(step, jnp.float32)
        decay = jnp.clip(1.0 - step / config.num_steps, 0.0, 1.0) ** config.power
        warmup = jnp.minimum(1.0, (step + 1.0) / max(1, config.warmup_steps))
        return config.learning_rate * decay * warmup

    return schedule


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Make the optimizer that a configuration describes.

    Args:
        config: How to train.

    Returns:
        An optax transformation of the gradients of `params["params"]`.

    Raises:
        ValueError: If the optimizer is unknown.
    """
    rate = learning_rate_schedule(config)

    def is_kernel(tree: Params) -> Params:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, tree)

    if config.optimizer == "adamw":
        update = optax.adamw(rate, weight_decay=config.weight_decay, mask=is_kernel)
    elif config.optimizer == "sgd":
        update = optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask=is_kernel),
            optax.sgd(rate, momentum=0.9),
        )
    else:
        raise ValueError(f"optimizer is {config.optimizer!r}, but must be 'adamw' or 'sgd'")
    return optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), update)


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
    net: Net,
    optimizer: optax.GradientTransformation,
    *,
    class_weights: Float[Array, " k"] | None = None,
) -> Callable[[TrainState, Frames, Labels], tuple[TrainState, Array]]:
    """Make one step of stochastic gradient descent on labelled stills.

    Args:
        net: The net.
        optimizer: What updates it.
        class_weights: `[k]`, see `cross_entropy`.

    Returns:
        A jitted `(state, frames [b, H, W, 3], labels [b, H, W]) -> (state, loss)`;
        the state that goes in is donated.
    """

    def loss_fn(learned: Params, stats: Params, frames: Frames, labels: Labels) -> Any:
        scores, stats = net.train_scores({"params": learned, "batch_stats": stats}, frames)
        return cross_entropy(scores, labels, class_weights=class_weights), stats

    def step(state: TrainState, frames: Frames, labels: Labels) -> tuple[TrainState, Array]:
        learned, stats = state.params["params"], state.params["batch_stats"]
        (loss, stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            learned, stats, frames, labels
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, learned)
        learned = optax.apply_updates(learned, updates)
        params = {"params": learned, "batch_stats": stats}
        return TrainState(state.step + 1, params, opt_state), loss

    return jax.jit(step, donate_argnums=0)


def train(
    state: TrainState,
    step_fn: Callable[[TrainState, Frames, Labels], tuple[TrainState, Array]],
    batches: Callable[[int], Iterator[tuple[Frames, Labels]]],
    *,
    config: TrainConfig,
    checkpoints: Checkpoints,
    evaluate_fn: Callable[[Params], dict[str, float]],
    log_path: Path,
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
        evaluate_fn: `params -> {"miou": ...}`, on data that is not trained on.
        log_path: A JSONL file, a line a step with its loss, a line an evaluation;
            TensorBoard's log lies beside it where tensorboardX is installed.
        quiet: Show no progress bar.

    Returns:
        The last state.

    Raises:
        FloatingPointError: If a loss is not finite.
    """
    first = int(state.step)
    _forget_after(log_path, first)
    stream = batches(first)
    bar = tqdm(
        total=config.num_steps, initial=first, unit="step", disable=quiet, dynamic_ncols=True
    )
    with log_path.open("a", buffering=1) as lines, tensorboard(log_path.parent) as draw, bar:

        def record(step: int, **values: float) -> None:
            lines.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                draw(name, value, step)

        for step in range(first + 1, config.num_steps + 1):
            began = time.perf_counter()
            state, loss = step_fn(state, *next(stream))
            value = float(loss)
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"the loss is {value} at step {step}; train anew with a learning_rate "
                    f"below {config.learning_rate}"
                )
            record(step, loss=value, seconds=time.perf_counter() - began)
            bar.update()
            bar.set_postfix(loss=f"{value:.3f}", refresh=False)
            if step % config.evaluate_every == 0 or step == config.num_steps:
                metrics = evaluate_fn(state.params)
                record(step, **metrics)
                checkpoints.save(step, state.params, state._replace(params={}), metrics=metrics)
                bar.write(f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
    return state


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
