"""Label every frame of a video and draw the labels over it."""

import argparse
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxseg.cli.settings import Settings, add_settings, maker_of, settings_of

if TYPE_CHECKING:
    from jaxseg.arrays import CodedFrame


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.add_argument("video", type=Path, metavar="VIDEO", help="an H.264 or MPEG-4 file")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="the video to write (.mp4)"
    )
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.
    """
    segment_file(options.video, options.output, settings_of(options))
    return 0


def segment_file(video: Path, output: Path, settings: Settings) -> None:
    """Label every frame of a file and write the overlay, in constant memory.

    A stream whose vectors are ambiguous (B-frames, several references) is
    re-encoded first, into a temporary file beside the output.

    Args:
        video: The file to read.
        output: The video to write; appears only once it is complete.
        settings: How it is labelled.

    Raises:
        CheckpointError: If the folder holds no model.
        CodecError: If the video cannot be read or the output written.
    """
    from tqdm import tqdm

    from jaxseg import codec
    from jaxseg.checkpoints import load_model
    from jaxseg.draw import overlay
    from jaxseg.runner import keep_compilations, segment

    keep_compilations()
    facts = codec.probe(video)
    if video.resolve() == output.resolve():
        raise codec.CodecError(f"{output}: is the input itself; give another name by -o")
    model = load_model(settings.checkpoint)
    with ExitStack() as stack:
        # First of all, because it tells whether the output can be written.
        writer = stack.enter_context(
            codec.open_writer(output, width=facts.width, height=facts.height, rate=facts.rate)
        )
        if facts.has_motion and not facts.is_exact:
            print(f"{video}: re-encoding first, for {'; '.join(facts.why)}", file=sys.stderr)
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix=".jaxseg-", dir=output.parent)
            )
            exact = Path(folder) / "exact.mp4"
            codec.transcode(video, exact)
            video = exact
        pixels: deque[np.ndarray] = deque()
        labels = segment(
            _keeping_pixels(codec.read_frames(video), pixels),
            model.net,
            model.params,
            make_scheme=maker_of(settings.scheme, model),
            interval=settings.interval,
        )
        for one in tqdm(
            labels, total=facts.num_frames, unit="frame", disable=None, dynamic_ncols=True
        ):
            writer.write(np.asarray(overlay(pixels.popleft(), one, palette=model.classes.palette)))


def _keeping_pixels(
    frames: "Iterable[CodedFrame]", pixels: deque[np.ndarray]
) -> "Iterator[CodedFrame]":
    """Remember each frame's pixels until its labels come, an interval or two later."""
    for frame in frames:
        pixels.append(frame.rgb())
        yield frame
