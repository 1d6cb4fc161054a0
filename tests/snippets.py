"""Cityscapes in miniature: its layout, its ids, and snippets of a scene that moves."""

from pathlib import Path

import numpy as np
from PIL import Image

NUM_IDS = 34
HEIGHT, WIDTH = 64, 128
STEP = 2


def scene(seed: int, *, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Make frames of coloured blocks that move right, and the ids that the colours stand for."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(NUM_IDS, size=(HEIGHT // 16, (WIDTH + STEP * num_frames) // 16 + 1))
    wide = tiles.astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    starts = [STEP * (num_frames - index) for index in range(num_frames)]
    ids = np.stack([wide[:, start:][:, :WIDTH] for start in starts])
    return np.stack([ids * 7, 250 - ids * 7, ids % 5 * 60], axis=-1).astype(np.uint8), ids


def write_snippet(
    root: Path,
    split: str,
    city: str,
    *,
    labelled: int,
    numbers: range,
    sequence: int = 0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Write frames of a sequence and the labels of one of them; give the frames and its ids."""
    frames, ids = scene(seed, num_frames=len(numbers))
    for number, frame in zip(numbers, frames, strict=True):
        path = picture(root, split, city, sequence, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path)
    path = labels_of(root, split, city, sequence, labelled)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids[numbers.index(labelled)]).save(path)
    return frames, ids[numbers.index(labelled)]


def picture(root: Path, split: str, city: str, sequence: int, number: int) -> Path:
    """Name the file of a frame."""
    name = f"{city}_{sequence:06}_{number:06}_leftImg8bit.png"
    return root / "leftImg8bit_sequence" / split / city / name


def labels_of(root: Path, split: str, city: str, sequence: int, number: int) -> Path:
    """Name the file of its labels."""
    name = f"{city}_{sequence:06}_{number:06}_gtFine_labelIds.png"
    return root / "gtFine" / split / city / name


def write_cityscapes(root: Path) -> Path:
    """Write two cities to train on, and two to measure on: four snippets in each split."""
    for split, (one, other) in {
        "train": ("aachen", "zurich"),
        "val": ("lindau", "munster"),
    }.items():
        seed = 100 * (split == "val")
        for sequence in range(2):
            write_snippet(
                root,
                split,
                one,
                sequence=sequence,
                labelled=19,
                numbers=range(30),
                seed=seed + sequence,
            )
        # One labelled frame early in its sequence, and one in the middle of a long one.
        write_snippet(root, split, other, labelled=11, numbers=range(22), seed=seed + 2)
        write_snippet(
            root, split, other, sequence=3, labelled=70, numbers=range(45, 90), seed=seed + 3
        )
    return root
