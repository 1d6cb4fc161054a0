"""The tables of Feng et al. 2020 (TapLab) from rows of results, theirs beside ours.

A row has `source` (`MEASURED`, or where in the paper it stands), `table` (a key of
`LAYOUTS`), and the keys of that table; see `published.published_rows`.  What a row
does not have is a dash.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from experiments.paper import MEASURED
from experiments.results import provenance_note
from experiments.taplab.published import baseline_of
from jaxseg.files import write_text
from jaxseg.regions import scaled_region

Row: TypeAlias = Mapping[str, Any]


class Layout(NamedTuple):
    """How a table is laid out: a line a setting, the sources side by side.

    Attributes:
        title: Of its section.
        names: By heading, what of a row says which line it belongs to.
        values: By heading, what is written of a row; None where it was not measured.
        note: Below the table.
    """

    title: str
    names: Mapping[str, Callable[[Row], Any]]
    values: Mapping[str, Callable[[Row], str | None]]
    note: str


def _write(key: str, form: str, *, scale: float = 1) -> Callable[[Row], str | None]:
    return lambda row: None if row.get(key) is None else form.format(scale * row[key])


def _region(row: Row) -> str | None:
    """Say how large a region is, and how far from the next, with the default's side as 1."""
    if row.get("region_height") is None:
        return None
    side, _ = scaled_region(row["height"], row["width"])
    keys = ("region_height", "region_width", "stride")
    height, width, stride = (round(2 * row[key] / side) / 2 for key in keys)
    return f"{height:g} x {width:g}, by {stride:g}"


def _pixels(row: Row) -> str | None:
    if row.get("region_height") is None:
        return None
    return f"{row['region_height']} x {row['region_width']}, by {row['stride']}"


def _unless_per_frame(key: str) -> Callable[[Row], Any]:
    """Leave open what makes no difference to a net on every frame."""
    return lambda row: None if row["scheme"] == "per-frame" else row.get(key)


_NET = {"net": lambda row: baseline_of(row["net"])}
_SCHEME = {"modules": lambda row: row["scheme"]}
_GOP = {"GOP": _unless_per_frame("gop")}
_MIOU = {"mIoU (%)": _write("miou", "{:.1f}", scale=100)}
_FPS = {"frames a second": _write("throughput_fps", "{:.1f}")}
_SPEED = _FPS | {"speedup": _write("speedup", "{:.2f}x")}

LAYOUTS = {
    "baselines": Layout(
        "Nets on every frame (Table 2)",
        _NET,
        _MIOU | _FPS,
        """
What the modules are compared with, on the same frames.
""",
    ),
    "propagation": Layout(
        "Ways to carry labels on (Table 3)",
        _NET | {"method": lambda row: row["method"]},
        {
            "flow (ms)": _write("flow_ms", "{:.1f}"),
            "warp (ms)": _write("warp_ms", "{:.1f}"),
            "both (ms)": _write("total_ms", "{:.1f}"),
        }
        | _MIOU,
        """
Milliseconds a frame between keyframes, each part alone on arrays that are on the device;
`itp` interpolates between the scores of two keyframes, of which it waits for the second.
A flow without a number in mIoU has no trained weights here: its time does not depend on
them, its labels would.
""",
    ),
    "regions": Layout(
        "Regions of RGC (Table 4)",
        _NET | _SCHEME | {"region": _region},
        {"region (pixels)": _pixels} | _MIOU | _SPEED,
        """
A region's height and width, and the distance from one to the next, in halves of the
default side, which is that of an eighth of the frame's area: 512 pixels in the paper.
""",
    ),
    "modules": Layout(
        "Modules (Tables 5 and 8)",
        _NET | {"motion": _unless_per_frame("motion")} | _GOP | _SCHEME,
        _MIOU
        | {"change (points)": _write("change_miou", "{:+.1f}", scale=100)}
        | _SPEED
        | {"P-frames labelled anew (%)": _write("key_share", "{:.1f}", scale=100)},
        """
Change of mIoU and speedup are against `per-frame`, of the same net and source; in Table 5
that is the paper's Table 2.  Table 5 is Cityscapes, Table 8 CamVid.  The last column is
what RGFS makes keyframes of, beside the I-frames.
""",
    ),
    "gops": Layout(
        "Length of a GOP (Table 6, Figure 8)",
        _NET | _GOP | _SCHEME,
        _MIOU | {"gain (points)": _write("gain_miou", "{:+.1f}", scale=100)} | _SPEED,
        """
The gain is that of the modules over `ffw` at the same GOP, in frames from one I-frame to the
next; the speedup is over `per-frame`, which in the paper is in Table 2.
""",
    ),
    "alpha": Layout(
        "Weight of what RGC adds (Figure 11)",
        _NET | {"alpha": lambda row: row["alpha"]},
        _MIOU,
        """
Scores of a corrected region are alpha times the net's, and the rest what was carried there;
the paper gives its curve without numbers.
""",
    ),
    "calibration": Layout(
        "Threshold of RGFS",
        {"GOP": lambda row: row["gop"]}
        | {
            "division": lambda row: row["division"],
            "part": lambda row: row["part"],
        },
        {
            "threshold": _write("threshold", "{:.2f}"),
            "wanted (%)": _write("share_wanted", "{:.1f}", scale=100),
            "where it was found (%)": _write("share_calibrated", "{:.1f}", scale=100),
            "where it is used (%)": _write("share", "{:.1f}", scale=100),
            "the same, following (%)": _write("share_tracked", "{:.1f}", scale=100),
            "P-frames": _write("num_frames", "{}"),
        },
        """
Grey levels a pixel, and which share of the P-frames lies above.  The threshold of one part
of the video is found on the other part; the parts take turns, as in all tables above, or are
the two halves.  The last share is that of a threshold which begins there and follows the video.
""",
    ),
}

_ORDER = (
    *("itp", "ffw (nearest)"),
    *("per-frame", "ffw", "ffw+rgc", "ffw+rgfs", "ffw+rgc+rgfs"),
    *("codec", "dis", "pwc-net", "flownet2-s", "flownet2-c", "flownet2"),
    *("turns", "halves"),
)
"""In which order lines stand; other words come first, by the alphabet, and numbers rise."""

_PREFACE = """\
Measured on {places}; {nets}.

mIoU is over {frames};
thresholds of RGFS were found on other frames.  Frames a second are network time: what runs
from pixels, motion vectors and residual statistics in host memory to labels in host memory,
optical flow included, decoding and compilation not; all settings were timed in turn in one
run.  The paper's numbers are of other frames and nets on another machine: compare ratios.
"""


def write_tables(path: Path, rows: Sequence[Row], *, provenance: Mapping[str, Any]) -> None:
    """Write all tables of which something was measured as a page, whole or not at all.

    Args:
        path: Where to.
        rows: Measured and published; of the paper's, those of nets that were measured are
            shown, or all, if none of its nets was.
        provenance: From `results.provenance`.
    """
    sections = [
        f"## {layout.title}\n\n{side_by_side(chosen, layout)}\n{layout.note.strip()}\n"
        for table, layout in LAYOUTS.items()
        if (chosen := _chosen(rows, table))
    ]
    text = "\n".join([_preface(rows), *sections, provenance_note(provenance)])
    write_text(path, text)


def side_by_side(rows: Sequence[Row], layout: Layout) -> str:
    """Lay rows out with a line a setting, and for each value a column a source.

    Args:
        rows: Of one table, measured and published.
        layout: Of that table.

    Returns:
        Markdown, with a dash where nothing was measured, and without a published column
        that would hold nothing else.  A setting that was measured twice has two lines.
    """
    sources = sorted({row["source"] for row in rows}, key=lambda it: (it != MEASURED, it))
    columns = [
        (heading if source == MEASURED else source.rpartition(", ")[2], source, write)
        for heading, write in layout.values.items()
        for source in sources
        if any(write(row) for row in rows if source in (MEASURED, row["source"]))
    ]
    lines = sorted(_lines(rows, layout), key=lambda line: [_rank(name) for name in line[0]])
    table = [[*layout.names, *(heading for heading, _, _ in columns)]]
    table += [["---"] * len(layout.names) + ["---:"] * len(columns)]
    table += [
        [
            *("-" if name is None else str(name) for name in names),
            *((source in line and write(line[source])) or "-" for _, source, write in columns),
        ]
        for names, line in lines
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def _lines(rows: Sequence[Row], layout: Layout) -> list[tuple[list[Any], dict[str, Row]]]:
    """Bring the rows of one setting together, by their source."""
    lines: list[tuple[list[Any], dict[str, Row]]] = []
    for row in rows:
        names = [name(row) for name in layout.names.values()]
        same = (line for known, line in lines if known == names and row["source"] not in line)
        line = next(same, None)
        if line is None:
            lines.append((names, line := {}))
        line[row["source"]] = row
    return lines


def _chosen(rows: Sequence[Row], table: str) -> list[Row]:
    """Take a table's rows, of the paper's those of nets that were measured, if any of it was."""
    measured = [row for row in rows if row["table"] == table and row["source"] == MEASURED]
    nets = {baseline_of(row["net"]) for row in measured}
    theirs = [row for row in rows if row["table"] == table and row["source"] != MEASURED]
    shown = [row for row in theirs if row["net"] in nets] or theirs
    return _with_changes([*measured, *shown]) if measured else []


def _with_changes(rows: Sequence[Row]) -> list[Row]:
    """Say of each row how its mIoU differs from that of its net and source on every frame."""
    references = {
        (row["source"], row["net"]): row["miou"]
        for row in rows
        if row.get("scheme") == "per-frame" and row.get("miou") is not None
    }
    return [
        {**row, "change_miou": row["miou"] - reference}
        if (reference := references.get((row["source"], row["net"]))) and row.get("miou")
        else row
        for row in rows
    ]


def _rank(name: Any) -> tuple[int, float, str]:
    """Put numbers in their order, words in that of `_ORDER`."""
    if isinstance(name, int | float):
        return 0, name, ""
    word = "" if name is None else str(name)
    return (_ORDER.index(word) + 1 if word in _ORDER else 0), 0.0, word


def _preface(rows: Sequence[Row]) -> str:
    """Say on what everything was measured, and what is counted."""
    measured = [row for row in rows if row["source"] == MEASURED]
    places = dict.fromkeys(
        f"{row['data_set']}, {row['width']}x{row['height']}, {row['codec']}" for row in measured
    )
    nets = {
        row["net"]: baseline_of(row["net"]) for row in measured if row["table"] != "calibration"
    }
    named = (net if name == net else f"{name} is {net}" for net, name in nets.items())
    frames = "the labelled frames, each at a random distance from its I-frame"
    if measured[0].get("is_dense"):
        frames = f"every frame at up to {measured[0]['num_phases']} distances from its I-frame"
    return _PREFACE.format(places="; ".join(places), nets=", ".join(named), frames=frames)
