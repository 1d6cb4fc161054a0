"""Units, strides and grids against loops over pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import geometry
from tests import reference


@pytest.mark.parametrize(
    ("size", "multiple", "padded"),
    [
        ((720, 960), 16, (720, 960)),
        ((1080, 1920), 16, (1088, 1920)),
        ((1, 17), 16, (16, 32)),
        ((50, 70), 32, (64, 96)),
        ((50, 70), 1, (50, 70)),
    ],
)
def test_sizes_are_rounded_up(size, multiple, padded):
    assert geometry.padded_size(*size, multiple=multiple) == padded


def test_codecs_pad_to_macroblocks():
    assert geometry.padded_size(50, 70) == (64, 80)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((720, 960), (90, 120)), ((1080, 1920), (136, 240)), ((1, 17), (2, 4)), ((40, 48), (6, 6))],
)
def test_motion_grid_covers_the_padded_frame(size, grid):
    assert geometry.motion_grid_size(*size) == grid


@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
@pytest.mark.parametrize("xp", [np, jnp])
def test_padding_repeats_the_last_row_and_column(batch, xp):
    rng = np.random.default_rng(0)
    frames = rng.integers(256, size=(*batch, 5, 7, 3), dtype=np.uint8)
    padded = geometry.pad_frames(xp.asarray(frames), multiple=4)
    assert isinstance(padded, np.ndarray) == (xp is np)
    assert padded.shape == (*batch, 8, 8, 3)
    assert padded.dtype == np.uint8
    for y in range(8):
        for x in range(8):
            expected = frames[..., min(y, 4), min(x, 6), :]
            np.testing.assert_array_equal(padded[..., y, x, :], expected)


@pytest.mark.parametrize("shape", [(16, 32, 3), (2, 48, 16, 3)])
def test_frames_that_fit_are_left_alone(shape):
    frames = np.zeros(shape, np.uint8)
    assert geometry.pad_frames(frames) is frames


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("grid", [(4, 8), (6, 10), (3, 5)])
def test_motion_in_cells_is_that_of_a_loop(stride, grid):
    motion = 9 * np.random.default_rng(0).standard_normal((*grid, 2), np.float32)
    cells = geometry.motion_to_cells(motion, stride=stride)
    assert cells.dtype == jnp.float32
    np.testing.assert_allclose(cells, reference.to_cells(motion, stride), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("stride", "new_stride"), [(8, 4), (16, 4), (16, 16), (8, 16), (4, 16)])
def test_a_change_of_stride_keeps_cells_in_their_place(stride, new_stride):
    features = np.random.default_rng(0).standard_normal((2, 3, 5, 4), np.float32)
    found = geometry.change_stride(features, stride=stride, new_stride=new_stride)
    times = new_stride / stride
    rows, columns = (int(np.ceil(size / times)) for size in (3, 5))
    expected = np.zeros((2, rows, columns, 4))
    for index in np.ndindex(expected.shape[:3]):
        one, (row, column) = features[index[0]], index[1:]
        if times > 1:
            ys, xs = (np.arange(it * times, (it + 1) * times) for it in (row, column))
            expected[index] = np.mean([reference.sample(one, x, y) for y in ys for x in xs], axis=0)
        else:
            y, x = ((it + 0.5) * times - 0.5 for it in (row, column))
            expected[index] = reference.sample(one, x, y)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_strides_must_be_multiples():
    with pytest.raises(ValueError, match="stride is 8 and new_stride 12, but one must be"):
        geometry.change_stride(np.zeros((2, 2, 2), np.float32), stride=8, new_stride=12)


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_motion_keeps_its_sign_and_its_axes(stride):
    motion = np.broadcast_to(np.float32([-16, 4]), (6, 6, 2))
    cells = np.asarray(geometry.motion_to_cells(motion, stride=stride))
    np.testing.assert_array_equal(cells[..., 0], -16 / stride)
    np.testing.assert_array_equal(cells[..., 1], 4 / stride)


@pytest.mark.parametrize("stride", [4, 8, 32])
def test_motion_takes_batch_axes_and_half_precision(stride):
    motion = np.random.default_rng(0).standard_normal((2, 3, 6, 5, 2)).astype(np.float16)
    cells = geometry.motion_to_cells(motion, stride=stride)
    assert cells.dtype == jnp.float32
    for index in np.ndindex(2, 3):
        one = geometry.motion_to_cells(motion[index].astype(np.float32), stride=stride)
        np.testing.assert_array_equal(cells[index], one)


@pytest.mark.parametrize("stride", [-8, 0, 3, 12, 24])
def test_other_strides_are_refused(stride):
    with pytest.raises(ValueError, match=f"stride is {stride}, but must be a power of two"):
        geometry.motion_to_cells(np.zeros((2, 2, 2), np.float32), stride=stride)


def test_positions_are_listed_as_motion_is():
    positions = geometry.cell_positions(3, 4)
    assert positions.shape == (3, 4, 2)
    assert positions.dtype == jnp.float32
    for y in range(3):
        for x in range(4):
            assert positions[y, x].tolist() == [x, y]


@pytest.mark.parametrize("size", [(6, 10), (7, 5), (2, 3), (3, 5)])
def test_resizing_is_that_of_a_loop_with_half_pixel_centres(size):
    features = np.random.default_rng(0).standard_normal((3, 5, 2), np.float32)
    resize = jax.jit(geometry.resize_bilinear, static_argnames=("height", "width"))
    resized = resize(features, height=size[0], width=size[1])
    assert resized.shape == (*size, 2)
    for y in range(size[0]):
        for x in range(size[1]):
            expected = reference.sample(
                features, (x + 0.5) * 5 / size[1] - 0.5, (y + 0.5) * 3 / size[0] - 0.5
            )
            np.testing.assert_allclose(resized[y, x], expected, rtol=1e-5, atol=1e-5)


def test_resizing_takes_batch_axes_and_keeps_the_type():
    features = jnp.arange(2 * 3 * 2 * 2 * 1, dtype=jnp.bfloat16).reshape(2, 3, 2, 2, 1)
    resized = geometry.resize_bilinear(features, height=4, width=4)
    assert resized.shape == (2, 3, 4, 4, 1)
    assert resized.dtype == jnp.bfloat16
    np.testing.assert_array_equal(resized[..., ::3, ::3, :], features)
