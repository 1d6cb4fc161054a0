"""Scenes whose motion and labels are known, and CamVid in miniature."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.examples import Example, labelled_clip
from jaxseg.arrays import Clip

NUM_CLASSES = 11
STILLS = ("0001TP_006690", "0001TP_006720", "Seq05VD_f00030")
RUN = ("0016E5_07959", "0016E5_07961", "0016E5_07963")


@pytest.fixture(scope="session")
def pan() -> Callable[..., Example]:
    """Make an example that moves right by `dx` and down by `dy`; colours encode labels."""

    def make(seed: int, *, count: int = 1, dx: int = 8, dy: int = 0, size=(48, 64)) -> Example:
        height, width = size
        tall, wide = height + dy * count, width + dx * count
        coarse = np.random.default_rng(seed).integers(
            NUM_CLASSES, size=(tall // 8 + 1, wide // 8 + 1)
        )
        scene = coarse.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
        labels = np.stack(
            [scene[dy * (count - i) :, dx * (count - i) :][:height, :width] for i in range(count)]
        )
        grid = (count, -(-height // 16) * 2, -(-width // 16) * 2)
        inter = np.ones(grid, bool)
        inter[0] = False
        motion = np.array([-dx, -dy], np.float32) * inter[..., None]
        kinds = np.array([1, *[2] * (count - 1)], np.uint8)
        cuts = np.zeros(count, bool)
        clip = Clip(colour_of(labels), motion.astype(np.float32), inter, kinds, None, cuts)
        return labelled_clip(clip, labels)

    return make


def colour_of(labels: np.ndarray) -> np.ndarray:
    """Give each label a grey level of its own."""
    return np.repeat((labels * 20 + 20).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.fixture
def tiny_camvid(tmp_path, pan) -> Path:
    """CamVid in the SegNet tutorial's layout: three stills to train, a run of three to validate."""
    folder = tmp_path / "camvid"
    for split, names in (("train", STILLS), ("val", RUN)):
        clip = pan(len(names), count=len(names), dx=4)
        for part in (split, f"{split}annot"):
            (folder / part).mkdir(parents=True)
        lines = []
        for name, frame, labels in zip(names, clip.frames, clip.labels, strict=True):
            ids = labels.copy()
            ids[0, 0] = 11
            Image.fromarray(frame).save(folder / split / f"{name}.png")
            Image.fromarray(ids).save(folder / f"{split}annot" / f"{name}.png")
            lines.append(
                f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png"
            )
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder
