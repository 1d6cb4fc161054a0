"""The figures of TapLab: what the pictures are made of, and what the plots say."""

import re

import numpy as np
import pytest

from experiments.paper import MEASURED
from experiments.taplab import figures
from experiments.taplab.figures import (
    correction_sheet,
    modules_sheet,
    motion_sheet,
    residual_sheet,
    write_figures,
)
from experiments.taplab.published import published_rows
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID
from jaxseg.draw import colorize, legend, motion_to_rgb

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 40, 56
FRAMES = RNG.integers(256, size=(3, HEIGHT, WIDTH, 3), dtype=np.uint8)
LABELS = RNG.integers(11, size=(3, HEIGHT, WIDTH))
TRUTH = np.full((3, HEIGHT, WIDTH), IGNORE_LABEL)
NAMES = ["T = 1", "T = 4", "T = 8"]
RED = (255, 0, 0)


def cells_of(sheet: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Cut the pictures out of a sheet: they end where the legend begins, 4 pixels apart."""
    height, width = sheet.shape[0] - len(legend(CAMVID, width=sheet.shape[1])), sheet.shape[1]
    pitch = HEIGHT + 4, WIDTH + 4
    top, left = height - rows * pitch[0], width - columns * pitch[1]
    return np.stack(
        [
            np.stack([sheet[y : y + HEIGHT, x : x + WIDTH] for x in range(left, width, pitch[1])])
            for y in range(top, height, pitch[0])
        ]
    )


def painted(labels: np.ndarray) -> np.ndarray:
    return np.asarray(colorize(labels, palette=CAMVID.palette))


def test_figure_6_sets_residuals_beside_labels():
    residual = np.zeros((3, HEIGHT, WIDTH), np.float32)
    residual[1, 5:25, 7:27] = 50
    sheet = residual_sheet(FRAMES, LABELS, residual, TRUTH, names=NAMES, classes=CAMVID)
    cells = cells_of(sheet, 3, 4)
    np.testing.assert_array_equal(cells[:, 0], FRAMES)
    np.testing.assert_array_equal(cells[:, 1], painted(LABELS))
    np.testing.assert_array_equal(
        cells[:, 2], np.repeat(255 * (residual > 0), 3).reshape(*FRAMES.shape)
    )
    assert not cells[:, 3].any(), "labels that are ignored are black"


def test_figure_9_colours_all_motion_by_one_wheel():
    codec = np.zeros((6, 8, 2), np.float32)
    codec[2, 3] = (-12, 0)
    flow = RNG.normal(size=(HEIGHT, WIDTH, 2)).astype(np.float32)
    sheet = motion_sheet(
        FRAMES[0],
        LABELS[0],
        {"codec": codec, "dis": flow},
        {"codec": LABELS[1], "dis": LABELS[2]},
        classes=CAMVID,
    )
    cells = cells_of(sheet, 2, 3)
    np.testing.assert_array_equal(cells[0, 0], FRAMES[0])
    np.testing.assert_array_equal(cells[1], painted(LABELS))
    expected = np.full((HEIGHT, WIDTH, 3), 255)
    expected[16:24, 24:32] = RED  # To the right, as fast as anything.
    np.testing.assert_array_equal(cells[0, 1], expected)
    lengths = np.hypot(*np.moveaxis(flow, -1, 0)).ravel()
    full = np.quantile(np.concatenate([lengths, [12] * 64, [0] * (HEIGHT * WIDTH - 64)]), 0.99)
    np.testing.assert_array_equal(cells[0, 2], motion_to_rgb(flow, max_pixels=float(full)))
    with pytest.raises(ValueError, match="motion is of codec, but labels are of dis"):
        motion_sheet(FRAMES[0], LABELS[0], {"codec": codec}, {"dis": LABELS[0]}, classes=CAMVID)


@pytest.mark.parametrize("every", [1, 2])
def test_figure_10_draws_the_regions_that_were_corrected(monkeypatch, every):
    monkeypatch.setattr(figures, "MAX_WIDTH", WIDTH)
    carried, corrected, truth = (
        it.repeat(every, axis=1).repeat(every, axis=2) for it in (LABELS, LABELS[::-1], TRUTH)
    )
    none = np.zeros((0, 2), np.int32)
    corners = [none, every * np.array([[16, 32]]), every * np.array([[0, 0], [16, 32]])]
    size = 16 * every, 16 * every
    sheet = correction_sheet(
        carried, corrected, truth, corners, size=size, names=NAMES, classes=CAMVID
    )
    cells = cells_of(sheet, 3, 3)
    is_line = np.zeros((HEIGHT, WIDTH), bool)
    is_line[16:32, 32:48] = True
    is_line[18:30, 34:46] = False
    for row, labels in ((0, LABELS), (1, LABELS[::-1])):
        np.testing.assert_array_equal(cells[row, 0], painted(labels[0]))
        expected = np.where(is_line[..., None], RED, painted(labels[1]))
        np.testing.assert_array_equal(cells[row, 1], expected)
        assert (cells[row, 2, :2, :16] == RED).all()
        assert (cells[row, 2][is_line] == RED).all()
    assert not cells[2].any(), "nothing is drawn on the truth"


def test_figure_12_has_a_column_a_scheme():
    labels = {"per-frame": LABELS, "ffw": LABELS[::-1], "truth": TRUTH}
    cells = cells_of(modules_sheet(FRAMES, labels, names=NAMES, classes=CAMVID), 3, 4)
    np.testing.assert_array_equal(cells[:, 0], FRAMES)
    for column, expected in enumerate(labels.values(), start=1):
        np.testing.assert_array_equal(cells[:, column], painted(expected))


def test_wide_frames_are_thinned_out(monkeypatch):
    monkeypatch.setattr(figures, "MAX_WIDTH", WIDTH)
    wide = np.repeat(np.repeat(FRAMES, 3, 1), 3, 2)
    labels = {"truth": np.repeat(np.repeat(LABELS, 3, 1), 3, 2)}
    sheet = modules_sheet(wide, labels, names=NAMES, classes=CAMVID)
    np.testing.assert_array_equal(cells_of(sheet, 3, 2)[:, 0], FRAMES)


def test_plots_say_what_was_measured_and_what_the_paper_says(tmp_path, monkeypatch):
    texts = []
    for name in ("plot_curves", "plot_sweep"):
        plot = getattr(figures, name)

        def draw(rows, path, *, plot=plot, **options):
            plot(rows, path.with_suffix(".svg"), **options)
            texts.append(set(re.findall(r"<!-- (.*?) -->", path.with_suffix(".svg").read_text())))

        monkeypatch.setattr(figures, name, draw)
    shared = {"source": MEASURED, "data_set": "CamVid", "width": 480, "height": 360}
    shared |= {"net": "mobilenet", "miou": 0.5}
    curve = {"table": "gops", "scheme": "ffw", "throughput_fps": 9.0}
    rows = [shared | curve | {"gop": gop} for gop in (5, 25)]
    alphas = [shared | {"table": "alpha", "alpha": 0.25, "miou": 0.625}]
    rows += [*alphas, *published_rows()]
    assert write_figures(tmp_path, rows) == [tmp_path / "figure8.png", tmp_path / "figure11.png"]
    by_gop, by_alpha = texts
    assert {
        "measured: CamVid, 480x360, BL2 (mobilenet)",
        "Feng et al. 2020, Table 6: BL2",
    } <= by_gop
    assert {"5", "25", "3", "12", "ffw", "ffw+rgc+rgfs", "per-frame"} <= by_gop
    assert "62.5 at 0.25" in by_alpha
    assert write_figures(tmp_path, published_rows()) == [], "nothing was measured"
