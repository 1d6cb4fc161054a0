"""Frames without the codec's vectors, as peers read them (needs av)."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from jaxseg.arrays import MOTION_BLOCK, CodedFrame, PictureType
from jaxseg.geometry import motion_grid_size, padded_size

FlowFn = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`(current, previous)`, grey, to the motion of each pixel of the current frame."""


def decode(path: Path, *, threads: Literal["SLICE", "AUTO"] = "SLICE") -> Iterator[VideoFrame]:
    """Decode a file, and no more.

    Args:
        path: The file.
        threads: As vectors need them, one frame at a time; or "AUTO", several at once.

    Yields:
        Its pictures.
    """
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = threads
        yield from container.decode(stream)


def still_frames(path: Path) -> Iterator[CodedFrame]:
    """Read frames whose motion nobody looks at.

    Args:
        path: The file.

    Yields:
        Its frames; pixels are converted where they are asked for.
    """
    convert = VideoReformatter()
    for picture in decode(path):
        yield _coded(picture, convert, np.zeros((*_grid(picture), 2), np.float32))


def flow_frames(path: Path, *, flow_fn: FlowFn) -> Iterator[CodedFrame]:
    """Read frames whose motion is computed from their pixels.

    Args:
        path: The file.
        flow_fn: Optical flow from one frame back to the frame before.

    Yields:
        Its frames, with the flow's mean over each cell of the 8x8 grid.
    """
    convert, to_grey = VideoReformatter(), VideoReformatter()
    previous: np.ndarray | None = None
    for picture in decode(path):
        grey = to_grey.reformat(picture, format="gray").to_ndarray()
        flow = flow_fn(grey, grey if previous is None else previous)
        yield _coded(picture, convert, average_over_blocks(flow))
        previous = grey


def dis_flow(cv2: Any) -> FlowFn:
    """Take OpenCV's dense inverse search, at its default preset.

    Args:
        cv2: OpenCV.

    Returns:
        The function.

    Source:
        Kroeger et al. 2016.
    """
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return lambda current, previous: estimator.calc(current, previous, None)


def average_over_blocks(flow: np.ndarray) -> np.ndarray:
    """Bring a flow of pixels to the codec's grid.

    Args:
        flow: `[H, W, 2]`, pixels.

    Returns:
        `[h, w, 2]` float32, pixels; the border is repeated as the codec pads frames.
    """
    height, width = flow.shape[:2]
    rows, columns = padded_size(height, width)
    padded = np.pad(flow, ((0, rows - height), (0, columns - width), (0, 0)), mode="edge")
    blocks = padded.reshape(rows // MOTION_BLOCK, MOTION_BLOCK, -1, MOTION_BLOCK, 2)
    return blocks.mean(axis=(1, 3))


def _grid(picture: VideoFrame) -> tuple[int, int]:
    return motion_grid_size(picture.height, picture.width)


def _coded(picture: VideoFrame, convert: VideoReformatter, motion: np.ndarray) -> CodedFrame:
    return CodedFrame(
        index=0,
        time=0.0,
        picture_type=PictureType.PREDICTED,
        is_cut=False,
        motion=motion,
        inter=np.ones(motion.shape[:2], bool),
        residual=None,
        rgb=partial(_rgb, picture, convert),
    )


def _rgb(picture: VideoFrame, convert: VideoReformatter) -> np.ndarray:
    return convert.reformat(picture, format="rgb24").to_ndarray()
