"""What is stored of an example: a record of bytes and small arrays, or plain arrays in one file.

A record holds the pixels as the bytes of a file, which is 10 to 30 times smaller
than arrays: H.264 in MP4 for a clip, PNG for a still.  A file of arrays needs no
decoding, so that training can begin at once, without TensorFlow.
"""

import io
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float, Int16, UInt8
from PIL import Image

from data.examples import QUARTER_PIXELS, Example, Lazy, labelled_clip, still
from jaxseg.codec import encode, load
from jaxseg.files import replacing

GOP = 12
"""Frames from one I-frame of a stored clip to the next."""

QUALITY = 18
"""H.264's constant rate factor of a stored clip; near invisible losses."""

FORMAT = "jaxseg examples 1"
"""What a file of examples says it is."""

RECORD = "jaxseg record 1"
"""What a file of one record says it is."""

# What NumPy raises on reading a file that is no such file, or no longer whole.
_DAMAGE = (
    AttributeError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

PNG_SIGNATURE = b"\x89PNG"


def pack_motion(motion: Float[np.ndarray, "*b h w 2"]) -> Int16[np.ndarray, "*b h w 2"]:
    """Round motion to quarter pixels, which is exact for what codecs give.

    Args:
        motion: `[*b, h, w, 2]`, pixels.

    Returns:
        `[*b, h, w, 2]` int16, quarter pixels.
    """
    limits = np.iinfo(np.int16)
    return np.rint(motion * QUARTER_PIXELS).clip(limits.min, limits.max).astype(np.int16)


def unpack_motion(motion: Int16[np.ndarray, "*b h w 2"]) -> Float[np.ndarray, "*b h w 2"]:
    """Turn quarter pixels back into pixels.

    Args:
        motion: `[*b, h, w, 2]` int16, quarter pixels.

    Returns:
        `[*b, h, w, 2]` float32, pixels.
    """
    return motion.astype(np.float32) / QUARTER_PIXELS


def encode_record(
    frames: UInt8[np.ndarray, "t H W 3"],
    labels: UInt8[np.ndarray, "s h w"],
    *,
    rate: float | Fraction,
    gop: int = GOP,
) -> dict[str, Any]:
    """Encode labelled frames once, and keep what the codec says about them.

    Args:
        frames: `[t, H, W, 3]` uint8; one frame is a still, and stays as it is.
        labels: `[t, H, W]` uint8.
        rate: Frames a second.
        gop: Frames from one I-frame to the next.

    Returns:
        `file`, the bytes of an MP4 or PNG file; `rate`; the fields of `Example`
        but the frames, motion in quarter pixels.

    Raises:
        ValueError: If frames and labels differ in number or size.
    """
    if len(frames) == 1:
        example = still(frames[0], labels[0])
        png = io.BytesIO()
        Image.fromarray(frames[0]).save(png, "png")
        data = png.getvalue()
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            encode(frames, path, rate=rate, gop=gop, quality=QUALITY)
            data, clip = path.read_bytes(), load(path)
        example = labelled_clip(
            clip._replace(frames=decode_frames(data, size=frames.shape[1:3])), labels
        )
    arrays = _to_arrays(example)
    del arrays["frames"]
    return {"file": data, "rate": float(rate), **arrays}


def decode_record(record: Mapping[str, Any]) -> Example:
    """Decode what `encode_record` made.

    Args:
        record: At least `file` and the fields of `Example` but the frames.

    Returns:
        The example; frames and motion as the codec gives them.
    """
    frames = decode_frames(record["file"], size=record["labels"].shape[1:])
    return _from_arrays({**record, "frames": frames})


def decode_frames(data: bytes, *, size: tuple[int, int]) -> UInt8[np.ndarray, "t H W 3"]:
    """Decode the pixels of a record.

    Args:
        data: The bytes of an MP4 or PNG file.
        size: Height and width, pixels; the codec adds a row or column to odd ones.

    Returns:
        `[t, H, W, 3]` uint8, RGB, of that size.
    """
    if data.startswith(PNG_SIGNATURE):
        with Image.open(io.BytesIO(data)) as opened:
            return np.array(opened.convert("RGB"))[None]
    height, width = size
    convert = VideoReformatter()
    with av.open(io.BytesIO(data), "r") as container:
        pictures = [
            convert.reformat(picture, format="rgb24").to_ndarray()[:height, :width]
            for picture in container.decode(video=0)
        ]
    return np.stack(pictures)


def save_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples into one file; it appears under its name only once it is complete.

    Args:
        path: The file, `.npz`.
        examples: Of any lengths and sizes.
    """
    arrays: dict[str, Any] = {"format": np.array(FORMAT), "num_examples": np.array(len(examples))}
    for index, example in enumerate(examples):
        arrays |= {f"{index}/{name}": array for name, array in _to_arrays(example).items()}
    with replacing(path) as hidden, hidden.open("wb") as file:
        np.savez(file, **arrays)


def load_examples(path: Path) -> list[Example]:
    """Read what `save_examples` wrote.

    Args:
        path: The file.

    Returns:
        The examples, motion rounded to quarter pixels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else, or was cut off.
    """
    try:
        # Opened here, as NumPy leaves a broken file open.
        with Path(path).open("rb") as file, np.load(file) as stored:
            if str(stored["format"]) != FORMAT:
                raise KeyError("format")
            return [
                _from_arrays({name: stored[f"{index}/{name}"] for name in Example._fields})
                for index in range(int(stored["num_examples"]))
            ]
    except _DAMAGE as error:
        raise ValueError(
            f"{path}: holds no examples that this version can read ({FORMAT!r}), or was cut off; "
            "remove it, and it is made anew"
        ) from error


def save_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record into a file; it appears under its name only once it is complete.

    Args:
        path: The file, `.npz`.
        record: From `encode_record`.
    """
    arrays = {**record, "format": np.array(RECORD)}
    # NumPy has another use for the name `file`.
    arrays["bytes"] = np.frombuffer(arrays.pop("file"), np.uint8)
    with replacing(path) as hidden, hidden.open("wb") as stored:
        np.savez_compressed(stored, **arrays)


def load_record(path: Path) -> dict[str, Any]:
    """Read what `save_record` wrote.

    Args:
        path: The file.

    Returns:
        The record.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else, or was cut off.
    """
    try:
        with Path(path).open("rb") as file, np.load(file) as stored:
            record = dict(stored)
        if str(record.pop("format")) != RECORD:
            raise KeyError("format")
        return {"file": record.pop("bytes").tobytes(), **record}
    except _DAMAGE as error:
        raise ValueError(
            f"{path}: holds no record that this version can read ({RECORD!r}), or was cut off; "
            "remove it, and it is made anew"
        ) from error


def stored_examples(paths: Sequence[Path]) -> Sequence[Example]:
    """Leave examples packed in their files until one is asked for.

    Args:
        paths: Files that `save_record` wrote.

    Returns:
        The examples.
    """
    return Lazy(paths, lambda path: decode_record(load_record(path)))


def _to_arrays(example: Example) -> dict[str, np.ndarray]:
    return example._asdict() | {"motion": pack_motion(example.motion)}


def _from_arrays(arrays: Mapping[str, Any]) -> Example:
    example = Example(**{name: arrays[name] for name in Example._fields})
    return example._replace(motion=unpack_motion(example.motion))
