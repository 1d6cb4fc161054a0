"""A video file -> frames, motion, residual and picture types, in one pass."""

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

import numpy as np
from av.video.frame import PictureType as CodecPictureType
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from jaxseg.arrays import Clip, CodedFrame, PictureType
from jaxseg.codec.cuts import SAME_SCENE, luma_thumbnail, scene_correlation
from jaxseg.codec.errors import CodecError
from jaxseg.codec.motion import block_vectors, rasterize_motion
from jaxseg.codec.opening import decode, frame_rate, open_video, timed
from jaxseg.codec.probing import INTERLACED, codec_name, require_motion
from jaxseg.codec.residual import motion_compensate, residual_statistics

INTRA_SHARE = 0.25
"""Frames with at least this share of intra blocks are looked at for a scene cut."""

PICTURE_TYPES = {
    CodecPictureType.I: PictureType.INTRA,
    CodecPictureType.SI: PictureType.INTRA,
    CodecPictureType.B: PictureType.BIDIRECTIONAL,
    CodecPictureType.BI: PictureType.BIDIRECTIONAL,
}


class Picture(NamedTuple):
    """A picture as it is shown, and as it was coded; the same, but where it was coded anew.

    Attributes:
        time: Seconds after the first one.
        shown: The one whose pixels are given.
        coded: The one whose vectors are given; as large, up to its padding.
    """

    time: float
    shown: VideoFrame
    coded: VideoFrame


def read_frames(
    path: str | Path,
    *,
    pixels: Literal["all", "intra"] = "all",
    residual_threshold: int | None = None,
) -> Iterator[CodedFrame]:
    """Read a video frame by frame; pixels are converted only where asked for.

    A caller that needs the pixels of keyframes alone decides on each frame, by its
    index, picture type or cut, whether to call `rgb()`.  Memory stays the same
    however long the video is.

    Args:
        path: The file.
        pixels: "all", or "intra" if only those of I-frames will be asked for: H.264
            is then decoded without the loop filter elsewhere, which is faster.
            Motion, inter, picture types and I-frames stay the same, bit by bit.
            Cuts are judged by the unfiltered pictures, which drift in the course of
            a GOP: they are found as before, but where the stream is very coarse, a
            frame with many intra blocks may be taken for one, too.
        residual_threshold: Grey levels; set, each frame has residual statistics
            with this threshold, which needs the pixels of every frame.

    Returns:
        An iterator of frames in the order in which they are shown.

    Raises:
        CodecError: If the file is no video or its codec gives no vectors; after the
            last intact frame, if it is damaged; with `pixels="intra"`, if residual
            statistics are asked for, and by `rgb()` of a frame that is no I-frame.
    """
    if pixels == "intra" and residual_threshold is not None:
        raise CodecError(
            f"{path}: residual statistics with threshold {residual_threshold} need the pixels of "
            'every frame; read it with pixels="all"'
        )
    with open_video(path) as stream:
        require_motion(path, codec_name(stream))
        # In an I-frame of two fields the second may be predicted from the first.
        if pixels == "intra" and stream.codec_context.field_order not in INTERLACED:
            stream.codec_context.options |= {"skip_loop_filter": "nointra"}
        pictures = timed(decode(path, stream), rate=frame_rate(stream))
        yield from describe(
            path,
            (Picture(time, picture, picture) for time, picture in pictures),
            pixels=pixels,
            residual_threshold=residual_threshold,
        )


def describe(
    path: str | Path,
    pictures: Iterable[Picture],
    *,
    pixels: Literal["all", "intra"] = "all",
    residual_threshold: int | None = None,
    intra_share: float = INTRA_SHARE,
) -> Iterator[CodedFrame]:
    """Say of each picture what the codec knows about it, and whether the scene changes.

    The residual of a block without motion, and so of a whole I-frame, is what changed in
    place: there the prediction is the picture before as it was.

    Args:
        path: The file, for the error.
        pictures: In the order in which they are shown.
        pixels: As in `read_frames`.
        residual_threshold: As in `read_frames`.
        intra_share: Frames with at least this share of intra blocks are looked at for
            a scene cut.

    Returns:
        An iterator of as many frames.

    Source:
        TapLab (Feng et al. 2020), published code, for the blocks without motion.
    """
    convert, shrink = VideoReformatter(), VideoReformatter()
    previous: VideoFrame | None = None
    previous_rgb: np.ndarray | None = None
    for index, (time, shown, coded) in enumerate(pictures):
        motion, inter = rasterize_motion(
            block_vectors(coded), height=shown.height, width=shown.width
        )
        picture_type = PICTURE_TYPES.get(CodecPictureType(coded.pict_type), PictureType.PREDICTED)
        converted = _Pixels(shown, convert)
        has_pixels = pixels == "all" or picture_type == PictureType.INTRA
        residual = None
        if residual_threshold is not None:
            rgb = converted.rgb()
            predicted = rgb if previous_rgb is None else motion_compensate(previous_rgb, motion)
            residual = residual_statistics(rgb, predicted, threshold=residual_threshold)
            previous_rgb = rgb
        yield CodedFrame(
            index=index,
            time=time,
            picture_type=picture_type,
            is_cut=previous is not None
            and bool(np.count_nonzero(~inter) >= intra_share * inter.size)
            and _is_other_scene(previous, shown, shrink),
            motion=motion,
            inter=inter,
            residual=residual,
            rgb=converted.rgb if has_pixels else partial(_refuse_pixels, path, index),
        )
        converted.release()
        previous = shown


def read(
    path: str | Path,
    *,
    chunk: int = 32,
    frames: Literal["rgb"] | None = "rgb",
    residual_threshold: int | None = None,
) -> Iterator[Clip]:
    """Read a video as short clips, one after another.

    Args:
        path: The file.
        chunk: Frames a clip; the last may hold fewer.
        frames: "rgb" for the pixels of all frames, None for none (much faster);
            `read_frames` gives those of a few.
        residual_threshold: Grey levels; set, clips hold residual statistics.

    Returns:
        An iterator of clips that follow on each other without a gap.

    Raises:
        CodecError: As `read_frames`; the clip before damage may be shorter.
    """
    if chunk < 1:
        raise CodecError(f"chunk is {chunk}, but a clip needs at least 1 frame")
    records: list[CodedFrame] = []
    pixels: list[np.ndarray] = []
    coded_frames = read_frames(path, residual_threshold=residual_threshold)
    damage: CodecError | None = None
    while damage is None:
        try:
            record = next(coded_frames, None)
        except CodecError as error:
            record, damage = None, error
        if record is None:
            break
        records.append(record)
        if frames is not None:
            pixels.append(record.rgb())
        if len(records) == chunk:
            yield _clip(records, pixels)
            records, pixels = [], []
    if records:
        yield _clip(records, pixels)
    if damage is not None:
        raise damage


def load(
    path: str | Path,
    *,
    frames: Literal["rgb"] | None = "rgb",
    residual_threshold: int | None = None,
) -> Clip:
    """Read a short video whole.

    Args:
        path: The file.
        frames: "rgb" for the pixels of all frames, None for none.
        residual_threshold: Grey levels; set, the clip holds residual statistics.

    Returns:
        All frames in one clip.

    Raises:
        CodecError: As `read_frames`.
    """
    (clip,) = read(path, chunk=sys.maxsize, frames=frames, residual_threshold=residual_threshold)
    return clip


class _Pixels:
    """A decoded picture that is let go when the next one is taken."""

    def __init__(self, picture: VideoFrame, reformatter: VideoReformatter) -> None:
        self.picture: VideoFrame | None = picture
        self.reformatter = reformatter
        self.converted: np.ndarray | None = None

    def rgb(self) -> np.ndarray:
        if self.picture is None:
            raise RuntimeError("rgb() works only until the next frame is taken; call it earlier")
        if self.converted is None:
            self.converted = self.reformatter.reformat(self.picture, format="rgb24").to_ndarray()
        return self.converted

    def release(self) -> None:
        self.picture = self.converted = None


def _refuse_pixels(path: str | Path, index: int) -> NoReturn:
    raise CodecError(
        f"{path}: frame {index} is no I-frame, and only those have pixels with "
        'pixels="intra"; read it with pixels="all"'
    )


def _is_other_scene(first: VideoFrame, second: VideoFrame, reformatter: VideoReformatter) -> bool:
    pair = (luma_thumbnail(picture, reformatter) for picture in (first, second))
    return scene_correlation(*pair) < SAME_SCENE


def _clip(records: list[CodedFrame], pixels: list[np.ndarray]) -> Clip:
    residual = [record.residual for record in records if record.residual is not None]
    return Clip(
        frames=np.stack(pixels) if pixels else None,
        motion=np.stack([record.motion for record in records]),
        inter=np.stack([record.inter for record in records]),
        picture_types=np.array([record.picture_type for record in records], np.uint8),
        residual=np.stack(residual) if residual else None,
        is_cut=np.array([record.is_cut for record in records]),
    )
