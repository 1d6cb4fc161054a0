"""What was done: a `summary.json` for each video, and one for all of them."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxseg.cli.env import version
from jaxseg.cli.inputs import Video, stem_of
from jaxseg.cli.outputs import FILES, Tally
from jaxseg.files import write_text

if TYPE_CHECKING:
    from jaxseg.classes import Classes
    from jaxseg.codec import Source

VERSIONS = ("jax", "jaxlib", "flax", "numpy", "av")

PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


def describe_run(command: Sequence[str]) -> dict[str, Any]:
    """Describe what all videos of a command have in common.

    Args:
        command: Its words.

    Returns:
        The beginning of each summary.
    """
    import jax

    device = jax.devices()[0]
    return {
        "jaxseg": version("jaxseg"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [without_password(word) for word in command],
        "versions": {name: version(name) for name in VERSIONS},
        "device": device.device_kind,
    }


def describe_video(source: "Source", video: Video) -> dict[str, Any]:
    """Describe a video that is open.

    Args:
        source: The video.
        video: Where it comes from.

    Returns:
        The "input" of its summary.
    """
    facts = source.facts
    return identify(video) | {
        "codec": None if facts is None else facts.codec,
        "width": source.width if facts is None else facts.width,
        "height": source.height if facts is None else facts.height,
        "rate": float(source.rate),
        "num_frames": source.num_frames,
        "seconds": None if source.num_frames is None else float(source.num_frames / source.rate),
        "normalised": list(source.why),
    }


def identify(video: Video) -> dict[str, Any]:
    """Tell a video from others, and from what it was before it was changed.

    Args:
        video: The video.

    Returns:
        Its path; of a file also its size and when it was changed.
    """
    if isinstance(video, str):
        return {"path": without_password(video)}
    known: dict[str, Any] = {"path": str(video.resolve())}
    if video.is_file():
        facts = video.stat()
        changed = datetime.fromtimestamp(facts.st_mtime, UTC)
        known |= {"num_bytes": facts.st_size, "modified": changed.isoformat()}
    return known


def describe_work(
    tally: Tally, *, status: str, damage: str | None, classes: "Classes"
) -> dict[str, Any]:
    """Describe what was done for a video.

    Args:
        tally: What was done.
        status: How it ended.
        damage: What is wrong with the video, if anything.
        classes: Names and colours.

    Returns:
        That part of its summary; times are milliseconds a frame.
    """
    count, total = tally.num_frames, tally.seconds["total"]
    times = {stage: round(1000 * busy / count, 3) for stage, busy in tally.seconds.items()}
    areas = (tally.areas / count).tolist()
    return {
        "classes": dataclasses.asdict(classes),
        "status": status,
        "damage": None if damage is None else without_password(damage),
        "num_frames": count,
        "num_keyframes": tally.num_keyframes,
        "time_ms": times,
        "throughput_fps": round(count / total, 2),
        "class_shares": {
            name: round(area, 6) for name, area in zip(classes.names, areas, strict=True)
        },
    }


def is_done(
    folder: Path, video: Video, *, settings: Mapping[str, Any], wanted: Sequence[str]
) -> bool:
    """Tell whether a folder holds all that is wanted of a video.

    Args:
        folder: The video's folder, which need not be there.
        video: The video.
        settings: How it is to be labelled, as a summary has it.
        wanted: The outputs, by their names in `FILES`.

    Returns:
        Whether it was labelled to its end, with these settings, and has not changed since.
    """
    summary = read_summary(folder)
    outputs = summary.get("outputs", {})
    same = json.loads(json.dumps(dict(settings)))
    return (
        isinstance(video, Path)
        and summary.get("status") == "complete"
        and summary.get("settings") == same
        and identify(video).items() <= summary["input"].items()
        and all(name in outputs and (folder / outputs[name]).exists() for name in wanted)
    )


def choose_folder(out: Path, video: Video, *, taken: set[Path]) -> Path:
    """Choose the folder of a video: named after it, and never that of another one.

    Args:
        out: The folder of all videos.
        video: The video.
        taken: Folders of other videos; the one that is chosen is added.

    Returns:
        The folder, which holds nothing yet, or what was written for this video before.
    """
    number = 1
    while True:
        folder = out / (stem_of(video) + f"-{number}" * (number > 1))
        owner = read_summary(folder).get("input", {}).get("path")
        is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if folder not in taken and (is_free or owner == identify(video)["path"]):
            taken.add(folder)
            return folder
        number += 1


def add_to_list(out: Path, about: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    """Add a video to the list of all, in the place of what was said about it before.

    Args:
        out: The folder of all videos.
        about: From `describe_run`.
        entry: Of the video; its "input" is the path.
    """
    others = [it for it in read_summary(out).get("videos", []) if it["input"] != entry["input"]]
    write_summary(out, {**about, "videos": [*others, dict(entry)]})


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary in a folder.

    Args:
        folder: Of a video, or of all.

    Returns:
        The summary; empty where there is none that can be read.
    """
    try:
        content = json.loads((folder / FILES["summary"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and "jaxseg" in content else {}


def write_summary(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the summary in a folder, whole or not at all.

    Args:
        folder: Of a video, or of all.
        content: The summary.
    """
    write_text(folder / FILES["summary"], json.dumps(content, indent=1) + "\n")


def without_password(word: str) -> str:
    """Leave the user and the password out of an address.

    Args:
        word: Any text.

    Returns:
        The text without them.
    """
    return PASSWORD.sub("", word)
