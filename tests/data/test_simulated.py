"""A camera that drives into a still: against closed forms, and encoded."""

import dataclasses

import numpy as np
import pytest

from data import simulated
from data.cache import load_record
from data.examples import still
from data.simulated import CameraConfig, simulate, simulated_records
from jaxseg.arrays import IGNORE_LABEL, PictureType
from tests.data.conftest import colour_of

NONE = (0.0, 0.0)
STEADY = CameraConfig(
    num_frames=6,
    forward=NONE,
    vanishing_x=(0.5, 0.5),
    vanishing_y=(0.5, 0.5),
    walls=NONE,
    far_end=NONE,
    pan_x=NONE,
    pan_y=NONE,
    roll=NONE,
    shake=NONE,
    acceleration=NONE,
    num_objects=(0, 0),
    parallax=(1.0, 1.0),
    moving_share=0.0,
    object_x=NONE,
    brightening=NONE,
    grain=NONE,
)
"""Nothing moves."""


def drive(scene, config=STEADY, *, seed=0, **changes):
    generator = np.random.default_rng(seed)
    return simulate(*scene, dataclasses.replace(config, **changes), generator=generator)


def noise(height, width):
    """Give pixels of noise, and labels of 11 classes that go with no pixel."""
    rng = np.random.default_rng(height)
    frame = rng.integers(256, size=(height, width, 3), dtype=np.uint8)
    return frame, rng.integers(11, size=(height, width), dtype=np.uint8)


def index_of_still(frames, frame):
    (found,) = [i for i, shown in enumerate(frames) if np.array_equal(shown, frame)]
    return found


@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
@pytest.mark.parametrize("num_objects", [0, 3])
def test_without_any_motion_the_still_is_repeated(pan, size, num_objects):
    example = pan(3, size=size)
    scene = example.frames[0], example.labels[0]
    frames, labels = drive(scene, num_objects=(num_objects, num_objects))
    np.testing.assert_array_equal(frames, np.stack([scene[0]] * 6))
    np.testing.assert_array_equal(labels, np.stack([scene[1]] * 6))


@pytest.mark.parametrize("seed", range(3))
def test_a_pan_by_whole_pixels_shifts_picture_and_labels(seed):
    frame, ids = noise(40, 56)
    frames, labels = drive((frame, ids), seed=seed, pan_x=(3, 3), pan_y=(-2, -2))
    first = index_of_still(frames, frame)
    assert first < 3
    mirrored = np.pad(frame, ((20, 20), (20, 20), (0, 0)), mode="symmetric")
    ignored = np.pad(ids, 20, constant_values=IGNORE_LABEL)
    for index in range(6):
        right, down = 3 * (index - first), -2 * (index - first)
        window = np.s_[20 - down : 60 - down, 20 - right : 76 - right]
        np.testing.assert_array_equal(frames[index], mirrored[window])
        np.testing.assert_array_equal(labels[index], ignored[window])


def test_the_ground_comes_nearer_as_a_plane_does():
    # Row y below the horizon shows the ground 1/y away; the lower edge is at 1.
    frame, ids = noise(200, 64)
    ids[:] = np.arange(200)[:, None]
    frames, labels = drive((frame, ids), forward=(4, 4))
    first = index_of_still(frames, frame)
    for index in range(first, 6):
        seen = (np.arange(200) + 0.5 - 100) / 100
        travel = 4 / 100 * (index - first)
        expected = np.floor(100 * np.where(seen > 0, seen / (1 + seen * travel), seen) + 100)
        # What is a hair off may fall to the next row.
        assert np.abs(labels[index, :, 20] - expected).max() <= 1
    assert first < 5


def test_driving_up_to_a_wall_zooms_about_the_vanishing_point():
    frame, ids = noise(64, 96)
    frames, labels = drive((frame, ids), forward=(3, 3), far_end=(1, 1))
    first = index_of_still(frames, frame)
    for index in range(6):
        zoom = 1 + 3 / 32 * (index - first)
        y, x = (np.floor((np.arange(n) + 0.5 - n / 2) / zoom + n / 2).astype(int) for n in (64, 96))
        inside = ((y >= 0) & (y < 64))[:, None] & ((x >= 0) & (x < 96))
        expected = np.where(inside, ids[y.clip(0, 63)][:, x.clip(0, 95)], IGNORE_LABEL)
        np.testing.assert_array_equal(labels[index], expected)
        np.testing.assert_array_equal(labels[index, 31:33, 47:49], ids[31:33, 47:49])


@pytest.mark.parametrize("seed", range(3))
def test_an_object_moves_over_what_is_behind_it(seed):
    frame, ids = np.full((64, 96, 3), 50, np.uint8), np.full((64, 96), 2, np.uint8)
    frame[30:40, 40:52], ids[30:40, 40:52] = 200, 7
    frames, labels = drive(
        (frame, ids), seed=seed, num_objects=(1, 1), moving_share=1.0, object_x=(4, 4)
    )
    first = index_of_still(frames, frame)
    for index in range(6):
        right = 4 * (index - first)
        picture, expected = np.full_like(frame, 50), np.full_like(ids, 2)
        expected[30:40, 40:52] = IGNORE_LABEL
        expected[30:40, 40 + right : 52 + right] = 7
        picture[30:40, 40 + right : 52 + right] = 200
        np.testing.assert_array_equal(frames[index], picture)
        np.testing.assert_array_equal(labels[index], expected)


def test_a_nearer_object_grows_faster_than_its_ground():
    frame, ids = noise(64, 96)
    ids[:] = 2
    ids[44:52, 60:66] = 7
    config = {"num_objects": (1, 1), "forward": (2, 2)}
    sizes = {}
    for parallax in (1.0, 2.0):
        frames, labels = drive((frame, ids), **config, parallax=(parallax, parallax))
        since = 5 - index_of_still(frames, frame)
        sizes[parallax] = (labels[5] == 7).sum()
        # It stands on row 52, which is 20 of 32 rows below the horizon.
        scale = 1 - 2 / 32 * since * 20 / 32 * parallax
        assert sizes[parallax] == pytest.approx(48 / scale**2, rel=0.15)
    assert sizes[2.0] > sizes[1.0] > 48


@pytest.mark.parametrize("seed", range(4))
def test_labels_stick_to_the_picture(pan, seed):
    example = pan(seed, size=(96, 128))
    config = dataclasses.replace(CameraConfig(), grain=NONE, brightening=NONE)
    frames, labels = drive((example.frames[0], example.labels[0]), config, seed=seed)
    assert frames.shape == (11, 96, 128, 3)
    inner = labels[:, 2:-2, 2:-2]
    alike = inner != IGNORE_LABEL
    for down in range(5):
        for right in range(5):
            alike &= labels[:, down : down + 92, right : right + 124] == inner
    assert alike.mean() > 0.1
    difference = frames[:, 2:-2, 2:-2].astype(int) - colour_of(inner)
    # Less than all, as an object's edge may lie over a place of its own class.
    assert np.mean(np.abs(difference[alike]) <= 1) > 0.99


def test_exposure_changes_pixels_alone(pan):
    scene = pan(0).frames[0], pan(0).labels[0]
    frames, labels = drive(scene, brightening=(0.2, 0.2), grain=(2, 2))
    np.testing.assert_array_equal(labels, np.stack([scene[1]] * 6))
    noise = frames[0] - 0.9 * scene[0]
    assert noise.std() == pytest.approx(2, rel=0.1)
    means = frames.mean(axis=(1, 2, 3)) / scene[0].mean()
    np.testing.assert_allclose(means, 1 + 0.2 * np.linspace(-0.5, 0.5, 6), atol=0.01)


def test_equal_generators_give_equal_clips(pan):
    scene = pan(0).frames[0], pan(0).labels[0]
    clips = [drive(scene, CameraConfig(num_frames=4), seed=seed) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(clips[0][0], clips[1][0])
    np.testing.assert_array_equal(clips[0][1], clips[1][1])
    assert not np.array_equal(clips[0][0], clips[2][0])


def test_labels_of_another_size_are_refused(pan):
    with pytest.raises(ValueError, match="labels are 64x40, but their frame is 64x48"):
        drive((pan(0).frames[0], pan(0).labels[0, :40]))


def test_clips_are_encoded_once_and_kept(pan, tmp_path, monkeypatch):
    stills = [pan(seed) for seed in range(3)]
    config = CameraConfig(num_frames=14)
    made = simulated_records(stills, config, seed=1, folder=tmp_path / "clips")
    assert len(made) == 3
    for index, (example, clip) in enumerate(zip(stills, made, strict=True)):
        generator = np.random.default_rng((1, index))
        scene = example.frames[0], example.labels[0]
        frames, labels = simulate(*scene, config, generator=generator)
        np.testing.assert_array_equal(clip.labels, labels)
        assert np.abs(clip.frames.astype(int) - frames).mean() < 6
        assert np.flatnonzero(clip.picture_types == PictureType.INTRA).tolist() == [0]
        assert clip.motion.shape == (14, 6, 8, 2)
    monkeypatch.delattr(simulated, "encode_record")
    files = sorted((tmp_path / "clips").iterdir())
    again = simulated_records(stills[:2], config, seed=1, folder=tmp_path / "clips")
    np.testing.assert_array_equal(again[1].frames, made[1].frames)
    assert sorted((tmp_path / "clips").iterdir()) == files
    with pytest.raises(NameError, match="encode_record"):
        simulated_records([still(*scene)], config, seed=2, folder=tmp_path / "clips")


def test_a_broken_file_is_named(pan, tmp_path):
    made = simulated_records([pan(0)], STEADY, seed=0, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    record = load_record(path)
    assert record["rate"] == 15
    assert record["file"][4:8] == b"ftyp"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{path.name}: holds no record.*remove it"):
        made[0]
