"""`jaxseg segment`: a video in, the same video with its labels drawn over it out."""

import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jaxseg import codec
from jaxseg.arrays import CodedFrame
from jaxseg.checkpoints import Model, load_model
from jaxseg.draw import overlay
from jaxseg.fusion import LEARNED
from jaxseg.nets import Net
from jaxseg.runner import keep_compilations, segment
from jaxseg.schemes import Scheme, copy_last, interp_mv, per_frame, prop_mv

MAKE_SCHEME = {
    "per-frame": per_frame,
    "copy-last": copy_last,
    "prop-mv": prop_mv,
    "interp-mv": interp_mv,
}


def segment_file(
    video: Path, output: Path, *, checkpoint: Path, scheme: str, interval: int
) -> None:
    """Label every frame of a file and write the overlay, in constant memory.

    A stream whose vectors are ambiguous (B-frames, several references) is
    re-encoded first, into a temporary file beside the output.

    Args:
        video: The file to read.
        output: The video to write; appears only once it is complete.
        checkpoint: A run's folder.
        scheme: A key of `MAKE_SCHEME`.
        interval: Frames from one keyframe to the next.

    Raises:
        CheckpointError: If the folder holds no model.
        CodecError: If the video cannot be read or the output written.
    """
    keep_compilations()
    facts = codec.probe(video)
    if video.resolve() == output.resolve():
        raise codec.CodecError(f"{output}: is the input itself; give another name by -o")
    model = load_model(checkpoint)
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
            make_scheme=maker_of(scheme, model),
            interval=interval,
        )
        for one in tqdm(
            labels, total=facts.num_frames, unit="frame", disable=None, dynamic_ncols=True
        ):
            writer.write(np.asarray(overlay(pixels.popleft(), one, palette=model.classes.palette)))


def maker_of(scheme: str, model: Model) -> Callable[[Net], Scheme]:
    """Choose a scheme's constructor, with the fusion that the model has learned for it.

    Args:
        scheme: A key of `MAKE_SCHEME`.
        model: The model.

    Returns:
        Makes the scheme of a net.
    """
    if scheme == "interp-mv" and "fusion" in model.extras:
        return partial(interp_mv, fusion=LEARNED[model.extras["fusion"]])
    return MAKE_SCHEME[scheme]


def _keeping_pixels(
    frames: Iterable[CodedFrame], pixels: deque[np.ndarray]
) -> Iterator[CodedFrame]:
    """Remember each frame's pixels until its labels come, an interval or two later."""
    for frame in frames:
        pixels.append(frame.rgb())
        yield frame
