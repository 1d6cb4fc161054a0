"""The letter table and the array types that every room shares.

Letters, in this order, indexed from the right so that batch axes come free:

===== ==========================================================
`*b`  any batch axes
`t`   frames
`h w` feature cells, or cells of a block grid
`H W` pixels
`c`   channels, always last
`k`   classes
===== ==========================================================

Motion is *backward* and in pixels: what is at `p` in frame `t` was at
`p + motion[t](p)` in frame `t - 1`, with `motion[..., 0]` = dx and
`motion[..., 1]` = dy.  A pan that moves the picture 16 px to the right has
dx = -16 everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

Array: TypeAlias = jax.Array | np.ndarray

# A leading underscore leaves a size free: a function may well return another one.
Frames: TypeAlias = UInt8[Array, "... _H _W 3"]
Motion: TypeAlias = Float[Array, "... _h _w 2"]
Inter: TypeAlias = Bool[Array, "... _h _w"]
Features: TypeAlias = Float[Array, "... _h _w _c"]
Scores: TypeAlias = Float[Array, "... _h _w _k"]
Labels: TypeAlias = Integer[Array, "... _H _W"]
Params: TypeAlias = Mapping[str, Any]

IGNORE_LABEL = 255
"""The label of pixels that count neither in a loss nor in a metric."""

MACROBLOCK = 16
"""Codecs pad both sides of a frame to a multiple of this, in pixels."""

MOTION_BLOCK = 8
"""A frame's vectors fit on a grid of cells this wide, in pixels, without loss."""


class PictureType(IntEnum):
    """How a frame was coded; the numbers are FFmpeg's."""

    INTRA = 1
    PREDICTED = 2
    BIDIRECTIONAL = 3


@dataclass(frozen=True)
class CodedFrame:
    """One frame, and what the codec said about it.

    Attributes:
        index: Position in the order in which frames are shown, from 0.
        time: When it is shown, seconds after frame 0.
        picture_type: How it was coded.
        is_cut: Whether it shows another scene than the frame before.
        motion: Backward motion, pixels, `[h, w, 2]` float32 on the 8x8 grid.
        inter: `[h, w]`; False where a block was coded without motion.
        residual: `[H16, W16, 2]` float32 as in `Clip`; None where nobody asked.
        rgb: Converts the pixels, `[H, W, 3]` uint8; only until the next frame is
            taken, so that the decoder may reuse its memory.
    """

    index: int
    time: float
    picture_type: PictureType
    is_cut: bool
    motion: Float[np.ndarray, "h w 2"]
    inter: Bool[np.ndarray, "h w"]
    residual: Float[np.ndarray, "H16 W16 2"] | None
    rgb: Callable[[], UInt8[np.ndarray, "H W 3"]]


class Clip(NamedTuple):
    """A run of consecutive frames and what the codec said about them.

    Attributes:
        frames: Pixels, RGB, `[t, H, W, 3]` uint8; None where nobody asked.
        motion: Backward motion, pixels, `[t, h, w, 2]` float32 with
            `h = ceil(H / 16) * 2` (an 8x8 grid over the padded frame); zero
            where `inter` is False.
        inter: `[t, h, w]`; False where a block was coded without motion.
        picture_types: `[t]` uint8, one `PictureType` a frame.
        residual: `[t, H16, W16, 2]` float32 over 16x16 cells, sum of
            |residual| and number of pixels above the threshold; None where
            nobody asked.
        is_cut: `[t]`; True where a frame shows another scene than the one
            before it.  The first frame of a file is no cut.
    """

    frames: UInt8[np.ndarray, "t H W 3"] | None
    motion: Float[np.ndarray, "t h w 2"]
    inter: Bool[np.ndarray, "t h w"]
    picture_types: UInt8[np.ndarray, "t"]
    residual: Float[np.ndarray, "t H16 W16 2"] | None
    is_cut: Bool[np.ndarray, "t"]


class Gop(NamedTuple):
    """One interval: a keyframe, and the frames up to the next keyframe.

    The shape is that of the longest interval of a schedule, so that one
    compilation serves a whole video; a shorter one is padded with zero motion,
    which is the identity.

    Attributes:
        frames: `[*b, f, H, W, 3]` uint8; the keyframe first.  Only as many as
            the scheme reads: `f = t` for a net on every frame, else `f = 1`.
        motion: `[*b, t, h, w, 2]` float32 pixels on the 8x8 grid; step `i`
            leads from frame `i + 1` of the interval back to frame `i`.
        inter: `[*b, t, h, w]`; False where a block of that step was coded without motion.
        next_frame: `[*b, H, W, 3]` uint8, the next keyframe, which is frame
            `length` of this interval.
        length: `[*b]` int32, how many of the `t` frames are real.
        is_linked: `[*b]`; False where the next keyframe shows another scene, or
            where there is none: nothing may then be carried back from it.
        residual: `[*b, t, H16, W16, 2]` float32 as in `Clip`, of the same steps as the
            motion, zero in the padding; None where the scheme reads none.
    """

    frames: UInt8[Array, "*b f H W 3"]
    motion: Float[Array, "*b t h w 2"]
    inter: Bool[Array, "*b t h w"]
    next_frame: UInt8[Array, "*b H W 3"]
    length: Integer[Array, "*b"]
    is_linked: Bool[Array, "*b"]
    residual: Float[Array, "*b t H16 W16 2"] | None = None


class LabelledGop(NamedTuple):
    """One interval of which a single frame is labelled, to train on.

    Attributes:
        gop: The interval.
        offset: `[*b]` int32, which frame of the interval the labels are of; below
            `gop.length`.
        labels: `[*b, H, W]`, ids 0..k-1 or `IGNORE_LABEL`.
    """

    gop: Gop
    offset: Integer[Array, "*b"]
    labels: Labels
