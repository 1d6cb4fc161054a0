"""The `jaxseg` command."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

SCHEMES = ("per-frame", "copy-last", "prop-mv", "interp-mv")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    options = _parser().parse_args(argv)
    # Only now: `--help` should not wait for JAX.
    from jaxseg.checkpoints import CheckpointError
    from jaxseg.cli.segment import segment_file
    from jaxseg.codec import CodecError

    try:
        segment_file(
            options.video,
            options.output,
            checkpoint=options.checkpoint,
            scheme=options.scheme,
            interval=options.interval,
        )
    except (CheckpointError, CodecError, OSError) as error:
        print(f"jaxseg: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxseg: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxseg", description="Fast semantic segmentation of compressed video."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    segment = commands.add_parser(
        "segment",
        help="label every frame of a video and draw the labels over it",
        description="Label every frame of a video and draw the labels over it.",
    )
    segment.add_argument("video", type=Path, metavar="VIDEO", help="an H.264 or MPEG-4 file")
    segment.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="the video to write (.mp4)"
    )
    segment.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder that training wrote with --out",
    )
    segment.add_argument(
        "--scheme", choices=SCHEMES, default="interp-mv", help="default: %(default)s"
    )
    segment.add_argument(
        "--interval",
        type=_positive,
        default=5,
        metavar="N",
        help="frames from one keyframe to the next (default: %(default)s)",
    )
    return parser


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of frames; give 1 or more")
    return int(word)
