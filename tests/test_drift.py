"""The way from a keyframe to a frame, as the codec tells it: against a plain loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.arrays import PictureType
from jaxseg.drift import NUM_CHANNELS, Drift, drift_map, extend, no_drift
from jaxseg.warping import accumulate, fill, rest
from tests import reference
from tests import reference_afp as plain
from tests.reference_taplab import QUICK

LONGEST = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return plain.make_clip(tmp_path_factory.mktemp("film"))


def steps_of(clip, key, count=LONGEST):
    """List what leads from each of the frames after a keyframe back."""
    for index in range(key + 1, key + 1 + count):
        source = index - (clip.picture_types[index] == PictureType.INTRA)
        yield clip.motion[source], clip.inter[source], clip.residual[index]


EXTEND = {it: jax.jit(partial(extend, fill_fn=it)) for it in (fill, rest)}


def follow(steps, *, fill_fn=fill) -> list[Drift]:
    drifts = []
    drift = no_drift(8, 12)
    for step in steps:
        drift = EXTEND[fill_fn](drift, *step)
        drifts.append(drift)
    return drifts


@pytest.mark.parametrize("key", [0, 9])
def test_it_is_what_a_plain_loop_finds(clip, key):
    drifts = follow(steps_of(clip, key))
    for index, drift in enumerate(drifts, start=key + 1):
        expected = plain.plain_drift(clip, key, index)
        np.testing.assert_allclose(drift.displacement, expected.displacement, atol=1e-3)
        np.testing.assert_allclose(drift.surprise, expected.surprise, rtol=1e-4, atol=1e-4)
    assert np.abs(expected.displacement).max() > 8
    assert (expected.surprise.max(axis=(0, 1)) > (0.3, 3, 0.1)).all()


def test_its_displacement_is_the_composed_one(clip):
    motion, inter, _ = (np.stack(it) for it in zip(*steps_of(clip, 0), strict=True))
    for fill_fn in (fill, rest):
        totals = 8 * accumulate(fill_fn(motion, inter) / 8)
        drifts = follow(steps_of(clip, 0), fill_fn=fill_fn)
        for drift, total in zip(drifts, totals, strict=True):
            np.testing.assert_allclose(drift.displacement, total, atol=1e-4)
    assert np.abs(fill(motion, inter) - rest(motion, inter)).max() > 1


def test_a_constant_pan_adds_up():
    pan = np.broadcast_to(np.float32([-16, 8]), (8, 12, 2)), np.ones((8, 12), bool), None
    for count, drift in enumerate(follow([pan] * 5), start=1):
        np.testing.assert_array_equal(drift.displacement, count * pan[0])
        assert not np.any(drift.surprise)


def test_a_still_film_does_not_drift(tmp_path):
    from jaxseg import codec

    frames = reference.draw_video(1, height=plain.HEIGHT, width=plain.WIDTH)[0]
    codec.encode(list(frames) * 4, tmp_path / "still.mp4")
    clip = codec.load(tmp_path / "still.mp4", residual_threshold=30)
    for drift in follow(steps_of(clip, 0, 3)):
        assert not np.any(drift.displacement)
        assert np.max(drift.surprise[..., 0]) == 0
        assert np.mean(drift.surprise[..., 1]) < 2


def test_without_residual_nothing_is_unexplained(clip):
    with_it = follow(steps_of(clip, 0))
    without = follow((*step[:2], None) for step in steps_of(clip, 0))
    for one, other in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(one.displacement, other.displacement)
        np.testing.assert_array_equal(one.surprise[..., 0], other.surprise[..., 0])
        assert not np.any(other.surprise[..., 1:])


def test_what_is_unexplained_moves_along():
    # A block without motion, then a pan by one cell to the right: the surprise moves, too.
    inter = np.ones((8, 12), bool)
    inter[3, 4] = False
    residual = np.zeros((4, 6, 2), np.float32)
    residual[1, 2] = 3 * 256 * 10, 64
    still = np.zeros((8, 12, 2), np.float32)
    pan = np.broadcast_to(np.float32([-8, 0]), still.shape)
    drift = follow([(still, inter, residual), (pan, np.ones_like(inter), np.zeros_like(residual))])
    surprise = np.zeros((8, 12, 3))
    surprise[3, 5, 0] = 1
    surprise[2:4, 5:7, 1], surprise[2:4, 5:7, 2] = 10, 0.25
    np.testing.assert_allclose(drift[-1].surprise, surprise, atol=1e-6)


def test_batches_are_films_one_by_one(clip):
    steps = [next(steps_of(clip, key)) for key in (0, 1, 10)]
    before = [plain.plain_drift(clip, 2, 3 + index) for index in range(3)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *before)
    together = EXTEND[fill](batch, *(np.stack(it) for it in zip(*steps, strict=True)))
    for index, (drift, step) in enumerate(zip(before, steps, strict=True)):
        for one, other in zip(together, EXTEND[fill](drift, *step), strict=True):
            np.testing.assert_allclose(one[index], other, atol=1e-5)


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_its_map_has_the_nets_cells(clip, stride):
    drift = plain.plain_drift(clip, 0, 5)
    cells = drift_map(drift, stride=stride)
    assert cells.shape == (64 // stride, 96 // stride, NUM_CHANNELS)
    if stride == 8:
        np.testing.assert_allclose(cells[..., :2], drift.displacement / 8, rtol=1e-6)
        np.testing.assert_allclose(cells[..., 2:], np.log1p(drift.surprise), rtol=1e-5)
    assert not np.any(drift_map(no_drift(8, 12), stride=stride))


def test_gradients_are_finite(clip):
    step = next(steps_of(clip, 2))

    before = plain.plain_drift(clip, 0, 2)

    def loss(motion):
        drift = extend(before, motion, *step[1:])
        return jnp.mean(drift_map(drift, stride=8) ** 2)

    gradient = jax.jit(jax.grad(loss), compiler_options=QUICK)(step[0])
    assert np.isfinite(gradient).all()
    assert np.any(gradient)
