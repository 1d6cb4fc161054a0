"""Pictures against closed forms, pixel by pixel."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from jaxseg import draw
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID, Classes

RNG = np.random.default_rng(0)


def test_classes_need_as_many_colours_as_names():
    assert len(CAMVID.names) == len(set(CAMVID.palette)) == 11
    with pytest.raises(ValueError, match="2 names but 1 colours"):
        Classes(names=("a", "b"), palette=((0, 0, 0),))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_colorize_gives_each_class_its_colour_and_void_none(dtype):
    labels = RNG.integers(12, size=(2, 5, 6)).astype(dtype)
    labels[labels == 11] = IGNORE_LABEL
    colours = draw.colorize(labels, palette=CAMVID.palette)
    assert colours.shape == (2, 5, 6, 3)
    assert colours.dtype == np.uint8
    for place in np.ndindex(labels.shape):
        label = labels[place]
        expected = (0, 0, 0) if label == IGNORE_LABEL else CAMVID.palette[label]
        assert tuple(colours[place]) == expected


@pytest.mark.parametrize("label", [-1, 11, 254, 256])
def test_colorize_names_a_label_without_colour(label):
    with pytest.raises(ValueError, match=rf"label {label} .*palette has 11"):
        draw.colorize(np.full((2, 2), label), palette=CAMVID.palette)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_overlay_blends_within_one_step(opacity):
    frames = RNG.integers(256, size=(2, 5, 6, 3), dtype=np.uint8)
    labels = RNG.integers(11, size=(2, 5, 6))
    colours = draw.colorize(labels, palette=CAMVID.palette)
    blended = draw.overlay(frames, labels, palette=CAMVID.palette, opacity=opacity)
    expected = (1 - opacity) * frames.astype(float) + opacity * colours.astype(float)
    tolerance = 0 if opacity in (0, 1) else 1.5
    np.testing.assert_allclose(blended, expected, atol=tolerance)


def test_overlay_refuses_percent():
    with pytest.raises(ValueError, match="opacity is 50"):
        draw.overlay(
            np.zeros((2, 2, 3), np.uint8),
            np.zeros((2, 2), int),
            palette=CAMVID.palette,
            opacity=50.0,
        )


@pytest.mark.parametrize("width", [120, 480, 2048])
def test_legend_shows_every_colour_at_any_width(width):
    strip = draw.legend(CAMVID, width=width)
    assert strip.shape[1] == width
    shown = {tuple(colour) for colour in strip.reshape(-1, 3).tolist()}
    assert set(CAMVID.palette) <= shown


def test_legend_breaks_lines_where_the_width_ends():
    assert draw.legend(CAMVID, width=240).shape[0] > draw.legend(CAMVID, width=2048).shape[0]


def test_pictures_stand_side_by_side():
    left, right = (RNG.integers(256, size=(2, 4, w, 3), dtype=np.uint8) for w in (3, 5))
    both = draw.side_by_side(left, right)
    np.testing.assert_array_equal(both[:, :, :3], left)
    np.testing.assert_array_equal(both[:, :, 3:], right)
    with pytest.raises(ValueError, match="one height"):
        draw.side_by_side(left, right[:, :2])


def test_a_still_frame_has_no_arrows():
    frame = RNG.integers(256, size=(20, 40, 3), dtype=np.uint8)
    picture = draw.draw_motion(frame, np.zeros((4, 6, 2), np.float32), np.ones((4, 6), bool))
    np.testing.assert_array_equal(picture, frame)


def test_an_arrow_leads_from_where_the_block_was():
    frame, motion = np.zeros((64, 64, 3), np.uint8), np.zeros((8, 8, 2), np.float32)
    motion[4, 6] = (-24, 0)
    rows, columns = np.nonzero(draw.draw_motion(frame, motion, np.ones((8, 8), bool)).any(axis=-1))
    assert {columns.min(), columns.max()} == {28, 53}
    assert {rows.min(), rows.max()} == {35, 37}
    assert (rows[columns < 50] == 36).all()


def test_intra_blocks_are_tinted_and_only_they():
    frame, inter = np.full((16, 32, 3), 100, np.uint8), np.ones((2, 4), bool)
    inter[1, 2] = False
    changed = (draw.draw_motion(frame, np.zeros((2, 4, 2), np.float32), inter) != frame).any(-1)
    expected = np.zeros((16, 32), bool)
    expected[8:16, 16:24] = True
    np.testing.assert_array_equal(changed, expected)


def test_motion_of_another_frame_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) blocks.*16x32.*\(2, 4\)"):
        draw.draw_motion(
            np.zeros((16, 32, 3), np.uint8), np.zeros((2, 2, 2), np.float32), np.ones((2, 2), bool)
        )


def test_motion_colours_are_those_of_the_hsv_wheel():
    motion = RNG.normal(size=(3, 4, 5, 2)).astype(np.float32) * 10
    colours = draw.motion_to_rgb(motion, max_pixels=16.0)
    for place in np.ndindex(motion.shape[:-1]):
        dx, dy = -motion[place].astype(float)
        hue, length = np.arctan2(dy, dx) / (2 * np.pi) % 1, np.hypot(dx, dy)
        expected = 255 * np.array(colorsys.hsv_to_rgb(hue, min(length / 16, 1), 1))
        np.testing.assert_allclose(colours[place], expected, atol=0.51)
    white = draw.motion_to_rgb(np.zeros((1, 1, 2), np.float32), max_pixels=1.0)
    assert (white == 255).all()


@pytest.mark.parametrize("cell", [1, 16])
def test_residuals_are_heat_by_cells_or_pixels(cell):
    height, width = 24, 40
    shape = (2, height, width) if cell == 1 else (2, 2, 3)
    residual = RNG.uniform(0, 12, size=shape).astype(np.float32)
    heat = draw.draw_residual(residual, height=height, width=width, max_value=9.0)
    assert heat.shape == (2, height, width, 3)
    assert heat.dtype == np.uint8
    for image, y, x in np.ndindex(2, height, width):
        value = min(float(residual[image, y // cell, x // cell]) / 9, 1)
        expected = [255 * min(max(3 * value - channel, 0), 1) for channel in range(3)]
        np.testing.assert_allclose(heat[image, y, x], expected, atol=0.51)


def test_no_residual_is_black_whatever_the_scale():
    for max_value in (0.0, 1.0):
        heat = draw.draw_residual(
            np.zeros((1, 1), np.float32), height=9, width=16, max_value=max_value
        )
        assert heat.shape == (9, 16, 3)
        assert not heat.any()
    with pytest.raises(ValueError, match=r"\(3, 3\), but a frame of 24x40 has \(2, 3\) cells"):
        draw.draw_residual(np.zeros((3, 3), np.float32), height=24, width=40, max_value=1.0)


@pytest.mark.parametrize("corner", [(4, 6), (0, 0), (12, 28), (-4, -6), (30, 60)])
def test_regions_are_two_red_pixels_wide_and_end_with_the_frame(corner):
    frames = RNG.integers(255, size=(2, 20, 36, 3), dtype=np.uint8)  # None of it is red.
    before = frames.copy()
    corners = np.array([[corner], [(2, 3)]])
    drawn = draw.draw_regions(frames, corners, size=(10, 14))
    np.testing.assert_array_equal(frames, before)
    for image, (top, left) in enumerate((corner, (2, 3))):
        box = max(top, 0), min(top + 10, 20) - 1, max(left, 0), min(left + 14, 36) - 1
        for y, x in np.ndindex(20, 36):
            is_inside = box[0] <= y <= box[1] and box[2] <= x <= box[3]
            to_edge = min(y - box[0], box[1] - y, x - box[2], box[3] - x)
            expected = (255, 0, 0) if is_inside and to_edge < 2 else tuple(before[image, y, x])
            assert tuple(drawn[image, y, x]) == expected


def test_a_frame_without_regions_stays_as_it_is():
    frame = RNG.integers(256, size=(20, 36, 3), dtype=np.uint8)
    drawn = draw.draw_regions(frame, np.zeros((0, 2), np.int32), size=(10, 14))
    np.testing.assert_array_equal(drawn, frame)


def test_a_grid_holds_each_picture_as_it_is():
    pictures = RNG.integers(255, size=(2, 3, 20, 30, 3), dtype=np.uint8)  # None of it is white.
    sheet = draw.grid_of_pictures(
        pictures, row_names=["input", "truth"], column_names=["k", "k + 2", "k + 4"], gap=5
    )
    top, left = sheet.shape[0] - 2 * 25, sheet.shape[1] - 3 * 35
    for row, column in np.ndindex(2, 3):
        y, x = top + 25 * row, left + 35 * column
        np.testing.assert_array_equal(sheet[y : y + 20, x : x + 30], pictures[row, column])
        assert (sheet[y : y + 20, x + 30 : x + 35] == 255).all()
    assert (sheet[:top, left:] < 128).any(), "no names above"
    assert (sheet[top:, :left] < 128).any(), "no names on the left"
    with pytest.raises(ValueError, match="1 row names and 3 column names for 2 rows of 3"):
        draw.grid_of_pictures(pictures, row_names=["input"], column_names=["k", "l", "m"])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_a_mask_is_labels_and_colours_in_one(tmp_path, dtype):
    labels = RNG.integers(12, size=(37, 53)).astype(dtype)
    labels[labels == 11] = IGNORE_LABEL
    draw.write_mask(tmp_path / "m.png", labels, palette=CAMVID.palette)
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), labels)
        colours = np.array(picture.convert("RGB"))
    np.testing.assert_array_equal(colours, draw.colorize(labels, palette=CAMVID.palette))
    with pytest.raises(ValueError, match="label 11 has no colour"):
        draw.write_mask(tmp_path / "n.png", np.full((2, 2), 11), palette=CAMVID.palette)
    assert [path.name for path in tmp_path.iterdir()] == ["m.png"]
