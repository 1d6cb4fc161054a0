"""The flow net: transposed convolutions against loops, sizes, and where it starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import flownet_s
from jaxseg.nets.flownet import Deconvolution


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def slow_deconvolution(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Scatter each cell by torch's kernel `[in, out, 4, 4]`, stride 2 and padding 1."""
    rows, columns = 2 * x.shape[0] + 2, 2 * x.shape[1] + 2
    result = np.zeros((rows, columns, kernel.shape[1]))
    for row, column in np.ndindex(x.shape[:2]):
        patch = np.einsum("i,iohw->hwo", x[row, column], kernel)
        result[2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += patch
    return result[1:-1, 1:-1]


BIAS = draw(5)


def apply_deconvolution(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    turned = kernel.transpose(2, 3, 0, 1)[::-1, ::-1]
    return np.asarray(Deconvolution(5).apply({"params": {"kernel": turned, "bias": BIAS}}, x))


@pytest.mark.parametrize("shape", [(4, 3), (1, 5), (1, 1)])
def test_deconvolution_is_that_of_a_loop(shape):
    x, kernel = draw(2, *shape, 3), draw(3, 5, 4, 4)
    found = apply_deconvolution(x, kernel)
    for one, expected in zip(found, x, strict=True):
        np.testing.assert_allclose(one, slow_deconvolution(expected, kernel) + BIAS, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (1, 5), (1, 1)])
def test_deconvolution_is_that_of_torch(shape):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, kernel = draw(2, *shape, 3), draw(3, 5, 4, 4)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x).permute(0, 3, 1, 2),
        torch.from_numpy(kernel),
        torch.from_numpy(BIAS),
        stride=2,
        padding=1,
    )
    found = apply_deconvolution(x, kernel)
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


def draw_frames(*batch: int, height: int = 64, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(*batch, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale_channels", [0, 7])
@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 88), (360, 480), (1, 17)])
def test_any_size_gives_whole_cells(batch, height, width, scale_channels):
    flow = flownet_s(scale_channels=scale_channels)
    frames = jax.ShapeDtypeStruct((*batch, height, width, 3), jnp.uint8)

    def estimate(frames):
        params = {"params": {"flow": flow.init(jax.random.key(0), frames)}}
        if flow.estimate_scaled is None:
            return flow.estimate(params, frames, frames), None
        return flow.estimate_scaled(params, frames, frames)

    motion, scale = jax.eval_shape(estimate, frames)
    cells = (*batch, -(-height // 16), -(-width // 16))
    assert (flow.stride, motion.shape, motion.dtype) == (16, (*cells, 2), jnp.float32)
    assert (scale is None) if not scale_channels else (scale.shape == (*cells, 7))


@pytest.fixture(scope="module")
def flow():
    """A flow with a scale map, compiled once for all tests."""
    flow = flownet_s(scale_channels=7)
    assert flow.estimate_scaled is not None
    return flow._replace(estimate_scaled=jax.jit(flow.estimate_scaled))


@pytest.fixture(scope="module")
def params(flow, draw_variables):
    shapes = jax.eval_shape(flow.init, jax.random.key(0), draw_frames())
    return {"params": {"flow": draw_variables(shapes)}}


PAIRS = draw_frames(2, 2)
"""Two references and two frames."""


def test_it_starts_as_a_copy(flow, params):
    """Nothing moves and all is scaled by 1, whatever the layers before say."""
    variables = dict(params["params"]["flow"])
    for name in ("predict_flow2", "scale"):
        # Compiled, the layers that are not asked for are not drawn.
        draw_layer = jax.jit(lambda key, name=name: flow.init(key, PAIRS[0])[name])
        variables[name] = draw_layer(jax.random.key(0))
    motion, scale = flow.estimate_scaled({"params": {"flow": variables}}, *PAIRS)
    np.testing.assert_array_equal(motion, np.zeros((2, 4, 4, 2)))
    np.testing.assert_array_equal(scale, np.ones((2, 4, 4, 7)))


def test_pairs_of_a_batch_do_not_see_each_other(flow, params):
    together = flow.estimate_scaled(params, *PAIRS)
    others = PAIRS.copy()
    others[:, 1] = 255 - PAIRS[:, 1]
    for one, both in zip(flow.estimate_scaled(params, *others), together, strict=True):
        tolerance = 1e-4 * np.abs(both).max()
        np.testing.assert_allclose(one[0], both[0], atol=tolerance)
        assert np.abs(one[1] - both[1]).max() > 100 * tolerance


def test_gradients_reach_every_layer(flow, params):
    def loss(learned):
        motion, scale = flow.estimate_scaled({"params": {"flow": learned}}, *PAIRS[:, :1])
        return jnp.mean(motion**2) + jnp.mean(scale**2)

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(params["params"]["flow"])):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def test_a_narrow_type_is_only_computed_in(flow, params):
    narrow = flownet_s(scale_channels=7, dtype=jnp.bfloat16)
    assert narrow.estimate_scaled is not None
    motion, scale = jax.jit(narrow.estimate_scaled)(params, *PAIRS)
    assert (motion.dtype, scale.dtype) == (jnp.float32, jnp.bfloat16)
    expected, _ = flow.estimate_scaled(params, *PAIRS)
    np.testing.assert_allclose(motion, expected, atol=0.1 * np.abs(expected).max())
