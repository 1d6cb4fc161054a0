"""The figures of Feng et al. 2020 (TapLab): plots from rows, pictures from arrays.

A picture is a sheet `[H, W, 3]` uint8 with names on the left and above, and the colours of
the classes below; frames wider than `MAX_WIDTH` pixels are thinned out first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Integer, UInt8

from experiments.paper import MEASURED
from experiments.taplab.published import PAPER, baseline_of
from jaxseg.arrays import Array, Labels, Motion
from jaxseg.classes import Classes
from jaxseg.draw import (
    Panel,
    colorize,
    draw_regions,
    draw_residual,
    grid_of_pictures,
    legend,
    motion_to_rgb,
    plot_curves,
    plot_sweep,
)
from jaxseg.geometry import padded_size

Row: TypeAlias = Mapping[str, Any]
Picture: TypeAlias = UInt8[np.ndarray, "_H _W 3"]

MAX_WIDTH = 480
"""Pixels of one picture of a sheet, at most."""


def write_figures(out: Path, rows: Sequence[Row]) -> list[Path]:
    """Draw Figures 8 and 11, as far as they were measured.

    Args:
        out: Gets `figure8.png` (mIoU against throughput over GOPs) and `figure11.png`
            (mIoU against the weight of the correction).
        rows: Measured and published; see `published.published_rows`.

    Returns:
        The files.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    paths = []
    if panels := _gop_panels(rows):
        paths.append(out / "figure8.png")
        plot_curves(panels, paths[-1], y_key="miou", numbers="GOPs")
    if alphas := [row for row in rows if row["table"] == "alpha" and row.get("miou") is not None]:
        paths.append(out / "figure11.png")
        plot_sweep(
            alphas,
            paths[-1],
            x_key="alpha",
            x_label="alpha: weight of the net in a corrected region",
            title=f"{_place(alphas[0])}, ffw+rgc",
        )
    return paths


def residual_sheet(
    frames: UInt8[Array, "n H W 3"],
    labels: Integer[Array, "n H W"],
    residual: Float[Array, "n _h _w"],
    truth: Integer[Array, "n H W"],
    *,
    names: Sequence[str],
    classes: Classes,
) -> Picture:
    """Set frames, their carried labels, residuals and true labels side by side.

    Args:
        frames: `[n, H, W, 3]`, one a row of the sheet.
        labels: `[n, H, W]`, carried along the motion (FFW).
        residual: |residual|, a cell of 16x16 pixels (`Clip.residual[..., 0]` or `[..., 1]`)
            or a pixel, `[n, H, W]`.
        truth: `[n, H, W]`; `IGNORE_LABEL` is black.
        names: One a row, such as "T = 8".
        classes: Names and colours of the labels.

    Returns:
        The sheet, one scale for all frames: black is none, white the largest half percent.

    Source:
        Feng et al. 2020, Figure 6.
    """
    height, width = frames.shape[1:3]
    full = float(np.quantile(np.asarray(residual), 0.995))
    columns = {
        "frame": frames,
        "ffw": colorize(labels, palette=classes.palette),
        "residual": draw_residual(residual, height=height, width=width, max_value=full),
        "truth": colorize(truth, palette=classes.palette),
    }
    return _sheet(columns, names=names, classes=classes)


def motion_sheet(
    frame: UInt8[Array, "H W 3"],
    truth: Integer[Array, "H W"],
    motion: Mapping[str, Float[Array, "_h _w 2"]],
    labels: Mapping[str, Integer[Array, "H W"]],
    *,
    classes: Classes,
) -> Picture:
    """Set motion fields side by side, and below each the labels that it gives.

    Args:
        frame: `[H, W, 3]`.
        truth: `[H, W]`, below the frame; `IGNORE_LABEL` is black.
        motion: By the name of where it is from ("codec", "dis", ...), `[h, w, 2]`,
            backward, pixels, on a grid over the padded frame.
        labels: By the same names, `[H, W]`.
        classes: Names and colours of the labels.

    Returns:
        The sheet, one colour wheel for all fields: hue is where things go, full
        saturation how far the fastest hundredth goes.

    Raises:
        ValueError: If motion and labels are not of the same names.

    Source:
        Feng et al. 2020, Figure 9; section 3.2.2 and Figure 5 for the colours.
    """
    if motion.keys() != labels.keys():
        raise ValueError(
            f"motion is of {', '.join(motion)}, but labels are of {', '.join(labels)}; give both "
            "of each"
        )
    height, width = frame.shape[:2]
    fields = {name: _at_pixels(field, height, width) for name, field in motion.items()}
    lengths = np.hypot(*np.moveaxis(np.stack(list(fields.values())), -1, 0))
    full = max(float(np.quantile(lengths, 0.99)), 1.0)
    columns = {"frame, truth": [frame, colorize(truth, palette=classes.palette)]} | {
        name: [
            motion_to_rgb(field, max_pixels=full),
            colorize(labels[name], palette=classes.palette),
        ]
        for name, field in fields.items()
    }
    return _sheet(
        {name: np.stack(column) for name, column in columns.items()},
        names=["motion", "labels"],
        classes=classes,
    )


def correction_sheet(
    carried: Integer[Array, "t H W"],
    corrected: Integer[Array, "t H W"],
    truth: Integer[Array, "t H W"],
    corners: Sequence[Integer[Array, "_k 2"]],
    *,
    size: tuple[int, int],
    names: Sequence[str],
    classes: Classes,
) -> Picture:
    """Set the frames of a GOP side by side: carried, corrected, true, with the regions.

    Args:
        carried: `[t, H, W]`, by FFW; one a column of the sheet.
        corrected: `[t, H, W]`, by FFW+RGC.
        truth: `[t, H, W]`; `IGNORE_LABEL` is black.
        corners: For each frame the regions corrected in it, `[k, 2]`, (top, left), pixels;
            `[0, 2]` in a keyframe.
        size: Height and width of a region, pixels.
        names: One a column, such as "T = 4".
        classes: Names and colours of the labels.

    Returns:
        The sheet, the regions as rectangles on the carried and the corrected labels.

    Source:
        Feng et al. 2020, Figure 10.
    """
    every = _every(truth)
    pictures = [
        colorize(labels[:, ::every, ::every], palette=classes.palette)
        for labels in (carried, corrected, truth)
    ]
    # Drawn on what is thinned already, lines stay lines.
    height, width = size
    for rows in pictures[:2]:
        for index, chosen in enumerate(corners):
            rows[index] = draw_regions(
                rows[index], np.asarray(chosen) // every, size=(height // every, width // every)
            )
    columns = {name: np.stack(column) for name, *column in zip(names, *pictures, strict=True)}
    return _sheet(columns, names=["ffw", "ffw+rgc", "truth"], classes=classes)


def modules_sheet(
    frames: UInt8[Array, "n H W 3"],
    labels: Mapping[str, Integer[Array, "n H W"]],
    *,
    names: Sequence[str],
    classes: Classes,
) -> Picture:
    """Set frames and the labels that each combination of modules gives side by side.

    Args:
        frames: `[n, H, W, 3]`, one a row of the sheet.
        labels: By scheme ("per-frame", "ffw", ..., "truth"), `[n, H, W]`, one a column.
        names: One a row.
        classes: Names and colours of the labels.

    Returns:
        The sheet.

    Source:
        Feng et al. 2020, Figures 12 and 13.
    """
    columns = {"frame": frames} | {
        name: colorize(column, palette=classes.palette) for name, column in labels.items()
    }
    return _sheet(columns, names=names, classes=classes)


def _gop_panels(rows: Sequence[Row]) -> list[Panel]:
    """Lay Figure 8 out: a panel a net that was measured, and the paper's."""
    panels = []
    theirs = f"{PAPER}, Table 6"
    nets = dict.fromkeys((row["source"], row["net"]) for row in rows if row["table"] == "gops")
    for source, net in nets:
        curves = [
            {**row, "interval": row["gop"]}
            for row in rows
            if (row["table"], row["source"], row["net"]) == ("gops", source, net)
        ]
        is_quoted = source != MEASURED
        title = f"{theirs}: {net}" if is_quoted else _place(curves[0])
        panels.append(Panel(title, curves, is_quoted))
    panels.sort(key=lambda panel: panel.is_quoted)
    return panels if any(not panel.is_quoted for panel in panels) else []


def _place(row: Row) -> str:
    """Say on what a row was measured."""
    net, name = row["net"], baseline_of(row["net"])
    net = net if net == name else f"{name} ({net})"
    return f"measured: {row['data_set']}, {row['width']}x{row['height']}, {net}"


def _at_pixels(motion: Float[Array, "_h _w 2"], height: int, width: int) -> Motion:
    """Repeat the cells of a motion field until there is one a pixel."""
    motion = np.asarray(motion, np.float32)
    every = padded_size(height, width)[0] // motion.shape[0]
    pixels = motion.repeat(every, axis=0).repeat(every, axis=1)
    return pixels[:height, :width]


def _sheet(
    columns: Mapping[str, UInt8[Array, "n _H _W 3"]], *, names: Sequence[str], classes: Classes
) -> Picture:
    """Set columns of pictures side by side, with names and the colours of the classes."""
    every = _every(next(iter(columns.values()))[..., 0])
    sheet = grid_of_pictures(
        np.stack([np.asarray(column) for column in columns.values()], 1)[:, :, ::every, ::every],
        row_names=names,
        column_names=list(columns),
    )
    return np.concatenate([sheet, legend(classes, width=sheet.shape[1])])


def _every(labels: Labels) -> int:
    """Tell which columns to keep of pictures that are too wide."""
    return -(-labels.shape[-1] // MAX_WIDTH)
