"""Find the fastest setting for your video, without labels.

Looks at a few places of the video, labels each with every scheme at many keyframe intervals,
and estimates how much accuracy each setting loses against the net on every frame: in points
of mIoU, by letting what the net says of the frames around vote on the truth.  Prints the
table, draws the curve, and writes the fastest setting whose loss is small enough into a file
for `jaxseg segment --settings`.

With --key-share it looks for the threshold of +rgfs instead: the residual a pixel above which
that share of the frames between keyframes become keyframes, too.  It reads the whole video
once, for its residual alone, runs no net, and draws no curve.
"""

import argparse
import dataclasses
import json
import math
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxseg.cli.settings import RGFS, Settings, add_model, maker_of, positive
from jaxseg.cli.summary import describe_run, without_password
from jaxseg.cli.thresholds import INTERVAL, calibrate_threshold
from jaxseg.errors import InputError
from jaxseg.files import write_text

if TYPE_CHECKING:
    from jaxseg.calibration import Measured

SCHEMES = ("per-frame", "prop-mv", "interp-mv")
"""Those that carry labels along the motion: what others lose comes out too small."""

NOTE = """\
agreement: mIoU with the net on every frame, as if that were the truth; loss: expected loss
of mIoU against it, in points, and its standard error over the places looked at; network:
from pixels to labels, measured here; decoded: with decoding, one after the other.
"""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.add_argument("video", metavar="VIDEO", help="any video that FFmpeg reads")
    aims = parser.add_mutually_exclusive_group()
    aims.add_argument(
        "--max-drop",
        type=_points,
        default=2.0,
        metavar="POINTS",
        help="the mIoU that may be lost against labelling every frame (default: %(default)g)",
    )
    aims.add_argument(
        "--key-share",
        type=_share,
        metavar="SHARE",
        help="find the threshold of +rgfs instead, for this share of the frames between "
        "keyframes, such as 0.1",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("calibration.json"),
        metavar="OUT",
        help="the settings file to write, with all that was measured (default: %(default)s)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="the curve: .png, .svg or .pdf (default: OUT with .png)",
    )
    parser.add_argument(
        "--intervals",
        type=positive,
        nargs="+",
        metavar="N",
        help="frames from one keyframe to the next to try (default: from 2 to 12)",
    )
    parser.add_argument(
        "--scheme", choices=RGFS, help=f"with --key-share, for which scheme (default: {RGFS[-1]})"
    )
    parser.add_argument(
        "--interval",
        type=positive,
        metavar="N",
        help="with --key-share, frames from one keyframe to the next, at most (default: "
        f"{INTERVAL})",
    )
    add_model(parser)


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.

    Raises:
        InputError: If the video, the model or an output cannot be used.
    """
    from tqdm import tqdm

    from jaxseg import codec
    from jaxseg.calibration import INTERVALS, RUN_LENGTH, calibrate, choose
    from jaxseg.draw.plots import plot_calibration
    from jaxseg.pretrained import load
    from jaxseg.runner import keep_compilations

    if options.output.is_dir():
        raise InputError(f"{options.output}: is a folder; name a file in it")
    _check_aim(options)
    if options.key_share is not None:
        _check_not_video(options.video, options.output)
        return calibrate_threshold(options)
    plot = options.plot or options.output.with_suffix(".png")
    _check_outputs(options.video, options.output, plot)
    keep_compilations()
    checkpoint = options.checkpoint or Settings().checkpoint
    model = load(checkpoint)
    intervals = options.intervals or INTERVALS
    with codec.open_source(options.video, size=options.size) as source:
        rows = calibrate(
            source.frames,
            model.net,
            model.params,
            makers={name: maker_of(name, model) for name in SCHEMES},
            num_frames=source.num_frames,
            intervals=intervals,
            run_length=max(RUN_LENGTH, 2 * max(intervals)),
            track=partial(tqdm, disable=None, dynamic_ncols=True),
        )
    max_drop = options.max_drop / 100
    chosen = choose(rows, max_drop=max_drop)
    settings = Settings(checkpoint, chosen.scheme, chosen.interval, options.size)
    content = dataclasses.asdict(settings) | {
        "calibration": describe_run(options.command_line)
        | {
            "video": without_password(options.video),
            "miou_drop_allowed": max_drop,
            "rows": [_plain(row) for row in rows],
        }
    }
    write_text(options.output, json.dumps(content, indent=1) + "\n")
    plot_calibration(
        [row._asdict() for row in rows],
        plot,
        max_drop=max_drop,
        chosen=chosen._asdict(),
        title=f"{Path(options.video).name[-60:]}, {Path(checkpoint).name[-30:]}",
    )
    print(f"{table(rows, chosen)}\n{NOTE}\n{_verdict(rows, chosen, options.max_drop)}")
    print(f"wrote {options.output} and {plot}; to label the video so:\n")
    words = ["jaxseg", "segment", options.video, "--settings", str(options.output)]
    print(f"  {shlex.join(words)}")
    left_out = sorted({*intervals} - {1} - {row.interval for row in rows})
    if left_out:
        few = ", ".join(map(str, left_out))
        print(f"{options.video}: is too short for an interval of {few}", file=sys.stderr)
    return 0


def table(rows: "Sequence[Measured]", chosen: "Measured") -> str:
    """Lay out what was measured.

    Args:
        rows: From `calibrate`.
        chosen: The one to be marked by a star.

    Returns:
        A line each, below two lines that name the columns and their units.
    """
    lines = [
        "  scheme      interval   agreement            loss   network   decoded",
        "                frames           %          points       fps       fps",
    ]
    for row in rows:
        star = "*" if row == chosen else " "
        loss = f"{100 * row.miou_drop:.2f}"
        if row.miou_drop_error > 0:
            loss += f" ± {100 * row.miou_drop_error:.2f}"
        lines.append(
            f"{star} {row.scheme:<10}  {row.interval:>8}   {100 * row.miou_agreement:>9.1f}"
            f"   {loss:>13}   {row.throughput_fps:>7.1f}   {row.decoded_throughput_fps:>7.1f}"
        )
    return "\n".join(lines) + "\n"


def _verdict(rows: "Sequence[Measured]", chosen: "Measured", points: float) -> str:
    base = rows[0]
    if chosen == base:
        return f"no faster setting stays within {points:g} points: every frame is to be labelled"
    loss = 100 * chosen.miou_drop
    what = f"lose {loss:.2f}" if loss >= 0 else f"gain {-loss:.2f}"
    return (
        f"{chosen.scheme} with a keyframe every {chosen.interval} frames is expected to {what} "
        f"points of mIoU,\n{chosen.throughput_fps / base.throughput_fps:.1f} times as fast as "
        "the net on every frame"
    )


def _check_outputs(video: str, output: Path, plot: Path) -> None:
    """Refuse before the work what could not be written after it."""
    if plot == output:
        raise InputError(f"{plot}: is both the settings file and the plot; name one otherwise")
    if plot.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"{plot}: is no name for a plot; end it in .png, .svg or .pdf")
    if plot.is_dir():
        raise InputError(f"{plot}: is a folder; name a file in it")
    for path in (output, plot):
        _check_not_video(video, path)


def _check_not_video(video: str, path: Path) -> None:
    if path.exists() and Path(video).exists() and path.samefile(video):
        raise InputError(f"{path}: is the video itself; give another name")


def _check_aim(options: argparse.Namespace) -> None:
    """Refuse options that belong to the other of --max-drop and --key-share."""
    is_share = options.key_share is not None
    others = ("plot", "intervals") if is_share else ("scheme", "interval")
    for name in others:
        if getattr(options, name) is not None:
            aims = "--max-drop", "--key-share"
            raise InputError(
                f"--{name}: goes with {aims[not is_share]} alone; leave it out, or give that "
                f"instead of {aims[is_share]}"
            )


def _plain(row: "Measured") -> dict[str, Any]:
    """Turn a row into what JSON can hold."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in row._asdict().items()
    }


def _share(word: str) -> float:
    """Read a share that is neither none nor all."""
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no share; give one between 0 and 1")
    return number


def _points(word: str) -> float:
    """Read points of mIoU."""
    try:
        points = float(word)
    except ValueError:
        points = math.nan
    if not 0 <= points <= 100:
        raise argparse.ArgumentTypeError(f"{word!r} is no loss; give points of mIoU, 0 to 100")
    return points
