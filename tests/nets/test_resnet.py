"""Layers against slow loops, and the sizes of a backbone's stages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets.ladder import Ladder, pool_to_grid
from jaxseg.nets.resnet import NUM_BLOCKS, ResNet, convolve, max_pool

SIZES = [(8, 6), (7, 9), (1, 4), (2, 1)]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def slow_convolution(x: np.ndarray, kernel: np.ndarray, stride: int, dilation: int) -> np.ndarray:
    """Sum over the taps around every `stride`th cell, zero outside the map."""
    size, reach = kernel.shape[0], dilation * (kernel.shape[0] // 2)
    rows, columns = (-(-side // stride) for side in x.shape[:2])
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
    result = np.zeros((rows, columns, kernel.shape[-1]))
    for row, column in np.ndindex(rows, columns):
        for dy, dx in np.ndindex(size, size):
            cell = padded[row * stride + dy * dilation, column * stride + dx * dilation]
            result[row, column] += cell @ kernel[dy, dx]
    return result


def slow_max_pool(x: np.ndarray) -> np.ndarray:
    rows, columns = (-(-side // 2) for side in x.shape[:2])
    result = np.empty((rows, columns, x.shape[-1]), x.dtype)
    for row, column in np.ndindex(rows, columns):
        window = x[max(2 * row - 1, 0) : 2 * row + 2, max(2 * column - 1, 0) : 2 * column + 2]
        result[row, column] = window.max(axis=(0, 1))
    return result


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(
    ("size", "stride", "dilation"), [(3, 1, 2), (3, 2, 1), (7, 2, 1), (1, 2, 1)]
)
def test_convolution_is_that_of_a_loop(shape, size, stride, dilation):
    x = draw(*shape, 2)

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x):
            return convolve(x, 3, name="conv", size=size, stride=stride, dilation=dilation)

    kernel = draw(size, size, 2, 3)
    found = Layer().apply({"params": {"conv": {"kernel": kernel}}}, x[None])[0]
    np.testing.assert_allclose(found, slow_convolution(x, kernel, stride, dilation), atol=1e-5)


@pytest.mark.parametrize("shape", SIZES)
def test_max_pool_is_that_of_a_loop(shape):
    x = draw(2, 3, *shape, 4) - 5  # below zero, so that a border of zeros would show
    found = max_pool(x)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[index], slow_max_pool(x[index]))


@pytest.mark.parametrize("shape", SIZES[:2])
def test_max_pool_sends_its_gradient_to_the_maxima(shape):
    x, weight = draw(*shape, 4), draw(*(-(-side // 2) for side in shape), 4)
    found = jax.jit(jax.grad(lambda x: jnp.sum(weight * max_pool(x))))(x)
    pooled, expected = slow_max_pool(x), np.zeros_like(x)
    for row, column, channel in np.ndindex(pooled.shape):
        is_maximum = x[..., channel] == pooled[row, column, channel]
        expected[is_maximum, channel] += weight[row, column, channel]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_max_pool_of_a_constant_has_a_finite_gradient():
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x)))(jnp.zeros((5, 5, 1)))
    np.testing.assert_allclose(gradient.sum(), 9, rtol=1e-6)  # ties share it, none gets lost
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("num_cells", [1, 2, 4])
@pytest.mark.parametrize("shape", [(8, 12), (5, 7), (3, 2)])
def test_pool_to_grid_keeps_the_mean(shape, num_cells):
    x = draw(2, *shape, 3)
    pooled = pool_to_grid(x, num_cells=num_cells)
    assert pooled.shape == (2, num_cells, num_cells, 3)
    np.testing.assert_allclose(pooled.mean((1, 2)), x.mean((1, 2)), atol=1e-6)


def test_pool_to_grid_averages_whole_cells():
    x = draw(8, 12, 3)
    expected = x.reshape(4, 2, 4, 3, 3).mean((1, 3))
    np.testing.assert_allclose(pool_to_grid(x, num_cells=4), expected, atol=1e-6)


def stages(depth: int, output_stride: int, height: int, width: int) -> list:
    net = ResNet(depth, output_stride)
    frames = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
    return jax.eval_shape(
        lambda x: net.init_with_output(jax.random.key(0), x, train=False)[0], frames
    )


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("depth", NUM_BLOCKS)
def test_stages_have_their_strides(depth, output_stride):
    width = 4 if depth >= 50 else 1
    for height, columns in ((64, 96), (75, 53)):
        found = [stage.shape for stage in stages(depth, output_stride, height, columns)]
        strides = [min(stride, output_stride) for stride in (4, 8, 16, 32)]
        assert found == [
            (2, -(-height // stride), -(-columns // stride), 64 * 2**index * width)
            for index, stride in enumerate(strides)
        ]


def test_dilation_gives_every_cell_what_a_stride_skips(draw_variables):
    """A dilated stage, seen at every second cell, is the strided stage."""
    x = draw(1, 64, 32, 3)
    strided, dilated = ResNet(18, 32), ResNet(18, 16)
    variables = draw_variables(
        jax.eval_shape(lambda: strided.init(jax.random.key(0), x, train=False))
    )
    coarse, fine = jax.jit(
        lambda x: [net.apply(variables, x, train=False) for net in (strided, dilated)]
    )(x)
    for stage in range(3):
        np.testing.assert_allclose(coarse[stage], fine[stage], rtol=1e-5)
    assert fine[3].shape == (1, 4, 2, 512)
    np.testing.assert_allclose(fine[3][:, ::2, ::2], coarse[3], rtol=1e-4)


def test_ladder_climbs_to_the_finest_stage(draw_variables):
    maps = [draw(2, 13, 9, 8), draw(2, 7, 5, 16), draw(2, 4, 3, 32)]
    ladder = Ladder(16)
    variables = draw_variables(
        jax.eval_shape(lambda: ladder.init(jax.random.key(0), maps, train=False))
    )
    features = jax.jit(lambda maps: ladder.apply(variables, maps, train=False))(maps)
    assert features.shape == (2, 13, 9, 8)
    assert np.isfinite(features).all()
    assert np.std(features, axis=(1, 2)).min() > 0
