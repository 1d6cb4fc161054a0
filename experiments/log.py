"""What a long run has measured so far: a file of lines, from which another run goes on."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from jaxseg.files import write_text


def read_log(log: Path) -> dict[str, Any]:
    """Read what was measured so far, and drop a line that was cut off.

    Args:
        log: Written by `append_to_log`; need not exist yet.

    Returns:
        What was found, ready for JSON, by what it is of.
    """
    known = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        with suppress(json.JSONDecodeError):  # The last line of a run that was killed.
            name, found = json.loads(line)
            known[name] = found
    write_text(log, "".join(f"{json.dumps([*item])}\n" for item in known.items()))
    return known


def append_to_log(log: Path, name: str, found: Any) -> None:
    """Add what was measured.

    Args:
        log: The file.
        name: What it is of.
        found: Ready for JSON.
    """
    with log.open("a") as file:
        file.write(f"{json.dumps([name, found])}\n")
