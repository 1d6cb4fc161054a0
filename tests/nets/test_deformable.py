"""Deformable convolutions against loops of torchvision's arithmetic, and backbones of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.nets import deformable_convolve
from jaxseg.nets.deformable import DeformableConv
from jaxseg.nets.resnet import NUM_BLOCKS, ResNet

# Compiled: one test compares with the eager one.
fast = jax.jit(deformable_convolve, static_argnames=("stride", "dilation"))

# Features' shape, kernel's sides, stride, dilation and groups.
CASES = [
    ((5, 6, 2), (3, 3), 1, 1, 1),
    ((5, 6, 4), (3, 3), 1, 2, 2),
    ((7, 4, 4), (3, 3), 2, 1, 4),
    ((6, 5, 2), (1, 3), 2, 2, 1),
    ((1, 2, 2), (3, 3), 1, 1, 2),
]


def slow_sample(one: np.ndarray, y: float, x: float) -> float:
    """Read one channel bilinearly, as torchvision does: what is outside counts as zero."""
    height, width = one.shape
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                total += down * across * one[row, column]
    return total


def slow_convolution(features, offsets, kernel, stride, dilation) -> np.ndarray:
    """Sum over channels and taps, whose (dy, dx) lie in a row, by group and then by tap."""
    size, channels = kernel.shape[:2], features.shape[-1]
    num_taps = size[0] * size[1]
    groups = offsets.shape[-1] // (2 * num_taps)
    result = np.zeros((*offsets.shape[:2], kernel.shape[-1]))
    for row, column, channel in np.ndindex(*offsets.shape[:2], channels):
        group = channel // (channels // groups)
        for i, j in np.ndindex(size):
            place = 2 * (group * num_taps + i * size[1] + j)
            dy, dx = offsets[row, column, place : place + 2]
            y = row * stride + (i - size[0] // 2) * dilation + dy
            x = column * stride + (j - size[1] // 2) * dilation + dx
            sample = slow_sample(features[..., channel], y, x)
            result[row, column] += sample * kernel[i, j, channel]
    return result


def draw(shape, size=(3, 3), stride=1, groups=1, *, batch=()) -> tuple[np.ndarray, ...]:
    """Draw features, offsets of which many lead out of the map, and a kernel for 3 outputs.

    No offset is near a whole number, where a bilinear sample has a kink.
    """
    rng = np.random.default_rng(0)
    cells = [-(-side // stride) for side in shape[:2]]
    places = (*batch, *cells, 2 * groups * size[0] * size[1])
    offsets = rng.integers(-3, 3, places) + rng.uniform(0.1, 0.9, places)
    features = rng.standard_normal((*batch, *shape), np.float32)
    kernel = rng.standard_normal((*size, shape[2], 3), np.float32)
    return features, offsets.astype(np.float32), kernel


@pytest.mark.parametrize(("shape", "size", "stride", "dilation", "groups"), CASES)
def test_convolution_is_that_of_a_loop(shape, size, stride, dilation, groups):
    arrays = draw(shape, size, stride, groups)
    found = fast(*arrays, stride=stride, dilation=dilation)
    expected = slow_convolution(*arrays, stride, dilation)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("position", "expected"),
    [(-2, 0), (-1, 0), (-0.25, 0.75 * 5), (0, 5), (1.5, 6.5), (2, 7), (2.25, 0.75 * 7), (3, 0)],
)
def test_outside_the_map_lie_zeros(position, expected):
    line, kernel = np.float32([5, 6, 7]), np.ones((1, 1, 1, 1), np.float32)
    offsets = np.float32([(0, position), (0, position - 1), (0, position - 2)])
    along_x = fast(line.reshape(1, 3, 1), offsets.reshape(1, 3, 2), kernel)
    along_y = fast(line.reshape(3, 1, 1), offsets[:, ::-1].reshape(3, 1, 2), kernel)
    for found in (along_x, along_y):
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1)])
def test_offsets_of_zero_give_the_plain_convolution(stride, dilation):
    features, offsets, kernel = draw((7, 6, 4), stride=stride, groups=2, batch=(2,))
    found = fast(features, 0 * offsets, kernel, stride=stride, dilation=dilation)
    expected = lax.conv_general_dilated(
        features,
        kernel,
        (stride, stride),
        [(dilation, dilation)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_are_finite_differences_of_the_loop():
    arrays = draw((4, 5, 4), stride=2, groups=2)
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((2, 3, 3)).astype(np.float32)
    gradients = jax.jit(
        jax.grad(lambda it: jnp.sum(deformable_convolve(*it, stride=2, dilation=2) * weight))
    )(arrays)
    for place, gradient in enumerate(gradients):
        assert np.abs(gradient).max() > 0.1
        for _ in range(3):
            step = 1e-4 * rng.standard_normal(gradient.shape)
            ends = []
            for sign in (-1, 1):
                moved = [np.float64(it) for it in arrays]
                moved[place] += sign * step
                ends.append(np.sum(slow_convolution(*moved, 2, 2) * weight))
            expected = (ends[1] - ends[0]) / 2
            np.testing.assert_allclose(np.sum(gradient * step), expected, rtol=1e-3, atol=1e-7)


def test_gradients_are_finite_at_whole_positions():
    features, offsets, kernel = draw((4, 4, 2))
    gradient = jax.jit(jax.grad(lambda it: jnp.sum(deformable_convolve(*it) ** 2)))
    for offset in (0, 1, -1, 9):
        gradients = gradient((features, np.full_like(offsets, offset), kernel))
        assert all(np.isfinite(it).all() for it in gradients)


def test_compiling_and_batching_change_nothing():
    features, offsets, kernel = draw((5, 4, 4), groups=2, batch=(2, 3))
    eager = deformable_convolve(features, offsets, kernel)
    np.testing.assert_allclose(fast(features, offsets, kernel), eager, atol=1e-5)
    mapped = jax.jit(jax.vmap(deformable_convolve, (0, 0, None)))(features, offsets, kernel)
    np.testing.assert_allclose(mapped, eager, atol=1e-5)
    for index in np.ndindex(2, 3):
        one = slow_convolution(features[index], offsets[index], kernel, 1, 1)
        np.testing.assert_allclose(eager[index], one, atol=1e-4)


def test_coordinates_stay_exact_in_a_narrow_type():
    # So wide, and so far away, that bfloat16 could not tell neighbouring positions apart.
    values = np.append(np.arange(700) % 7, np.zeros(302))
    features = jnp.asarray(values[:700], jnp.bfloat16).reshape(1, 700, 1)
    offsets = np.broadcast_to(np.float32([0, 300.5]), (1, 700, 2))
    found = fast(features, offsets, np.ones((1, 1, 1, 1), np.float32))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found[0, :, 0], (values[300:1000] + values[301:1001]) / 2)


@pytest.mark.parametrize(
    "change", [(0, (5, 6, 3)), (1, (5, 6, 17)), (1, (4, 6, 36)), (2, (3, 3, 2, 3))]
)
def test_shapes_that_do_not_belong_together_are_refused(change):
    arrays = list(draw((5, 6, 4), groups=2))
    arrays[change[0]] = np.zeros(change[1], np.float32)
    with pytest.raises(ValueError, match=r"offsets have shape .* need offsets of shape \(5, 6, "):
        deformable_convolve(*arrays)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("depth", NUM_BLOCKS)
def test_every_block_of_the_last_stage_is_deformable(depth, output_stride):
    frames = jax.ShapeDtypeStruct((1, 75, 53, 3), jnp.float32)

    def shapes(groups: int):
        net = ResNet(depth, output_stride, groups)
        return jax.eval_shape(
            lambda x: net.init_with_output(jax.random.key(0), x, train=False), frames
        )

    (plain_maps, plain), (maps, deformable) = shapes(0), shapes(4)
    assert maps == plain_maps
    for index in range(NUM_BLOCKS[depth][-1]):
        offset = deformable["params"][f"layer4_{index}"]["conv2"].pop("offset")
        assert offset["kernel"].shape == (3, 3, 512, 72)
        assert offset["bias"].shape == (72,)
    assert deformable == plain


def test_a_deformable_layer_begins_as_the_plain_one():
    layer = DeformableConv(3, 2, 3, stride=2, dilation=2, kernel_init=nn.initializers.normal())
    features = draw((5, 6, 4))[0]
    found, variables = jax.jit(layer.init_with_output)(jax.random.key(0), features)
    kernel, offset = variables["params"]["kernel"], variables["params"]["offset"]
    assert offset["kernel"].shape == (3, 3, 4, 2 * 9 * 2)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(offset))
    expected = slow_convolution(features, np.zeros((3, 3, 36)), np.asarray(kernel), 2, 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_offsets_of_zero_give_the_plain_backbone(draw_variables):
    frames = np.random.default_rng(0).standard_normal((1, 32, 48, 3), np.float32)
    plain, net = ResNet(18, 16), ResNet(18, 16, 4)
    variables = draw_variables(
        jax.eval_shape(lambda: net.init(jax.random.key(0), frames, train=False))
    )
    offsets = [variables["params"][f"layer4_{index}"]["conv2"]["offset"] for index in range(2)]
    for leaf in jax.tree.leaves(offsets):
        leaf[:] = 0
    found, expected = jax.jit(
        lambda it: [each.apply(it, frames, train=False)[-1] for each in (net, plain)]
    )(variables)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
