"""What the surfaces of the drawn street look like: small painted pictures.

A `paint_*` function returns an image, uint8, whose sides are powers of two;
row 0 is the top.  `make_texture` prepares an image for being seen from any
distance and angle.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, UInt8, UInt32
from numpy.random import Generator
from PIL import Image, ImageDraw

Picture = UInt8[np.ndarray, "h w c"]
Rgb = tuple[int, int, int]
Points = list[tuple[float, float]]

WALLS = (
    (150, 82, 62),
    (176, 124, 92),
    (198, 182, 148),
    (150, 150, 150),
    (214, 210, 200),
    (122, 96, 78),
    (190, 160, 96),
    (120, 130, 142),
)
FENCES = ((128, 90, 56), (150, 146, 140), (92, 112, 84), (196, 190, 176), (74, 82, 94))
PAINTS = (
    (172, 32, 34),
    (36, 60, 128),
    (206, 208, 210),
    (30, 32, 36),
    (120, 126, 132),
    (226, 226, 222),
    (28, 92, 74),
    (204, 164, 44),
    (96, 44, 60),
    (78, 128, 164),
)
CLOTHES = (
    (156, 42, 46),
    (44, 62, 110),
    (208, 200, 186),
    (42, 42, 46),
    (92, 112, 70),
    (196, 150, 60),
    (110, 72, 120),
    (84, 84, 90),
)
SKINS = ((226, 186, 156), (196, 146, 112), (132, 92, 68))
GLASS = (52, 62, 72)


class Texture(NamedTuple):
    """An image and its averages over every power of two, in each direction.

    Attributes:
        texels: All levels one after the other, RGBA packed in one number.
        offsets: Where level `[i, j]` starts: width / 2**i, height / 2**j.
        height: Rows of the image itself.
        width: Columns of the image itself.
        is_opaque: Whether nothing can be seen through it.
    """

    texels: UInt32[np.ndarray, "n"]
    offsets: Integer[np.ndarray, "i j"]
    height: int
    width: int
    is_opaque: bool


def make_texture(image: Picture) -> Texture:
    """Average an image over every power of two in each direction.

    Args:
        image: `[h, w, 3 or 4]` uint8; both sides powers of two.

    Returns:
        The texture; averages weigh colours by their opacity.
    """
    height, width, channels = image.shape
    alpha = image[..., 3:].astype(np.float32) if channels == 4 else np.full((height, width, 1), 255)
    wide: np.ndarray = np.concatenate([image[..., :3] * (alpha / 255), alpha], axis=-1)
    wide = wide.astype(np.float32)
    num_wide, num_high = width.bit_length(), height.bit_length()
    levels, offsets, total = [], np.zeros((num_wide, num_high), np.int32), 0
    for i in range(num_wide):
        level = wide
        for j in range(num_high):
            colours = level[..., :3] * (255 / np.maximum(level[..., 3:], 1))
            rgba = np.concatenate([colours, level[..., 3:]], axis=-1).clip(0, 255) + 0.5
            levels.append(rgba.astype(np.uint8).reshape(-1, 4).view(np.uint32)[:, 0])
            offsets[i, j] = total
            total += len(levels[-1])
            if j + 1 < num_high:
                level = (level[::2] + level[1::2]) / 2
        if i + 1 < num_wide:
            wide = (wide[:, ::2] + wide[:, 1::2]) / 2
    return Texture(np.concatenate(levels), offsets, height, width, bool(alpha.min() == 255))


def draw_noise(
    rng: Generator, height: int, width: int, *, cells: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "{height} {width} 1"]:
    """Draw smooth noise that continues across the edges.

    Args:
        rng: Source of randomness.
        height: Rows.
        width: Columns.
        cells: Bumps per image, down and across, one pair an octave.

    Returns:
        `[height, width, 1]` float32, mean about 0 and deviation about 1.
    """
    total: np.ndarray = np.zeros((height, width))
    for down, across in cells:
        grid: np.ndarray = rng.standard_normal((down, across))
        for axis, (size, num) in enumerate(((height, down), (width, across))):
            position = np.arange(size) * num / size
            first = position.astype(int)
            part = position - first
            part = (part * part * (3 - 2 * part)).reshape((-1, 1) if axis == 0 else (1, -1))
            grid = grid.take(first, axis) * (1 - part) + grid.take((first + 1) % num, axis) * part
        total += grid / grid.std()
    return (total / np.sqrt(len(cells)))[..., None].astype(np.float32)


def _finish(colours: np.ndarray, alpha: np.ndarray | None = None) -> Picture:
    image = np.clip(colours, 0, 255)
    if alpha is not None:
        image = np.concatenate([image, np.where(alpha, 255, 0).reshape(*image.shape[:2], 1)], -1)
    return image.astype(np.uint8)


def _canvas(height: int, width: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGBA", (width, height))
    return image, ImageDraw.Draw(image)


def _roughen(rng: Generator, image: Image.Image, *, strength: float) -> Picture:
    """Give flat paint a grain and shade it, keeping its outline."""
    pixels = np.asarray(image).astype(np.float32)
    height, width = pixels.shape[:2]
    cells = [(max(height // 4, 1), max(width // 4, 1)), (4, 4)]
    grain = draw_noise(rng, height, width, cells=cells)
    return _finish(pixels[..., :3] + strength * grain, pixels[..., 3] >= 128)


def pick_colour(rng: Generator, colours: Sequence[Rgb], *, spread: float = 14) -> Rgb:
    """Pick a colour and vary it, in brightness more than in hue.

    Args:
        rng: Source of randomness.
        colours: To pick from.
        spread: Deviation of its brightness, of 255.

    Returns:
        The colour.
    """
    mean = np.array(colours[int(rng.integers(len(colours)))]) + rng.normal(0, spread)
    red, green, blue = np.clip(rng.normal(mean, spread / 3), 8, 245)
    return int(red), int(green), int(blue)


def scale_colour(colour: Rgb, factor: float) -> Rgb:
    """Make a colour darker or brighter.

    Args:
        colour: The colour.
        factor: On each channel.

    Returns:
        The scaled colour, at most white.
    """
    red, green, blue = (min(int(c * factor), 255) for c in colour)
    return red, green, blue


def paint_sky(rng: Generator, *, cloudiness: float) -> Picture:
    """Paint clouds over a sky that pales towards the horizon (the last row).

    Args:
        rng: Source of randomness.
        cloudiness: 0 (blue) to 1 (overcast).

    Returns:
        `[256, 512, 3]`.
    """
    down = np.linspace(0, 1, 256)[:, None, None]
    blue = np.array([92, 142, 206]) * (1 - down) + np.array([196, 212, 228]) * down
    noise = draw_noise(rng, 256, 512, cells=[(5, 5), (12, 10), (24, 24), (64, 64)])
    cover = np.clip((noise + 2.6 * cloudiness - 1) * 0.8, 0, 1)
    return _finish(blue * (1 - cover) + (222 - 30 * cloudiness + 10 * noise) * cover)


def paint_skyline(rng: Generator) -> Picture:
    """Paint distant tree tops; see-through above them.

    Args:
        rng: Source of randomness.

    Returns:
        `[64, 512, 4]`.
    """
    top = draw_noise(rng, 1, 512, cells=[(1, 9), (1, 30), (1, 90)])[0, :, 0] * 9 + 30
    noise = draw_noise(rng, 64, 512, cells=[(8, 64), (32, 256)])
    return _finish(np.array([74, 92, 66]) + 12 * noise, np.arange(64)[:, None] > top)


def paint_road(rng: Generator, *, lines: Sequence[float]) -> Picture:
    """Paint asphalt with dashed lane lines and kerb lines, to be repeated.

    Args:
        rng: Source of randomness.
        lines: Where the dashed lines run, as fractions of the width.

    Returns:
        `[512, 1024, 3]`; across the road in x, along it in y.
    """
    noise = draw_noise(rng, 512, 1024, cells=[(512, 1024), (128, 256)])
    stains = draw_noise(rng, 512, 1024, cells=[(3, 8), (2, 24), (16, 32)])
    colours = rng.uniform(82, 118) + rng.normal(0, 1.5, 3) + 9 * noise + 7 * stains
    seams = np.abs(draw_noise(rng, 512, 1024, cells=[(4, 8), (16, 32)])) < 0.012
    colours -= 28 * seams
    worn = draw_noise(rng, 512, 1024, cells=[(64, 128), (256, 512)]) * 16
    dashes = (np.arange(512) // 128) % 2 == 0
    for line in lines:
        columns = slice(int(line * 1024) - 5, int(line * 1024) + 5)
        colours[dashes, columns] = 198 + worn[dashes, columns]
    for edge in (22, 996):
        colours[:, edge : edge + 7] = np.array([196, 172, 92]) + worn[:, edge : edge + 7]
    return _finish(colours)


def paint_pavement(rng: Generator) -> Picture:
    """Paint slabs with dark joints, to be repeated.

    Args:
        rng: Source of randomness.

    Returns:
        `[256, 256, 3]`.
    """
    y, x = np.mgrid[:256, :256]
    slab = rng.normal(0, 9, (8, 5, 1))[y // 32, np.minimum((x + 26 * (y // 32 % 2)) % 256 // 52, 4)]
    colours = rng.uniform(112, 158) + rng.normal([6, 2, -3], 4) + slab
    colours += 7 * draw_noise(rng, 256, 256, cells=[(128, 128), (24, 24), (3, 3)])
    joints = (y % 32 < 2) | ((x + 26 * (y // 32 % 2)) % 256 % 52 < 2)
    return _finish(colours - 42 * joints[..., None])


def paint_facade(rng: Generator, *, is_shop: bool) -> Picture:
    """Paint a wall with rows of windows and a ground floor.

    Args:
        rng: Source of randomness.
        is_shop: Whether the ground floor has shop windows.

    Returns:
        `[512, 512, 3]`.
    """
    y, x = np.mgrid[:512, :512]
    wall = pick_colour(rng, WALLS)
    colours = np.array(wall) + 7 * draw_noise(rng, 512, 512, cells=[(6, 6), (24, 40), (256, 256)])
    bricks = rng.normal(0, 9, (64, 33, 1))[y // 8, (x + 8 * (y // 8 % 2)) // 16]
    colours += bricks * rng.uniform(0.2, 1)
    colours -= (
        16 * rng.uniform(0.3, 1) * ((y % 8 < 1) | ((x + 8 * (y // 8 % 2)) % 16 < 1))[..., None]
    )
    image = Image.fromarray(_finish(colours))
    draw = ImageDraw.Draw(image)
    trim = pick_colour(rng, ((226, 222, 212), (90, 84, 80), wall))
    num_rows, num_columns = int(rng.integers(2, 5)), int(rng.integers(3, 6))
    floor = 512 // (num_rows + 1)
    wide, high = (
        int(512 / num_columns * rng.uniform(0.38, 0.6)),
        int(floor * rng.uniform(0.5, 0.66)),
    )
    for row in range(num_rows):
        for column in range(num_columns):
            left = int((column + 0.5) * 512 / num_columns - wide / 2)
            top = int((row + 0.5) * floor - high / 2) + 14
            _paint_window(rng, draw, (left, top, left + wide, top + high), trim)
    draw.rectangle((0, 0, 511, 11), fill=scale_colour(trim, 0.9))
    draw.rectangle((0, 12, 511, 15), fill=scale_colour(wall, 0.5))
    bottom = num_rows * floor + 8
    if is_shop:
        board = pick_colour(rng, CLOTHES)
        draw.rectangle((0, bottom, 511, 511), fill=scale_colour(board, 0.7))
        draw.rectangle((0, bottom, 511, bottom + floor // 4), fill=board)
        for left in np.cumsum(rng.integers(14, 40, 16)):
            draw.rectangle(
                (left, bottom + 8, left + 9, bottom + floor // 4 - 7), fill=scale_colour(trim, 1)
            )
        for left in range(12, 500, 100):
            _paint_window(rng, draw, (left, bottom + floor // 4 + 8, left + 82, 492), trim)
    else:
        door = int(rng.integers(60, 380))
        for left in range(24, 480, 118):
            if abs(left + 36 - door - 28) > 72:
                _paint_window(rng, draw, (left, bottom + 16, left + 72, bottom + 16 + high), trim)
        draw.rectangle((door - 6, 512 - int(floor * 0.86), door + 62, 511), fill=trim)
        draw.rectangle(
            (door, 518 - int(floor * 0.86), door + 56, 511), fill=pick_colour(rng, PAINTS)
        )
    return np.asarray(image)


def _paint_window(
    rng: Generator, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], trim: Rgb
) -> None:
    left, top, right, bottom = box
    draw.rectangle((left - 5, top - 5, right + 5, bottom + 5), fill=trim)
    draw.rectangle((left - 8, bottom + 5, right + 8, bottom + 10), fill=scale_colour(trim, 0.72))
    glass = scale_colour(GLASS, rng.uniform(0.6, 1.9))
    draw.rectangle(box, fill=glass)
    slant = rng.uniform(0, right - left)
    shine: Points = [(left, top), (left + slant, top), (left, top + slant)]
    draw.polygon(shine, fill=scale_colour(glass, 1.35))
    if rng.random() < 0.5:
        curtain = left + int((right - left) * rng.uniform(0.15, 0.45))
        draw.rectangle((left, top, curtain, bottom), fill=pick_colour(rng, ((206, 196, 180),)))
    middle = (left + right) // 2
    draw.rectangle((middle - 2, top, middle + 2, bottom), fill=trim)


def paint_wall(rng: Generator) -> Picture:
    """Paint a plain side wall or a tiled roof: courses of one colour.

    Args:
        rng: Source of randomness.

    Returns:
        `[128, 128, 3]`.
    """
    y, x = np.mgrid[:128, :128]
    colours = np.array(pick_colour(rng, ((128, 112, 100), (110, 72, 60), (92, 94, 102))), float)
    tiles = rng.normal(0, 9, (16, 17, 1))[y // 8, (x + 4 * (y // 8 % 2)) // 8]
    colours = colours + tiles + 8 * draw_noise(rng, 128, 128, cells=[(4, 4), (64, 64)])
    return _finish(colours - 22 * (y % 8 < 2)[..., None])


def paint_gable(rng: Generator) -> Picture:
    """Paint the triangle of wall under a roof.

    Args:
        rng: Source of randomness.

    Returns:
        `[128, 128, 4]`; see-through beside the triangle.
    """
    down, across = np.ogrid[0:1:128j, -1:1:128j]
    return _finish(paint_wall(rng), np.abs(across) <= down)


def paint_fence(rng: Generator) -> Picture:
    """Paint planks with rails and a notched upper edge.

    Args:
        rng: Source of randomness.

    Returns:
        `[64, 256, 4]`.
    """
    y, x = np.mgrid[:64, :256]
    planks = rng.normal(0, 15, (16, 1))[x // 16]
    colours = np.array(pick_colour(rng, FENCES)) + planks
    colours = colours + 8 * draw_noise(rng, 64, 256, cells=[(4, 128), (8, 64)])
    colours -= 48 * (x % 16 < 2)[..., None]
    rails = ((y > 14) & (y < 20)) | ((y > 46) & (y < 52))
    colours += np.where(rails, -24 if rng.random() < 0.5 else 22, 0)[..., None]
    notch = np.abs(x % 16 - 8) * rng.uniform(0, 0.7)
    return _finish(colours, y > notch)


def paint_crown(rng: Generator) -> Picture:
    """Paint one clump of leaves with a ragged outline.

    Args:
        rng: Source of randomness.

    Returns:
        `[128, 128, 4]`.
    """
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    ragged = draw_noise(rng, 128, 128, cells=[(8, 8), (20, 20)])[..., 0]
    alpha = np.hypot(x, y) + 0.10 * ragged < 0.84
    leaves = draw_noise(rng, 128, 128, cells=[(9, 9), (24, 24), (60, 60)])
    green = pick_colour(rng, ((76, 98, 46), (58, 86, 50), (104, 108, 52), (92, 84, 44)), spread=9)
    colours = np.array(green) * (1 + 0.32 * leaves) * (1.12 - 0.32 * (y - 0.3 * x))[..., None]
    return _finish(colours, alpha)


def paint_post(rng: Generator, *, colour: Rgb) -> Picture:
    """Paint a round upright: a trunk or a pole, lit from one side.

    Args:
        rng: Source of randomness.
        colour: Its mean colour.

    Returns:
        `[128, 16, 3]`.
    """
    light = np.sin(np.linspace(0.5, 2.9, 16))[None, :, None] * 0.6 + 0.6
    grain = 9 * draw_noise(rng, 128, 16, cells=[(32, 8), (8, 4)])
    return _finish(np.array(colour) * light + grain)


def paint_sign(rng: Generator) -> Picture:
    """Paint a traffic sign: round, triangular or a board with writing.

    Args:
        rng: Source of randomness.

    Returns:
        `[64, 64, 4]`.
    """
    image, draw = _canvas(64, 64)
    rim = pick_colour(rng, ((192, 34, 38), (34, 74, 160), (30, 110, 70)))
    inner = pick_colour(rng, ((232, 230, 224), (40, 84, 170), (226, 196, 60)))
    ink = (240, 240, 236) if sum(inner) < 360 else (34, 34, 36)
    kind = rng.integers(3)
    if kind == 0:
        draw.ellipse((1, 1, 62, 62), fill=rim)
        draw.ellipse((11, 11, 52, 52), fill=inner)
        draw.rectangle((19, 28, 44, 35), fill=ink)
    elif kind == 1:
        draw.polygon([(32, 2), (63, 60), (1, 60)], fill=rim)
        draw.polygon([(32, 18), (50, 53), (14, 53)], fill=inner)
        draw.rectangle((29, 28, 35, 48), fill=ink)
    else:
        draw.rectangle((0, 6, 63, 57), fill=ink)
        draw.rectangle((3, 9, 60, 54), fill=inner)
        for row in range(14, 50, 12):
            draw.rectangle((9, row, int(rng.integers(30, 56)), row + 5), fill=ink)
    return _roughen(rng, image, strength=4)


def paint_shade() -> Picture:
    """Paint the soft shadow under a thing; opacity is how dark it is.

    Returns:
        `[32, 32, 4]`.
    """
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    depth = np.clip(1.6 * (1 - np.maximum(np.hypot(x, y), 0.75 * np.maximum(abs(x), abs(y)))), 0, 1)
    return np.concatenate([np.zeros((32, 32, 3)), 190 * depth[..., None]], -1).astype(np.uint8)


def paint_car_side(
    rng: Generator, *, profile: Points, windows: Sequence[Points], paint: Rgb
) -> Picture:
    """Paint the side of a vehicle: body, windows and two wheels.

    Args:
        rng: Source of randomness.
        profile: Its outline in metres, (along from the rear, up).
        windows: Outlines of its windows, likewise.
        paint: Colour of the body.

    Returns:
        `[64, 256, 4]`, the rear on the left, the outline's box filling it.
    """
    image, draw = _canvas(64, 256)
    length, height = max(x for x, _ in profile), max(y for _, y in profile)

    def place(points: Points) -> Points:
        return [(x / length * 255, (1 - y / height) * 63) for x, y in points]

    body = [(x, max(y, 0.28)) for x, y in profile]
    draw.polygon(place(body), fill=paint)
    (left, top), (right, bottom) = place([(0.0, 0.62), (length, 0.28)])
    draw.rectangle((left, (top + bottom) / 2, right, bottom), fill=scale_colour(paint, 0.62))
    draw.line(place([(0.1, 0.72), (length - 0.1, 0.72)]), fill=scale_colour(paint, 1.3), width=2)
    for window in windows:
        draw.polygon(place(window), fill=scale_colour(GLASS, rng.uniform(0.6, 1.2)))
    for x in (0.19 * length, length - 0.19 * length):
        for radius, fill in ((0.38, (18, 18, 20)), (0.33, (34, 34, 36)), (0.18, (150, 150, 154))):
            draw.ellipse(
                place([(x - radius, 0.33 + radius), (x + radius, 0.33 - radius)]), fill=fill
            )
    for x in (0.42 * length, 0.64 * length):
        draw.line(place([(x, 0.3), (x, 0.9)]), fill=scale_colour(paint, 0.5), width=1)
    return _roughen(rng, image, strength=4)


def paint_car_end(rng: Generator, *, paint: Rgb, is_rear: bool, height: float) -> Picture:
    """Paint the face of a vehicle seen from behind or from the front.

    Args:
        rng: Source of randomness.
        paint: Colour of the body.
        is_rear: Whether it shows red lights.
        height: Of the face, metres; a tall one holds a window.

    Returns:
        `[64, 64, 4]`; see-through below the body.
    """
    image, draw = _canvas(64, 64)
    base = round(64 * (1 - 0.28 / height))
    draw.rectangle((0, 0, 63, base), fill=paint)
    if height > 1.5:
        draw.rectangle((6, 5, 57, 26), fill=scale_colour(GLASS, rng.uniform(0.6, 1.1)))
        draw.line((31, 2, 31, base), fill=scale_colour(paint, 0.5))
    metre = 64 / height
    draw.rectangle((0, base - 0.16 * metre, 63, base), fill=scale_colour(paint, 0.5))
    light = (190, 24, 24) if is_rear else (240, 238, 214)
    top = base - 0.4 * metre
    for left in (2, 50):
        draw.rectangle((left, top, left + 11, top + 0.16 * metre), fill=light)
    plate = (226, 216, 120) if is_rear else (28, 28, 30)
    draw.rectangle((23, top + 0.05 * metre, 40, top + 0.17 * metre), fill=plate)
    return _roughen(rng, image, strength=4)


def paint_axle(rng: Generator) -> Picture:
    """Paint two tyres seen from behind and the dark underside between them.

    Args:
        rng: Source of randomness.

    Returns:
        `[32, 64, 4]`; see-through between the tyres.
    """
    image, draw = _canvas(32, 64)
    draw.rectangle((0, 0, 63, 19), fill=(24, 24, 26))
    for left in (0, 55):
        draw.rectangle((left, 0, left + 8, 31), fill=(22, 22, 24))
    return _roughen(rng, image, strength=3)


def paint_panel(rng: Generator, *, colour: Rgb) -> Picture:
    """Paint a bonnet, a roof or a pane: one colour, paler at the top.

    Args:
        rng: Source of randomness.
        colour: Its mean colour.

    Returns:
        `[32, 32, 3]`.
    """
    light = np.linspace(1.25, 0.85, 32)[:, None, None]
    return _finish(np.array(colour) * light + 5 * draw_noise(rng, 32, 32, cells=[(4, 4), (16, 16)]))


def paint_person(rng: Generator, *, coat: Rgb, has_helmet: bool) -> Picture:
    """Paint head, trunk and arms of a person; the legs move on their own.

    Args:
        rng: Source of randomness.
        coat: Colour of the clothes.
        has_helmet: Whether a helmet is worn.

    Returns:
        `[128, 64, 4]`.
    """
    image, draw = _canvas(128, 64)
    skin = pick_colour(rng, SKINS, spread=6)
    hair = pick_colour(rng, ((40, 30, 24), (96, 66, 40), (168, 140, 92)), spread=6)
    for left in (4, 49):
        draw.rounded_rectangle((left, 42, left + 11, 116), 5, fill=scale_colour(coat, 0.78))
        draw.ellipse((left, 108, left + 10, 122), fill=skin)
    draw.rounded_rectangle((11, 36, 52, 127), 11, fill=coat)
    draw.rectangle((26, 28, 37, 40), fill=skin)
    draw.ellipse((20, 2, 43, 35), fill=skin)
    top = pick_colour(rng, PAINTS) if has_helmet else hair
    draw.pieslice((18, 0, 45, 36 if has_helmet else 30), 180, 360, fill=top)
    if rng.random() < 0.5:
        draw.rounded_rectangle((18, 46, 45, 88), 6, fill=pick_colour(rng, CLOTHES))
    else:
        draw.line((31, 44, 31, 120), fill=scale_colour(coat, 0.6), width=2)
    return _roughen(rng, image, strength=8)


def paint_leg(rng: Generator, *, colour: Rgb) -> Picture:
    """Paint a leg with its shoe.

    Args:
        rng: Source of randomness.
        colour: Colour of the trousers.

    Returns:
        `[64, 16, 4]`.
    """
    image, draw = _canvas(64, 16)
    draw.polygon([(1, 0), (14, 0), (12, 58), (3, 58)], fill=colour)
    draw.rectangle((1, 57, 14, 63), fill=(30, 26, 24))
    return _roughen(rng, image, strength=7)


def paint_bicycle(rng: Generator) -> Picture:
    """Paint a bicycle from its side.

    Args:
        rng: Source of randomness.

    Returns:
        `[64, 128, 4]`.
    """
    image, draw = _canvas(64, 128)
    frame = pick_colour(rng, PAINTS)
    for x in (25, 102):
        draw.ellipse((x - 23, 17, x + 23, 63), outline=(24, 24, 26), width=5)
        draw.ellipse((x - 4, 36, x + 4, 44), fill=(120, 120, 124))
    bars: Points = [(25, 40), (58, 42), (90, 12), (46, 14), (25, 40)]
    draw.line(bars, fill=frame, width=6)
    draw.line([(58, 42), (44, 8)], fill=frame, width=6)
    draw.line([(102, 40), (88, 4), (96, 2)], fill=frame, width=6)
    draw.rectangle((34, 5, 54, 10), fill=(30, 28, 28))
    return _roughen(rng, image, strength=3)
