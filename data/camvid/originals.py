"""Read CamVid as its authors publish it: 960x720 pictures, labels as colours of 32 classes, films.

A data directory holds `701_StillsRaw_full/` (pictures), `LabeledApproved_full/`
(labels, `*_L.png`), the lists `train.txt`, `val.txt`, `test.txt` of the SegNet
tutorial, and, where a user has them, films of the drives in `films/`.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Int32, UInt8
from PIL import Image

from data.camvid.reading import (
    FILM_RATE,
    WHERE_FROM,
    DataError,
    Sequence,
    place_in_film,
    read_runs,
)
from data.examples import Example, still
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID
from jaxseg.codec.opening import decode, open_video

PICTURES, LABELS, FILMS = "701_StillsRaw_full", "LabeledApproved_full", "films"

ORIGINAL_CLASSES = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Archway": (192, 0, 128),
        "Bridge": (0, 128, 64),
        "Building": (128, 0, 0),
        "Tunnel": (64, 0, 64),
        "Wall": (64, 192, 0),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {
        "LaneMkgsDriv": (128, 0, 192),
        "LaneMkgsNonDriv": (192, 0, 64),
        "Road": (128, 64, 128),
    },
    "pavement": {
        "ParkingBlock": (64, 192, 128),
        "RoadShoulder": (128, 128, 192),
        "Sidewalk": (0, 0, 192),
    },
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign": {
        "Misc_Text": (128, 128, 64),
        "SignSymbol": (192, 128, 128),
        "TrafficLight": (0, 64, 64),
    },
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "OtherMoving": (128, 64, 64),
        "SUVPickupTruck": (64, 128, 192),
        "Train": (192, 64, 128),
        "Truck_Bus": (192, 128, 192),
    },
    "pedestrian": {
        "Animal": (64, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Child": (192, 128, 64),
        "Pedestrian": (64, 64, 0),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
    "void": {"Void": (0, 0, 0)},
}
"""The 32 classes and their colours, by which of the eleven they belong to."""

NEIGHBOURS = 11
"""A labelled frame of a film comes with this many on either side: intervals of up to 12."""

LARGEST_DIFFERENCE = 30.0
"""Mean difference, in grey levels, above which a film's frame is not the labelled picture."""


def labels_from_colours(
    colours: UInt8[np.ndarray, "H W 3"], *, source: str
) -> UInt8[np.ndarray, "H W"]:
    """Map the colours of the 32 classes to the labels of the eleven.

    Args:
        colours: `[H, W, 3]` uint8.
        source: Where they come from, for the message.

    Returns:
        `[H, W]` uint8; void is `IGNORE_LABEL`.

    Raises:
        DataError: If a colour is none of the 32.
    """
    label_of = {
        colour: CAMVID.names.index(name) if name in CAMVID.names else IGNORE_LABEL
        for name, members in ORIGINAL_CLASSES.items()
        for colour in members.values()
    }
    # In ascending order colours have ascending codes.
    known_colours = sorted(label_of)
    known, codes = _codes(np.array(known_colours, np.uint8)), _codes(colours)
    at = np.searchsorted(known, codes).clip(max=len(known) - 1)
    unknown = np.argwhere(known[at] != codes)
    if unknown.size:
        y, x = unknown[0]
        raise DataError(
            f"{source}: the colour {tuple(colours[y, x].tolist())} at row {y}, column {x} is none "
            "of CamVid's 32 classes; use the original labels, neither scaled nor recompressed"
        )
    return np.array([label_of[colour] for colour in known_colours], np.uint8)[at]


def list_originals(data_dir: Path, split: str) -> list[tuple[Path, Path]]:
    """List the original pictures of a split with their labels.

    Args:
        data_dir: Holds the lists and folders.
        split: "train", "val" or "test", as SegNet set them.

    Returns:
        Paths of picture and labels, in the order of the list.

    Raises:
        DataError: If the list, or a file of a picture that it names, is missing.
    """
    listing = Path(data_dir) / f"{split}.txt"
    if not listing.is_file():
        raise DataError(f"{listing}: no such file; {WHERE_FROM}: its lists say what is whose split")
    names = [
        Path(line.split()[0]).stem for line in listing.read_text().splitlines() if line.split()
    ]
    pairs = [
        (Path(data_dir, PICTURES, f"{name}.png"), Path(data_dir, LABELS, f"{name}_L.png"))
        for name in names
    ]
    missing = [path for pair in pairs for path in pair if not path.is_file()]
    if missing:
        raise DataError(f"{missing[0]}: no such file, though {listing.name} names it")
    return pairs


def read_original(picture: Path, annotation: Path) -> Example:
    """Read one picture and its coloured labels.

    Args:
        picture: An RGB picture.
        annotation: A picture in the colours of the 32 classes.

    Returns:
        An example of one frame with labels of the eleven classes.

    Raises:
        DataError: If the files cannot be read, differ in size, or hold an unknown colour.
    """
    try:
        with Image.open(picture) as opened:
            frame = np.array(opened.convert("RGB"))
        with Image.open(annotation) as opened:
            colours = np.array(opened.convert("RGB"))
    except OSError as error:
        raise DataError(f"{picture}: it or its labels cannot be read ({error})") from error
    labels = labels_from_colours(colours, source=str(annotation))
    try:
        return still(frame, labels)
    except ValueError as error:
        raise DataError(f"{annotation}: {error}") from error


def read_originals(data_dir: Path, split: str) -> Iterator[Sequence]:
    """Read a split; with real neighbours where there is the film of a drive.

    Args:
        data_dir: Holds lists, folders and perhaps films, whose names hold the last
            four letters of a drive's name ("01TP", "06R0", "16E5", "05VD").
        split: "train", "val" or "test".

    Yields:
        What `read_windows` gives for drives with a film, `read_runs` for others.

    Raises:
        DataError: If files are missing or unusable.
    """
    pairs = list_originals(data_dir, split)
    films = sorted(Path(data_dir, FILMS).glob("*"))
    for drive, group in itertools.groupby(pairs, key=lambda pair: place_in_film(pair[0])[0]):
        film = next((path for path in films if drive[-4:] in path.stem), None)
        if film is None:
            yield from read_runs(group, read_fn=read_original)
        else:
            yield from read_windows(film, list(group))


def read_windows(film: Path, pairs: list[tuple[Path, Path]]) -> Iterator[Sequence]:
    """Cut the surroundings of labelled frames out of a film.

    The number in a picture's name is the index of its frame in the film, from 0.

    Args:
        film: A video of a drive, of the pictures' size.
        pairs: Paths of picture and labels of that drive, in its order.

    Yields:
        Runs of consecutive frames, up to `NEIGHBOURS` before the first labelled one
        and after the last; frames between without labels are all `IGNORE_LABEL`.

    Raises:
        DataError: If the film is too short, or shows something else than a picture.
    """
    labelled = {place_in_film(pair[0])[1]: pair for pair in pairs}
    windows: list[tuple[int, int]] = []
    for number in sorted(labelled):
        first, last = max(0, number - NEIGHBOURS), number + NEIGHBOURS
        if windows and first <= windows[-1][1] + 1:
            first = windows.pop()[0]
        windows.append((first, last))
    for (first, last), frames in zip(windows, _read_spans(film, windows), strict=True):
        inside = {n: read_original(*labelled[n]) for n in labelled if first <= n <= last}
        for number, example in inside.items():
            _check_same(film, number, frames, first, picture=labelled[number][0], example=example)
        ignored = np.full(frames.shape[1:3], IGNORE_LABEL, np.uint8)
        yield Sequence(
            name=f"{labelled[min(inside)][0].stem}_film",
            rate=float(FILM_RATE),
            frames=frames,
            labels=np.stack(
                [
                    inside[number].labels[0] if number in inside else ignored
                    for number in range(first, first + len(frames))
                ]
            ),
        )


def _read_spans(film: Path, spans: list[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Decode a film once, and give the frames of each span; fewer where it ends."""
    convert = VideoReformatter()
    with open_video(film) as stream:
        pictures = enumerate(decode(film, stream))
        begin = 0
        for first, last in spans:
            frames = [
                convert.reformat(picture, format="rgb24").to_ndarray()
                for index, picture in itertools.islice(pictures, last + 1 - begin)
                if first <= index
            ]
            if not frames:
                raise DataError(f"{film}: ends before frame {first}; give the whole film")
            yield np.stack(frames)
            begin = last + 1


def _check_same(
    film: Path, number: int, frames: np.ndarray, first: int, *, picture: Path, example: Example
) -> None:
    if number - first >= len(frames):
        raise DataError(
            f"{film}: ends at frame {first + len(frames) - 1}, before the labelled {picture.name}; "
            "give the whole film"
        )
    frame = frames[number - first]
    if frame.shape != example.frames.shape[1:]:
        raise DataError(
            f"{film}: is {frame.shape[1]}x{frame.shape[0]}, but {picture.name} is "
            f"{example.frames.shape[2]}x{example.frames.shape[1]}; scale the film to that"
        )
    difference = np.abs(frame.astype(np.int16) - example.frames[0]).mean()
    if difference > LARGEST_DIFFERENCE:
        raise DataError(
            f"{film}: frame {number} differs from {picture.name} by {difference:.0f} grey levels "
            "on average; give the film whose frame 0 is the drive's first"
        )


def _codes(colours: UInt8[np.ndarray, "*b 3"]) -> Int32[np.ndarray, "*b"]:
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
