"""Re-encode any video as H.264 with exact motion vectors.

Frames, their times and the sound stay as they are; a picture that players turn is turned
for good, and an interlaced one is made progressive.
"""

import argparse
from pathlib import Path

from jaxseg.cli.settings import frame_size, positive
from jaxseg.errors import InputError


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.add_argument("input", metavar="INPUT", help="any video that FFmpeg reads")
    parser.add_argument(
        "output", type=Path, metavar="OUT", help="the file to write: .mp4, .mov, .mkv or .avi"
    )
    parser.add_argument(
        "--gop",
        type=positive,
        default=12,
        metavar="N",
        help="frames from one I-frame, which has no vectors, to the next (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=_quality,
        metavar="Q",
        help="0 to 51: smaller is better, and makes larger files (default: 20)",
    )
    parser.add_argument(
        "--size",
        type=frame_size,
        metavar="WxH",
        help="scale to this, such as 640x360 (default: the video's own size)",
    )


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.

    Raises:
        InputError: If the output is the input, one cannot be read or the other written.
    """
    from tqdm import tqdm

    from jaxseg import codec
    from jaxseg.codec.opening import opens_once

    num_frames = None
    if not opens_once(options.input):
        num_frames = codec.probe(options.input).num_frames
        if options.output.exists() and options.output.samefile(options.input):
            raise InputError(f"{options.output}: is the input itself; give another name")
    with tqdm(total=num_frames, unit="frame", disable=None, dynamic_ncols=True) as bar:
        codec.transcode(
            options.input,
            options.output,
            gop=options.gop,
            quality=options.quality,
            size=options.size,
            on_frame_fn=lambda index: bar.update(),
        )
    return 0


def _quality(word: str) -> int:
    if not word.isdecimal() or int(word) > 51:
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number from 0 to 51")
    return int(word)
