"""Pairs to learn propagation from: each is what the codec gives for these frames and this crop."""

import itertools

import jax
import numpy as np
import pytest

from data.examples import labelled_clip
from data.pairs import drift_pair_batch, drift_pair_batches, pair_of
from jaxseg.arrays import IGNORE_LABEL, PictureType
from tests import reference_afp as plain

SIDE = 32
OPTIONS = {"distances": (2, 5), "side": SIDE, "batch_size": 3}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return plain.make_clip(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="module")
def example(clip):
    """Label each pixel of every second frame by where and when it is."""
    index, row, column = np.indices(clip.frames.shape[:3])
    labels = (37 * index + 5 * row + column) % 250
    return labelled_clip(clip, np.where(index % 2, labels, IGNORE_LABEL).astype(np.uint8))


@pytest.mark.parametrize(
    ("key", "distance", "top", "left"),
    [(2, 5, 16, 48), (10, 5, 0, 0), (11, 2, 16, 16), (9, 4, 0, 32), (3, 4, 0, 16)],
)
def test_a_pair_is_what_the_codec_gives(clip, example, key, distance, top, left):
    place = {"top": top, "left": left, "side": SIDE}
    pair = pair_of(example, key=key, distance=distance, max_distance=6, **place)
    rows, columns = slice(top, top + SIDE), slice(left, left + SIDE)
    shown = [key, key + distance]
    np.testing.assert_array_equal(pair.frames, clip.frames[shown, rows, columns])
    np.testing.assert_array_equal(pair.labels, example.labels[shown[1], rows, columns])
    assert pair.distance == distance
    for step in range(6):
        index = key + 1 + step
        motion = np.zeros((4, 4, 2)), np.ones((4, 4), bool), np.zeros((2, 2, 2))
        if step < distance:
            # An I-frame moves as the frame before it.
            source = index - (clip.picture_types[index] == PictureType.INTRA)
            blocks = slice(top // 8, top // 8 + 4), slice(left // 8, left // 8 + 4)
            cells = slice(top // 16, top // 16 + 2), slice(left // 16, left // 16 + 2)
            motion = clip.motion[source][blocks], clip.inter[source][blocks]
            motion = *motion, clip.residual[index][cells]
        for found, expected in zip(pair[1:4], motion, strict=True):
            np.testing.assert_array_equal(found[step], expected)
    assert pair.motion.any()
    assert pair.residual.any()


def test_batches_are_pairs_of_the_wanted_distances(clip, example):
    seen = set()
    for step in range(12):
        batch = drift_pair_batch([example], **OPTIONS, seed=0, step=step)
        assert batch.frames.shape == (3, 2, SIDE, SIDE, 3)
        assert batch.motion.shape == (3, 5, 4, 4, 2)
        assert batch.residual.shape == (3, 5, 2, 2, 2)
        for index in range(3):
            pair = jax.tree.map(lambda leaf, i=index: leaf[i], batch)
            # A label tells the frame and the place.
            places = itertools.product(range(20), (0, 16), (0, 16, 32, 48))
            (found,) = (
                (number, top, left)
                for number, top, left in places
                if (pair.labels == example.labels[number, top:, left:][:SIDE, :SIDE]).all()
                and pair.labels[0, 0] != IGNORE_LABEL
            )
            number, top, left = found
            key = number - int(pair.distance)
            place = {"top": top, "left": left, "side": SIDE}
            own = pair_of(example, key=key, distance=int(pair.distance), max_distance=5, **place)
            jax.tree.map(np.testing.assert_array_equal, pair, own)
            assert not clip.is_cut[key + 1 : number + 1].any()
            seen.add((int(pair.distance), top, left))
    assert {distance for distance, *_ in seen} == {2, 3, 4, 5}
    assert {it[1] for it in seen} == {0, 16}
    assert {it[2] for it in seen} == {0, 16, 32, 48}


def test_batches_are_a_function_of_seed_and_step(example):
    def same(first, second):
        return all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))

    def make(**which):
        return drift_pair_batch([example, example], **OPTIONS, **which)

    stream = drift_pair_batches([example, example], **OPTIONS, seed=4, start=2)
    for step, batch in enumerate(itertools.islice(stream, 3), start=2):
        assert same(batch, make(seed=4, step=step))
    stream.close()
    assert not same(make(seed=4, step=0), make(seed=5, step=0))
    assert not same(make(seed=4, step=0), make(seed=4, step=1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"distances": (12, 14)}, "clip 0 has 20 frames of 60x92, but pairs 12 to 14 frames"),
        ({"side": 64}, "of 64x64 pixels, are wanted; give longer clips or a smaller crop"),
        ({"side": 40}, "side is 40, but must be a multiple of 16"),
    ],
)
def test_what_a_clip_has_not_is_refused(example, change, says):
    with pytest.raises(ValueError, match=says) as error:
        drift_pair_batch([example], **OPTIONS | change, seed=0, step=0)
    assert "\n" not in str(error.value)
