"""Files that appear under their name only once they are whole."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file beside its place, and move it there at the end.

    Args:
        path: The file to write or to replace.

    Yields:
        A hidden path in the same folder, of the same suffix.  It is removed if an
        error or an interruption comes before the end.
    """
    path = Path(path)
    hidden = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield hidden
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Args:
        path: The file; its folder is made if need be.
        text: The content.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as hidden:
        hidden.write_text(text, encoding="utf-8")
