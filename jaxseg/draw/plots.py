"""Plots of what was measured: accuracy against throughput, and where the time goes."""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from jaxseg.files import replacing

Row: TypeAlias = Mapping[str, Any]

_REFERENCE = "per-frame"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart, too; the strongest first."""
_MARKERS = "osD^vP*"


class Panel(NamedTuple):
    """One of several plots side by side.

    Attributes:
        title: Above it.
        rows: One a measurement, with `scheme`, `interval`, and what is plotted.
        is_quoted: Whether others measured it; its curves are then thin and dashed.
    """

    title: str
    rows: Sequence[Row]
    is_quoted: bool = False


def plot_curves(
    panels: Sequence[Panel],
    path: str | os.PathLike[str],
    *,
    y_key: str,
    numbers: str | None = None,
) -> None:
    """Plot accuracy against throughput, a curve a scheme, one point an interval.

    A scheme looks the same in every panel; each panel has its own axes, since
    throughput on another machine says nothing about this one's.

    Args:
        panels: From left to right; rows without the two values are left out.
        path: Where to; the suffix says the format (`.png`, `.svg`, `.pdf`).
        y_key: What is plotted: `miou` (0..1, the mean over the distances to the
            keyframe) or `miou_min` (that of the farthest).
        numbers: What the intervals are called, such as "GOPs"; each point then has its
            number.  None writes only a curve's last, as `n = 10`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If a panel has nothing to plot.

    Source:
        Jain & Gonzalez 2018, Figures 4 and 6; Feng et al. 2020, Figure 8.
    """
    figure = _figure(width=5.6 * len(panels), height=4.2)
    schemes = dict.fromkeys(row["scheme"] for panel in panels for row in panel.rows)
    looks = {
        scheme: {"color": colour, "marker": marker}
        for scheme, colour, marker in zip(
            [scheme for scheme in schemes if scheme != _REFERENCE],
            itertools.cycle(_COLOURS),
            itertools.cycle(_MARKERS),
            strict=False,
        )
    } | {_REFERENCE: {"color": "black", "marker": "X", "linestyle": ""}}
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    handles: dict[str, Any] = {}
    for axis, panel in zip(axes, panels, strict=True):
        quoted = {"linewidth": 0.9, "linestyle": "--", "markerfacecolor": "white"}
        for scheme, rows in _by_scheme(panel.rows, y_key).items():
            style = {"markersize": 5} | (quoted if panel.is_quoted else {}) | looks[scheme]
            x, y = [row["throughput_fps"] for row in rows], [100 * row[y_key] for row in rows]
            (line,) = axis.plot(x, y, label=scheme, **style)
            handles.setdefault(scheme, line)
            if scheme == _REFERENCE:
                continue
            form, offset = ("{}", (3, 5)) if numbers else ("n = {}", (4, -9))
            for row in rows if numbers else rows[-1:]:
                axis.annotate(
                    form.format(row["interval"]),
                    (row["throughput_fps"], 100 * row[y_key]),
                    textcoords="offset points",
                    xytext=offset,
                    fontsize=7,
                    color=style["color"],
                )
        if not axis.lines:
            raise ValueError(f"0 rows of {panel.title!r} have {y_key} and throughput_fps to plot")
        axis.set_title(panel.title, fontsize=9)
        said = f"; the numbers are {numbers}" if numbers else ""
        axis.set(xlabel=f"throughput (frames per second{said})")
        axis.margins(x=0.12, y=0.08)
        axis.set_xlim(left=0)
        _calm(axis)
    kind = {"miou": "average mIoU (%)", "miou_min": "minimum mIoU, farthest frames (%)"}
    axes[0].set_ylabel(kind.get(y_key, y_key))
    figure.legend(handles=list(handles.values()), loc="outside right upper", frameon=False)
    _save(figure, path)


def plot_sweep(
    rows: Sequence[Row],
    path: str | os.PathLike[str],
    *,
    x_key: str,
    x_label: str,
    title: str = "",
) -> None:
    """Plot accuracy against a setting, a curve a net, the best of each marked.

    Args:
        rows: One a measurement, with `net`, `miou` (0..1) and the setting.
        path: Where to; the suffix says the format (`.png`, `.svg`, `.pdf`).
        x_key: The setting, such as `alpha`.
        x_label: What it is called below the axis.
        title: Above the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no row.

    Source:
        Feng et al. 2020, Figure 11.
    """
    if not rows:
        raise ValueError(f"0 rows with {x_key} to plot; measure something first")
    figure = _figure(width=5.6, height=3.8)
    axis = figure.subplots()
    nets = dict.fromkeys(row["net"] for row in rows)
    for net, colour, marker in zip(
        nets, itertools.cycle(_COLOURS), itertools.cycle(_MARKERS), strict=False
    ):
        points = sorted((row[x_key], 100 * row["miou"]) for row in rows if row["net"] == net)
        axis.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5, label=net)
        best = max(points, key=lambda point: point[1])
        axis.plot(*best, "o", markersize=12, fillstyle="none", color=colour)
        axis.annotate(
            f"{best[1]:.1f} at {best[0]:g}",
            best,
            textcoords="offset points",
            xytext=(0, 10),
            fontsize=8,
            ha="center",
            color=colour,
        )
    axis.margins(y=0.18)
    axis.set(xlabel=x_label, ylabel="mIoU (%)")
    axis.set_title(title, fontsize=9)
    _calm(axis)
    if len(nets) > 1:
        figure.legend(loc="outside right upper", frameon=False)
    _save(figure, path)


def plot_breakdown(
    bars: Mapping[str, Mapping[str, float]],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    note: str = "",
) -> None:
    """Plot what the parts of a whole take, a stacked bar a whole.

    Args:
        bars: For each bar's name its parts in order, milliseconds by name.
        path: Where to; the suffix says the format (`.png`, `.svg`, `.pdf`).
        title: Above the plot.
        note: Below it, small.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no bar.

    Source:
        Jain & Gonzalez 2018, Figure 2.
    """
    if not bars:
        raise ValueError("0 bars to plot; measure something first")
    figure = _figure(width=9, height=1.2 + 0.55 * len(bars))
    axis = figure.subplots()
    parts = dict.fromkeys(part for bar in bars.values() for part in bar)
    colours = dict(zip(parts, itertools.cycle(_COLOURS), strict=False))
    longest = max(sum(bar.values()) for bar in bars.values())
    shown = {}
    for place, bar in enumerate(bars.values()):
        start = 0.0
        for part, time_ms in bar.items():
            shown[part] = axis.barh(
                place, time_ms, left=start, height=0.62, color=colours[part], edgecolor="white"
            )
            start += time_ms
        parts_text = " + ".join(_milliseconds(time_ms) for time_ms in bar.values())
        total = _milliseconds(start)
        # No part is too small to be read this way.
        axis.annotate(
            f"{total} = {parts_text}" if len(bar) > 1 else total,
            (start, place),
            textcoords="offset points",
            xytext=(5, 0),
            va="center",
            fontsize=8,
        )
    axis.set_yticks(range(len(bars)), list(bars))
    axis.invert_yaxis()
    axis.set_xlim(0, 1.6 * longest)
    axis.set_xlabel("milliseconds a frame")
    axis.set_title(title, fontsize=10)
    _calm(axis)
    axis.grid(axis="y", visible=False)
    figure.legend(shown.values(), shown, loc="outside right upper", frameon=False)
    if note:
        figure.supxlabel(note, fontsize=7, x=0.01, ha="left")
    _save(figure, path)


def plot_accuracy_throughput(
    rows: Sequence[Row], path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Plot accuracy against the keyframe interval, and against throughput.

    Args:
        rows: One a measurement, with `scheme`, `interval`, `net`, `miou` (0..1, mean over
            the distances to the keyframe) and, where measured, `miou_min` (that of the
            worst distance) and `throughput_fps`.  `per-frame` is the reference line.
        path: Where to; the suffix says the format (`.png`, `.svg`, `.pdf`).
        title: Above the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If no row has an mIoU.
    """
    figure = _figure(width=10, height=4.2)
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    rows = [row for row in rows if row["miou"] is not None]
    if not rows:
        raise ValueError("0 rows with an mIoU to plot; measure something first")
    nets = list(dict.fromkeys(row["net"] for row in rows))
    markers = dict(zip(nets, itertools.cycle("osD^vP*X"), strict=False))
    schemes = dict.fromkeys(row["scheme"] for row in rows if row["scheme"] != _REFERENCE)
    # The ten strong colours first, then their ten pale sisters.
    colours = {
        scheme: colormaps["tab20"](2 * number % 20 + number // 10)
        for number, scheme in enumerate(schemes)
    }
    by_interval, by_throughput = panels = figure.subplots(1, 2, sharey=True)
    for (scheme, net), curve in _curves(rows).items():
        style = {"marker": markers[net], "markersize": 4}
        if scheme == _REFERENCE:
            style |= {"color": "black", "linestyle": ""}
            for panel, row in itertools.product(panels, curve):
                panel.axhline(100 * row["miou"], color="black", linestyle=":")
        else:
            style |= {"color": colours[scheme]}
            _draw_curve(by_interval, curve, "interval", "miou", style)
            _draw_curve(by_interval, curve, "interval", "miou_min", style | {"linestyle": "--"})
        _draw_curve(by_throughput, curve, "throughput_fps", "miou", style)
    by_interval.set(xlabel="keyframe interval (frames)", ylabel="mIoU (%)")
    intervals = {row["interval"] for row in rows if row["scheme"] != _REFERENCE}
    by_interval.set_xticks(sorted(intervals - {None}))
    by_throughput.set(xlabel="throughput (frames per second)")
    by_throughput.set_xlim(left=0)
    for panel in panels:
        _calm(panel)
    handles = [Line2D([], [], color=colours[name], label=name) for name in colours]
    handles += [
        Line2D([], [], color="black", linestyle=":", label=_REFERENCE),
        Line2D([], [], color="black", linestyle="-", label="mean over distances"),
        Line2D([], [], color="black", linestyle="--", label="worst distance"),
    ]
    if len(nets) > 1:
        handles += [
            Line2D([], [], color="black", linestyle="", marker=markers[net], label=net)
            for net in nets
        ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    figure.suptitle(title)
    _save(figure, path)


def plot_calibration(
    rows: Sequence[Row],
    path: str | os.PathLike[str],
    *,
    max_drop: float,
    chosen: Row | None = None,
    title: str = "",
) -> None:
    """Plot what settings are expected to lose against how fast they are.

    Args:
        rows: One a setting, with `scheme`, `interval`, `throughput_fps` and `miou_drop`
            (0..1); where known, `miou_drop_error`, drawn as bars, and `miou_drop_true`, by
            labels, drawn as dashed curves.
        path: Where to; the suffix says the format (`.png`, `.svg`, `.pdf`).
        max_drop: The loss allowed, 0..1, a line; what loses many times more is cut off.
        chosen: The row to be marked.
        title: Above the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no row.
    """
    if not rows:
        raise ValueError("0 settings to plot; calibrate first")
    figure = _figure(width=8, height=4.6)
    axis = figure.subplots()
    curves = _by_scheme(rows, "miou_drop")
    colours = iter(itertools.cycle(_COLOURS))
    markers = iter(itertools.cycle(_MARKERS))
    for scheme, curve in curves.items():
        style = {"color": "black", "marker": "X", "linestyle": ""}
        if scheme != _REFERENCE:
            style = {"color": next(colours), "marker": next(markers)}
        x, y = [row["throughput_fps"] for row in curve], _changes(curve, "miou_drop")
        error = [abs(change) for change in _changes(curve, "miou_drop_error")]
        axis.errorbar(
            x, y, yerr=error, label=scheme, markersize=5, elinewidth=1, capsize=2, **style
        )
        if any(row.get("miou_drop_true") is not None for row in curve):
            truth = style | {"linestyle": "--", "linewidth": 0.9, "markerfacecolor": "white"}
            axis.plot(x, _changes(curve, "miou_drop_true"), markersize=4, zorder=3, **truth)
        for row, at in zip(curve, zip(x, y, strict=True), strict=True):
            number = axis.annotate(
                str(row["interval"]),
                at,
                textcoords="offset points",
                xytext=(3, 5),
                fontsize=7,
                color=style["color"],
                annotation_clip=True,
            )
            number.set_in_layout(False)  # or room would be left for what is cut off
    # What repeats labels is far below the rest, and would flatten it.
    worst = max(100 * row["miou_drop"] for row in rows)
    bottom = -min(1.1 * worst + 0.1, max(300 * max_drop, 1.0))
    axis.set_ylim(bottom=bottom)
    if -100 * max_drop > bottom:
        axis.axhline(-100 * max_drop, color="black", linestyle=":", linewidth=1)
        axis.annotate(
            f"loss allowed: {100 * max_drop:g}",
            (0.99, -100 * max_drop),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, -10),
            fontsize=8,
            ha="right",
        )
    if chosen is not None:
        at = chosen["throughput_fps"], -100 * chosen["miou_drop"]
        axis.plot(*at, "o", markersize=15, fillstyle="none", color="black", label="chosen")
    if any(row.get("miou_drop_true") is not None for row in rows):
        axis.plot([], [], color="grey", linestyle="--", linewidth=0.9, label="true, by labels")
    axis.set_xlim(left=0)
    axis.set(
        xlabel="throughput (frames per second; the numbers are keyframe intervals)",
        ylabel="expected change of mIoU (points)",
    )
    axis.set_title(title, fontsize=9)
    _calm(axis)
    figure.legend(loc="outside right upper", frameon=False)
    _save(figure, path)


def _changes(rows: Sequence[Row], key: str) -> list[float]:
    """Turn losses into changes, in points; nan for what is not known."""
    return [float("nan") if row.get(key) is None else -100 * row[key] for row in rows]


def _curves(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Collect the rows of each scheme and net, in the order of their intervals."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["interval"] or 0):
        curves.setdefault((row["scheme"], row["net"]), []).append(row)
    return curves


def _draw_curve(
    panel: Any, rows: Sequence[Row], x_key: str, y_key: str, style: dict[str, Any]
) -> None:
    """Draw the rows that have both values."""
    points = [
        (row[x_key], 100 * row[y_key])
        for row in rows
        if row.get(x_key) is not None and row.get(y_key) is not None
    ]
    if points:
        panel.plot(*zip(*points, strict=True), **style)


def _by_scheme(rows: Sequence[Row], y_key: str) -> dict[str, list[Row]]:
    """Collect the rows that can be plotted, in the order of their intervals."""
    curves: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["interval"]):
        if row.get(y_key) is not None and row.get("throughput_fps") is not None:
            curves.setdefault(row["scheme"], []).append(row)
    return curves


def _milliseconds(time_ms: float) -> str:
    """Write three digits, as far as they matter."""
    return f"{time_ms:.0f}" if time_ms >= 100 else f"{time_ms:.3g}"


def _figure(*, width: float, height: float) -> Any:
    """Begin a figure of so many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install jaxseg[plot]") from error
    return Figure(figsize=(width, height), layout="constrained")


def _calm(axis: Any) -> None:
    """Take away what distracts."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as hidden:
        figure.savefig(hidden, dpi=150)
