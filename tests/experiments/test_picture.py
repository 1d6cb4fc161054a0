"""The README's picture: everything is in its place, and the file is what was drawn."""

import numpy as np
from PIL import Image

from experiments.picture import INTERVAL, SHOWN, draw_overview
from experiments.readme import ROOT
from jaxseg.arrays import Clip
from jaxseg.classes import CAMVID
from jaxseg.draw import overlay

HEIGHT, WIDTH, GAP = 192, 256, 4


def test_frames_motion_and_labels_stand_under_each_other():
    rng = np.random.default_rng(0)
    t, grid = INTERVAL + 1, (HEIGHT // 8, WIDTH // 8)
    frames = rng.integers(256, size=(t, HEIGHT, WIDTH, 3), dtype=np.uint8)
    labels = rng.integers(11, size=(t, HEIGHT, WIDTH), dtype=np.uint8)
    clip = Clip(
        frames=frames,
        motion=np.zeros((t, *grid, 2), np.float32),
        inter=np.ones((t, *grid), bool),
        picture_types=np.full(t, 2, np.uint8),
        residual=None,
        is_cut=np.zeros(t, bool),
    )
    picture = draw_overview(clip, labels, CAMVID)

    def cell(row: int, column: int) -> np.ndarray:
        y = picture.shape[0] - (3 - row) * (HEIGHT + GAP)
        x = picture.shape[1] - (len(SHOWN) - column) * (WIDTH + GAP)
        return picture[y : y + HEIGHT, x : x + WIDTH]

    for column, at in enumerate(SHOWN):
        painted = overlay(frames[at], labels[at], palette=CAMVID.palette)
        # Nothing moves: no line is drawn.  The first is an I-frame, and stays white.
        motion = frames[at] if column else np.full_like(frames[at], 255)
        for row, expected in enumerate((frames[at], motion, painted)):
            np.testing.assert_array_equal(cell(row, column), expected)


def test_the_file_is_small():
    path = ROOT / "docs" / "images" / "overview.png"
    assert path.stat().st_size < 300_000
    with Image.open(path) as picture:
        assert picture.width > len(SHOWN) * WIDTH
