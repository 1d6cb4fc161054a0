"""The one error that a user of the codec sees."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from jaxseg.errors import InputError

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file system allows no larger file",
}

BROKEN = (
    av.FFmpegError,
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    AssertionError,
    MemoryError,
)
"""What PyAV raises where a video makes no sense; much of it is not its own `FFmpegError`."""


class CodecError(InputError):
    """A video cannot be read or written: one line that names the file and the way out."""


class Interrupted(Exception):
    """Ctrl-C in the midst of FFmpeg, through which only an `Exception` can be carried."""


@contextmanager
def explained(explain: Callable[[Exception], CodecError]) -> Iterator[None]:
    """Turn whatever PyAV raises inside into the line that a user needs.

    Args:
        explain: Gives the error to raise in place of another.

    Returns:
        A context manager; a `CodecError` passes as it is.

    Raises:
        KeyboardInterrupt: In place of `Interrupted`.
    """
    try:
        yield
    except CodecError:
        raise
    except Interrupted:
        raise KeyboardInterrupt from None
    except BROKEN as error:
        raise explain(error) from error


def explain_read(path: str | Path, error: Exception) -> CodecError:
    """Turn an error met on opening a file into the line that a user needs.

    Args:
        path: The file.
        error: What Python or FFmpeg raised.

    Returns:
        The error to raise in its place.
    """
    if isinstance(error, FileNotFoundError):
        return CodecError(f"{path}: no such file; check the path")
    if isinstance(error, IsADirectoryError) or os.path.isdir(path):
        return CodecError(f"{path}: is a folder; give one video file")
    if isinstance(error, PermissionError):
        return CodecError(f"{path}: may not be read; check its permissions")
    if isinstance(error, EOFError):
        return CodecError(f"{path}: ends before its first frame; copy or download it again")
    if "://" in str(path):
        return CodecError(
            f"{path}: gives no video ({reason(error)}); check the address, and that it plays"
        )
    return CodecError(
        f"{path}: is no video that FFmpeg can read, or is cut off ({reason(error)}); "
        "check that it plays, and copy or download it again"
    )


def explain_write(path: str | Path, error: Exception) -> CodecError:
    """Turn an error met on writing a file into the line that a user needs.

    Args:
        path: The file that was to be written.
        error: What Python or FFmpeg raised.

    Returns:
        The error to raise in its place.
    """
    folder = Path(path).parent
    number = getattr(error, "errno", None)
    if number in FULL:
        return CodecError(f"{path}: not written, {FULL[number]}; free some space in {folder}")
    if isinstance(error, FileNotFoundError):
        return CodecError(f"{path}: not written, there is no folder {folder}; create it first")
    if isinstance(error, PermissionError):
        return CodecError(f"{path}: not written, {folder} may not be written to; choose another")
    return CodecError(f"{path}: not written ({reason(error)}); change the options or the path")


def reason(error: Exception) -> str:
    """Give FFmpeg's own words for an error, without its numbers and file names.

    Args:
        error: What Python or FFmpeg raised.

    Returns:
        A few words on one line.
    """
    if isinstance(error, av.error.ExitError):
        return "it sends nothing any more"
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
