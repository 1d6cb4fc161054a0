"""The tables and figures of Jain & Gonzalez 2018 from rows of results, theirs beside ours.

A row has `source` (`MEASURED`, or where in the paper it stands), `table` ("accuracy",
"fusion" or "runtime"), and the keys of that table; see `published.published_rows`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from experiments.breakdown import bars_of
from experiments.published import PAPER
from experiments.results import provenance_note
from jaxseg.draw import Panel, plot_breakdown, plot_curves
from jaxseg.files import write_text

Row: TypeAlias = Mapping[str, Any]

MEASURED = "measured"

METRICS = {
    "miou": ("mIoU, average (%)", lambda value: f"{100 * value:.1f}"),
    "miou_min": ("mIoU, minimum (%)", lambda value: f"{100 * value:.1f}"),
    "throughput_fps": ("throughput (fps)", lambda value: f"{value:.1f}"),
    "speedup": ("speedup over per-frame", lambda value: f"{value:.2f}x"),
    "delay_frames": ("delay (frames)", lambda value: str(value)),
    "delay_ms": ("delay (ms)", lambda value: f"{value:.0f}"),
}

FUSION_NAMES = {
    "forward": "forward",
    "backward": "backward",
    "max": "max fusion",
    "average": "avg. fusion",
    "by-distance": "by distance",
    "conv": "conv. fusion",
    "conv-before": "conv. before",
}

NOTES = {
    "accuracy": """
Average: over all frames and every grid of keyframes, so that each frame takes every
distance once; minimum: over the frames farthest from keyframes.  Where few frames are
labelled, the distance to the keyframe rotates from one to the next.  Throughput counts
what runs from pixels and motion vectors in host memory to labels in host memory,
optical flow included, decoding and compilation not; all settings were timed in turn in
one run, and the speedup is over `per-frame` in that run.  The delay is what a frame of
a live stream waits, at most, for others to come.  The paper's throughput is that of
another net on another machine: compare ratios.
""",
    "fusion": """
mIoU (%) of the frames at that distance from both keyframes, which are twice as far
apart.  There, the average and the weighting by distance are the same.
""",
    "runtime": """
Milliseconds a frame, each part alone on arrays that are on the device.  "projected":
the task net's first layer is applied once, at the keyframe.  Compressing is x264's
time; extracting is by how much longer decoding takes when it gives motion vectors.
""",
}


def name_of(row: Row) -> str:
    """Name a row's scheme, with the flow or the fusion where it needs saying.

    Args:
        row: Of the table "accuracy".

    Returns:
        Such as `prop-flow (dis)` or `interp-mv (conv)`.
    """
    fusion = row.get("fusion")
    detail = row.get("flow") or (fusion if fusion != "by-distance" else None)
    return f"{row['scheme']} ({detail})" if detail else row["scheme"]


def interval_table(rows: Sequence[Row]) -> str:
    """Lay rows out as Tables 1 and 3: a line a metric and scheme, a column an interval.

    Args:
        rows: Of the table "accuracy".

    Returns:
        Markdown, with a dash where nothing was measured.
    """
    intervals = sorted({row["interval"] for row in rows})
    lines = []
    for key, (metric, write) in METRICS.items():
        curves: dict[tuple[str, str], dict[int, Any]] = {}
        for row in rows:
            if row.get(key) is not None:
                curves.setdefault((name_of(row), row["source"]), {})[row["interval"]] = row[key]
        lines += [
            [metric, *curve, *_written(values, intervals, write)]
            for curve, values in curves.items()
        ]
    return _markdown(["metric", "scheme", "source", *map(str, intervals)], lines, num_names=3)


def fusion_table(rows: Sequence[Row]) -> str:
    """Lay rows out as Table 2: a line a distance, a column a fusion.

    Args:
        rows: Of the table "fusion".

    Returns:
        Markdown, with a dash where nothing was measured.
    """
    names = [name for name in FUSION_NAMES if any(row["fusion"] == name for row in rows)]
    sources: dict[tuple[int, str], dict[str, float]] = {}
    for row in rows:
        sources.setdefault((row["distance"], row["source"]), {})[row["fusion"]] = row["miou"]
    write = METRICS["miou"][1]
    lines = [
        [str(distance), source, *_written(sources[distance, source], names, write)]
        for distance, source in sorted(sources, key=lambda place: place[0])
    ]
    heads = ["distance (frames)", "source", *(FUSION_NAMES[name] for name in names)]
    return _markdown(heads, lines, num_names=2)


def runtime_table(rows: Sequence[Row]) -> str:
    """Lay rows out as a table of the parts of a frame.

    Args:
        rows: Of the table "runtime".

    Returns:
        Markdown.
    """
    lines = [[row["part"], row["source"], f"{row['time_ms']:.2f}"] for row in rows]
    return _markdown(["part", "source", "ms"], lines, num_names=2)


def write_tables(path: Path, rows: Sequence[Row], *, provenance: Mapping[str, Any]) -> None:
    """Write all tables as a page, whole or not at all.

    Args:
        path: Where to.
        rows: Measured and published.
        provenance: From `results.provenance`.
    """
    counterpart = counterpart_of(rows)
    sections = [
        ("Accuracy and throughput", interval_table(_of(rows, "accuracy", counterpart)), "accuracy"),
        ("Fusion (Table 2)", fusion_table(_of(rows, "fusion")), "fusion"),
        ("Runtime (Figure 2)", runtime_table(_of(rows, "runtime")), "runtime"),
    ]
    text = "\n".join(
        f"## {title}\n\n{table}{NOTES[kind]}" for title, table, kind in sections if table
    )
    write_text(path, f"{text}\n{provenance_note(provenance)}")


def write_figures(out: Path, rows: Sequence[Row]) -> list[Path]:
    """Draw Figures 2, 4 and 6.

    Args:
        out: Gets `figure2.png`, `figure4.png` and `figure6.png`.
        rows: Measured and published.

    Returns:
        The files.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    counterpart = counterpart_of(rows)
    # What repeats labels is far below the rest, and would flatten it.  Whichever flow it
    # is, prop-flow looks the same on both sides.
    accuracy = [
        {**row, "scheme": name_of({**row, "flow": None})}
        for row in _of(rows, "accuracy", counterpart)
        if row["scheme"] != "copy-last"
    ]
    ours = [row for row in accuracy if row["source"] == MEASURED]
    theirs = [row for row in accuracy if row["source"] != MEASURED]
    flow = next((f", flow: {row['flow']}" for row in ours if row["flow"]), "")
    panels = [
        Panel(f"measured: {ours[0]['data_set']}, {ours[0]['net']}{flow}", ours),
        Panel(f"{counterpart}: ResNet-101 on a Tesla K80", theirs, is_quoted=True),
    ]
    paths = [out / f"figure{number}.png" for number in (2, 4, 6)]
    parts = {
        row["part"]: row["time_ms"] for row in _of(rows, "runtime") if row["source"] == MEASURED
    }
    quoted = [row for row in _of(rows, "runtime") if row["source"] != MEASURED]
    quotation = ", ".join(f"{row['part']} {row['time_ms']:g} ms" for row in quoted)
    plot_breakdown(
        bars_of(parts),
        paths[0],
        title=f"what a frame takes: {ours[0]['net']}, {ours[0]['width']}x{ours[0]['height']}",
        note=f"{quoted[0]['source']}, Tesla K80, 2048x1024: {quotation}",
    )
    plot_curves(panels, paths[1], y_key="miou")
    plot_curves(panels, paths[2], y_key="miou_min")
    return paths


def counterpart_of(rows: Sequence[Row]) -> str:
    """Name the paper's table that stands for the measured data set.

    Args:
        rows: Measured and published.

    Returns:
        Its `source`: Table 1 for Cityscapes, else Table 3, CamVid.
    """
    measured = next(row for row in rows if row["source"] == MEASURED)
    return f"{PAPER}, Table {1 if 'cityscapes' in measured['data_set'].lower() else 3}"


def _of(rows: Sequence[Row], table: str, counterpart: str | None = None) -> list[Row]:
    """Take a table's rows, of the paper's those of one source."""
    wanted = {MEASURED, counterpart}
    return [
        row
        for row in rows
        if row["table"] == table and (counterpart is None or row["source"] in wanted)
    ]


def _written(
    values: Mapping[Any, Any], columns: Sequence[Any], write: Callable[[Any], str]
) -> list[str]:
    return ["-" if values.get(column) is None else write(values[column]) for column in columns]


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]], *, num_names: int) -> str:
    rule = ["---"] * num_names + ["---:"] * (len(heads) - num_names)
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, rule, *lines))
