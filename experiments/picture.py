"""Draw what jaxseg does in one picture: `python -m experiments.picture --checkpoint runs/demo`.

A street that the net has not seen is encoded, and labelled by interp-mv.  The picture has a
column for a keyframe, for two frames between and for the next keyframe, and a row each for
what comes in, for what the codec knows, and for what comes out.
"""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from jaxtyping import UInt8
from PIL import Image

from data.street import render
from experiments.command import explain
from jaxseg import codec
from jaxseg.arrays import Clip
from jaxseg.checkpoints import load_model
from jaxseg.classes import Classes
from jaxseg.draw import draw_motion, grid_of_pictures, overlay
from jaxseg.files import replacing
from jaxseg.runner import segment

INTERVAL = 9
SHOWN = (0, 3, 6, 9)
NUM_COLOURS = 96
"""Of the file, which is then a third as large."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is drawn.

    Attributes:
        checkpoint: Folder of a run on the embedded clip, such as `make demo` leaves.
        out: The picture to write (.png).
        seed: Names the street.
    """

    checkpoint: Path
    out: Path = Path("docs/images/overview.png")
    seed: int = 100


def draw_overview(
    clip: Clip, labels: UInt8[np.ndarray, "t H W"], classes: Classes
) -> UInt8[np.ndarray, "_H _W 3"]:
    """Set frames, motion and labels under each other.

    Args:
        clip: With frames.
        labels: Of all its frames.
        classes: What the labels name.

    Returns:
        `[H, W, 3]` uint8.
    """
    assert clip.frames is not None
    frames, shown = clip.frames, list(SHOWN)
    arrows = [draw_motion(frames[at], clip.motion[at], clip.inter[at]) for at in shown]
    # The first is an I-frame, and an I-frame has no vectors.
    arrows[0] = np.full_like(arrows[0], 255)
    painted = overlay(frames[shown], labels[shown], palette=classes.palette)
    return grid_of_pictures(
        np.stack([frames[shown], np.stack(arrows), painted]),
        row_names=["frame", "motion vectors", "labels"],
        column_names=[
            "keyframe: the net runs" if at % INTERVAL == 0 else f"frame {at}: carried"
            for at in shown
        ],
    )


def run(options: Options) -> None:
    """Write the picture.

    Args:
        options: What is drawn.
    """
    model = load_model(options.checkpoint)
    with TemporaryDirectory() as folder:
        film = Path(folder) / "street.mp4"
        street = render(seed=options.seed, num_frames=INTERVAL + 1, height=192, width=256, rate=30)
        codec.encode(street.frames, film, rate=30, gop=60)
        clip = codec.load(film)
        labels = segment(film, model.net, model.params, interval=INTERVAL)
        picture = draw_overview(clip, np.stack(list(labels)), model.classes)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.out) as hidden:
        Image.fromarray(picture).quantize(NUM_COLOURS).save(hidden, format="PNG", optimize=True)
    print(f"wrote {options.out}: {options.out.stat().st_size} bytes")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input.
    """
    options = tyro.cli(Options, args=argv, description=__doc__)
    return explain(partial(run, options))


if __name__ == "__main__":
    sys.exit(main())
