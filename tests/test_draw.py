"""Pictures against closed forms, pixel by pixel."""

import builtins
import colorsys

import numpy as np
import pytest
from PIL import Image

from jaxseg import draw
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID, Classes

RNG = np.random.default_rng(0)
ROWS = [
    {"scheme": scheme, "interval": interval, "net": net, "miou": 0.7 - 0.01 * interval}
    | {"miou_min": 0.7 - 0.02 * interval, "throughput_fps": 20.0 * interval}
    for net in ("resnet18", "resnet50")
    for scheme, intervals in (("per-frame", [1]), ("prop-mv", [2, 5]), ("interp-mv", [2, 5]))
    for interval in intervals
]


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


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_is_written_whole(tmp_path, suffix):
    path = tmp_path / "figures" / f"plot.{suffix}"
    draw.plot_accuracy_throughput(ROWS, path, title="CamVid")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    if suffix == "png":
        assert np.asarray(Image.open(path)).std() > 0
    else:
        assert path.read_text().rstrip().endswith("</svg>")


def test_a_plot_takes_rows_without_throughput_or_interval(tmp_path):
    rows = [{"scheme": "afp+aks", "interval": None, "net": "resnet18", "miou": 0.6}]
    draw.plot_accuracy_throughput([*ROWS, *rows], tmp_path / "plot.png")
    with pytest.raises(ValueError, match="0 rows"):
        draw.plot_accuracy_throughput([rows[0] | {"miou": None}], tmp_path / "plot.png")


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    import_module = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return import_module(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install jaxseg\[plot\]"):
        draw.plot_accuracy_throughput(ROWS, tmp_path / "plot.png")
