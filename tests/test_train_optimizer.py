"""Learning rates and optimizers against their closed forms; what is frozen stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.train import (
    TrainConfig,
    TrainState,
    learning_rate_schedule,
    make_optimizer,
    make_train_step,
    rate_factors,
)
from tests.test_train import allowing_mixed_types

RATES = (("features", 0.5), ("features/backbone", 0.0), ("features/backbone/layer2", 0.25))


@pytest.mark.parametrize("warmup", [0, 10])
def test_rate_climbs_then_falls_to_zero(warmup):
    config = TrainConfig(num_steps=100, learning_rate=0.3, warmup_steps=warmup, power=0.9)
    steps = np.arange(100)
    rates = jax.vmap(learning_rate_schedule(config))(jnp.arange(120))
    expected = 0.3 * (1 - steps / 100) ** 0.9 * np.minimum(1, (steps + 1) / max(warmup, 1))
    np.testing.assert_allclose(rates[:100], expected, rtol=1e-5)
    np.testing.assert_array_equal(rates[100:], 0)
    assert rates.argmax() == max(0, warmup - 1)


@pytest.mark.parametrize(("optimizer", "direction"), [("sgd", 0.5), ("adamw", 1.0)])
def test_first_update_follows_the_closed_form(optimizer, direction):
    config = TrainConfig(10, optimizer, learning_rate=0.1, weight_decay=0.2, warmup_steps=0)
    learned = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    gradients = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.5), learned)
    transform = make_optimizer(config)
    updates, _ = allowing_mixed_types(transform.update)(gradients, transform.init(learned), learned)
    # Kernels decay, biases do not.
    np.testing.assert_allclose(updates["kernel"], -0.1 * (direction + 0.2 * 3), rtol=1e-5)
    np.testing.assert_allclose(updates["bias"], -0.1 * direction, rtol=1e-5)


def test_adam_takes_the_decay_for_a_term_in_the_loss():
    """Two steps by hand: the decay passes through the moments, unlike that of "adamw"."""
    config = TrainConfig(
        10, "adam", learning_rate=0.1, weight_decay=0.2, warmup_steps=0, max_gradient_norm=None
    )
    learned = {"kernel": np.array([[3.0, -1.0]]), "bias": np.array([2.0])}
    transform = make_optimizer(config)
    found = jax.tree.map(jnp.float32, learned)
    state = transform.init(found)
    moments = dict.fromkeys(learned, (0.0, 0.0))
    for step, slope in enumerate((0.5, -0.3), start=1):
        gradients = jax.tree.map(lambda leaf, slope=slope: jnp.full_like(leaf, slope), found)
        updates, state = allowing_mixed_types(transform.update)(gradients, state, found)
        found = jax.tree.map(jnp.add, found, updates)
        rate = 0.1 * (1 - (step - 1) / 10) ** 0.9
        for name, decay in (("kernel", 0.2), ("bias", 0.0)):
            gradient = slope + decay * learned[name]
            first, second = moments[name]
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            moments[name] = first, second
            root = np.sqrt(second / (1 - 0.999**step))
            learned[name] = learned[name] - rate * first / (1 - 0.9**step) / (root + 1e-8)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5), found, learned
    )


def test_long_gradients_are_shortened():
    config = TrainConfig(10, "sgd", learning_rate=0.1, weight_decay=0.0, warmup_steps=0)
    learned = {"kernel": jnp.zeros((4, 4))}
    transform = make_optimizer(config)
    gradients = {"kernel": jnp.full((4, 4), 1e6)}
    updates, _ = transform.update(gradients, transform.init(learned), learned)
    np.testing.assert_allclose(jnp.linalg.norm(updates["kernel"]), 0.1 * 5, rtol=1e-5)


def test_an_unknown_optimizer_is_refused():
    config = TrainConfig(num_steps=1)
    object.__setattr__(config, "optimizer", "rmsprop")  # Past the run-time check of types.
    with pytest.raises(ValueError, match=r"'rmsprop', but must be 'adamw', 'adam' or 'sgd'"):
        make_optimizer(config)


@pytest.mark.parametrize("schedule", ["poly", "step"])
def test_the_warm_up_may_be_at_a_rate_of_its_own(schedule):
    config = TrainConfig(
        100, learning_rate=0.3, schedule=schedule, warmup_steps=10, warmup_rate=0.02, drop_at=0.6
    )
    rates = jax.vmap(learning_rate_schedule(config))(jnp.arange(100))
    steps = np.arange(10, 100)
    expected = {"poly": (1 - steps / 100) ** 0.9, "step": np.where(steps < 60, 1, 0.1)}
    np.testing.assert_allclose(rates[:10], 0.02, rtol=1e-6)
    np.testing.assert_allclose(rates[10:], 0.3 * expected[schedule], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drop_at": 40.3}, r"drop_at is 40\.3, but must be a fraction of num_steps"),
        ({"rates": (("classify", -1.0),)}, r"the rate of 'classify' is -1\.0"),
    ],
)
def test_settings_that_make_no_sense(changes, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(10, **changes)


def variables() -> dict:
    """Make a tree of the names that nets have."""

    def layer():
        return {"kernel": jnp.full((2, 2), 3.0)}

    backbone = {"conv1": layer(), "layer1_0": layer(), "layer2_0": layer()}
    return {"features": {"backbone": backbone, "ladder": layer()}, "classify": layer()}


def test_the_longest_name_counts():
    backbone = {"conv1": 0.0, "layer1_0": 0.0, "layer2_0": 0.25}
    expected = {"features": {"backbone": backbone, "ladder": 0.5}, "classify": 1.0}
    for rates in (RATES, RATES[::-1]):
        factors = rate_factors(variables(), rates)
        assert jax.tree.map(lambda leaf: leaf["kernel"], factors, is_leaf=is_layer) == expected


def is_layer(tree: dict) -> bool:
    return "kernel" in tree


def test_a_name_that_does_not_exist_is_refused():
    config = TrainConfig(10, rates=(("features/layer1", 0.0),))
    words = "no variable's name begins with 'features/layer1'; they begin with classify/kernel, "
    with pytest.raises(ValueError, match=words + "features/backbone, features/ladder"):
        make_optimizer(config).init(variables())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_rates_scale_the_updates(optimizer):
    """Each variable moves as far as with the whole learning rate scaled."""

    def updates(**changes):
        config = TrainConfig(10, optimizer, warmup_steps=0, max_gradient_norm=None, **changes)
        transform, learned = make_optimizer(config), variables()
        gradients = jax.tree.map(jnp.cos, learned)
        state = transform.init(learned)
        return allowing_mixed_types(transform.update)(gradients, state, learned)[0]

    factors = rate_factors(variables(), RATES)
    plain, scaled = updates(learning_rate=0.1), updates(learning_rate=0.1, rates=RATES)
    jax.tree.map(
        lambda one, other, factor: np.testing.assert_allclose(other, factor * one, rtol=1e-5),
        plain,
        scaled,
        factors,
    )


def test_what_is_frozen_has_no_gradient_decay_or_state():
    config = TrainConfig(10, "sgd", learning_rate=0.1, warmup_steps=0, rates=RATES)
    optimizer = make_optimizer(config)

    def loss_fn(learned, stats, batch):
        # Of a frozen kernel even an infinite derivative does no harm.
        root = jnp.sqrt(learned["features"]["backbone"]["conv1"]["kernel"] - 3).sum()
        return root + batch * sum(leaf.sum() for leaf in jax.tree.leaves(learned)), stats

    learned = variables()
    opt_state = optimizer.init(learned)
    num_moved = sum(factor > 0 for factor in jax.tree.leaves(rate_factors(learned, RATES)))
    assert sum(leaf.ndim == 2 for leaf in jax.tree.leaves(opt_state)) == num_moved == 3
    state = TrainState(jnp.zeros((), jnp.int32), {"params": learned, "batch_stats": {}}, opt_state)
    step_fn = make_train_step(loss_fn, optimizer, rates=config.rates)
    moved = step_fn(state, jnp.float32(2))[0].params["params"]
    still = {key: moved["features"]["backbone"][key]["kernel"] for key in ("conv1", "layer1_0")}
    for kernel in still.values():
        np.testing.assert_array_equal(kernel, 3.0)
    # Of the others all gradients are 2, shortened to a norm of 5 over 3 kernels of 4 values.
    slope = 2 * 5 / np.sqrt(4 * 12) + 1e-2 * 3
    for kernel, factor in (("classify", 1.0), ("ladder", 0.5)):
        tree = moved if kernel == "classify" else moved["features"]
        np.testing.assert_allclose(tree[kernel]["kernel"], 3 - 0.1 * factor * slope, rtol=1e-5)


def test_a_frozen_layer_costs_no_backward_pass():
    def loss_fn(learned, stats, batch):
        hidden = jnp.tanh(batch @ learned["first"]["kernel"])
        return (hidden @ learned["last"]["kernel"]).sum(), stats

    learned = {name: {"kernel": jnp.ones((4, 4))} for name in ("first", "last")}
    params = {"params": learned, "batch_stats": {}}

    def num_products(rates):
        optimizer = make_optimizer(TrainConfig(10, "sgd", rates=rates))
        state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(learned))
        step_fn = make_train_step(loss_fn, optimizer, rates=rates)
        return step_fn.lower(state, jnp.ones((4, 4))).as_text().count("stablehlo.dot_general")

    assert num_products(()) == 5
    assert num_products((("first", 0.0),)) == 3
