"""Motion compensation and residual: against loops, and exactly closed."""

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.geometry import motion_grid_size


def compensate_slowly(previous, motion):
    height, width = previous.shape[:2]
    out = np.empty_like(previous)
    for y in range(height):
        for x in range(width):
            dx, dy = np.rint(motion[y // 8, x // 8]).astype(int)
            out[y, x] = previous[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
    return out


@pytest.mark.parametrize("size", [(32, 48), (21, 37)])
@pytest.mark.parametrize("reach", [0, 3, 20, 200])
def test_compensation_equals_a_loop_over_pixels(size, reach):
    rng = np.random.default_rng(0)
    previous = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    motion = rng.uniform(-reach, reach, (*motion_grid_size(*size), 2)).astype(np.float32)
    predicted = codec.motion_compensate(previous, motion)
    np.testing.assert_array_equal(predicted, compensate_slowly(previous, motion))


def test_compensation_needs_the_grid_of_the_frame():
    with pytest.raises(ValueError, match=r"4x4 cells.*20x40 pixels has 4x6"):
        codec.motion_compensate(np.zeros((20, 40, 3), np.uint8), np.zeros((4, 4, 2), np.float32))


def test_statistics_equal_a_loop_over_cells():
    rng = np.random.default_rng(0)
    frame, predicted = rng.integers(0, 256, (2, 21, 37, 3), dtype=np.uint8)
    found = codec.residual_statistics(frame, predicted, threshold=200)
    residual = np.abs(frame.astype(int) - predicted)
    assert found.shape == (2, 3, 2)
    for y, x in np.ndindex(2, 3):
        cell = residual[16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
        assert found[y, x, 0] == cell.sum()
        assert found[y, x, 1] == (cell.max(axis=-1) > 200).sum()


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
def test_residual_of_a_file(pan, tmp_path, encoder):
    path = tmp_path / "v.mp4"
    codec.encode(pan(0, 14, 6, 2, height=120, width=136), path, codec=encoder)
    clip = codec.load(path, residual_threshold=30)
    assert clip.residual.shape == (14, 8, 9, 2)
    assert not clip.residual[0].any()
    for i in range(1, 14):
        predicted = codec.motion_compensate(clip.frames[i - 1], clip.motion[i])
        residual = clip.frames[i].astype(np.int16) - predicted
        np.testing.assert_array_equal((predicted + residual).astype(np.uint8), clip.frames[i])
        assert clip.residual[i, ..., 0].sum() == np.abs(residual).sum()
        assert clip.residual[i, ..., 1].sum() == (np.abs(residual).max(axis=-1) > 30).sum()
    # An I-frame has no vectors: its residual is what changed in place.
    moved, in_place = clip.residual[11, ..., 0].sum(), clip.residual[12, ..., 0].sum()
    assert in_place > 3 * moved
