"""Print versions and devices, for a bug report.

Nothing of it is sent anywhere: copy what it prints.
"""

import argparse
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "av",
    "pillow",
    "matplotlib",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-datasets",
)


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.
    """
    found = environment()
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, value in found.items():
        lines = [f"{key} {it}" for key, it in value.items()] if isinstance(value, dict) else value
        print(f"{name}: {', '.join(lines) if isinstance(lines, list) else lines}")
    return 0


def environment() -> dict[str, Any]:
    """Find out what jaxseg runs on.

    Returns:
        Texts, lists of texts and versions by name, as JSON can hold them.
    """
    import av
    import jax

    from jaxseg.nets import default_dtype
    from jaxseg.runner import keep_compilations

    keep_compilations()
    return {
        "jaxseg": version("jaxseg"),
        "commit": _commit() or "none",
        "python": f"{platform.python_version()}, {sys.executable}",
        "platform": f"{platform.platform()}, {platform.machine()}",
        "packages": {name: number for name in PACKAGES if (number := version(name)) != "unknown"},
        "ffmpeg": av.ffmpeg_version_info,
        "libraries": {
            name: ".".join(map(str, number)) for name, number in av.library_versions.items()
        },
        "devices": [f"{it.platform} {it.id} ({it.device_kind})" for it in jax.devices()],
        "dtype": str(jax.numpy.dtype(default_dtype())),
        "cache": str(jax.config.jax_compilation_cache_dir),  # type: ignore[attr-defined]
    }


def version(package: str) -> str:
    """Tell a package's version.

    Args:
        package: By its name in a package index.

    Returns:
        The version; "unknown" where it is not installed.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _commit() -> str | None:
    """Name the commit of the checkout that this file lies in, with "+" where it was changed."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", folder, *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + "+" * bool(changes)
