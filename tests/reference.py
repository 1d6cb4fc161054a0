"""Slow, plain references in NumPy, a toy net that compiles at once, and hand-made videos."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import CodedFrame, Gop, PictureType
from jaxseg.geometry import motion_grid_size, padded_size
from jaxseg.nets import Net
from jaxseg.warping import FILL_DEPTH, LEAST_WEIGHT


def sample(features: np.ndarray, x: float, y: float) -> np.ndarray:
    """Read a map between its cells; beyond its edge, cells repeat without end."""
    left, top = int(np.floor(x)), int(np.floor(y))
    value = np.zeros(features.shape[-1])
    for row in (top, top + 1):
        for column in (left, left + 1):
            weight = (1 - abs(x - column)) * (1 - abs(y - row))
            inside = min(max(row, 0), len(features) - 1), min(max(column, 0), len(features[0]) - 1)
            value += weight * features[inside]
    return value


def warp(features: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Warp one map `[h, w, c]`, cell by cell, in float64."""
    height, width = motion.shape[:2]
    cells = [[sample(features, x + motion[y, x, 0], y + motion[y, x, 1]) for x in range(width)]
             for y in range(height)]  # fmt: skip
    return np.array(cells)


def chain(features: np.ndarray, steps: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Warp one step after another: the paper's `propagate`, without its first entry."""
    maps = [np.asarray(features, np.float64)]
    for step in steps:
        maps.append(warp(maps[-1], step))
    return maps[1:]


def composed(features: np.ndarray, steps: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Add up where each cell came from, and warp once a frame."""
    return [warp(features, total) for total in totals(steps)]


def totals(steps: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Add up where each cell came from."""
    total = None
    for step in steps:
        total = step if total is None else step + warp(total, step)
        yield total


def invert(motion: np.ndarray) -> np.ndarray:
    """Splat each vector of `[h, w, 2]` to where it points from, and fill the holes, in float64."""
    height, width = motion.shape[:2]
    hits: dict[tuple[int, int], list[tuple[float, np.ndarray]]] = {}
    for row, column in np.ndindex(height, width):
        vector = motion[row, column].astype(np.float64)
        x, y = np.add([column, row], vector)
        left, top = int(np.floor(x)), int(np.floor(y))
        for place in np.ndindex(2, 2):
            line, place_x = top + place[0], left + place[1]
            weight = (1 - abs(x - place_x)) * (1 - abs(y - line))
            hits.setdefault((line, place_x), []).append((weight, -vector))
    found = {}
    for cell in np.ndindex(height, width):
        moving = [(weight, vector) for weight, vector in hits.get(cell, []) if vector.any()]
        counted = moving if sum(weight for weight, _ in moving) >= 0.5 else hits.get(cell, [])
        total = sum(weight for weight, _ in counted)
        if total >= LEAST_WEIGHT:
            found[cell] = sum(weight * vector for weight, vector in counted) / total
    found = grow(found, (height, width))
    cells = [found.get(cell, -motion[cell]) for cell in np.ndindex(height, width)]
    return np.reshape(cells, motion.shape)


def fill(motion: np.ndarray, inter: np.ndarray) -> np.ndarray:
    """Let the cells of `[h, w, 2]` that the codec gave no motion move as their neighbours."""
    known = grow(
        {cell: motion[cell] for cell in np.ndindex(inter.shape) if inter[cell]}, inter.shape
    )
    still = np.zeros(2, motion.dtype)
    return np.reshape([known.get(cell, still) for cell in np.ndindex(inter.shape)], motion.shape)


def grow(found: dict, shape: tuple[int, int]) -> dict:
    """Give cells that are not found the mean of those around them, from the rim inwards."""
    for _ in range(FILL_DEPTH):
        filled = dict(found)
        for row, column in set(np.ndindex(shape)) - set(found):
            around = [(row + i - 1, column + j - 1) for i, j in np.ndindex(3, 3)]
            near = [found[cell] for cell in around if cell in found]
            if near:
                filled[row, column] = np.mean(near, axis=0)
        found = filled
    return found


def to_cells(motion: np.ndarray, stride: int) -> np.ndarray:
    """Bring `[h, w, 2]` pixels to cells: the mean motion of a cell's pixels, one by one."""
    pixels = motion.astype(np.float64).repeat(8, axis=0).repeat(8, axis=1)
    ragged = [(0, -size % stride) for size in pixels.shape[:2]]
    pixels = np.pad(pixels, [*ragged, (0, 0)], mode="edge")
    height, width = pixels.shape[0] // stride, pixels.shape[1] // stride
    cells = np.zeros((height, width, 2))
    for y in range(height):
        for x in range(width):
            window = pixels[y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
            cells[y, x] = window.mean(axis=(0, 1)) / stride
    return cells


def toy_net(*, stride: int = 16, on_features: Callable[[], None] = lambda: None) -> Net:
    """Make a net of mean colours and random weights; tell each call of its features."""
    rng = np.random.default_rng(stride)
    sizes = {"features": (3, 8), "project": (8, 4), "classify": (4, 3)}
    params = {
        name: (rng.standard_normal(size, np.float32), rng.standard_normal(size[1], np.float32))
        for name, size in sizes.items()
    }

    def affine(weights: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        mixed = x @ jnp.asarray(weights[0])
        return mixed + jnp.broadcast_to(weights[1], mixed.shape)

    def features(params, frames):
        on_features()
        *batch, height, width, _ = frames.shape
        cells = frames.reshape(*batch, height // stride, stride, width // stride, stride, 3)
        colours = cells.astype(jnp.float32).mean(axis=(-4, -2)) / 32 - 4
        return jnp.sin(affine(params["features"], colours))

    def project(params, maps):
        return affine(params["project"], maps)

    def classify(params, projected):
        return affine(params["classify"], jax.nn.relu(projected))

    return Net(
        init=lambda key, frames: params,
        features=features,
        project=project,
        classify=classify,
        train_scores=lambda params, frames: (
            classify(params, project(params, features(params, frames))),
            {},
        ),
        stride=stride,
        num_classes=3,
    )


def toy_params(net: Net) -> dict:
    """Give a toy net's weights."""
    return net.init(jax.random.key(0), np.zeros((1, 16, 16, 3), np.uint8))


def features_of(net: Net, params: dict, frame: np.ndarray) -> np.ndarray:
    """Run the feature net on one frame, padded as the codec pads it."""
    rows, columns = padded_size(*frame.shape[:2])
    widths = [(0, rows - frame.shape[0]), (0, columns - frame.shape[1]), (0, 0)]
    return np.asarray(net.features(params, np.pad(frame, widths, mode="edge")[None])[0])


def task(net: Net, params: dict, features: np.ndarray) -> np.ndarray:
    """Run the whole task net on unprojected features `[h, w, c]`."""
    features = jnp.asarray(features, jnp.float32)
    return np.asarray(net.classify(params, net.project(params, features)))


def draw_video(num_frames: int, *, height: int = 40, width: int = 56, seed: int = 0):
    """Draw noise `[t, H, W, 3]` and motion `[t, h, w, 2]` that also leads out of the frame."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(256, size=(num_frames, height, width, 3), dtype=np.uint8)
    # Blocks of noise: the mean colours of cells differ.
    frames = frames[:, ::8, ::8].repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    grid = motion_grid_size(height, width)
    motion = 12 * rng.standard_normal((num_frames, *grid, 2), np.float32)
    return frames, motion


def build_gop(
    frames: np.ndarray,
    motion: np.ndarray,
    key: int,
    next_key: int,
    *,
    longest: int,
    linked: bool = True,
    every_frame: bool = False,
) -> Gop:
    """Build the interval of frames `key` to `next_key - 1`; `motion[i]` is that of frame `i`."""
    stop = min(next_key, len(frames) - 1)
    steps = motion[key + 1 : stop + 1]
    padding = [(0, longest - len(steps)), (0, 0), (0, 0), (0, 0)]
    inside = frames[key : next_key if every_frame else key + 1]
    repeated = [(0, longest - len(inside) if every_frame else 0), (0, 0), (0, 0), (0, 0)]
    return Gop(
        frames=np.pad(inside, repeated, mode="edge"),
        motion=np.pad(steps, padding),
        inter=np.ones((longest, *motion.shape[1:3]), bool),
        next_frame=frames[stop],
        length=np.int32(next_key - key),
        is_linked=np.bool_(linked),
    )


def coded_frames(
    frames: Iterable[np.ndarray],
    motion: Iterable[np.ndarray],
    *,
    intra: Iterable[int] = (0,),
    cuts: Iterable[int] = (),
    converted: list[int] | None = None,
) -> Iterator[CodedFrame]:
    """Make coded frames that note in `converted` whose pixels were asked for, in time only."""
    current = -1

    def convert(index: int, frame: np.ndarray) -> np.ndarray:
        assert index == current, f"pixels of frame {index} asked for after frame {current} was read"
        if converted is not None:
            converted.append(index)
        return frame

    for index, (frame, step) in enumerate(zip(frames, motion, strict=False)):
        current = index
        is_intra = index in intra
        yield CodedFrame(
            index=index,
            time=index / 30,
            picture_type=PictureType.INTRA if is_intra else PictureType.PREDICTED,
            is_cut=index in cuts,
            motion=np.zeros_like(step) if is_intra else step,
            inter=np.full(step.shape[:2], not is_intra),
            residual=None,
            rgb=lambda index=index, frame=frame: convert(index, frame),
        )


def numbered_frames(num_frames: int | None = None, **options) -> Iterator[CodedFrame]:
    """Make frames of 16x16 pixels whose pixels and motion are all their own index."""
    pixels = (np.full((16, 16, 3), index, np.uint8) for index in islice(count(), num_frames))
    steps = (np.full((2, 2, 2), index, np.float32) for index in islice(count(), num_frames))
    return coded_frames(pixels, steps, **options)
