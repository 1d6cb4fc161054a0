"""Read Cityscapes as its authors publish it: folders of 2048x1024 pictures by split and city.

A data directory holds `gtFine/` (labels), `leftImg8bit_sequence/` (the 30 frames
around each labelled one) and perhaps `leftImg8bit/` (the labelled frames alone):

    {type}/{split}/{city}/{city}_{sequence:06}_{frame:06}_{type}.png

Nothing is read before it is asked for: the training pictures alone are 18 GB.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.examples import DataError, Example, Lazy, still
from data.examples import Sequence as LabelledSequence
from jaxseg.arrays import IGNORE_LABEL

RATE = 17.0
"""Frames a second."""

BEFORE, AFTER = 19, 10
"""A snippet holds up to this many frames on either side of its labelled one."""

LABELS, FRAMES, PICTURES = "gtFine", "leftImg8bit_sequence", "leftImg8bit"

ARCHIVES = {
    LABELS: "gtFine_trainvaltest.zip",
    FRAMES: "leftImg8bit_sequence_trainvaltest.zip, 324 GB",
    PICTURES: "leftImg8bit_trainvaltest.zip",
}

WHERE_FROM = "download from www.cityscapes-dataset.com after registration, and unpack there"

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The ids in the files of the 19 classes that count, in their order."""

NUM_IDS = 34
"""Ids in the files are 0..33; a licence plate, -1, is never drawn, but 255 if it were."""

MOST_NAMED = 3
"""A message names so many missing files, and counts the others."""

LABELS_NAME = re.compile(r"(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_gtFine_labelIds$")


class Snippet(NamedTuple):
    """Where the files of consecutive frames are, of which one is labelled.

    Attributes:
        name: City, sequence and number of the labelled frame, as in its files' names.
        frames: The pictures, in the order of their numbers.
        labelled: The position of the labelled one among them.
        labels: Its labels.
    """

    name: str
    frames: tuple[Path, ...]
    labelled: int
    labels: Path


def find_snippets(data_dir: Path, split: str) -> list[Snippet]:
    """List the snippets of a split.

    The labelled frame is the one that the labels' name numbers.  Around it go up to
    `BEFORE` and `AFTER` frames of the same sequence; fewer where a sequence begins or
    ends there.

    Args:
        data_dir: Holds `gtFine/` and `leftImg8bit_sequence/`.
        split: "train", "val" or "test".

    Returns:
        The snippets in the order of their names.

    Raises:
        DataError: If a folder, or a frame within a snippet, is missing.
    """
    _check_folders(data_dir, split, (LABELS, FRAMES))
    # One look into each folder: a split has up to 90,000 files.
    there = set(Path(data_dir, FRAMES, split).glob(f"*/*_{PICTURES}.png"))
    snippets, missing = [], []
    for labels in _list_labels(data_dir, split):
        match = LABELS_NAME.match(labels.stem)
        if match is None:
            raise DataError(f"{labels}: the name holds no city, sequence and frame of six digits")
        number = int(match["frame"])
        window = {
            n: Path(data_dir, FRAMES, split, match["city"])
            / f"{match['city']}_{match['sequence']}_{n:06}_{PICTURES}.png"
            for n in range(max(0, number - BEFORE), number + AFTER + 1)
        }
        found = {number, *(n for n, path in window.items() if path in there)}
        run = range(min(found), max(found) + 1)
        missing += [window[n] for n in run if window[n] not in there]
        snippets.append(
            Snippet(
                name="_".join(match.groups()),
                frames=tuple(window[n] for n in run),
                labelled=number - run[0],
                labels=labels,
            )
        )
    _check_none_missing(data_dir, missing, FRAMES)
    return snippets


def read_snippet(snippet: Snippet) -> LabelledSequence:
    """Read all frames of a snippet: 190 MB at 2048x1024.

    Args:
        snippet: From `find_snippets`.

    Returns:
        The frames at 17 a second; those without labels are all `IGNORE_LABEL`.

    Raises:
        DataError: If a file cannot be read, or the sizes differ.
    """
    truth = read_labels(snippet.labels)
    frames = np.stack(list(read_frames(snippet)))
    if frames.shape[1:3] != truth.shape:
        raise DataError(
            f"{snippet.labels}: labels are {truth.shape[1]}x{truth.shape[0]}, but their frame is "
            f"{frames.shape[2]}x{frames.shape[1]}; use the files as they were published"
        )
    labels = sparse_labels(truth, num_frames=len(frames), labelled=snippet.labelled)
    return LabelledSequence(snippet.name, RATE, frames, labels)


def read_frames(snippet: Snippet) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Read the frames of a snippet one after another.

    Args:
        snippet: From `find_snippets`.

    Yields:
        `[H, W, 3]` uint8, all of one size.

    Raises:
        DataError: If a file cannot be read, or the sizes differ.
    """
    shape = None
    for path in snippet.frames:
        frame = _read_picture(path)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise DataError(
                f"{path}: is {frame.shape[1]}x{frame.shape[0]}, but its snippet begins with "
                f"{shape[1]}x{shape[0]}; use the files as they were published"
            )
        yield frame


def read_labels(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Read the labels of a frame.

    Args:
        path: A `*_gtFine_labelIds.png`.

    Returns:
        `[H, W]` uint8, ids 0..18 or `IGNORE_LABEL`.

    Raises:
        DataError: If the file cannot be read, or holds an unknown id.
    """
    ids = _open(path, mode=None)
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise DataError(
            f"{path}: holds {ids.dtype} of shape {ids.shape}, but should hold one id of 8 bits a "
            "pixel; give the *_labelIds.png, not colours or instances"
        )
    return train_labels(ids, source=str(path))


def train_labels(ids: UInt8[np.ndarray, "H W"], *, source: str) -> UInt8[np.ndarray, "H W"]:
    """Map the ids in the files to the 19 classes.

    Args:
        ids: `[H, W]`, 0..33.
        source: Where they come from, for the message.

    Returns:
        `[H, W]` uint8, 0..18 or `IGNORE_LABEL`.

    Raises:
        DataError: If there is another id.
    """
    unknown = np.setdiff1d(np.unique(ids), [*range(NUM_IDS), IGNORE_LABEL])
    if unknown.size:
        raise DataError(
            f"{source}: holds the unknown id {unknown[0]}; valid are 0..{NUM_IDS - 1}, as in "
            "the published *_labelIds.png"
        )
    table = np.full(256, IGNORE_LABEL, np.uint8)
    table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return table[ids]


def sparse_labels(
    labels: UInt8[np.ndarray, "H W"], *, num_frames: int, labelled: int
) -> UInt8[np.ndarray, "t H W"]:
    """Put the labels of one frame among those of frames without any.

    Args:
        labels: `[H, W]` uint8.
        num_frames: Frames in all.
        labelled: The position of the labelled one.

    Returns:
        `[t, H, W]` uint8, `IGNORE_LABEL` but for that frame.
    """
    every = np.full((num_frames, *labels.shape), IGNORE_LABEL, np.uint8)
    every[labelled] = labels
    return every


def read_stills(data_dir: Path, split: str) -> Sequence[Example]:
    """List the labelled frames of a split, each read whenever it is asked for.

    Args:
        data_dir: Holds `gtFine/`, and `leftImg8bit/` or `leftImg8bit_sequence/`, which
            have the same pictures of the labelled frames.
        split: "train", "val" or "test".

    Returns:
        Examples of one frame; asking for one raises `DataError` if it is unusable.

    Raises:
        DataError: If a folder or a picture is missing.
    """
    pictures = PICTURES if Path(data_dir, PICTURES, split).is_dir() else FRAMES
    _check_folders(data_dir, split, (LABELS, pictures))
    pairs = []
    for labels in _list_labels(data_dir, split):
        name = labels.name.replace("gtFine_labelIds", PICTURES)
        pairs.append((Path(data_dir, pictures, split, labels.parent.name, name), labels))
    missing = [picture for picture, _ in pairs if not picture.is_file()]
    _check_none_missing(data_dir, missing, pictures)
    return Lazy(pairs, _read_still)


def _read_still(pair: tuple[Path, Path]) -> Example:
    picture, labels = pair
    try:
        return still(_read_picture(picture), read_labels(labels))
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{labels}: {error}") from error


def _list_labels(data_dir: Path, split: str) -> list[Path]:
    found = sorted(Path(data_dir, LABELS, split).glob("*/*_gtFine_labelIds.png"))
    if not found:
        raise DataError(
            f"{Path(data_dir, LABELS, split)}: holds no <city>/*_gtFine_labelIds.png; they are in "
            f"{ARCHIVES[LABELS]}: {WHERE_FROM}"
        )
    return found


def _check_folders(data_dir: Path, split: str, types: Iterable[str]) -> None:
    """Name every folder that is missing, with the archive that holds it."""
    missing = [
        f"{kind}/{split}/ ({ARCHIVES[kind]})"
        for kind in types
        if not Path(data_dir, kind, split).is_dir()
    ]
    if missing:
        raise DataError(f"{data_dir}: lacks {' and '.join(missing)}; {WHERE_FROM}")


def _check_none_missing(data_dir: Path, missing: list[Path], kind: str) -> None:
    if missing:
        named = ", ".join(str(path.relative_to(data_dir)) for path in missing[:MOST_NAMED])
        others = len(missing) - MOST_NAMED
        raise DataError(
            f"{data_dir}: lacks {named}{f' and {others} more files' if others > 0 else ''}; "
            f"unpack {ARCHIVES[kind].split(',')[0]} anew"
        )


def _read_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    return _open(path, mode="RGB")


def _open(path: Path, *, mode: str | None) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            return np.array(opened.convert(mode) if mode else opened)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); unpack it anew") from error
