"""Draw the street: frames, exact labels and exact motion, in numpy alone.

Every surface is a textured parallelogram.  In homogeneous coordinates its
image is one 3x3 matrix, so the inverse of that matrix says, for every sample
of the image, where on the surface it lies and how far away; and the matrix of
the frame before times that inverse is the exact motion of every pixel.

Samples lie half a pixel apart, every other one on a pixel's centre.  A pixel's
label and motion are those of its centre; its colour is a 3x3 tent of samples.
"""

from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from data.street.world import SHADE, Camera, Key, Patch, World, make_world

NEAR = 0.4
"""What is nearer to the camera than this is not drawn, metres."""


class Street(NamedTuple):
    """A run of frames of one street, or, without `t`, one frame.

    Attributes:
        frames: `[t, H, W, 3]` uint8, RGB.
        labels: `[t, H, W]` uint8, CamVid's 11 classes.
        motion: `[t, H, W, 2]` float32, backward, pixels, exact: what is at p in
            frame t was at `p + motion[t](p)` in frame t-1; zero in frame 0.
        is_new: `[t, H, W]`; True where frame t shows what frame t-1 did not, as
            it was hidden or outside the frame; everywhere in frame 0.
    """

    frames: UInt8[np.ndarray, "*t H W 3"]
    labels: UInt8[np.ndarray, "*t H W"]
    motion: Float[np.ndarray, "*t H W 2"]
    is_new: Bool[np.ndarray, "*t H W"]


class _Canvas(NamedTuple):
    """What each sample shows so far; written in place."""

    colours: Float[np.ndarray, "y x 3"]
    inverse_depth: Float[np.ndarray, "y x"]
    surface: Integer[np.ndarray, "y x"]


def render(
    *, seed: int, num_frames: int, height: int = 240, width: int = 320, rate: float = 15
) -> Street:
    """Draw the first frames of a street.

    Args:
        seed: Names the street: its layout, colours, light and traffic.
        num_frames: How many frames.
        height: Of a frame, pixels.
        width: Of a frame, pixels.
        rate: Frames a second of the drive.

    Returns:
        The frames with labels and motion, the same for the same arguments; the
        first frames of a longer run are those of a shorter one.
    """
    frames = render_frames(seed=seed, height=height, width=width, rate=rate)
    return Street(*(np.stack(parts) for parts in zip(*islice(frames, num_frames), strict=True)))


def render_frames(
    *, seed: int, height: int = 240, width: int = 320, rate: float = 15
) -> Iterator[Street]:
    """Draw a street frame by frame, without end.

    Args:
        seed: Names the street: its layout, colours, light and traffic.
        height: Of a frame, pixels.
        width: Of a frame, pixels.
        rate: Frames a second of the drive.

    Returns:
        One frame after the other: each a `Street` whose arrays have no axis `t`.
    """
    world = make_world(seed)
    rng = np.random.default_rng((seed, 3))
    grain = rng.normal(0, 2, (height + 64, width + 64, 3)).astype(np.float32)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = (1 - 0.09 * (x * x + y * y))[..., None].astype(np.float32)
    before: dict[Key, int] = {}
    surface_before = np.full((2 * height + 1, 2 * width + 1), -1)
    for index in count():
        time, time_before = index / rate, max(index - 1, 0) / rate
        scene = world.patches(time, time_before)
        names, patches = list(scene), [patch for patch, _ in scene.values()]
        now = _project(
            np.stack([patch.plane for patch in patches]), world.camera(time), height, width
        )
        then = _project(
            np.stack([plane for _, plane in scene.values()]),
            world.camera(time_before),
            height,
            width,
        )
        canvas = _draw(patches, now, world, world.camera(time), height, width)
        surface = canvas.surface[1::2, 1::2]
        motion = _move(surface, now, then) if index else np.zeros((height, width, 2), np.float32)
        was = np.array([before.get(name, -2) for name in names])[surface]
        is_new = was != _look_up(surface_before, motion)
        left, top = rng.integers(64, size=2)
        colours = _blur(canvas.colours) * (vignette * (1 + 0.04 * np.sin(0.7 * time)))
        colours += grain[top : top + height, left : left + width] + 0.5
        labels = np.array([patch.label for patch in patches], np.uint8)[surface]
        yield Street(np.clip(colours, 0, 255).astype(np.uint8), labels, motion, is_new)
        before = {name: number for number, name in enumerate(names)}
        surface_before = canvas.surface


def _project(planes: np.ndarray, camera: Camera, height: int, width: int) -> np.ndarray:
    """Give each plane's matrix from (across, down, 1) to depth * (x, y, 1)."""
    focal = 0.8 * width
    horizon = (0.53 + camera.pitch) * height
    cos, sin = np.cos(camera.yaw), np.sin(camera.yaw)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    lens = np.array([[focal, 0, width / 2], [0, -focal, horizon], [0, 0, 1]])
    planes = planes.copy()
    planes[:, :, 2] -= camera.position
    return lens @ turn @ planes


def _bounds(images: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the samples that each parallelogram may cover, and its corners' depths.

    Edges that run behind the camera are cut there.
    """
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float)
    points = np.einsum("nij,kj->nki", images, corners)
    following = np.roll(points, -1, axis=1)
    depth, depth_following = points[..., 2], following[..., 2]
    crossing = (depth > NEAR) != (depth_following > NEAR)
    part = np.where(crossing, (NEAR - depth) / np.where(crossing, depth_following - depth, 1), 0)
    cuts = points + part[..., None] * (following - points)
    candidates = np.concatenate([points, cuts], axis=1)
    seen = np.concatenate([depth > NEAR, crossing], axis=1)[..., None]
    xy = candidates[..., :2] / np.maximum(candidates[..., 2:], NEAR)
    low = np.where(seen, xy, np.inf).min(axis=1)
    high = np.where(seen, xy, -np.inf).max(axis=1)
    limits = np.array([2 * width + 1, 2 * height + 1])
    first = np.clip(np.ceil(2 * low), 0, limits)
    stop = np.clip(np.floor(2 * high) + 1, 0, limits)
    return np.concatenate([first, stop], axis=1).astype(int), np.maximum(depth, NEAR)


def _draw(
    patches: list[Patch], images: np.ndarray, world: World, camera: Camera, height: int, width: int
) -> _Canvas:
    """Draw the nearest surface at each sample, then the shades upon it."""
    shape = 2 * height + 1, 2 * width + 1
    canvas = _Canvas(
        np.empty((*shape, 3), np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    )
    boxes, depths = _bounds(images, height, width)
    away = camera.position - np.stack([patch.plane[:, 2] for patch in patches])
    faces = np.einsum("ni,ni->n", away, np.array([patch.normal for patch in patches])) >= 0
    near = images[:, 2, 2] < np.array([patch.reach for patch in patches])
    # Edge-on, a parallelogram covers nothing and has no inverse.
    solid = np.abs(np.linalg.det(images)) > 1e-9
    drawn = np.flatnonzero(faces & near & solid & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    order = drawn[np.argsort(depths[drawn].mean(axis=1), kind="stable")]
    nearest = depths.min(axis=1)
    inverses = np.linalg.inv(images[order]).astype(np.float32)
    shades = []
    for number, inverse in zip(order.tolist(), inverses, strict=True):
        patch, box = patches[number], boxes[number]
        if patch.label == SHADE:
            shades.append((patch, inverse, box))
        else:
            _draw_surface(canvas, number, patch, inverse, box, 1 / nearest[number], world)
    for patch, inverse, box in shades:
        _draw_shade(canvas, patch, inverse, box)
    return canvas


def _cast(
    inverse: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give (across, down, 1) / depth at the samples of a box, and where it holds."""
    left, top, right, bottom = box
    x = (np.arange(left, right) / 2).astype(np.float32)
    y = (np.arange(top, bottom) / 2).astype(np.float32)[:, None]
    across, down, one = ((row[1] * y + row[2]) + row[0] * x for row in inverse)
    inside = (across >= 0) & (across < one) & (down >= 0) & (down < one) & (one < 1 / NEAR)
    return across, down, one, inside


def _draw_surface(
    canvas: _Canvas,
    number: int,
    patch: Patch,
    inverse: np.ndarray,
    box: np.ndarray,
    nearest: float,
    world: World,
) -> None:
    left, top, right, bottom = box
    behind = canvas.inverse_depth[top:bottom, left:right]
    if behind.min() > nearest:
        return
    across, down, one, inside = _cast(inverse, box)
    inside &= one > behind
    index = inside.ravel().nonzero()[0]
    if not len(index):
        return
    inverse_depth = one.take(index)
    depth = 1 / inverse_depth
    across, down = across.take(index) * depth, down.take(index) * depth
    rgba = _sample(patch, inverse, across, down, depth)
    if not patch.texture.is_opaque:
        solid = rgba[:, 3] >= 128
        index, rgba = index[solid], rgba[solid]
        depth, inverse_depth = depth[solid], inverse_depth[solid]
    colours = rgba[:, :3] * np.array(patch.tint, np.float32)
    if patch.is_hazy:
        clear = np.exp(depth / -world.haze).astype(np.float32)[:, None]
        air = np.array(world.air, np.float32)
        colours -= air
        colours *= clear
        colours += air
    stride = canvas.surface.shape[1]
    flat = index + index // (right - left) * (stride - right + left) + top * stride + left
    canvas.colours.reshape(-1, 3)[flat] = colours
    canvas.inverse_depth.reshape(-1)[flat] = inverse_depth
    canvas.surface.reshape(-1)[flat] = number


def _draw_shade(canvas: _Canvas, patch: Patch, inverse: np.ndarray, box: np.ndarray) -> None:
    left, top, right, bottom = box
    across, down, one, inside = _cast(inverse, box)
    # The ground lies just below the shade; what stands on it is nearer.
    inside &= np.abs(canvas.inverse_depth[top:bottom, left:right] / one - 1) < 0.012
    rows, columns = np.nonzero(inside)
    depth = 1 / one[inside]
    rgba = _sample(patch, inverse, across[inside] * depth, down[inside] * depth, depth)
    canvas.colours[rows + top, columns + left] *= 1 - rgba[:, 3:] * np.float32(0.75 / 255)


def _sample(
    patch: Patch, inverse: np.ndarray, across: np.ndarray, down: np.ndarray, depth: np.ndarray
) -> UInt8[np.ndarray, "n 4"]:
    """Look the texture up, averaged over what a sample covers each way."""
    texture, last = patch.texture, inverse[2]
    levels, texels = [], []
    for row, position, size, times in zip(
        inverse[:2], (across, down), (texture.width, texture.height), patch.repeat, strict=True
    ):
        spread = np.maximum(
            np.abs(row[0] - position * last[0]), np.abs(row[1] - position * last[1])
        )
        # A sample is half a pixel wide, and its level should be the nearest one:
        # the exponent of a float32, which is far faster to read than to compute.
        spread *= depth * np.float32(0.5 * 2**0.5 * size * times)
        exponent = (spread.view(np.int32) >> 23) - 127
        levels.append(np.minimum(np.maximum(exponent, 0), size.bit_length() - 1))
        texels.append((position * np.float32(times * size)).astype(np.int32) & (size - 1))
    (i, j), (column, row) = levels, texels
    start = texture.offsets.take(i * texture.offsets.shape[1] + j)
    texel = start + (row >> j) * (texture.width >> i) + (column >> i)
    return texture.texels.take(texel).view(np.uint8).reshape(-1, 4)


def _move(surface: np.ndarray, now: np.ndarray, then: np.ndarray) -> Float[np.ndarray, "H W 2"]:
    """Follow each pixel's centre back to the frame before."""
    used = np.bincount(surface.ravel(), minlength=len(now)) > 0
    matrices = np.zeros((3, 3, len(now)))
    matrices[..., used] = np.moveaxis(then[used] @ np.linalg.inv(now[used]), 0, -1)
    y, x = np.ogrid[0.5 : surface.shape[0], 0.5 : surface.shape[1]]
    across, down, depth = (a[surface] * x + b[surface] * y + c[surface] for a, b, c in matrices)
    # What was beside or behind the camera was far outside the frame.
    depth = np.maximum(depth, 1e-3)
    return np.stack([across / depth - x, down / depth - y], axis=-1).astype(np.float32)


def _look_up(surface: np.ndarray, motion: np.ndarray) -> Integer[np.ndarray, "H W"]:
    """Find the surface that the frame before showed where each pixel was."""
    height, width = motion.shape[:2]
    y, x = np.ogrid[0.5:height, 0.5:width]
    column, row = x + motion[..., 0], y + motion[..., 1]
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    row, column = (np.rint(2 * np.where(inside, a, 0)).astype(int) for a in (row, column))
    return np.where(inside, surface[row, column], -1)


def _blur(colours: np.ndarray) -> Float[np.ndarray, "H W 3"]:
    """Weigh the samples of each pixel by a tent."""
    rows = 0.25 * colours[:-1:2] + 0.5 * colours[1::2] + 0.25 * colours[2::2]
    return 0.25 * rows[:, :-1:2] + 0.5 * rows[:, 1::2] + 0.25 * rows[:, 2::2]
