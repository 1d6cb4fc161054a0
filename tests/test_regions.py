"""Regions: the paper's grid, and others, scores, choices and mixtures against loops."""

import jax
import numpy as np
import pytest

from jaxseg.regions import (
    ACCUMULATED,
    Correction,
    blend,
    choose_regions,
    count_above,
    region_corners,
    region_scores,
    scaled_region,
    sum_up,
)
from tests.reference_taplab import corners_of, worst_region


def draw_cells(seed: int = 0, shape: tuple[int, int] = (5, 7)) -> np.ndarray:
    """Draw scores that are whole numbers, of which some are equal."""
    return np.random.default_rng(seed).integers(4, size=shape).astype(np.float32)


def test_the_papers_grid_has_21_regions():
    side, half = scaled_region(1024, 2048)
    assert (side, half) == (512, 256)
    corners = region_corners(1024, 2048, size=(side, side), stride=(half, half))
    expected = [[top, left] for top in (0, 256, 512) for left in range(0, 1537, 256)]
    assert len(expected) == 21
    assert corners.tolist() == expected
    assert corners.dtype == np.int32


@pytest.mark.parametrize(
    ("height", "width", "size", "stride", "tops", "lefts"),
    [
        # 360 rows are padded to 368.
        (360, 480, (160, 160), (80, 80), [0, 80, 160, 208], [0, 80, 160, 240, 320]),
        (48, 64, (32, 32), (16, 16), [0, 16], [0, 16, 32]),
        (41, 60, (16, 32), (32, 16), [0, 32], [0, 16, 32]),
        (48, 80, (48, 32), (16, 32), [0], [0, 32, 48]),
        (16, 16, (16, 16), (16, 16), [0], [0]),
        (64, 64, (16, 16), (64, 48), [0, 48], [0, 48]),  # with gaps, on request
    ],
)
def test_the_last_row_and_column_lie_at_the_border(height, width, size, stride, tops, lefts):
    corners = region_corners(height, width, size=size, stride=stride)
    assert corners.tolist() == [[top, left] for top in tops for left in lefts]


@pytest.mark.parametrize("seed", range(5))
def test_grids_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(it) for it in rng.integers(100, 300, 2))
    size, stride = (tuple(16 * int(it) for it in rng.integers(1, 6, 2)) for _ in range(2))
    padded = -(-height // 16) * 16, -(-width // 16) * 16
    corners = region_corners(height, width, size=size, stride=stride)
    assert [tuple(it) for it in corners.tolist()] == corners_of(*padded, size, stride)


@pytest.mark.parametrize(
    ("height", "width", "multiple", "expected"),
    [
        (1024, 2048, 16, (512, 256)),
        (720, 960, 16, (288, 144)),
        (360, 480, 16, (160, 80)),
        (48, 64, 16, (32, 16)),
        (16, 16, 16, (16, 16)),
        (17, 16, 16, (16, 16)),
        (64, 2048, 16, (64, 64)),  # no higher than the frame
        (360, 480, 32, (128, 64)),
    ],
)
def test_regions_scale_with_the_frame(height, width, multiple, expected):
    assert scaled_region(height, width, multiple=multiple) == expected


@pytest.mark.parametrize("seed", range(40))
def test_scaled_regions_fit_every_frame(seed):
    height, width = (int(it) for it in np.random.default_rng(seed).integers(1, 1500, 2))
    side, step = scaled_region(height, width)
    corners = region_corners(height, width, size=(side, side), stride=(step, step))
    covered = np.zeros((-(-height // 16), -(-width // 16)), bool)
    for row, column in corners // 16:
        covered[row : row + side // 16, column : column + side // 16] = True
    assert covered.all()
    padded = 256 * covered.size
    assert side in (16, min(covered.shape) * 16) or padded / 13 < side**2 < padded / 5


@pytest.mark.parametrize(
    ("size", "stride", "says"),
    [
        ((24, 32), (16, 16), "size is 24x32, but both must be multiples of 16 pixels"),
        ((32, 0), (16, 16), "size is 32x0, but both must be multiples of 16 pixels"),
        ((32, 32), (16, 20), "stride is 16x20, but both must be multiples of 16 pixels"),
        ((32, 32), (-16, 16), "stride is -16x16, but both must be multiples of 16 pixels"),
        ((64, 32), (16, 16), "size is 64x32, but the frame has 40x56 pixels; give a smaller one"),
        ((32, 80), (16, 16), "size is 32x80, but the frame has 40x56 pixels; give a smaller one"),
    ],
)
def test_regions_that_do_not_fit_are_refused(size, stride, says):
    with pytest.raises(ValueError, match=says) as error:
        region_corners(40, 56, size=size, stride=stride)
    assert "\n" not in str(error.value)


def test_scores_are_those_of_a_loop():
    size, stride = (48, 32), (16, 32)
    corners = region_corners(80, 112, size=size, stride=stride)
    cells = np.stack([draw_cells(seed) for seed in range(3)])
    scores = jax.jit(jax.vmap(lambda it: region_scores(it, corners, size=size)))(cells)
    for one, found in zip(cells, scores, strict=True):
        expected = [
            sum(one[top // 16 + row, left // 16 + column] for row, column in np.ndindex(3, 2))
            for top, left in corners
        ]
        np.testing.assert_array_equal(found, expected)


def test_cells_are_scored_by_either_statistic():
    residual = np.random.default_rng(0).random((2, 3, 4, 2), np.float32)
    np.testing.assert_array_equal(sum_up(residual), residual[..., 0])
    np.testing.assert_array_equal(count_above(residual), residual[..., 1])
    assert Correction().score_fn is count_above
    assert Correction().memory == 0
    assert Correction(score_fn=sum_up, memory=1.0) == ACCUMULATED


SIZE, STRIDE = (32, 32), (16, 16)
CORNERS = region_corners(80, 112, size=SIZE, stride=STRIDE)


@jax.jit
def choose_three(cells):
    return choose_regions(cells, CORNERS, size=SIZE, num_regions=3)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_regions_are_chosen_one_after_the_other(seed):
    cells = draw_cells(seed)
    pixels = cells.repeat(16, axis=0).repeat(16, axis=1) / 256
    chosen, scores, rest = choose_three(cells)
    for corner, score in zip(chosen, scores, strict=True):
        (rows, columns), expected = worst_region(pixels, CORNERS.tolist(), SIZE)
        assert corner.tolist() == [rows.start, columns.start]
        assert score == pytest.approx(expected)
        pixels[rows, columns] = 0
    np.testing.assert_array_equal(rest, 256 * pixels[::16, ::16])
    assert np.all(np.diff(scores) <= 0)


def test_the_first_of_equal_regions_is_chosen():
    chosen, scores, rest = choose_three(np.ones((5, 7), np.float32))
    # What the first has is taken: next comes the first one that shares nothing with it.
    assert chosen.tolist() == [[0, 0], [0, 32], [0, 64]]
    assert scores.tolist() == [4, 4, 4]
    assert float(rest.sum()) == 35 - 12


def test_what_was_chosen_counts_no_more():
    cells = np.zeros((5, 7), np.float32)
    cells[1, 1], cells[1, 2], cells[4, 6] = 9, 5, 3
    chosen, scores, rest = choose_three(cells)
    assert chosen.tolist() == [[0, 16], [48, 80], [0, 0]]
    assert scores.tolist() == [14, 3, 0]
    assert not rest.any()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_region_is_mixed_into_its_place(alpha):
    rng = np.random.default_rng(0)
    carried = rng.standard_normal((6, 8, 3), np.float32)
    own = rng.standard_normal((2, 4, 3), np.float32)
    expected = carried.copy()
    expected[3:5, 2:6] = (1 - alpha) * carried[3:5, 2:6] + alpha * own
    found = blend(carried, own, np.int32([3, 2]), alpha=alpha)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if alpha in (0, 1):
        np.testing.assert_array_equal(found, expected)
