"""The protocol for sparsely labelled video, against loops that follow the paper's text."""

from collections import Counter
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from data.examples import DataError, labelled_clip
from experiments.evaluation import clip_of
from experiments.sparse import (
    Setting,
    SparseClip,
    cut_around,
    last_offset,
    measure_sparse,
    midway_offset,
    rotating_offset,
)
from jaxseg.arrays import IGNORE_LABEL, Clip, Gop
from jaxseg.checkpoints import Model
from jaxseg.classes import Classes
from jaxseg.metrics import mean_iou
from jaxseg.nets import Net, NetConfig
from jaxseg.runner import Labeller, compile_scheme
from jaxseg.schemes import interp_mv, per_frame, prop_mv

CLASSES = Classes(("red", "green", "blue"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
NUM_CLASSES = len(CLASSES.names)
HEIGHT, WIDTH, NUM_FRAMES, LABELLED = 32, 64, 12, 7


def colour_model() -> Model:
    """Make a net that takes each 8x8 cell for the class of its brightest channel."""

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2))

    def same(params, it):
        return it

    net = Net(None, features, same, same, None, stride=8, num_classes=NUM_CLASSES)
    return Model(net, {}, NetConfig(NUM_CLASSES), CLASSES)


def sparse_clip(seed: int, *, labelled: int = LABELLED) -> SparseClip:
    """Make a clip of noise, with any motion and labels of one frame; the rest is ignored."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(256, size=(NUM_FRAMES, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    labels = np.full((NUM_FRAMES, HEIGHT, WIDTH), IGNORE_LABEL, np.uint8)
    labels[labelled] = rng.integers(NUM_CLASSES, size=(HEIGHT, WIDTH))
    inter = np.ones(blocks.shape[:3], bool)
    motion = rng.integers(-8, 9, (*inter.shape, 2)).astype(np.float32)
    motion[0], inter[0] = 0, False
    kinds = np.array([1] + [2] * (NUM_FRAMES - 1), np.uint8)
    frames = blocks.repeat(8, axis=1).repeat(8, axis=2)
    clip = Clip(frames, motion, inter, kinds, None, np.zeros(NUM_FRAMES, bool))
    return SparseClip(f"clip {seed}", labelled_clip(clip, labels), labelled)


def spy(calls: list) -> Labeller:
    """Make a labeller that notes how it is called, and labels everything zero."""

    def step(params, state, gop):
        calls.append(gop)
        return state, np.zeros((len(gop.motion), HEIGHT, WIDTH), np.uint8)

    return Labeller(lambda params, gop: (), step, step, reads_all_frames=False)


@pytest.mark.parametrize("interval", range(1, 11))
def test_every_distance_is_as_frequent(interval):
    offsets = Counter(rotating_offset(number, interval) for number in range(7 * interval))
    assert offsets == dict.fromkeys(range(interval), 7)


@pytest.mark.parametrize(
    ("interval", "last", "midway"),
    [
        (1, {0}, {0}),
        (2, {1}, {1}),
        (3, {2}, {1, 2}),
        (4, {3}, {2}),
        (9, {8}, {4, 5}),
        (10, {9}, {5}),
    ],
)
def test_farthest_frames(interval, last, midway):
    numbers = range(500)
    assert {last_offset(number, interval) for number in numbers} == last
    found = Counter(midway_offset(number, interval) for number in numbers)
    assert found == dict.fromkeys(midway, 500 // len(midway))
    away = [min(offset, interval - offset) for offset in range(interval)]
    assert {away[offset] for offset in midway} == {max(away)}


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize("reads_all_frames", [False, True])
def test_keyframes_enclose_the_labelled_frame(offset, reads_all_frames):
    _, example, labelled = sparse_clip(0)
    clip, first = clip_of(example), labelled - offset
    # Neither an I-frame nor a cut in between moves a keyframe.
    clip.picture_types[first + 2], clip.is_cut[first + 3] = 1, True
    labeller = spy([])._replace(reads_all_frames=reads_all_frames)
    gop = cut_around(clip, labelled, interval=4, offset=offset, labeller=labeller)
    frames = range(first, first + 4) if reads_all_frames else [first]
    np.testing.assert_array_equal(gop.frames, clip.frames[frames])
    np.testing.assert_array_equal(gop.next_frame, clip.frames[first + 4])
    steps = [first + 1, first + 1, first + 3, first + 4]  # an I-frame's own step is unknown
    np.testing.assert_array_equal(gop.motion, clip.motion[steps])
    assert (int(gop.length), bool(gop.is_linked)) == (4, True)


@pytest.mark.parametrize(
    ("interval", "offset", "words"),
    [(9, 8, ["frames -1 and 8"]), (5, 0, ["frames 7 and 12", "0 to 11"])],
)
def test_a_clip_that_is_too_short(interval, offset, words):
    setting = Setting("spy", interval, lambda number, interval: offset)
    with pytest.raises(DataError) as caught:
        measure_sparse({"spy": spy([])}, colour_model(), [sparse_clip(3)], {"one": setting})
    assert str(caught.value).startswith("clip 3: ")
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_whole_clip_may_be_needed():
    clip = clip_of(sparse_clip(0).example)
    gop = cut_around(clip, LABELLED, interval=NUM_FRAMES - 1, offset=LABELLED, labeller=spy([]))
    np.testing.assert_array_equal(gop.next_frame, clip.frames[-1])


def test_what_settings_share_is_computed_once():
    calls, kept = [], []
    settings = {
        "mean": Setting("spy", 3, rotating_offset),
        "farthest": Setting("spy", 3, last_offset),
        "fixed": Setting("spy", 3, midway_offset),
    }
    clips = [sparse_clip(seed) for seed in range(3)]
    confusions = measure_sparse(
        {"spy": spy(calls)},
        colour_model(),
        iter(clips),
        settings,
        keep_fn=lambda key, name, labels: kept.append((key, name, labels.shape)),
    )
    # The clips' offsets are 0, 2, 1, then 1, 2, 2, then 2, 2, 1.
    assert len(calls) == 3 + 2 + 2
    assert sorted(kept) == sorted(
        (key, clip.name, (HEIGHT, WIDTH)) for key in settings for clip in clips
    )
    assert all(confusion.sum() == 3 * HEIGHT * WIDTH for confusion in confusions.values())


def plain_loop(clips, labeller, params, interval, offset_fn) -> np.ndarray:
    """Label the run of frames between two keyframes, one clip after the other."""
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    for number, (_, example, labelled) in enumerate(clips):
        first = labelled - offset_fn(number, interval)
        frames = slice(first, first + interval if labeller.reads_all_frames else first + 1)
        gop = Gop(
            frames=example.frames[frames],
            motion=example.motion[first + 1 : first + interval + 1],
            inter=example.inter[first + 1 : first + interval + 1],
            next_frame=example.frames[first + interval],
            length=np.asarray(interval, np.int32),
            is_linked=np.asarray(True),
        )
        _, labels = labeller.step(params, labeller.init(params, gop), gop)
        for truth, predicted in zip(
            example.labels[labelled].flat, np.asarray(labels)[labelled - first].flat, strict=True
        ):
            confusion[truth, predicted] += 1
    return confusion


def test_accuracy_is_that_of_a_plain_loop():
    model = colour_model()
    clips = [sparse_clip(seed, labelled=6 - seed % 2) for seed in range(5)]
    make = partial(compile_scheme, model.net, height=HEIGHT, width=WIDTH)
    labellers = {
        "per-frame": make(per_frame(model.net)),
        "prop-mv": make(prop_mv(model.net)),
        "interp-mv": make(interp_mv(model.net)),
    }
    settings = {
        (name, interval, offset_fn): Setting(name, interval, offset_fn)
        for name in labellers
        for interval in (1, 2, 5)
        for offset_fn in (rotating_offset, last_offset, midway_offset)
    }
    confusions = measure_sparse(labellers, model, clips, settings)
    for key, (name, interval, offset_fn) in settings.items():
        expected = plain_loop(clips, labellers[name], model.params, interval, offset_fn)
        np.testing.assert_array_equal(confusions[key], expected, err_msg=f"{name} {interval}")
        assert mean_iou(confusions[key]) == mean_iou(expected)
    # Noise that moves: interpolation and propagation differ, and so do distances.
    assert len({confusion.tobytes() for confusion in confusions.values()}) > 10
