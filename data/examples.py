"""What a data set is made of: labelled stills and labelled clips, as plain arrays."""

import collections.abc
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, SupportsIndex, TypeVar, overload

import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxseg.arrays import IGNORE_LABEL, MOTION_BLOCK, Clip, PictureType
from jaxseg.geometry import motion_grid_size

T = TypeVar("T")

QUARTER_PIXELS = 4
"""Files and caches keep motion as int16 in this fraction of a pixel."""


class DataError(ValueError):
    """A data set that cannot be used; the message names the file and the way out."""


class Example(NamedTuple):
    """Consecutive frames with labels and the codec's side data; a still has one frame.

    Attributes:
        frames: `[t, H, W, 3]` uint8, RGB.
        labels: `[t, H, W]` uint8; all `IGNORE_LABEL` in a frame without labels.
        motion: `[t, h, w, 2]` float32 pixels on the 8x8 grid.
        inter: `[t, h, w]`, False where a block has no motion.
        picture_types: `[t]` uint8.
        is_cut: `[t]`, True where a new scene begins.
    """

    frames: UInt8[np.ndarray, "t H W 3"]
    labels: UInt8[np.ndarray, "t H W"]
    motion: Float[np.ndarray, "t h w 2"]
    inter: Bool[np.ndarray, "t h w"]
    picture_types: UInt8[np.ndarray, "t"]
    is_cut: Bool[np.ndarray, "t"]


class Sequence(NamedTuple):
    """Labelled frames that follow one another at a constant rate, before any encoding.

    Attributes:
        name: What it is called, fit for a file name.
        rate: Frames a second.
        frames: `[t, H, W, 3]` uint8.
        labels: `[t, H, W]` uint8.
    """

    name: str
    rate: float
    frames: UInt8[np.ndarray, "t H W 3"]
    labels: UInt8[np.ndarray, "t H W"]


class Lazy(collections.abc.Sequence[T]):
    """A sequence whose items are read whenever they are asked for, and not kept."""

    def __init__(self, items: collections.abc.Sequence[Any], read_fn: Callable[[Any], T]) -> None:
        """Make a sequence.

        Args:
            items: What each is read from.
            read_fn: Reads one.
        """
        self._items, self._read_fn = items, read_fn

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "Lazy[T]": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "T | Lazy[T]":
        """Read an item; a slice reads none."""
        if isinstance(index, slice):
            return Lazy(self._items[index], self._read_fn)
        return self._read_fn(self._items[operator.index(index)])


def still(frame: UInt8[np.ndarray, "H W 3"], labels: UInt8[np.ndarray, "h w"]) -> Example:
    """Make an example of a single labelled picture.

    Args:
        frame: `[H, W, 3]` uint8.
        labels: `[H, W]` uint8.

    Returns:
        An example of one frame, without motion.

    Raises:
        ValueError: If labels and frame differ in size.
    """
    if frame.shape[:2] != labels.shape:
        raise ValueError(
            f"labels are {labels.shape[1]}x{labels.shape[0]}, but their frame is "
            f"{frame.shape[1]}x{frame.shape[0]}; scale them to the same size (nearest neighbour)"
        )
    grid = motion_grid_size(*labels.shape)
    return Example(
        frames=frame[None],
        labels=labels[None],
        motion=np.zeros((1, *grid, 2), np.float32),
        inter=np.zeros((1, *grid), bool),
        picture_types=np.full(1, PictureType.INTRA, np.uint8),
        is_cut=np.zeros(1, bool),
    )


def labelled_clip(clip: Clip, labels: UInt8[np.ndarray, "t H W"]) -> Example:
    """Join a clip read from a file and the labels of its frames.

    Args:
        clip: With frames.
        labels: `[t, H, W]` uint8.

    Returns:
        The example.

    Raises:
        ValueError: If frames and labels differ in number or size, or there are no frames.
    """
    if clip.frames is None:
        raise ValueError("the clip was read without frames; read it with them")
    if clip.frames.shape[:3] != labels.shape:
        raise ValueError(
            f"labels have shape {labels.shape}, but their frames {clip.frames.shape[:3]} "
            "(frames, height, width); each frame needs labels of its own size"
        )
    return Example(clip.frames, labels, clip.motion, clip.inter, clip.picture_types, clip.is_cut)


def check_labels(
    labels: UInt8[np.ndarray, "*b"], *, num_classes: int, source: str
) -> UInt8[np.ndarray, "*b"]:
    """Refuse labels with an id that is no class.

    Args:
        labels: Any shape, uint8.
        num_classes: Valid ids are 0..num_classes-1, and `IGNORE_LABEL`.
        source: Where they come from, for the message.

    Returns:
        The labels.

    Raises:
        ValueError: If there is such an id.
    """
    unknown = np.setdiff1d(np.unique(labels), [*range(num_classes), IGNORE_LABEL])
    if unknown.size:
        raise ValueError(
            f"{source}: holds the unknown class id {unknown[0]}; valid are 0..{num_classes - 1} "
            f"and {IGNORE_LABEL} (ignored)"
        )
    return labels


def class_counts(examples: Iterable[Example], *, num_classes: int) -> Float[np.ndarray, " k"]:
    """Count the labelled pixels of each class.

    Args:
        examples: Labelled examples.
        num_classes: Number of classes, `k`.

    Returns:
        `[k]` float64.
    """
    counts = np.zeros(256)
    for example in examples:
        counts += np.bincount(example.labels.ravel(), minlength=256)
    return counts[:num_classes]


def resample_grid(
    grid: np.ndarray, *, rows: Float[np.ndarray, " r"], columns: Float[np.ndarray, " s"]
) -> np.ndarray:
    """Look blocks up at given places, the border repeated.

    Args:
        grid: `[t, h, w, ...]` on the 8x8 grid.
        rows: `[r]`, pixels from the top.
        columns: `[s]`, pixels from the left.

    Returns:
        `[t, r, s, ...]`.
    """
    y = np.clip(np.floor(rows / MOTION_BLOCK).astype(int), 0, grid.shape[1] - 1)
    x = np.clip(np.floor(columns / MOTION_BLOCK).astype(int), 0, grid.shape[2] - 1)
    return grid[:, y[:, None], x[None, :]]
