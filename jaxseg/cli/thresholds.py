"""Find the residual above which a wanted share of a video's frames becomes keyframes."""

import argparse
import dataclasses
import json
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jaxseg.cli.inputs import CAMERA
from jaxseg.cli.settings import RGFS, Settings
from jaxseg.cli.summary import describe_run, without_password
from jaxseg.errors import InputError
from jaxseg.files import write_text

if TYPE_CHECKING:
    from jaxseg.arrays import CodedFrame

INTERVAL = 12
"""Frames from one keyframe to the next, as in TapLab's paper."""


def calibrate_threshold(options: argparse.Namespace) -> int:
    """Do the work of `jaxseg calibrate --key-share`, in one pass over the video.

    Args:
        options: What was parsed.

    Returns:
        The exit code.

    Raises:
        InputError: If the video cannot be used, or has no frames to choose from.
    """
    import numpy as np
    from tqdm import tqdm

    from jaxseg import codec
    from jaxseg.regions import RESIDUAL_THRESHOLD
    from jaxseg.schedules import threshold_for_share

    video, wanted = options.video, options.key_share
    interval = options.interval or INTERVAL
    if CAMERA.fullmatch(video):
        raise InputError(
            f"{video}: is a camera, which never ends; record some of it, and give that"
        )
    with codec.open_source(
        video, size=options.size, residual_threshold=RESIDUAL_THRESHOLD
    ) as source:
        bar = tqdm(
            source.frames, total=source.num_frames, unit="frame", disable=None, dynamic_ncols=True
        )
        num_frames, scores = score_frames(
            iter(bar), interval=interval, height=source.height, width=source.width
        )
    if not scores:
        raise InputError(
            f"{video}: has {num_frames} frames, all of which are keyframes at interval {interval}; "
            "give a longer video, a larger --interval, or one whose I-frames are farther apart"
        )
    threshold = max(0.0, threshold_for_share(np.asarray(scores), share=wanted))
    num_above = int(np.count_nonzero(np.asarray(scores) > threshold))
    settings = Settings(
        checkpoint=options.checkpoint or Settings().checkpoint,
        scheme=options.scheme or RGFS[-1],
        interval=interval,
        size=options.size,
        threshold=threshold,
    )
    content = dataclasses.asdict(settings) | {
        "calibration": describe_run(options.command_line)
        | {
            "video": without_password(video),
            "num_frames": num_frames,
            "num_between_keyframes": len(scores),
            "key_share_wanted": wanted,
            "key_share": num_above / len(scores),
        }
    }
    write_text(options.output, json.dumps(content, indent=1) + "\n")
    median, high = np.quantile(scores, (0.5, 0.9))
    print(
        f"residual of the {len(scores)} frames between keyframes, grey levels a pixel: half are "
        f"below {median:.2f}, nine of ten below {high:.2f}\n"
        f"threshold {threshold:.2f}: {num_above} of them ({num_above / len(scores):.1%}) become "
        f"keyframes, too"
    )
    print(f"wrote {options.output}; to label the video so:\n")
    print(f"  {shlex.join(['jaxseg', 'segment', video, '--settings', str(options.output)])}")
    return 0


def score_frames(
    frames: "Iterable[CodedFrame]", *, interval: int, height: int, width: int
) -> tuple[int, list[float]]:
    """Score how hard to warp each frame is that is no keyframe anyway.

    Args:
        frames: With residual, in the order in which they are shown.
        interval: Frames from one keyframe to the next.
        height: Of the frames, pixels.
        width: Of the frames, pixels.

    Returns:
        The number of frames, and `residual_per_pixel` of those between keyframes.
    """
    from jaxseg.intervals import cut_into_gops
    from jaxseg.schedules import fixed, residual_per_pixel

    num_frames = 0
    scores: list[float] = []
    for gop in cut_into_gops(
        frames,
        schedule=fixed(interval),
        max_length=interval,
        reads_residual=True,
        looks_ahead=False,
    ):
        num_frames += int(gop.length)
        assert gop.residual is not None
        between = gop.residual[: int(gop.length) - 1]
        scores.extend(map(float, residual_per_pixel(between, height=height, width=width)))
    return num_frames, scores
