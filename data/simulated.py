"""A labelled still becomes a labelled clip: a simulated camera drives into it.

Data sets with a label every second have no neighbouring frames to learn motion from.
Here the still is pasted inside a street: ground, a wall on either side, a far end.
Objects are cut out of it along its labels, stand on the ground where they meet it, and
may move on their own.  The camera drives, pans and shakes; picture and labels are
fetched through the same map, so that labels are exact.  A real encoder then says what
moved.

All maps are pulls, as a warp is: from a place in a frame to one in the still.
Positions are (x, y) in pixels.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]
from tqdm import tqdm

from data.cache import GOP, RECORD, encode_record, save_record, stored_examples
from data.examples import Example
from jaxseg.arrays import IGNORE_LABEL

Range: TypeAlias = tuple[float, float]

CELL = 32
"""Pixels between the places where the map of the street is computed; between, it is bilinear."""

OBJECT_SHARES = (0.0005, 0.15)
"""Connected pixels of one class are an object if they are this share of the still."""

LARGEST_ZOOM = 2.5
"""No object comes so near that it grows more than this."""

GRAIN_SHIFT = 64
"""The grain of a frame is a window, moved by up to this many pixels, of that of its clip."""


@dataclasses.dataclass(frozen=True)
class CameraConfig:
    """How a camera drives; each pair is a range from which a clip's value is drawn.

    The defaults resemble CamVid's drives at 15 frames a second and 480x360 pixels.

    Attributes:
        num_frames: Frames of a clip.
        forward: Pixels a frame by which the ground moves at the frame's lower edge.
        vanishing_x: Where the camera drives to, a share of the width.
        vanishing_y: The same, a share of the height: the horizon.
        walls: Inverse distance of the left and the right wall, seen at the frame's
            edge, in units of that of the ground at the lower edge; 0 is infinitely far.
        far_end: Inverse distance of the street's end, in the same unit.
        pan_x: Pixels a frame by which the whole picture moves to the right.
        pan_y: Pixels a frame by which it moves down.
        roll: Degrees a frame by which it turns clockwise.
        shake: Standard deviation of a frame's position, pixels.
        acceleration: Relative change of all speeds from the first frame to the last.
        num_objects: The smallest and the largest number of objects cut out.
        parallax: Inverse distance of an object, in units of that of the ground on
            which its lowest pixel stands.
        moving_share: Share of the objects that move on their own.
        object_x: Pixels a frame by which those move to the right, at the still's scale.
        brightening: Relative change of brightness from the first frame to the last.
        grain: Standard deviation of each frame's noise, grey levels.
    """

    num_frames: int = 11
    forward: Range = (1.0, 18.0)
    vanishing_x: Range = (0.4, 0.6)
    vanishing_y: Range = (0.42, 0.52)
    walls: Range = (0.3, 1.0)
    far_end: Range = (0.0, 0.2)
    pan_x: Range = (-1.5, 1.5)
    pan_y: Range = (-0.5, 0.5)
    roll: Range = (-0.1, 0.1)
    shake: Range = (0.0, 0.6)
    acceleration: Range = (-0.3, 0.3)
    num_objects: tuple[int, int] = (2, 10)
    parallax: Range = (0.8, 1.5)
    moving_share: float = 0.3
    object_x: Range = (-5.0, 5.0)
    brightening: Range = (-0.05, 0.05)
    grain: Range = (1.0, 3.0)


class _Drive(NamedTuple):
    """A camera's way; where it is one frame, entries have no axis `t`."""

    centre: Float[np.ndarray, "2"]
    vanishing: Float[np.ndarray, "2"]
    nearness: Float[np.ndarray, "3"]  # left wall, ground, right wall: inverse distance a pixel
    far_end: float
    clock: Float[np.ndarray, "*t"]  # frames, at constant speed, since the camera saw the still
    travel: Float[np.ndarray, "*t"]  # forward, in the unit of distance
    pan: Float[np.ndarray, "*t 2"]
    turn: Float[np.ndarray, "*t 2 2"]  # from a place in the frame to one before the roll


class _Object(NamedTuple):
    mask: UInt8[np.ndarray, "H W"]
    label: int
    box: tuple[int, int, int, int]  # left, top, right, bottom
    inverse_distance: float
    velocity: Float[np.ndarray, "2"]


def simulate(
    frame: UInt8[np.ndarray, "H W 3"],
    labels: UInt8[np.ndarray, "h w"],
    config: CameraConfig,
    *,
    generator: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "t H W 3"], UInt8[np.ndarray, "t H W"]]:
    """Drive a camera into a labelled still.

    Args:
        frame: `[H, W, 3]` uint8.
        labels: `[H, W]` uint8.
        config: How the camera drives.
        generator: Source of randomness; equal ones give equal clips.

    Returns:
        Frames `[t, H, W, 3]`, bilinear, and labels `[t, H, W]`, nearest.  One frame in
        the clip's first half shows the still as it is, but for shake, grain and
        brightness.  Labels are `IGNORE_LABEL` where the camera sees beyond the still,
        whose picture is mirrored there, and where it sees what an object hid.

    Raises:
        ValueError: If frame and labels differ in size.
    """
    height, width = labels.shape
    if frame.shape[:2] != labels.shape:
        raise ValueError(
            f"labels are {width}x{height}, but their frame is {frame.shape[1]}x{frame.shape[0]}; "
            "scale them to the same size (nearest neighbour)"
        )
    drive = _draw_drive(height, width, config, generator)
    objects = _draw_objects(labels, drive, config, generator)
    behind, labels_behind = _remove(frame, labels, objects)
    nodes = _nodes(height, width)
    places = [_pull_street(nodes, _at(drive, index)) for index in range(config.num_frames)]
    margin = _margin(np.stack(places), height, width)
    background = Image.fromarray(np.pad(behind, [*margin, (0, 0)], mode="symmetric"))
    background_labels = Image.fromarray(np.pad(labels_behind, margin, constant_values=IGNORE_LABEL))
    picture = Image.fromarray(frame)
    frames, labels_of_frames = [], []
    for index, place in enumerate(places):
        quads = _quads(place + np.array([margin[1][0], margin[0][0]]))
        canvas = _fetch(background, quads, Image.Resampling.BILINEAR, height, width)
        ids = _fetch(background_labels, quads, Image.Resampling.NEAREST, height, width)
        for item in objects:
            _paste(canvas, ids, picture, item, _at(drive, index))
        frames.append(np.asarray(canvas))
        labels_of_frames.append(np.asarray(ids))
    return _expose(np.stack(frames), config, generator), np.stack(labels_of_frames)


def simulated_records(
    examples: Sequence[Example],
    config: CameraConfig,
    *,
    seed: int,
    folder: Path,
    rate: float = 15.0,
) -> Sequence[Example]:
    """Make a clip of each still, encode it as H.264, and keep it in a folder.

    What the folder holds already is not made again.

    Args:
        examples: Stills: examples of one frame.
        config: How the camera drives.
        seed: Clip `i` is a function of it, `i` and still `i` alone.
        folder: Where the clips are kept, one file each; made if need be.
        rate: Frames a second.

    Returns:
        The clips in the order of the stills, each one GOP, with the codec's motion.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    gop = max(GOP, config.num_frames)

    def make(index: int) -> Path:
        example = examples[index]
        # Whatever a clip depends on is part of its name, so that none is ever mistaken.
        made_from = repr((RECORD, config, seed, index, rate, gop, example.labels.shape)).encode()
        pixels = example.frames.tobytes() + example.labels.tobytes()
        name = hashlib.sha256(made_from + pixels).hexdigest()[:16]
        path = folder / f"{index:05d}_{name}.npz"
        if not path.is_file():
            generator = np.random.default_rng((seed, index))
            clip = simulate(example.frames[0], example.labels[0], config, generator=generator)
            save_record(path, encode_record(*clip, rate=rate, gop=gop))
        return path

    with ThreadPoolExecutor() as pool:
        made = pool.map(make, range(len(examples)))
        paths = tqdm(made, total=len(examples), desc="clips", unit="clip", disable=None)
        return stored_examples(tuple(paths))


def _draw_drive(
    height: int, width: int, config: CameraConfig, generator: np.random.Generator
) -> _Drive:
    num_frames = config.num_frames
    vanishing = np.array(
        [
            width * generator.uniform(*config.vanishing_x),
            height * generator.uniform(*config.vanishing_y),
        ]
    )
    ground = height - vanishing[1]
    left, right = generator.uniform(*config.walls, 2)
    # Later frames look into the still and see nothing unknown; so it comes early.
    since = np.arange(num_frames) - generator.integers((num_frames + 1) // 2)
    acceleration = generator.uniform(*config.acceleration)
    clock = since + acceleration * since**2 / (2 * max(1, num_frames - 1))
    forward = generator.uniform(*config.forward)
    velocity = np.array([generator.uniform(*config.pan_x), generator.uniform(*config.pan_y)])
    shake = generator.uniform(*config.shake) * generator.standard_normal((num_frames, 2))
    angle = -np.deg2rad(generator.uniform(*config.roll)) * clock
    cos, sin = np.cos(angle), np.sin(angle)
    return _Drive(
        centre=np.array([width, height]) / 2,
        vanishing=vanishing,
        nearness=np.array([left / vanishing[0], 1 / ground, right / (width - vanishing[0])]),
        far_end=generator.uniform(*config.far_end),
        clock=clock,
        travel=forward / ground * clock,
        pan=velocity * clock[:, None] + shake,
        turn=np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2),
    )


def _at(drive: _Drive, index: int) -> _Drive:
    moment = {name: getattr(drive, name)[index] for name in ("clock", "travel", "pan", "turn")}
    return drive._replace(**moment)


def _inverse_distance(places: Float[np.ndarray, "*b 2"], drive: _Drive) -> Float[np.ndarray, "*b"]:
    """Tell how near the street is; it looks the same from wherever along it."""
    x, y = np.moveaxis(places - drive.vanishing, -1, 0)
    left, ground, right = drive.nearness
    return np.maximum.reduce([-x * left, y * ground, x * right, np.full_like(x, drive.far_end)])


def _pull_street(places: Float[np.ndarray, "*b 2"], drive: _Drive) -> Float[np.ndarray, "*b 2"]:
    """Find where in the still the street at places of a frame is."""
    steady = (places - drive.centre) @ drive.turn.T + drive.centre - drive.pan
    nearer = 1 + drive.travel * _inverse_distance(steady, drive)
    return drive.vanishing + (steady - drive.vanishing) / np.maximum(nearer, 0.5)[..., None]


def _draw_objects(
    labels: UInt8[np.ndarray, "H W"],
    drive: _Drive,
    config: CameraConfig,
    generator: np.random.Generator,
) -> list[_Object]:
    """Cut out some objects, the farthest first."""
    found = []
    low, high = (share * labels.size for share in OBJECT_SHARES)
    for label in np.setdiff1d(labels, [IGNORE_LABEL]).tolist():
        parts, count = ndimage.label(labels == label)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        boxes = ndimage.find_objects(parts)
        found += [
            ((parts == part).astype(np.uint8) * 255, label, boxes[part - 1])
            for part in range(1, count + 1)
            if low <= sizes[part] <= high
        ]
    num_objects = generator.integers(config.num_objects[0], config.num_objects[1] + 1)
    chosen = generator.permutation(len(found))[:num_objects].tolist()
    nearest = (1 - 1 / LARGEST_ZOOM) / max(drive.travel.max(), 1e-6)
    objects = []
    for mask, label, (rows, columns) in (found[index] for index in chosen):
        stand = np.array([[drive.vanishing[0], rows.stop]])
        (near,) = _inverse_distance(stand, drive) * generator.uniform(*config.parallax)
        is_moving = generator.random() < config.moving_share
        objects.append(
            _Object(
                mask=mask,
                label=label,
                box=(columns.start, rows.start, columns.stop, rows.stop),
                inverse_distance=min(float(near), nearest),
                velocity=np.array([generator.uniform(*config.object_x) * is_moving, 0.0]),
            )
        )
    return sorted(objects, key=lambda item: item.inverse_distance)


def _remove(
    frame: UInt8[np.ndarray, "H W 3"], labels: UInt8[np.ndarray, "H W"], objects: list[_Object]
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """Fill what the objects hide with the nearest colour, and ignore its labels."""
    hidden = np.zeros(labels.shape, bool)
    for item in objects:
        hidden |= item.mask > 0
    rows, columns = ndimage.distance_transform_edt(
        hidden, return_distances=False, return_indices=True
    )
    return frame[rows, columns], np.where(hidden, np.uint8(IGNORE_LABEL), labels)


def _nodes(height: int, width: int) -> Float[np.ndarray, "r s 2"]:
    """List the corners of the cells that cover a frame, (x, y)."""
    rows, columns = -(-height // CELL), -(-width // CELL)
    x, y = np.meshgrid(np.arange(columns + 1.0), np.arange(rows + 1.0))
    return np.stack([x, y], axis=-1) * CELL


def _margin(places: Float[np.ndarray, "t r s 2"], height: int, width: int) -> list[tuple[int, int]]:
    """Tell how far beyond the still a clip sees: above and below, left and right."""
    left, top = np.maximum(np.ceil(-places.min(axis=(0, 1, 2))), 0).astype(int).tolist()
    right, bottom = (
        np.maximum(np.ceil(places.max(axis=(0, 1, 2)) - (width, height)), 0).astype(int).tolist()
    )
    return [(top, bottom), (left, right)]


_Quads: TypeAlias = list[tuple[tuple[int, ...], tuple[float, ...]]]


def _quads(places: Float[np.ndarray, "r s 2"]) -> _Quads:
    """Describe a map by its cells as Pillow does: a box, and where its corners come from."""
    corners = [places[:-1, :-1], places[1:, :-1], places[1:, 1:], places[:-1, 1:]]
    sources = np.concatenate(corners, axis=-1).tolist()
    return [
        ((j * CELL, i * CELL, (j + 1) * CELL, (i + 1) * CELL), tuple(source))
        for i, row in enumerate(sources)
        for j, source in enumerate(row)
    ]


def _fetch(
    image: Image.Image, quads: _Quads, resampling: Image.Resampling, height: int, width: int
) -> Image.Image:
    right, bottom = quads[-1][0][2:]
    fetched = image.transform((right, bottom), Image.Transform.MESH, quads, resampling)
    return fetched.crop((0, 0, width, height))


def _paste(
    canvas: Image.Image, ids: Image.Image, picture: Image.Image, item: _Object, drive: _Drive
) -> None:
    """Put an object, upright and facing the camera, into a frame and its labels."""
    # What is at p in the frame is at `matrix @ p + offset` in the still.
    scale = 1 - drive.travel * item.inverse_distance
    matrix = scale * drive.turn
    steady = drive.centre - drive.turn @ drive.centre - drive.pan
    moved = drive.vanishing + item.velocity * drive.clock
    offset = drive.vanishing + scale * (steady - moved)
    left, top, right, bottom = item.box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    seen = (corners - offset) @ np.linalg.inv(matrix).T
    low = np.maximum(np.floor(seen.min(axis=0)) - 1, 0).astype(int)
    high = np.minimum(np.ceil(seen.max(axis=0)) + 1, canvas.size).astype(int)
    if (high <= low).any():
        return
    (left, top), (width, height) = low.tolist(), (high - low).tolist()
    (a, b), (d, e) = matrix
    c, f = matrix @ low + offset

    def fetch(image: Image.Image) -> Image.Image:
        affine = (a, b, c, d, e, f, 0, 0)
        method, filter = Image.Transform.PERSPECTIVE, Image.Resampling.BILINEAR
        return image.transform((width, height), method, affine, filter)

    mask = fetch(Image.fromarray(item.mask))
    canvas.paste(fetch(picture), (left, top), mask)
    ids.paste(item.label, (left, top), mask.point(_MORE_THAN_HALF))


_MORE_THAN_HALF = [0] * 128 + [255] * 128


def _expose(
    frames: UInt8[np.ndarray, "t H W 3"], config: CameraConfig, generator: np.random.Generator
) -> UInt8[np.ndarray, "t H W 3"]:
    """Change the brightness over the clip, and add grain."""
    num_frames, height, width, _ = frames.shape
    change = generator.uniform(*config.brightening)
    deviation = np.float32(generator.uniform(*config.grain))
    shape = (height + GRAIN_SHIFT, width + GRAIN_SHIFT, 1)
    grain = deviation * generator.standard_normal(shape, np.float32) + np.float32(0.5)
    made = []
    for frame, factor in zip(frames, 1 + change * np.linspace(-0.5, 0.5, num_frames), strict=True):
        top, left = generator.integers(GRAIN_SHIFT, size=2)
        pixels = frame * np.float32(factor)
        pixels += grain[top : top + height, left : left + width]
        made.append(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))
    return np.stack(made)
