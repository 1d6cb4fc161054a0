"""Say what a video is and how well its motion vectors explain it."""

import argparse
import json
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from jaxseg.errors import InputError

if TYPE_CHECKING:
    from jaxseg.arrays import CodedFrame, PictureType
    from jaxseg.codec import MotionStatistics, Source, Writer

Report: TypeAlias = dict[str, Any]
Item = TypeVar("Item")

KEYS = {
    "name": "the video, as it was named",
    "container": "FFmpeg's name of the kind of file",
    "size_bytes": "of the file",
    "codec": "FFmpeg's name of it",
    "profile": "of the codec; null where it has none",
    "pixel_format": "FFmpeg's name of how pixels are stored",
    "bit_depth": "bits of a pixel's first component",
    "width_px": "as coded, before any turn",
    "height_px": "as coded, before any turn",
    "rotation_deg": "counter-clockwise, by which players turn the picture",
    "is_interlaced": "whether frames are coded as two fields",
    "rate_fps": "mean frames a second",
    "duration_s": "of the video",
    "num_frames": "in the file; null where nothing tells",
    "num_keyframes": "among the first 10000 frames",
    "min_gop": "frames from one keyframe to the next, at least; null with one keyframe",
    "max_gop": "the same, at most",
    "has_b_frames": "whether frames are coded in another order than shown",
    "num_references": "frames that a frame may refer to; null where unknown",
    "why": "reasons to re-encode it on the way; empty where it is read as it is",
    "picture_types": "of the first 400 frames, one character each: I, P or B",
    "picture_types_of": '"file", or "re-encoded" where only that stream shows them',
    "cuts": "numbers of the frames that show another scene than the one before",
    "vectors": "what the vectors do that are used: the re-encoded stream's, if there is one",
    "own_vectors": "what the file's own do; null where it has none, or they are used",
    "damage": "where the video breaks off and why; null where it does not",
    "suggestions": "commands to go on with",
}
"""What `--json` prints; null, too, is what a pipe, an address or a camera does not tell."""

VECTOR_KEYS = {
    "num_frames": "frames looked at",
    "num_measured": "those that follow on the frame before: no I-frames, no cuts",
    "num_changed": "those measured that differ from the frame before",
    "intra_share": "of the 8x8 blocks measured, 0 to 1, that have no vector",
    "moving_share": "of these blocks, that move by half a pixel or more",
    "length_mean_px": "mean length of the vectors",
    "length_median_px": "median length",
    "length_p90_px": "length that nine of ten do not exceed",
    "length_max_px": "length of the longest",
    "psnr_without_motion_median_db": "frame before against frame, RGB, where they differ",
    "psnr_without_motion_mean_db": "the same, of the mean squared error",
    "psnr_with_motion_median_db": "the frame before moved by the vectors, in whole pixels",
    "psnr_with_motion_mean_db": "the same, of the mean squared error",
}
"""What `vectors` and `own_vectors` hold; null where there is nothing to measure, or no error."""

NUM_TYPES = 400
NUM_CUTS = 8


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.add_argument(
        "video", metavar="VIDEO", help="a file, an address, a camera, or - for standard input"
    )
    parser.add_argument(
        "--max-frames",
        type=_whole,
        default=300,
        metavar="N",
        help="look at the first N frames, at all for 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="OUT",
        help="write a video (.mp4) of these frames, a line drawn from where each block came; "
        "blocks without a vector are tinted, I-frames are left as they are",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, as below")
    tables = {"--json prints:": KEYS, "vectors and own_vectors hold:": VECTOR_KEYS}
    parser.epilog = "\n\n".join(
        "\n".join([title, *(f"  {key:<31}{text}" for key, text in table.items())])
        for title, table in tables.items()
    ).replace("%", "%%")


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.

    Raises:
        InputError: If the video cannot be read; once all before it is printed, if it is
            damaged somewhere.
    """
    report = inspect(options.video, max_frames=options.max_frames, overlay=options.overlay)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        text = layout(report, width=shutil.get_terminal_size().columns)
        # A file may have a name that is no text.
        print(text.encode(errors="replace").decode(), flush=True)
    if report["damage"]:
        raise InputError(report["damage"])
    return 0


def inspect(video: str, *, max_frames: int = 300, overlay: Path | None = None) -> Report:
    """Look at a video, in constant memory.

    Args:
        video: A file, an address, a camera, or "-" for standard input.
        max_frames: How many frames to look at; 0 for all.
        overlay: A video to write, with the vectors drawn.

    Returns:
        What is found, by the names in `KEYS`.

    Raises:
        InputError: If the video cannot be read or has no frame, or the overlay cannot
            be written.
    """
    from jaxseg import codec

    if overlay is not None and Path(video).resolve() == overlay.resolve():
        raise InputError(f"{overlay}: is the input itself; give another name by --overlay")
    with ExitStack() as stack:
        source = stack.enter_context(codec.open_source(video))
        writer = None
        if overlay is not None:
            writer = stack.enter_context(
                codec.open_writer(
                    overlay, width=source.width, height=source.height, rate=source.rate
                )
            )
        file = _look_at_file(source, max_frames) if source.facts and source.why else None
        stream = _Seen()
        frames = stream.watch(_first(source.frames, max_frames, source, "frames"))
        stream.vectors = codec.measure_motion(frames if writer is None else _drawn(frames, writer))
    return _describe(source) | {
        "why": list(source.why),
        "picture_types": (file or stream).types,
        "picture_types_of": "re-encoded" if source.why and file is None else "file",
        "cuts": stream.cuts,
        "vectors": _numbers(stream.vectors),
        "own_vectors": _numbers(file.vectors) if file and file.vectors else None,
        "damage": stream.damage,
        "suggestions": _suggest(source),
    }


def layout(report: Report, *, width: int) -> str:
    """Set what was found as aligned text.

    Args:
        report: From `inspect`.
        width: Columns of the terminal.

    Returns:
        Lines, without the last line break.
    """
    pictures = "Pictures"
    if report["picture_types_of"] == "re-encoded":
        pictures += " of the re-encoded stream"
    if report["cuts"]:
        pictures += ", a bar before each cut"
    sections = {
        report["name"]: _file_lines(report),
        pictures: _strip(report, max(width - 2, 20)),
        "Motion, and how it predicts a frame from the one before (RGB)": _motion_lines(report),
        "Verdict": textwrap.wrap(_verdict(report), max(width - 2, 20)),
        "Next": report["suggestions"],
    }
    return "\n\n".join(
        "\n  ".join([heading, *lines]) for heading, lines in sections.items() if lines
    )


@dataclass
class _Seen:
    """What is noted of frames while they pass."""

    types: str = ""
    cuts: list[int] = field(default_factory=list)
    damage: str | None = None
    vectors: "MotionStatistics | None" = None

    def watch(self, frames: "Iterable[CodedFrame]") -> "Iterator[CodedFrame]":
        """Pass frames on, up to where they are damaged."""
        try:
            for frame in frames:
                if len(self.types) < NUM_TYPES:
                    self.types += _letter(frame.picture_type)
                if frame.is_cut:
                    self.cuts.append(frame.index)
                yield frame
        except InputError as error:
            if not self.types:
                raise
            self.damage = str(error)


def _look_at_file(source: "Source", max_frames: int) -> _Seen:
    """Look at a file as it is, where it is re-encoded to be read."""
    from jaxseg import codec

    seen = _Seen()
    if source.facts is not None and source.facts.has_motion:
        frames = _first(codec.read_frames(source.name), max_frames, source, "frames as they are")
        seen.vectors = codec.measure_motion(seen.watch(frames))
    else:
        num_types = min(max_frames or NUM_TYPES, NUM_TYPES)
        # Where it is damaged is noted when its frames are read.
        with suppress(InputError):
            for one in _first(codec.picture_types(source.name), num_types, source, "types"):
                seen.types += _letter(one)
    return seen


def _first(items: Iterable[Item], count: int, source: "Source", what: str) -> Iterator[Item]:
    """Take the first items, or all, and show how far it is."""
    from tqdm import tqdm

    counts = [number for number in (count, source.num_frames) if number]
    yield from tqdm(
        islice(items, count or None),
        total=min(counts, default=None),
        desc=what,
        unit="frame",
        disable=None,
        leave=False,
        dynamic_ncols=True,
    )


def _drawn(frames: "Iterable[CodedFrame]", writer: "Writer") -> "Iterator[CodedFrame]":
    """Write each frame with its vectors, and pass it on."""
    from jaxseg.arrays import PictureType
    from jaxseg.draw import draw_motion

    for frame in frames:
        picture = frame.rgb()
        # A whole frame that flashes up with each GOP would hide the others.
        if frame.picture_type != PictureType.INTRA:
            picture = draw_motion(picture, frame.motion, frame.inter)
        writer.write(picture, time=frame.time)
        yield frame


def _describe(source: "Source") -> Report:
    """Say what the headers say."""
    from jaxseg import codec

    facts = source.facts
    report: Report = dict.fromkeys(KEYS)
    report |= {"name": source.name, "width_px": source.width, "height_px": source.height}
    report |= {"rate_fps": round(float(source.rate), 4), "num_frames": source.num_frames}
    if facts is None:
        return report
    container = codec.probe_container(facts.path)
    seconds = container.seconds
    if seconds is None and facts.num_frames is not None:
        seconds = float(facts.num_frames / facts.rate)
    return report | {
        "container": container.name,
        "size_bytes": container.num_bytes,
        "codec": facts.codec,
        "profile": container.profile,
        "pixel_format": container.pixel_format,
        "bit_depth": container.bit_depth,
        "width_px": facts.width,
        "height_px": facts.height,
        "rotation_deg": facts.rotation,
        "is_interlaced": facts.is_interlaced,
        "duration_s": None if seconds is None else round(seconds, 4),
        "num_keyframes": facts.num_keyframes,
        "min_gop": facts.min_gop,
        "max_gop": facts.max_gop,
        "has_b_frames": facts.has_b_frames,
        "num_references": facts.num_references,
    }


def _numbers(found: "MotionStatistics") -> Report:
    """Take the numbers out of the sums."""
    without, with_motion = zip(found.median_psnr, found.mean_psnr, strict=True)
    values = {
        "num_frames": found.num_frames,
        "num_measured": found.num_measured,
        "num_changed": found.num_changed,
        "intra_share": found.intra_share,
        "moving_share": found.moving_share,
        "length_mean_px": found.mean_length,
        "length_median_px": found.length(0.5),
        "length_p90_px": found.length(0.9),
        "length_max_px": found.length(1),
        "psnr_without_motion_median_db": without[0],
        "psnr_without_motion_mean_db": without[1],
        "psnr_with_motion_median_db": with_motion[0],
        "psnr_with_motion_mean_db": with_motion[1],
    }
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()
    }


def _suggest(source: "Source") -> list[str]:
    """List the commands to go on with."""
    if source.facts is None:
        return []
    return [shlex.join(["jaxseg", command, source.name]) for command in ("calibrate", "segment")]


def _file_lines(report: Report) -> list[str]:
    rows = []
    if report["container"]:
        size = "" if report["size_bytes"] is None else f", {_bytes(report['size_bytes'])}"
        rows.append(("Container", report["container"] + size))
        profile = f" ({report['profile']})" if report["profile"] else ""
        pixels = f", {report['pixel_format']}" if report["pixel_format"] else ""
        depth = f", {report['bit_depth']} bits" if report["bit_depth"] else ""
        rows.append(("Codec", report["codec"] + profile + pixels + depth))
    size = f"{report['width_px']} x {report['height_px']} pixels"
    interlaced = ", interlaced" if report["is_interlaced"] else ""
    turned = f", turned by {report['rotation_deg']} degrees" if report["rotation_deg"] else ""
    rows.append(("Picture", size + interlaced + turned))
    rows.append(("Rate", f"{report['rate_fps']:.5g} frames a second"))
    lengths = []
    if report["num_frames"] is not None:
        lengths.append(_count(report["num_frames"]))
    if report["duration_s"] is not None:
        lengths.append(f"{report['duration_s']:.2f} s")
    rows.append(("Length", ", ".join(lengths) or "not known before its end"))
    if report["container"]:
        rows.append(("Keyframes", _keyframes(report)))
        references = report["num_references"]
        b_frames = "B-frames" if report["has_b_frames"] else "no B-frames"
        rows.append(
            ("References", f"{'not known' if references is None else references}, {b_frames}")
        )
    rows.append(("Cuts", _cuts(report)))
    return [f"{label:<14}{value}" for label, value in rows]


def _keyframes(report: Report) -> str:
    shortest, longest = report["min_gop"], report["max_gop"]
    if shortest is None:
        return "only the first frame"
    if longest == 1:
        return "every frame"
    apart = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
    return f"{report['num_keyframes']}, {apart} frames apart"


def _cuts(report: Report) -> str:
    cuts, seen = report["cuts"], f"in the {_count(report['vectors']['num_frames'])} looked at"
    if not cuts:
        return f"none {seen}"
    more = ", ..." if len(cuts) > NUM_CUTS else ""
    return f"{len(cuts)} {seen}, at {', '.join(map(str, cuts[:NUM_CUTS]))}{more}"


def _count(num_frames: int) -> str:
    return "1 frame" if num_frames == 1 else f"{num_frames} frames"


def _strip(report: Report, width: int) -> list[str]:
    """Write a character a frame, and a bar before each cut."""
    cuts, lines = set(report["cuts"]), [""]
    for index, letter in enumerate(report["picture_types"]):
        marked = f"|{letter}" if index in cuts else letter
        if len(lines[-1] + marked) > width:
            lines.append("")
        lines[-1] += marked
    return lines


def _motion_lines(report: Report) -> list[str]:
    """Set the numbers of one or two kinds of vectors in columns."""
    columns = [_motion_column(report["vectors"])]
    headings: list[str] = []
    if report["own_vectors"]:
        columns = [_motion_column(report["own_vectors"]), *columns]
        headings = [_row("", "own", "re-encoded")]
    labels = max(columns, key=len)
    return headings + [
        _row(label, *(column.get(label, "") for column in columns)) for label in labels
    ]


def _motion_column(found: Report) -> dict[str, str]:
    column = {"Frames measured": f"{found['num_measured']} of {found['num_frames']}"}
    if not found["num_measured"]:
        return column
    column["Blocks without a vector"] = f"{100 * found['intra_share']:.1f} % "
    column["Blocks that move"] = f"{100 * found['moving_share']:.1f} % "
    lengths = {"mean": "mean", "median": "median", "90 %": "p90", "longest": "max"}
    for label, key in lengths.items():
        length = found[f"length_{key}_px"]
        column[f"Length, {label}"] = "-" if length is None else f"{length:.2f} px"
    nothing = "no error" if found["num_changed"] else "no change"
    for mean in ("median", "mean"):
        for motion in ("without", "with"):
            psnr = found[f"psnr_{motion}_motion_{mean}_db"]
            text = nothing if psnr is None else f"{psnr:.2f} dB"
            column[f"PSNR {motion} motion, {mean}"] = text
    return column


def _row(label: str, *values: str) -> str:
    return f"{label:<28}" + "".join(f"{value:>12}" for value in values).rstrip()


def _verdict(report: Report) -> str:
    """Say what is done about the video, and what that gains."""
    if not report["why"]:
        return "Exact: read as it is, each vector points to the frame before."
    text = f"Re-encoded on the way, because {'; '.join(report['why'])}."
    own, used = (_gain(report[key]) for key in ("own_vectors", "vectors"))
    if own is not None and used is not None:
        return (
            f"{text} Its own vectors change the PSNR by {own:+.1f} dB, the new by {used:+.1f} dB."
        )
    if report["own_vectors"] is None:
        return f"{text} The vectors are those of the re-encoded stream."
    return text


def _gain(found: Report | None) -> float | None:
    """Tell by how much the vectors raise the median PSNR, dB."""
    if found is None:
        return None
    with_motion, without = (found[f"psnr_{one}_motion_median_db"] for one in ("with", "without"))
    return None if with_motion is None or without is None else with_motion - without


def _letter(picture_type: "PictureType") -> str:
    return "?IPB"[picture_type]


def _bytes(count: int) -> str:
    power = next((power for power in (3, 2, 1) if count >= 1000**power), 0)
    return f"{count / 1000**power:.4g} {('bytes', 'kB', 'MB', 'GB')[power]}"


def _whole(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number of 0 or more")
    return int(word)
