"""What was measured and how: the one writer of every number the project reports.

A results file is `{"provenance": {...}, "rows": [{...}, ...]}`, one row a measurement,
with units in the keys (`_ms`, `_s`, `_fps`, `_bytes`), shares in 0..1, and ratios in
keys that begin with `speedup`.
"""

import json
import math
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from jaxseg.files import write_text

Row: TypeAlias = Mapping[str, Any]

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "av",
    "numpy",
    "tensorflow",
    "tensorflow-cpu",
)
_UNITS = ("_ms", "_s", "_fps", "_bytes")
_QUANTITIES = {"latency", "time", "duration", "throughput", "memory"}
_SHARES = ("miou", "iou", "pixel_accuracy", "class_accuracy", "temporal_consistency", "share")


class Results(NamedTuple):
    """What a results file holds.

    Attributes:
        provenance: Date, commit, machine, versions and command.
        rows: One a measurement.
    """

    provenance: dict[str, Any]
    rows: list[dict[str, Any]]


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """Say when, from which code, on what and how numbers are measured.

    Args:
        command: The command line in words; `sys.orig_argv` holds it as typed.

    Returns:
        Date, commit, machine, versions and command, ready for JSON, without any
        absolute path.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **_commit(),
        "machine": {
            "cpu": _cpu_model(),
            "num_cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "devices": [device.device_kind for device in jax.devices()],
        },
        "versions": _versions(),
        "command": shlex.join(map(_without_machine_paths, command)),
    }


def write_results(path: str | Path, rows: Sequence[Row], *, provenance: Mapping[str, Any]) -> None:
    """Write a results file, whole or not at all.

    Args:
        path: Where to; folders are made.
        rows: One a measurement; keys keep their order, nan becomes null.
        provenance: From `provenance`.

    Raises:
        ValueError: If there is no row, a number is infinite or a key lacks its unit.
    """
    if not rows:
        raise ValueError(f"0 rows for {os.fspath(path)}; measure something before writing")
    content = {
        "provenance": dict(provenance),
        "rows": [{_checked(key): _plain(key, row[key]) for key in row} for row in rows],
    }
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_results(path: str | Path) -> Results:
    """Read a results file.

    Args:
        path: A file that `write_results` wrote.

    Returns:
        What was written, with None for nan.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return Results(content["provenance"], content["rows"])


def markdown_table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Lay rows out as a table for GitHub.

    Args:
        rows: One a measurement.
        columns: The keys to show, in order.

    Returns:
        The table, one line a row, with shares in percent, `speedup` as `7.26x`, and a
        dash where a row has no value.

    Raises:
        ValueError: If no row has a column.
    """
    for column in columns:
        if not any(column in row for row in rows):
            known = ", ".join(dict.fromkeys(key for row in rows for key in row))
            raise ValueError(f"no row has the column {column!r}; there are {known}")
    is_text = [any(isinstance(row.get(column), str) for row in rows) for column in columns]
    lines = [columns, ["---" if text else "---:" for text in is_text]]
    lines += [[_cell(column, row.get(column)) for column in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_markdown(
    path: str | Path,
    rows: Sequence[Row],
    *,
    columns: Sequence[str],
    provenance: Mapping[str, Any],
) -> None:
    """Write a table with one line on how it was measured, whole or not at all.

    Args:
        path: Where to; folders are made.
        rows: One a measurement.
        columns: The keys to show, in order.
        provenance: From `provenance`.

    Raises:
        ValueError: If no row has a column.
    """
    write_text(path, f"{markdown_table(rows, columns)}\n{provenance_note(provenance)}")


def provenance_note(provenance: Mapping[str, Any]) -> str:
    """Say in one line, and the command, how numbers were measured.

    Args:
        provenance: From `provenance`.

    Returns:
        Markdown to put under a table.
    """
    machine, commit = provenance["machine"], provenance["commit"]
    dirty = " with uncommitted changes" if provenance["is_dirty"] else ""
    devices = ", ".join(dict.fromkeys(machine["devices"]))
    return (
        f"Measured on {provenance['date'][:10]} at commit {commit[:12]}{dirty}, "
        f"on {machine['cpu']} ({machine['num_cores']} cores; JAX on {devices}), "
        f"JAX {provenance['versions']['jax']}:\n\n    {provenance['command']}\n"
    )


def _commit() -> dict[str, Any]:
    """Ask git for the commit, and whether the code differs from it."""
    folder = Path(__file__).parent

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    # What an earlier run wrote is no change of the code.
    written = [f":(top,exclude){room}/results" for room in ("experiments", "benchmarks")]
    try:
        commit = ask("rev-parse", "HEAD")
        return {"commit": commit, "is_dirty": bool(ask("status", "--porcelain", ":/", *written))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "is_dirty": None}


def _cpu_model() -> str:
    """Name the processor; `platform` alone knows only its architecture on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    """List the versions of what is installed, without importing it."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _without_machine_paths(word: str) -> str:
    """Shorten an absolute path, also in `--option=path`, to what others can read."""
    option, equals, value = word.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return word
    inside = path.is_relative_to(Path.cwd())
    return f"{option}{equals}{path.relative_to(Path.cwd()) if inside else path.name}"


def _checked(key: str) -> str:
    """Refuse a key that leaves its unit open."""
    is_quantity = not key.startswith("speedup") and not _QUANTITIES.isdisjoint(key.split("_"))
    if is_quantity and not key.endswith(_UNITS):
        raise ValueError(f"key {key!r} has no unit; end it in one of {', '.join(_UNITS)}")
    return key


def _plain(key: str, value: Any) -> Any:
    """Turn numpy's and JAX's numbers and arrays into JSON's."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        value = np.asarray(value).tolist()
    if isinstance(value, list | tuple):
        return [_plain(key, entry) for entry in value]
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"{key!r} is {value}; leave out what was not measured, or give nan")
    return None if isinstance(value, float) and math.isnan(value) else value


def _cell(column: str, value: Any) -> str:
    """Write one value the way its key asks for."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if column.startswith("speedup"):
        return f"{value:.3g}x"
    if column.startswith(_SHARES):
        return f"{100 * value:.1f}%"
    if column.endswith("_fps"):
        return f"{value:.1f}"
    if column.endswith("_ms"):
        return f"{value:.2f}"
    if column.endswith("_bytes"):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
