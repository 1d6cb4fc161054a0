"""What is learned beside a net: where it begins, what it keeps, and what it finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.adaptive import (
    AdaptiveConfig,
    View,
    adapt_net,
    along_estimated,
    along_motion,
    codec_deviation,
    image_kernels,
    label_changes,
    learned_deviation,
    low_difference,
    low_labels,
    predicted_kernels,
    residual_sum,
    reuse,
    unified_kernel,
    weighted_difference,
)
from jaxseg.drift import Drift, no_drift
from jaxseg.nets import Flow
from jaxseg.nets.adaptive import NEAR_IDENTITY
from tests import reference
from tests.reference_taplab import QUICK

STRIDE, CHANNELS = 16, 6
CONFIG = AdaptiveConfig(channels=4, kernel_size=5, codec_kernel_size=3)
RNG = np.random.default_rng(0)
FLOW = 6 * RNG.standard_normal((2, 8, 12, 2), np.float32)

PROPAGATORS = {
    "predicted": predicted_kernels(CONFIG),
    "unified": unified_kernel(CONFIG),
    "image": image_kernels(CONFIG, stride=STRIDE),
    "codec": along_motion(stride=STRIDE, config=CONFIG),
    "warp": along_motion(stride=STRIDE),
    "flow": along_estimated(
        Flow(lambda key, frames: {}, lambda params, before, frames: FLOW[: len(frames)], 8),
        stride=STRIDE,
    ),
    "reuse": reuse(),
}
LEARNED = ("predicted", "unified", "image", "codec")
PROPAGATE = {name: jax.jit(it.propagate) for name, it in PROPAGATORS.items()}

LABELS = low_labels(num_classes=3)
DEVIATIONS = {
    "learned": learned_deviation(CONFIG),
    "weighted": weighted_difference(),
    "codec": codec_deviation(CONFIG, stride=STRIDE),
    "labels": label_changes(LABELS),
    "difference": low_difference(),
    "residual": residual_sum(),
}


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def draw_view() -> View:
    """Draw two frames of 64x96, and what a lower part might make of them."""
    frames = RNG.integers(256, size=(2, 8, 12, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    return View(frames, draw(2, 4, 6, 5))


KEY, OWN, CARRIED = draw_view(), draw_view(), draw(2, 4, 6, CHANNELS)
DRIFT = Drift(6 * draw(2, 8, 12, 2), np.abs(draw(2, 8, 12, 3)))


def begun(part, *inputs):
    """Give a part's variables before training."""
    init = jax.jit(part.init, compiler_options=QUICK)
    return {"params": {part.entry: init(jax.random.key(0), OWN, *inputs)}}


def trained(part, *inputs):
    """Give a part other variables than those that it begins with."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda it: it + rng.standard_normal(it.shape, np.float32), begun(part, *inputs)
    )


def carry(name, params, carried=CARRIED, key=KEY, own=OWN, drift=DRIFT):
    look = PROPAGATORS[name].look
    found = PROPAGATE[name](params, carried, look(params, key), look(params, own), drift)
    return found if isinstance(found, jax.core.Tracer) else np.asarray(found)


@pytest.mark.parametrize("name", LEARNED)
def test_before_training_a_map_stays_nearly_as_it_is(name):
    still = Drift(np.zeros_like(DRIFT.displacement), DRIFT.surprise)
    found = carry(name, begun(PROPAGATORS[name]), own=KEY, drift=still)
    size = CONFIG.codec_kernel_size if name == "codec" else CONFIG.kernel_size
    if name != "image":  # whose weights are those of how alike cells are
        middle = np.exp(NEAR_IDENTITY) / (np.exp(NEAR_IDENTITY) + size**2 - 1)
        around = np.pad(CARRIED, [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(around, (size, size), (1, 2))
        means = windows.mean((-2, -1))
        part = (1 - middle) * size**2 / (size**2 - 1)
        np.testing.assert_allclose(found, (1 - part) * CARRIED + part * means, atol=1e-4)
    error = np.linalg.norm(found - CARRIED) / np.linalg.norm(CARRIED)
    assert 0 < error < (0.7 if name == "image" else 0.2)


@pytest.mark.parametrize("name", PROPAGATORS)
def test_it_commutes_with_what_is_affine_in_each_cell(name):
    params = trained(PROPAGATORS[name])
    weights, bias = draw(CHANNELS, CHANNELS), draw(CHANNELS)
    found = carry(name, params, carried=CARRIED @ weights + bias)
    np.testing.assert_allclose(found, carry(name, params) @ weights + bias, atol=1e-4)
    assert np.allclose(found, CARRIED @ weights + bias) == (name == "reuse")


@pytest.mark.parametrize("name", [it for it in PROPAGATORS if it != "flow"])
def test_batches_are_frames_one_by_one(name):
    params = trained(PROPAGATORS[name])
    together = carry(name, params)
    for index, found in enumerate(together):
        one = jax.tree.map(lambda leaf, i=index: leaf[i], (CARRIED, KEY, OWN, DRIFT))
        np.testing.assert_allclose(carry(name, params, *one), found, atol=1e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_gradients_reach_all_that_is_learned(name):
    params = trained(PROPAGATORS[name])
    target = draw(*CARRIED.shape)

    def loss(params):
        return jnp.mean((carry(name, params) - target) ** 2)

    for leaf in jax.tree.leaves(jax.grad(loss)(params)):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)


@pytest.mark.parametrize(("right", "down"), [(1, 0), (-2, 1)])
def test_image_kernels_find_a_shift_of_whole_cells(right, down):
    shift = {"shift": (down * STRIDE, right * STRIDE), "axis": (1, 2)}
    params = {"params": {"image": {"sharpness": jnp.float32(20)}}}
    own = View(np.roll(KEY.frame, **shift))
    found = carry("image", params, own=own)
    expected = np.roll(CARRIED, (down, right), axis=(1, 2))
    inside = slice(None), slice(2, -2), slice(2, -2)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize(("name", "motions"), [("warp", DRIFT.displacement), ("flow", FLOW)])
def test_along_motion_is_a_warp_by_the_whole_of_it(name, motions):
    for one, carried, motion in zip(carry(name, {"params": {}}), CARRIED, motions, strict=True):
        expected = reference.warp(carried, reference.to_cells(motion, STRIDE))
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_adapt_net_adds_nothing_before_training():
    fuser = adapt_net(CONFIG, num_classes=3)
    found = fuser.score(begun(fuser, CARRIED), CARRIED, OWN)
    assert (found.shape, found.dtype) == ((2, 4, 6, 3), np.float32)
    assert not np.any(found)
    params = trained(fuser, CARRIED)
    found = fuser.score(params, CARRIED, OWN)
    one = View(OWN.frame[1], OWN.low[1])
    np.testing.assert_allclose(found[1], fuser.score(params, CARRIED[1], one), atol=1e-4)
    for change in ({"carried": draw(*CARRIED.shape)}, {"view": KEY}):
        given = {"carried": CARRIED, "view": OWN} | change
        assert not np.allclose(fuser.score(params, given["carried"], given["view"]), found)
    gradient = jax.grad(lambda it: jnp.mean(fuser.score(it, CARRIED, OWN) ** 2))(params)
    assert all(np.isfinite(it).all() and np.any(it) for it in jax.tree.leaves(gradient))


def measure(name, params, key=KEY, own=OWN, drift=DRIFT):
    look = DEVIATIONS[name].look
    return DEVIATIONS[name].measure(params, look(params, key), look(params, own), drift)


def deviation_params(name):
    return trained(LABELS if name == "labels" else DEVIATIONS[name])


@pytest.mark.parametrize("name", DEVIATIONS)
def test_each_frame_has_a_deviation_of_its_own(name):
    params = deviation_params(name)
    found = measure(name, params)
    assert (found.shape, found.dtype) == ((2,), np.float32)
    assert (found > 0).all()
    assert (found < 1).all() or name in ("difference", "residual")
    for index in range(2):
        one = jax.tree.map(lambda leaf, i=index: leaf[i], (KEY, OWN, DRIFT))
        np.testing.assert_allclose(measure(name, params, *one), found[index], rtol=1e-5)


@pytest.mark.parametrize("name", ["labels", "difference", "residual"])
def test_a_frame_does_not_deviate_from_itself(name):
    here = jax.tree.map(lambda it: np.stack([it, it]), no_drift(8, 12))
    found = measure(name, deviation_params(name), own=KEY, drift=here)
    np.testing.assert_array_equal(found, 0)


def test_what_is_not_learned_is_what_it_says():
    params = deviation_params("labels")
    layer = params["params"]["low-labels"]["score"]
    kernel, bias = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
    before, now = ((it.low @ kernel + bias).argmax(-1) for it in (KEY, OWN))
    share = np.mean(before != now, axis=(1, 2))
    np.testing.assert_allclose(measure("labels", params), share, rtol=1e-6)
    mean = np.abs(OWN.low - KEY.low).mean((1, 2, 3))
    np.testing.assert_allclose(measure("difference", {}), mean, rtol=1e-6)
    found = measure("weighted", begun(DEVIATIONS["weighted"]))  # Alike, until it learns.
    np.testing.assert_allclose(found, 1 / (1 + np.exp(4.6 - 10 * mean)), rtol=1e-5)
    levels = DRIFT.surprise[..., 1].mean((1, 2))
    np.testing.assert_allclose(measure("residual", {}), levels, rtol=1e-6)


@pytest.mark.parametrize("name", ["learned", "weighted", "codec"])
def test_a_learned_deviation_is_the_sigmoid_of_its_logit(name):
    deviation, params = DEVIATIONS[name], deviation_params(name)
    seen = [deviation.look(params, it) for it in (KEY, OWN)]
    logit = deviation.logit(params, *seen, DRIFT)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), measure(name, params), rtol=1e-5)
    leaves = jax.tree.leaves(jax.grad(lambda it: measure(name, it).mean())(params))
    assert all(np.isfinite(it).all() for it in leaves)
    assert sum(bool(np.any(it)) for it in leaves) >= len(leaves) - 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kernel_size": 8}, "kernel_size is 8, but must be odd"),
        ({"codec_kernel_size": -1}, "codec_kernel_size is -1, but must be odd, and at least 1"),
        ({"channels": 0}, "channels is 0, but must be at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        AdaptiveConfig(**options)


@pytest.mark.parametrize("part", [PROPAGATORS["predicted"], DEVIATIONS["learned"]])
def test_a_view_without_the_lower_parts_map_is_refused(part):
    assert part.reads_low
    with pytest.raises(ValueError, match="map is needed, but the view has none"):
        part.init(jax.random.key(0), View(OWN.frame))
