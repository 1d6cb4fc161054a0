"""The drawn street: it repeats, every class occurs, and its motion is exact."""

from itertools import islice

import numpy as np
import pytest

from data.street import Street, render, render_frames
from data.street.world import BICYCLIST, CAR, PEDESTRIAN, ROAD, SKY, World, make_world
from jaxseg.classes import CAMVID

SEED, RATE, NUM_FRAMES, HEIGHT, WIDTH = 3, 15, 24, 240, 320


@pytest.fixture(scope="module")
def street() -> Street:
    return render(seed=SEED, num_frames=NUM_FRAMES, rate=RATE)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SEED)


@pytest.fixture(scope="module")
def previous(street: Street) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of frames 1.. was in the frame before: columns and rows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    position = street.motion[1:] + np.stack([x, y], axis=-1)
    return position[..., 0].clip(0, WIDTH - 1), position[..., 1].clip(0, HEIGHT - 1)


def pull(image: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sample an image bilinearly, `[H, W, 3]` at `[H, W]` positions."""
    left = np.minimum(columns.astype(int), WIDTH - 2)
    top = np.minimum(rows.astype(int), HEIGHT - 2)
    a, b = (columns - left)[..., None], (rows - top)[..., None]
    upper = image[top, left] * (1 - a) + image[top, left + 1] * a
    lower = image[top + 1, left] * (1 - a) + image[top + 1, left + 1] * a
    return upper * (1 - b) + lower * b


def test_shapes_and_types(street: Street) -> None:
    shape = (NUM_FRAMES, HEIGHT, WIDTH)
    assert (street.frames.shape, street.frames.dtype) == ((*shape, 3), np.uint8)
    assert (street.labels.shape, street.labels.dtype) == (shape, np.uint8)
    assert (street.motion.shape, street.motion.dtype) == ((*shape, 2), np.float32)
    assert (street.is_new.shape, street.is_new.dtype) == (shape, np.bool_)
    assert street.labels.max() < len(CAMVID.names) == 11
    assert np.isfinite(street.motion).all()
    assert not street.motion[0].any()
    assert street.is_new[0].all()
    assert street.frames.std() > 30


def test_same_seed_same_street_whatever_the_length(street: Street) -> None:
    for index, frame in enumerate(islice(render_frames(seed=SEED, rate=RATE), 2)):
        for part, whole in zip(frame, street, strict=True):
            np.testing.assert_array_equal(part, whole[index])


def test_another_seed_another_street_of_any_size(street: Street) -> None:
    frame = next(render_frames(seed=SEED + 1, height=HEIGHT - 1, width=WIDTH - 1))
    assert frame.frames.shape == (HEIGHT - 1, WIDTH - 1, 3)
    assert (frame.labels != street.labels[0, :-1, :-1]).mean() > 0.1


def test_every_class_occurs(street: Street) -> None:
    share = np.bincount(street.labels.ravel(), minlength=11) / street.labels.size
    assert (share > 3e-4).all(), dict(zip(CAMVID.names, share, strict=True))
    assert share.max() < 0.5


def test_road_motion_is_that_of_a_pinhole_camera(street: Street, world: World) -> None:
    camera = world.camera
    focal = 0.8 * WIDTH
    for index in (1, 10, 20):
        now, then = camera(index / RATE), camera((index - 1) / RATE)
        rows, columns = np.nonzero(street.labels[index] == ROAD)
        x = (columns + 0.5 - WIDTH / 2) / focal
        y = ((0.53 + now.pitch) * HEIGHT - rows - 0.5) / focal
        depth = -now.position[1] / y
        right = np.cos(now.yaw) * x + np.sin(now.yaw)
        ahead = np.cos(now.yaw) - np.sin(now.yaw) * x
        right = right * depth + now.position[0] - then.position[0]
        ahead = ahead * depth + now.position[2] - then.position[2]
        across = np.cos(then.yaw) * right - np.sin(then.yaw) * ahead
        along = np.cos(then.yaw) * ahead + np.sin(then.yaw) * right
        was_x = focal * across / along + WIDTH / 2 - 0.5
        was_y = (0.53 + then.pitch) * HEIGHT + focal * then.position[1] / along - 0.5
        expected = np.stack([was_x - columns, was_y - rows], axis=-1)
        # Repairs lie a few millimetres above the road.
        np.testing.assert_allclose(street.motion[index, rows, columns], expected, atol=0.1)
    assert np.median(street.motion[1:, -20:, :, 1]) < -5, "driving on, the road was further up"


def test_motion_explains_the_pictures(street: Street, previous: tuple) -> None:
    frames = street.frames.astype(np.float32)
    pulled = np.stack([pull(f, x, y) for f, x, y in zip(frames[:-1], *previous, strict=True)])
    seen = ~street.is_new[1:]
    explained = np.abs(pulled - frames[1:])[seen].mean()
    copied = np.abs(frames[:-1] - frames[1:])[seen].mean()
    assert explained < 5
    assert explained < copied / 2.5


def test_motion_explains_the_labels(street: Street, previous: tuple) -> None:
    columns, rows = (np.rint(a).astype(int) for a in previous)
    pulled = street.labels[np.arange(NUM_FRAMES - 1)[:, None, None], rows, columns]
    seen = ~street.is_new[1:]
    same = pulled == street.labels[1:]
    assert same[seen].mean() > 0.985
    assert same[~seen].mean() < 0.85
    assert (street.labels[:-10] == street.labels[10:]).mean() < 0.85


def test_moving_things_have_their_own_motion(street: Street, world: World) -> None:
    """A still street would move cars as it moves what stands beside them."""
    sky = np.abs(street.motion[1:][street.labels[1:] == SKY])
    assert np.median(sky) < 1.5
    for label in (CAR, PEDESTRIAN, BICYCLIST):
        moves = [
            np.abs(patch.plane - plane).max()
            for key, (patch, plane) in world.patches(2.0, 1.0).items()
            if key[0] == "actor" and patch.label == label
        ]
        assert len(moves) > 3
        assert min(moves) > 0.5, f"{CAMVID.names[label]} stands still"


def test_things_appear_and_leave(street: Street, world: World) -> None:
    new = street.is_new[1:]
    assert 0.005 < new.mean() < 0.2
    assert new[:, 40:-40, 40:-40].any(axis=(1, 2)).all(), "uncovered amid the frame"
    early, late = (
        {key[:3] for key in world.patches(t, t) if key[0] == "actor"} for t in (1.0, 9.0)
    )
    assert early - late
    assert late - early
