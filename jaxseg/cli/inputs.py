"""What the words of the command line stand for: videos, in a natural order."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from jaxseg.cli.outputs import FILES
from jaxseg.errors import InputError

Video: TypeAlias = Path | str
"""A file; or, as the user wrote it, what is no file: a camera, an address, or `-`."""

SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv"),
        *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".ogv"),
        *(".h264", ".h265", ".hevc", ".y4m"),
    }
)
"""The files that are taken from a folder or a pattern."""

CAMERA = re.compile(r"/dev/video\d+|camera:.+")


def find_videos(words: Sequence[str], *, out: Path) -> list[Video]:
    """Find the videos that words of the command line stand for.

    Args:
        words: Files, folders (all videos in them, however deep), patterns such as
            `clips/*.mp4`, cameras, addresses, or `-` for standard input.
        out: Where the command writes to; what it wrote there, or elsewhere, is not taken
            from folders and patterns.

    Returns:
        Each video once: in the order of the words, and for each word by name, where clip9
        comes before clip10.  A file that is named itself need not exist.

    Raises:
        InputError: If nothing is found for a word.
    """
    found: dict[Video, Video] = {}
    for word in words:
        for video in _videos_of(word, out):
            found.setdefault(video if isinstance(video, str) else video.resolve(), video)
    return list(found.values())


def is_live(video: Video) -> bool:
    """Tell whether a video goes on while it is being labelled.

    Args:
        video: From `find_videos`.

    Returns:
        True for a camera and an address.
    """
    return isinstance(video, str) and video != "-"


def stem_of(video: Video) -> str:
    """Name the folder for what a video gives.

    Args:
        video: From `find_videos`.

    Returns:
        The name of the file without its suffix, or what is like it.
    """
    if isinstance(video, Path):
        return video.stem
    last = re.split(r"[?#]", video)[0].rstrip("/").rpartition("/")[2]
    return "stdin" if video == "-" else re.sub(r"[^\w.-]+", "-", last).strip("-.") or "video"


def natural_key(path: Path) -> list[list[str | int]]:
    """Give the key that sorts paths as people do.

    Args:
        path: The path.

    Returns:
        Its parts in lower case, with the numbers in them as numbers.
    """
    return [
        [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]
        for name in path.parts
    ]


def _videos_of(word: str, out: Path) -> Sequence[Video]:
    if word == "-" or "://" in word or CAMERA.fullmatch(word):
        return [word]
    if not word:
        raise InputError("'' names no video; give a file, a folder, a pattern, or . for this one")
    path = Path(word).expanduser()
    if path.is_dir():
        videos = _pick(_walk(path), out)
        if not videos:
            raise InputError(f"{word}: holds no video; give a folder with .mp4, .mov, .mkv ... in")
        return videos
    if path.exists() or not glob.has_magic(word):
        return [path]
    matches = [Path(name) for name in glob.glob(str(path), recursive=True)]
    files = (file for match in matches for file in (_walk(match) if match.is_dir() else [match]))
    videos = _pick(files, out)
    if not videos:
        raise InputError(f"{word}: matches no video; check the pattern")
    return videos


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _pick(files: Iterator[Path], out: Path) -> list[Path]:
    videos = (path for path in files if path.suffix.lower() in SUFFIXES)
    return sorted((path for path in videos if not _is_output(path, out)), key=natural_key)


def _is_output(path: Path, out: Path) -> bool:
    """Tell whether a file is what this command wrote, at any time and to any place."""
    if path.resolve() == out.resolve():
        return True
    return path.name in FILES.values() and (path.parent / FILES["summary"]).is_file()
