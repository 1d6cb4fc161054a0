"""Plots of how long frames wait for their labels, and of when keyframes are made."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from jaxseg.draw.plots import _COLOURS, _MARKERS, _REFERENCE, _calm, _figure, _save

Row: TypeAlias = Mapping[str, Any]


def plot_latency(
    panels: Mapping[str, Sequence[Row]], path: str | os.PathLike[str], *, y_key: str = "miou"
) -> None:
    """Plot accuracy against latency, a scheme a point.

    A full point is the longest that a frame took, waiting for other frames included; a line
    leads to it from the mean.  A scheme looks the same in every panel.

    Args:
        panels: Rows by title, from left to right, each with `scheme`, `max_ms`, `mean_ms`, and
            where frames wait for others `delay_ms`; rows without accuracy are left out.
        path: Where to; the suffix says the format (`.png`, `.svg`, `.pdf`).
        y_key: What is plotted, a share 0..1.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If a panel has nothing to plot.

    Source:
        Li, Shi & Lin 2018, Figure 1.
    """
    figure = _figure(width=4.6 * len(panels) + 2, height=4.6)
    shown = {
        title: [row for row in rows if row.get(y_key) is not None and row.get("max_ms")]
        for title, rows in panels.items()
    }
    schemes = dict.fromkeys(row["scheme"] for rows in shown.values() for row in rows)
    # One more marker than colours would repeat the pairs late, so the two cycle apart.
    looks = {
        scheme: {"color": _COLOURS[index % 6], "marker": _MARKERS[index // 6 % len(_MARKERS)]}
        for index, scheme in enumerate(it for it in schemes if it != _REFERENCE)
    } | {_REFERENCE: {"color": "black", "marker": "X"}}
    handles: dict[str, Any] = {}
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, rows) in zip(axes, shown.items(), strict=True):
        if not rows:
            raise ValueError(f"0 rows of {title!r} have {y_key} and max_ms to plot")
        for row in rows:
            delay_ms = row.get("delay_ms") or 0.0
            y, look = 100 * row[y_key], looks[row["scheme"]]
            ends = [row["mean_ms"] + delay_ms, row["max_ms"] + delay_ms]
            axis.plot(ends, [y, y], color=look["color"], linewidth=0.9)
            (point,) = axis.plot(
                ends[1], y, linestyle="", markersize=7, label=row["scheme"], **look
            )
            handles.setdefault(row["scheme"], point)
        axis.set_xscale("log")
        axis.set_title(title, fontsize=9)
        axis.set(xlabel="latency (ms): mean to maximum")
        axis.margins(x=0.08, y=0.08)
        _calm(axis)
    axes[0].set_ylabel("mIoU (%)" if y_key == "miou" else y_key)
    figure.legend(
        handles=list(handles.values()), loc="outside right upper", frameon=False, fontsize=8
    )
    _save(figure, path)


def plot_shares(rows: Sequence[Row], path: str | os.PathLike[str], *, title: str = "") -> None:
    """Plot accuracy against the share of frames that are keyframes, a curve a schedule.

    A second panel shows what each gains over a fixed interval.

    Args:
        rows: One a measurement, with `deviation` (what chose keyframes; None for a fixed
            interval), `share_keys` and `miou`, both 0..1, and, but for a fixed interval, `gain`,
            the difference of `miou` from it.
        path: Where to; the suffix says the format (`.png`, `.svg`, `.pdf`).
        title: Above the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no row.

    Source:
        Li, Shi & Lin 2018, Figure 5.
    """
    if not rows:
        raise ValueError("0 rows to plot; measure something first")
    figure = _figure(width=10, height=4.2)
    left, right = figure.subplots(1, 2)
    looks = zip(itertools.cycle(_COLOURS), itertools.cycle(_MARKERS), strict=False)
    for name, (colour, marker) in zip(
        dict.fromkeys(row["deviation"] for row in rows), looks, strict=False
    ):
        own = sorted(
            (row for row in rows if row["deviation"] == name), key=lambda row: row["share_keys"]
        )
        shares = [100 * row["share_keys"] for row in own]
        look: dict[str, Any] = {"color": colour, "linestyle": "-", "marker": marker}
        if name is None:
            look |= {"color": "black", "linestyle": "--"}
        left.plot(
            shares,
            [100 * row["miou"] for row in own],
            markersize=5,
            label="fixed interval" if name is None else name,
            **look,
        )
        right.plot(shares, [100 * row.get("gain", 0.0) for row in own], markersize=5, **look)
    left.set_ylabel("mIoU (%)")
    right.set_ylabel("mIoU above that of a fixed interval (points)")
    for axis in (left, right):
        axis.set_xlabel("keyframes (% of all frames)")
        _calm(axis)
    left.set_title(title, fontsize=9)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    _save(figure, path)
