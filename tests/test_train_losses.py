"""The losses of stills and of schemes, against what they are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.arrays import IGNORE_LABEL, Gop, LabelledGop
from jaxseg.losses import cross_entropy, scheme_loss, still_loss
from jaxseg.nets import Net, NetConfig, segmenter
from jaxseg.schemes import interp_mv, per_frame, prop_mv
from jaxseg.train import TrainConfig, init_state, make_optimizer, make_train_step
from jaxseg.warping import CHAIN
from tests.test_train import NUM_CLASSES, colour_net, draw_batch

NUM_FRAMES, HEIGHT, WIDTH = 3, 40, 64
WEIGHTS = np.float32([0.5, 1.0, 3.0])


def draw_intervals(size: int = 3, *, num_shown: int = 1) -> LabelledGop:
    """Draw intervals of frames whose height is not a multiple of a macroblock."""
    rng = np.random.default_rng(0)
    frames = rng.integers(256, size=(size, num_shown + 1, HEIGHT, WIDTH, 3), dtype=np.uint8)
    labels = rng.integers(NUM_CLASSES, size=(size, HEIGHT, WIDTH), dtype=np.uint8)
    labels[rng.random(labels.shape) < 0.2] = IGNORE_LABEL
    gop = Gop(
        frames[:, :-1],
        4 * rng.standard_normal((size, NUM_FRAMES, 6, 8, 2), np.float32),
        rng.random((size, NUM_FRAMES, 6, 8)) < 0.9,
        frames[:, -1],
        rng.integers(2, NUM_FRAMES + 1, size=size, dtype=np.int32),
        np.arange(size) % 2 == 0,
    )
    return LabelledGop(gop, np.arange(size, dtype=np.int32) % NUM_FRAMES, labels)


def colour_variables(net: Net) -> dict:
    return net.init(jax.random.key(1), np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))


SCHEMES = {
    "per-frame": per_frame,
    "prop-mv": lambda net: prop_mv(net, propagation=CHAIN),
    "interp-mv": interp_mv,
}


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_loss_is_that_of_a_loop(name):
    net, batch = colour_net(), draw_intervals(num_shown=3 if name == "per-frame" else 1)
    params, scheme = colour_variables(net), SCHEMES[name](net)
    scores = []
    for index, offset in enumerate(batch.offset):
        gop = jax.tree.map(lambda leaf, index=index: leaf[index], batch.gop)
        scores.append(scheme.step(params, scheme.init(params, gop), gop)[1][offset])
    # The labels end within the scores' last cells: those of the frames as padded.
    height, width = (8 * side for side in scores[0].shape[:2])
    labels = np.full((len(scores), height, width), IGNORE_LABEL, np.uint8)
    labels[:, :HEIGHT, :WIDTH] = batch.labels
    assert height > HEIGHT
    expected = cross_entropy(np.stack(scores), labels, class_weights=WEIGHTS)
    loss_fn = scheme_loss(net, scheme, class_weights=WEIGHTS)
    loss, stats = jax.jit(loss_fn)(params["params"], params["batch_stats"], batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert stats == params["batch_stats"]


@pytest.mark.parametrize("name", SCHEMES)
def test_gradients_of_a_scheme_are_slopes(name):
    net, batch = colour_net(), draw_intervals(num_shown=3 if name == "per-frame" else 1)
    params = colour_variables(net)
    loss_fn = scheme_loss(net, SCHEMES[name](net))

    @jax.jit
    def loss_of(learned):
        return loss_fn(learned, params["batch_stats"], batch)[0]

    gradient = jax.jit(jax.grad(loss_of))(params["params"])["kernel"]
    for place in ((0, 0), (2, 1)):
        ends = [
            loss_of({**params["params"], "kernel": params["params"]["kernel"].at[place].add(step)})
            for step in (-0.1, 0.1)
        ]
        np.testing.assert_allclose(gradient[place], (ends[1] - ends[0]) / 0.2, atol=1e-3)


def test_what_lies_before_a_scheme_learns():
    """The gradient passes the warps on its way to a convolution, and is finite."""
    colours, batch = colour_net(), draw_intervals()

    def features(params, frames):
        return jnp.tanh(colours.features(params, frames) @ params["params"]["first"])

    net = colours._replace(features=features)
    params = colour_variables(net)
    learned = params["params"] | {"first": jnp.eye(3)}
    for make_scheme in (prop_mv, interp_mv):
        loss_fn = scheme_loss(net, make_scheme(net))
        gradient = jax.jit(jax.grad(lambda *it, fn=loss_fn: fn(*it)[0]))(
            learned, params["batch_stats"], batch
        )
        assert np.isfinite(gradient["first"]).all()
        assert np.abs(gradient["first"]).min() > 1e-6


def net_with_void() -> Net:
    """Make a net that scores void, after the classes, by a bias in training."""
    net = colour_net()

    def train_scores(params, frames):
        scores, stats = net.train_scores(params, frames)
        void = jnp.broadcast_to(params["params"]["void"], (*scores.shape[:-1], 1))
        return jnp.concatenate([scores, void], axis=-1), stats

    return net._replace(train_scores=train_scores)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_void_is_learned_as_one_more_class(weights):
    net, (frames, labels) = net_with_void(), draw_batch(0)
    labels = labels.copy()
    labels[:, 16:] = IGNORE_LABEL
    params = colour_net().init(jax.random.key(0), frames)
    learned = params["params"] | {"void": jnp.float32(0.3)}
    scores, _ = net.train_scores({**params, "params": learned}, frames)
    expected = cross_entropy(
        scores,
        np.where(labels == IGNORE_LABEL, NUM_CLASSES, labels),
        class_weights=None if weights is None else np.append(weights, np.float32(1)),
    )
    loss_fn = still_loss(net, class_weights=weights)
    loss, gradient = jax.value_and_grad(loss_fn, has_aux=True)(
        learned, params["batch_stats"], (frames, labels)
    )
    np.testing.assert_allclose(loss[0], expected, rtol=1e-6)
    assert gradient["void"] < 0  # Void is seen too seldom so far.
    plain = still_loss(colour_net(), class_weights=weights)
    ignored = plain(params["params"], params["batch_stats"], (frames, labels))[0]
    assert not np.isclose(ignored, loss[0])


@pytest.mark.slow
def test_half_precision_trains_variables_of_single():
    net = segmenter(NetConfig(num_classes=3, output_stride=32), dtype=jnp.bfloat16)
    optimizer = make_optimizer(TrainConfig(2, "sgd", learning_rate=0.1, warmup_steps=0))
    batch = draw_batch(0)
    state = init_state(net, optimizer, batch[0], key=jax.random.key(0))
    step_fn = make_train_step(still_loss(net), optimizer)
    losses = []
    for _ in range(2):
        state, loss = step_fn(state, batch)
        losses.append(float(loss))
    assert losses[1] < losses[0] < 2
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
