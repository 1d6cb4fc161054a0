"""Motion vectors: against a pan of known speed, and against a loop over the blocks."""

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.codec.motion import block_vectors, rasterize_motion
from jaxseg.geometry import motion_grid_size

FIELDS = [(name, np.int32) for name in ("source", "w", "h", "dst_x", "dst_y")]
FIELDS += [(name, np.int32) for name in ("motion_x", "motion_y", "motion_scale")]


def rasterize_slowly(vectors, height, width):
    rows, columns = motion_grid_size(height, width)
    motion, inter = np.zeros((rows, columns, 2), np.float32), np.zeros((rows, columns), bool)
    for v in vectors:
        if v["source"] >= 0:
            continue
        left, top = int(v["dst_x"]) - int(v["w"]) // 2, int(v["dst_y"]) - int(v["h"]) // 2
        for y in range(top // 8, (top + int(v["h"])) // 8):
            for x in range(left // 8, (left + int(v["w"])) // 8):
                if 0 <= y < rows and 0 <= x < columns:
                    motion[y, x] = v["motion_x"], v["motion_y"]
                    motion[y, x] /= v["motion_scale"]
                    inter[y, x] = True
    return motion, inter


def rasterize_in_place(vectors, height, width):
    """Paint the first cell of every block, then the second, each straight onto the grid."""
    rows, columns = motion_grid_size(height, width)
    motion = np.zeros((rows + 1, columns + 1, 2), np.float32)
    inter = np.zeros((rows + 1, columns + 1), bool)
    vectors = vectors[vectors["source"] < 0]
    scale = np.maximum(vectors["motion_scale"], 1).astype(np.float32)
    moved = np.stack([vectors["motion_x"] / scale, vectors["motion_y"] / scale], axis=-1)
    tall, wide = vectors["h"].astype(np.int32) // 8, vectors["w"].astype(np.int32) // 8
    top, left = (vectors["dst_y"] - tall * 4) // 8, (vectors["dst_x"] - wide * 4) // 8
    for down in range(tall.max(initial=0)):
        for right in range(wide.max(initial=0)):
            y, x = top + down, left + right
            beyond = (down >= tall) | (right >= wide) | (y < 0) | (x < 0)
            beyond |= (y >= rows) | (x >= columns)
            y, x = np.where(beyond, rows, y), np.where(beyond, columns, x)
            motion[y, x] = moved
            inter[y, x] = True
    return motion[:rows, :columns], inter[:rows, :columns]


def assert_same_grids(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
@pytest.mark.parametrize("speed", [(16, 0), (3, 5), (0, 0)])
def test_pan_gives_its_speed(pan, tmp_path, encoder, speed):
    path = tmp_path / "pan.mp4"
    codec.encode(pan(0, 14, *speed), path, codec=encoder)
    clip = codec.load(path, frames=None)
    assert clip.frames is None
    assert list(clip.picture_types) == [1] + [2] * 11 + [1, 2]
    assert not clip.inter[[0, 12]].any()
    for motion, inter in zip(clip.motion[1:12], clip.inter[1:12], strict=True):
        right = (motion == np.negative(speed)).all(axis=-1)
        assert inter.mean() > 0.8
        assert right[inter].mean() > 0.75
    assert not clip.motion[~clip.inter].any()
    assert not clip.is_cut.any()


def test_half_pixels(scene, tmp_path):
    image = scene(0, 480, 1000).astype(np.float32)
    frames = [image[:, 40 - 5 * i : 680 - 5 * i] for i in range(4)]
    halves = [f.reshape(240, 2, 320, 2, 3).mean(axis=(1, 3)).astype(np.uint8) for f in frames]
    codec.encode(halves, tmp_path / "half.mp4")
    clip = codec.load(tmp_path / "half.mp4", frames=None)
    assert np.abs(np.median(clip.motion[1:][clip.inter[1:]], axis=0) - [-2.5, 0]).max() <= 0.25


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("libx264", {}),
        ("libx264", {"partitions": "all"}),
        ("libx264", {"bf": 3, "refs": 3}),
        ("mpeg4", {"flags": "+mv4+qpel"}),
        ("mpeg4", {"bf": 2}),
    ],
)
def test_grid_equals_a_loop_over_blocks(pan, encode_as, tmp_path, encoder, options):
    frames = pan(0, 8, 5, 3, height=180, width=216)
    path = encode_as(frames, tmp_path / "v.mkv", encoder, **options)
    with av.open(path) as container:
        container.streams.video[0].codec_context.options = {"flags2": "+export_mvs"}
        num_blocks = 0
        for picture in container.decode(video=0):
            vectors = block_vectors(picture)
            their_own = picture.side_data.get("MOTION_VECTORS")
            if vectors is not None:
                assert vectors.dtype == their_own.to_ndarray().dtype
            grids = rasterize_motion(vectors, height=180, width=216)
            assert_same_grids(grids, rasterize_slowly([] if vectors is None else vectors, 180, 216))
            if vectors is not None:
                assert_same_grids(grids, rasterize_in_place(vectors, 180, 216))
                num_blocks += len(vectors)
    assert num_blocks > 1000


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [(64, 96), (30, 41), (8, 200)])
def test_blocks_that_overlap_are_painted_in_the_same_order(seed, size):
    rng = np.random.default_rng(seed)
    vectors = np.zeros(int(rng.integers(0, 200)), FIELDS)
    ranges = {
        "source": (-2, 2),
        "dst_x": (-40, 240),
        "dst_y": (-40, 100),
        "motion_x": (-9999, 9999),
        "motion_y": (-9999, 9999),
        "motion_scale": (0, 9),
    }
    for name, (low, high) in ranges.items():
        vectors[name] = rng.integers(low, high, len(vectors))
    for name in ("w", "h"):
        vectors[name] = rng.choice([8, 16, 24], len(vectors))
    if seed == 0:
        vectors["source"] = 1
    height, width = size
    found = rasterize_motion(vectors, height=height, width=width)
    assert_same_grids(found, rasterize_in_place(vectors, height, width))
    assert found[1].any() == (seed > 0 and len(vectors) > 0)


def test_blocks_of_any_shape_are_painted_and_cut():
    blocks = [
        (-1, 16, 8, 8, 4, 8, -4, 4),  # the upper half of the first macroblock
        (-1, 8, 16, 36, 8, 3, 1, 2),
        (1, 16, 16, 8, 24, 9, 9, 4),  # from the future
        (-1, 16, 16, 56, 40, 4, 8, 4),  # half of it right of the grid, all of it below
        (-1, 16, 16, 48, 24, -2, 0, 4),  # the right half beyond the grid
    ]
    vectors = np.array(blocks, dtype=FIELDS)
    motion, inter = rasterize_motion(vectors, height=30, width=41)
    assert motion.shape == (4, 6, 2)
    expected, expected_inter = rasterize_slowly(vectors, 30, 41)
    np.testing.assert_array_equal(motion, expected)
    np.testing.assert_array_equal(inter, expected_inter)
    np.testing.assert_array_equal(motion[0, :2], [[2, -1], [2, -1]])
    assert inter.sum() == 2 + 2 + 2


def test_grid_covers_the_padded_frame(pan, tmp_path):
    codec.encode(pan(0, 3, height=360, width=480), tmp_path / "v.mp4")
    clip = codec.load(tmp_path / "v.mp4")
    assert clip.frames.shape == (3, 360, 480, 3)
    assert clip.motion.shape == (3, 46, 60, 2)
    assert clip.inter[1:].mean() == 1
