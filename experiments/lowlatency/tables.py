"""The tables and figures of Li, Shi & Lin 2018 from rows of results, theirs beside ours."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from experiments.paper import MEASURED
from experiments.results import provenance_note
from experiments.taplab.tables import Layout, side_by_side
from jaxseg.draw import plot_latency, plot_shares
from jaxseg.files import write_text

Row: TypeAlias = Mapping[str, Any]


def _write(key: str, form: str, *, scale: float = 1) -> Callable[[Row], str | None]:
    return lambda row: None if row.get(key) is None else form.format(scale * row[key])


_SCHEME = {"scheme": lambda row: row["scheme"]}
_MIOU = {"mIoU (%)": _write("miou", "{:.2f}", scale=100)}

LAYOUTS = {
    "schemes": Layout(
        "Schemes (Table 1)",
        _SCHEME,
        _MIOU
        | {"keyframes (%)": _write("share_keys", "{:.0f}", scale=100)}
        | {"mean (ms)": _write("mean_ms", "{:.1f}"), "maximum (ms)": _write("max_ms", "{:.1f}")}
        | {
            "p95 (ms)": _write("p95_ms", "{:.1f}"),
            "p99 (ms)": _write("p99_ms", "{:.1f}"),
            "maximum, of the net's (%)": _write("share_of_net", "{:.0f}", scale=100),
        },
        """
A frame's time from its pixels to its labels, both in host memory, as the frames come one
after the other; of schemes with a slow track as they come at the video's own rate, since
a track needs time to run in.  The first frame, which waits for the net in every scheme, and
those that come while it does, do not count.  The keyframes of `+aks` are as many as a fixed
interval gives; with `+lls` alone there is one whenever the slow track is free, as with `+aks+lls`
and `--threshold 0` in the command.  What has `-mv` in its name is carried along the codec's
motion and asks the codec alone when keyframes are due: `afp-mv` adds AdaptNet, for which the
lower part of the net runs on every frame; with `prop-mv` no part of the net runs between
keyframes.
""",
    ),
    "live": Layout(
        "At the video's own rate",
        _SCHEME,
        {
            "frames that missed a period (%)": _write("share_missed", "{:.0f}", scale=100),
            "mean (ms)": _write("mean_ms", "{:.1f}"),
            "maximum (ms)": _write("max_ms", "{:.1f}"),
            "left out at first": _write("num_left_out", "{:.0f}"),
            "slow map after (frames)": _write("delay", "{}"),
            "mIoU of these labels (%)": _write("miou", "{:.2f}", scale=100),
        },
        """
Frames come when they are due, whatever the scheme has finished by then; a frame has missed
its period if its labels come later than the next frame.  Left out are the first frame and those
that come until it, and what waited for it, is answered.  A net that is too slow falls behind
for ever: its latency grows with the video.
""",
    ),
    "propagation": Layout(
        "Ways to carry features (Table 2)",
        {"way": lambda row: row["way"]},
        _MIOU,
        """
A keyframe every 5 frames, over all shifts of the keyframes.  `codec` corrects the warp along the
codec's motion by kernels that are predicted from motion, intra blocks and residual alone;
`warp` does not; `+fuse` adds AdaptNet.
""",
    ),
    "modules": Layout(
        "Parts of a frame (Table 3)",
        {"part": lambda row: row["part"]},
        {
            "time (ms)": _write("time_ms", "{:.1f}"),
            "of the net's (%)": _write("share_of_net", "{:.1f}", scale=100),
        },
        """
Each part alone, on arrays that are on the device.  The paper's propagation includes the
adaptation.
""",
    ),
    "accuracy": Layout(
        "Pixel and class accuracy (Table 4)",
        _SCHEME,
        {
            "pixel accuracy (%)": _write("pixel_accuracy", "{:.2f}", scale=100),
            "class accuracy (%)": _write("class_accuracy", "{:.2f}", scale=100),
        }
        | _MIOU,
        """
The paper's net is a ResNet-101 begun with ImageNet's weights, at 720x960.
""",
    ),
    "schedules": Layout(
        "Schedules (Figure 5)",
        {
            "keyframes (%)": lambda row: round(100 * row["share_keys"], 1),
            "chosen by": lambda row: row["deviation"] or "fixed interval",
        },
        _MIOU
        | {"above a fixed interval": _write("gain", "{:+.2f}", scale=100)}
        | {"standard deviation": _write("deviation_of_gain", "{:.2f}", scale=100)}
        | {"thresholds": _write("num_thresholds", "{}")},
        """
The same propagation (`adaptive+fuse`) with as many keyframes, on average over all thresholds
that give nearly this share (within 15 %, from ten starts each) of the difference from a fixed
interval at the same share; the standard deviation is that between thresholds.  `learned` weighs
how much each channel of the lower part's map differs, `low-difference` does not weigh;
`convolutional` is the paper's regressor.  `oracle` is no schedule to be had: it knows the share
of labels that differ, which the learned ones estimate.
""",
    ),
    "overview": Layout(
        "All schemes (Figure 1)",
        _SCHEME,
        _MIOU
        | {
            "mean (ms)": _write("mean_ms", "{:.1f}"),
            "maximum (ms)": _write("max_ms", "{:.1f}"),
            "waits for frames (ms)": _write("delay_ms", "{:.0f}"),
        },
        """
One video, one machine, one run.  Schemes that label an interval at a time are timed so; their
maximum is the net's own time, and the last column is how long a frame waits for others.
""",
    ),
}


def write_tables(path: Path, rows: Sequence[Row], *, provenance: Mapping[str, Any]) -> None:
    """Write all tables of which something was measured as a page, whole or not at all.

    Args:
        path: Where to.
        rows: Measured and published.
        provenance: From `results.provenance`.
    """
    measured = [row for row in rows if row["source"] == MEASURED]
    first = measured[0]
    preface = (
        f"{first['data_set']}, {first['width']}x{first['height']}, H.264; net {first['net']}, cut "
        f"after {first['after']}; what is learned beside it has {first['channels']} channels.  "
        "Every frame counts but the first few, which shift the keyframes.\n"
    )
    sections = [
        f"## {layout.title}\n\n{side_by_side(chosen, layout)}\n{layout.note.strip()}\n"
        for table, layout in LAYOUTS.items()
        if any(row["table"] == table for row in measured)
        for chosen in [[row for row in rows if row["table"] == table]]
    ]
    write_text(path, "\n".join([preface, *sections, provenance_note(provenance)]))


def write_figures(out: Path, rows: Sequence[Row]) -> list[Path]:
    """Draw Figures 1 and 5.

    Args:
        out: Gets `figure1.png` and `figure5.png`.
        rows: Measured and published.

    Returns:
        The files.
    """
    written = []
    overview = [row for row in rows if row["table"] == "overview"]
    theirs = [row for row in rows if row["table"] == "schemes" and row["source"] != MEASURED]
    if overview:
        first = overview[0]
        title = f"{first['data_set']}, {first['net']}"
        plot_latency(
            {title: overview, theirs[0]["source"].partition(",")[0] + ", Cityscapes": theirs},
            out / "figure1.png",
        )
        written.append(out / "figure1.png")
    schedules = [row for row in rows if row["table"] == "schedules"]
    if schedules:
        plot_shares(schedules, out / "figure5.png", title=str(schedules[0]["data_set"]))
        written.append(out / "figure5.png")
    return written
