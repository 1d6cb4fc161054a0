"""Training on a net small enough to compile at once: steps, the log, exact resumption."""

import functools
import json
import sys
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.checkpoints import Checkpoints
from jaxseg.losses import still_loss
from jaxseg.nets import Net
from jaxseg.train import (
    TrainConfig,
    init_state,
    make_optimizer,
    make_train_step,
    tensorboard,
    train,
)

NUM_CLASSES = 3
CONFIG = TrainConfig(num_steps=6, learning_rate=0.05, warmup_steps=2, evaluate_every=3)


def colour_net() -> Net:
    """Make a net that tells classes by the mean colour of 8x8 pixels."""

    def init(key, frames):
        kernel = jax.random.normal(key, (3, NUM_CLASSES))
        return {
            "params": {"kernel": kernel, "bias": jnp.zeros(NUM_CLASSES)},
            "batch_stats": {"mean": jnp.zeros(())},
        }

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2)) / 255

    def classify(params, projected):
        learned = params["params"]
        scores = projected @ learned["kernel"]
        return scores + jnp.broadcast_to(learned["bias"], scores.shape)

    def train_scores(params, frames):
        found = features(params, frames)
        mean = 0.9 * params["batch_stats"]["mean"] + 0.1 * found.mean()
        return classify(params, found), {"mean": mean}

    return Net(init, features, lambda params, it: it, classify, train_scores, 8, NUM_CLASSES)


def draw_batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures whose brightest channel is their class."""
    rng = np.random.default_rng(step)
    labels = rng.integers(NUM_CLASSES, size=(2, 4, 4), dtype=np.uint8)
    labels = labels.repeat(8, axis=1).repeat(8, axis=2)
    frames = np.eye(NUM_CLASSES)[labels] * 150 + rng.integers(100, size=(2, 32, 32, 3))
    return frames.astype(np.uint8), labels


def batches_from(start: int):
    return (draw_batch(step) for step in range(start, 1000))


@functools.cache
def compiled(config: TrainConfig):
    net, optimizer = colour_net(), make_optimizer(config)
    return net, optimizer, allowing_mixed_types(make_train_step(still_loss(net), optimizer))


def fresh(config: TrainConfig = CONFIG):
    net, optimizer, step_fn = compiled(config)
    return init_state(net, optimizer, draw_batch(0)[0], key=jax.random.key(0)), step_fn


def allowing_mixed_types(function):
    """Allow what optax's Adam does: it raises a float to the power of an int."""

    def relaxed(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return function(*arguments)

    return relaxed


def run(folder, *, state, step_fn, config=CONFIG, batches=batches_from):
    """Train in a folder, beginning with what its latest checkpoint holds, as a new process does."""
    folder.mkdir(exist_ok=True)
    with closing(Checkpoints(folder / "checkpoints", cleanup=True)) as checkpoints:
        if latest := checkpoints.latest():
            training = state._replace(params={})
            restored = checkpoints.restore(latest, params=state.params, training=training)
            state = restored["training"]._replace(params=restored["params"])
        return train(
            state,
            step_fn,
            batches,
            config=config,
            checkpoints=checkpoints,
            evaluate_fn=lambda params: {"miou": float(params["batch_stats"]["mean"])},
            log_path=folder / "train.jsonl",
            quiet=True,
        )


def interrupted(step_fn, *, at: int):
    """Make a step during which the user presses Ctrl-C, once it has come so far."""

    def step(state, batch):
        if int(state.step) == at:
            raise KeyboardInterrupt
        return step_fn(state, batch)

    return step


def log_of(folder) -> list[dict]:
    """Read a log without what differs from run to run."""
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of six steps without a break: its folder and last state."""
    folder = tmp_path_factory.mktemp("straight")
    state, step_fn = fresh()
    return folder, run(folder, state=state, step_fn=step_fn)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_loss_falls_on_one_batch(optimizer):
    state, step_fn = fresh(TrainConfig(15, optimizer, learning_rate=0.5, warmup_steps=3))
    losses = []
    for _ in range(15):
        state, loss = step_fn(state, draw_batch(0))
        losses.append(float(loss))
    assert losses[-1] < 0.6 * losses[0], losses
    assert int(state.step) == 15


def test_classes_of_no_weight_teach_nothing():
    net, optimizer = colour_net(), make_optimizer(TrainConfig(num_steps=6, optimizer="sgd"))
    frames, _ = draw_batch(0)
    state = init_state(net, optimizer, frames, key=jax.random.key(0))
    step_fn = make_train_step(still_loss(net, class_weights=jnp.array([1.0, 1.0, 0.0])), optimizer)
    _, loss = step_fn(state, (frames, np.full((2, 32, 32), 2, np.uint8)))
    assert loss == 0


def test_log_of_a_run(straight):
    log = log_of(straight[0])
    assert [row["step"] for row in log] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert [row["step"] for row in log if "miou" in row] == [3, 6]
    assert list((straight[0] / "tensorboard").glob("events.*"))


@pytest.mark.parametrize(("at", "half"), [(1, ""), (3, ""), (4, ""), (5, '{"step": 6, "lo')])
def test_resumption_is_exact(straight, tmp_path, at, half):
    folder, starts = tmp_path / "run", []
    state, step_fn = fresh()
    with pytest.raises(KeyboardInterrupt):
        run(folder, state=state, step_fn=interrupted(step_fn, at=at))
    assert max(row["step"] for row in log_of(folder)) == at
    with (folder / "train.jsonl").open("a") as log:
        log.write(half)  # What a killed run may leave.

    def batches(start):
        starts.append(start)
        return batches_from(start)

    state, step_fn = fresh()
    last = run(folder, state=state, step_fn=step_fn, batches=batches)
    assert starts == [3 if at >= 3 else 0]
    assert log_of(folder) == log_of(straight[0])
    jax.tree.map(np.testing.assert_array_equal, last, straight[1])


def test_a_finished_run_stays_as_it_is(straight):
    folder, last = straight
    before = (folder / "train.jsonl").read_text()
    again = run(folder, state=fresh()[0], step_fn=pytest.fail)
    assert (folder / "train.jsonl").read_text() == before
    jax.tree.map(np.testing.assert_array_equal, again, last)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_ends_training(tmp_path, value):
    state, step_fn = fresh()

    def step(state, batch):
        state, loss = step_fn(state, batch)
        return state, loss if int(state.step) < 3 else jnp.float32(value)

    with pytest.raises(FloatingPointError, match=rf"{value} at step 3; .* below 0\.05"):
        run(tmp_path, state=state, step_fn=step)
    assert [row["step"] for row in log_of(tmp_path)] == [1, 2]
    assert not list((tmp_path / "checkpoints").iterdir())


def test_nothing_is_drawn_without_tensorboardx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with tensorboard(tmp_path) as draw:
        draw("loss", 1.0, 1)
    assert not list(tmp_path.iterdir())
