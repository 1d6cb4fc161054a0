"""Pictures, RGB `[*b, H, W, 3]` uint8: labels over frames, motion fields, grids of pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from PIL import Image, ImageDraw, ImageFont

from jaxseg.arrays import IGNORE_LABEL, MACROBLOCK, MOTION_BLOCK, Array, Frames, Labels, Motion
from jaxseg.classes import Classes, Palette
from jaxseg.files import replacing
from jaxseg.geometry import motion_grid_size, padded_size

_INTRA_TINT = (255, 60, 40)
_ARROW = (255, 235, 60)
_REGION, _LINE = (255, 0, 0), 2


def colorize(labels: Labels, *, palette: Palette) -> Frames:
    """Paint each pixel in the colour of its class.

    Args:
        labels: `[*b, H, W]`.
        palette: One colour a class, RGB.

    Returns:
        `[*b, H, W, 3]` uint8; black where the label is ignored.

    Raises:
        ValueError: If a label has no colour.
    """
    return _colours(palette)[_with_colour(labels, palette)]


def write_mask(path: str | Path, labels: Integer[Array, "H W"], *, palette: Palette) -> None:
    """Write labels as a PNG whose pixels are the labels and whose palette shows them.

    Args:
        path: The file; it appears once it is whole.
        labels: `[H, W]`.
        palette: One colour a class, RGB.

    Raises:
        ValueError: If a label has no colour.
    """
    picture = Image.fromarray(_with_colour(labels, palette).astype(np.uint8))
    picture.putpalette(_colours(palette).tobytes())
    with replacing(path) as hidden:
        picture.save(hidden, format="PNG")


def _with_colour(labels: Labels, palette: Palette) -> Integer[np.ndarray, "..."]:
    labels = np.asarray(labels)
    unknown = (labels != IGNORE_LABEL) & ((labels < 0) | (labels >= len(palette)))
    if unknown.any():
        raise ValueError(
            f"label {labels[unknown][0]} has no colour; the palette has {len(palette)}, "
            f"for labels 0..{len(palette) - 1} ({IGNORE_LABEL} is ignored)"
        )
    return labels


def _colours(palette: Palette) -> UInt8[np.ndarray, "256 3"]:
    """List a colour for each label: black, where there is no class."""
    colours = np.zeros((IGNORE_LABEL + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours


def overlay(frames: Frames, labels: Labels, *, palette: Palette, opacity: float = 0.5) -> Frames:
    """Lay the colours of the classes over the frames.

    Args:
        frames: `[*b, H, W, 3]`.
        labels: `[*b, H, W]`.
        palette: One colour a class, RGB.
        opacity: 0 shows only the frames, 1 only the classes.

    Returns:
        `[*b, H, W, 3]` uint8; darkened where the label is ignored.

    Raises:
        ValueError: If a label has no colour, or the opacity is not in 0..1.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}, but must be in 0..1")
    # Fixed point: a video is blended faster than it is decoded.
    weight = round(256 * opacity)
    blended = np.asarray(frames) * np.uint16(256 - weight)
    blended += colorize(labels, palette=palette) * np.uint16(weight)
    return (blended >> 8).astype(np.uint8)


def legend(classes: Classes, *, width: int, text_height: int = 14) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a strip that names the colours, to put under or over a picture.

    Args:
        classes: Names and colours.
        width: Pixels; that of the picture.
        text_height: Pixels.

    Returns:
        `[H, width, 3]` uint8, with as many lines as the names need.
    """
    font = ImageFont.load_default(size=text_height)
    gap, line_height = text_height // 2, 2 * text_height
    places, x, y = [], gap, 0
    for name in classes.names:
        needs = text_height + gap + round(font.getlength(name))
        if x > gap and x + needs + gap > width:
            x, y = gap, y + line_height
        places.append((x, y))
        x += needs + 2 * gap
    strip = Image.new("RGB", (width, y + line_height), "white")
    draw = ImageDraw.Draw(strip)
    for name, colour, (x, y) in zip(classes.names, classes.palette, places, strict=True):
        top = y + (line_height - text_height) // 2
        draw.rectangle((x, top, x + text_height - 1, top + text_height - 1), fill=colour)
        draw.text(
            (x + text_height + gap, y + line_height // 2), name, "black", font=font, anchor="lm"
        )
    return np.array(strip)


def side_by_side(*pictures: UInt8[Array, "..."]) -> Frames:
    """Put pictures next to each other, from left to right.

    Args:
        *pictures: `[*b, H, W_i, 3]` each.

    Returns:
        `[*b, H, sum of W_i, 3]` uint8.

    Raises:
        ValueError: If the pictures differ in more than their width.
    """
    shapes = [picture.shape for picture in pictures]
    if len({(*shape[:-2], shape[-1]) for shape in shapes}) != 1:
        raise ValueError(f"pictures are {shapes}; resize them to one height first")
    return np.concatenate([np.asarray(picture) for picture in pictures], axis=-2)


def draw_motion(
    frame: UInt8[Array, "H W 3"],
    motion: Float[Array, "h w 2"],
    inter: Bool[Array, "h w"],
    *,
    spacing: int = 2,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw where each moving block came from, and tint those coded without motion.

    Args:
        frame: `[H, W, 3]`.
        motion: `[h, w, 2]`, backward, pixels, on the 8x8 grid.
        inter: `[h, w]`; False where a block was coded without motion.
        spacing: Blocks from one arrow to the next.

    Returns:
        `[H, W, 3]` uint8; an arrow leads from `p + motion` to `p`.

    Raises:
        ValueError: If the grid is not that of a frame of this size.
    """
    frame, motion, inter = np.array(frame), np.asarray(motion), np.asarray(inter)
    height, width = frame.shape[:2]
    if inter.shape != motion_grid_size(height, width):
        raise ValueError(
            f"motion is on a grid of {inter.shape} blocks, but a frame of {height}x{width} "
            f"has {motion_grid_size(height, width)}; read both at one size"
        )
    y, x = np.indices((height, width)) // MOTION_BLOCK
    intra = ~inter[y, x]
    frame[intra] = frame[intra] // 2 + np.array(_INTRA_TINT, np.uint8) // 2
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture)
    moving = inter & (np.abs(motion).max(axis=-1) >= 0.5)
    for row, column in np.argwhere(moving[::spacing, ::spacing]) * spacing:
        end = MOTION_BLOCK * (np.array([column, row]) + 0.5)
        start = end + motion[row, column]
        draw.line((*start, *end), fill=_ARROW)
        draw.ellipse((*(end - 1), *(end + 1)), fill=_ARROW)
    return np.array(picture)


def motion_to_rgb(motion: Motion, *, max_pixels: float) -> Frames:
    """Colour motion by where things go (hue) and how far (saturation).

    Things that move to the right are red, down yellow-green, left cyan, up violet;
    what stays is white.

    Args:
        motion: `[*b, h, w, 2]`, backward, pixels.
        max_pixels: The length of motion that is coloured fully.

    Returns:
        `[*b, h, w, 3]` uint8.
    """
    dx, dy = np.moveaxis(-np.asarray(motion, np.float32), -1, 0)
    hue = np.arctan2(dy, dx)[..., None] * 3 / np.pi
    saturation = np.clip(np.hypot(dx, dy) / max_pixels, 0, 1)[..., None]
    # The six edges of the colour wheel, for red, green and blue at once.
    sector = (hue + np.array([5, 3, 1], np.float32)) % 6
    ramp = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    return np.rint(255 * (1 - saturation * ramp)).astype(np.uint8)


def draw_residual(
    residual: Float[Array, "... _h _w"], *, height: int, width: int, max_value: float
) -> Frames:
    """Draw residuals as heat: black where there is none, then red, yellow, white.

    Args:
        residual: |residual|, a cell of 16x16 pixels (`[*b, ceil(H / 16), ceil(W / 16)]`) or
            a pixel (`[*b, H, W]`).
        height: Pixels of the frame.
        width: Pixels of the frame.
        max_value: What is drawn white; what is above it, too.

    Returns:
        `[*b, height, width, 3]` uint8, brighter where the residual is larger.

    Raises:
        ValueError: If the residual is not that of a frame of this size.
    """
    residual = np.asarray(residual, np.float32)
    rows, columns = (size // MACROBLOCK for size in padded_size(height, width))
    if residual.shape[-2:] == (rows, columns):
        residual = residual.repeat(MACROBLOCK, axis=-2).repeat(MACROBLOCK, axis=-1)
        residual = residual[..., :height, :width]
    if residual.shape[-2:] != (height, width):
        raise ValueError(
            f"residual is {residual.shape[-2:]}, but a frame of {height}x{width} has "
            f"{(rows, columns)} cells or {(height, width)} pixels; read both at one size"
        )
    heat = 3 * residual[..., None] / max(max_value, np.finfo(np.float32).tiny)
    channels = np.clip(heat - np.arange(3, dtype=np.float32), 0, 1)
    return np.rint(255 * channels).astype(np.uint8)


def draw_regions(
    frames: Frames, corners: Integer[Array, "... _k 2"], *, size: tuple[int, int]
) -> Frames:
    """Draw regions as red rectangles.

    Args:
        frames: `[*b, H, W, 3]`.
        corners: `[*b, k, 2]`, (top, left) of each region, pixels.
        size: Height and width of a region, pixels.

    Returns:
        `[*b, H, W, 3]` uint8, lines of two pixels inside each region; where a region
        reaches beyond the frame, its rectangle ends with the frame.
    """
    frames, corners = np.array(frames), np.asarray(corners)
    for index in np.ndindex(frames.shape[:-3]):
        picture = frames[index]
        for corner in corners[index]:
            top, left = np.maximum(corner, 0)
            bottom, right = np.maximum(corner + size, 0)
            across = picture[top:bottom, left:right]
            down = across.swapaxes(0, 1)
            for edge in (across, across[::-1], down, down[::-1]):
                edge[:_LINE] = _REGION
    return frames


def grid_of_pictures(
    pictures: UInt8[Array, "r s H W 3"],
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    text_height: int = 16,
    gap: int = 4,
) -> UInt8[np.ndarray, "_H _W 3"]:
    """Set pictures in rows and columns, with names on the left and above.

    Args:
        pictures: `[r, s, H, W, 3]`, of `r` rows and `s` columns.
        row_names: One a row.
        column_names: One a column.
        text_height: Pixels.
        gap: White pixels between pictures.

    Returns:
        `[H', W', 3]` uint8, each picture as it is.

    Raises:
        ValueError: If there is not one name a row and a column.
    """
    num_rows, num_columns, height, width, _ = pictures.shape
    if (len(row_names), len(column_names)) != (num_rows, num_columns):
        raise ValueError(
            f"{len(row_names)} row names and {len(column_names)} column names for "
            f"{num_rows} rows of {num_columns} pictures; give one of each"
        )
    font = ImageFont.load_default(size=text_height)
    left = round(max(font.getlength(name) for name in row_names)) + 2 * text_height
    top = 2 * text_height
    size = (left + num_columns * (width + gap), top + num_rows * (height + gap))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(column_names):
        middle = left + column * (width + gap) + width // 2
        draw.text((middle, top // 2), name, "black", font=font, anchor="mm")
    for row, name in enumerate(row_names):
        y = top + row * (height + gap)
        draw.text((left - text_height, y + height // 2), name, "black", font=font, anchor="rm")
        for column, picture in enumerate(np.asarray(pictures[row])):
            sheet.paste(Image.fromarray(picture), (left + column * (width + gap), y))
    return np.array(sheet)
