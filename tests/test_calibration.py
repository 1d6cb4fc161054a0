"""Calibration: who votes on a frame, what a setting is expected to lose, and what is read."""

import jax
import numpy as np
import pytest

from jaxseg import calibration, metrics
from jaxseg.calibration import BASE, Measured, Setting, Tally
from jaxseg.errors import InputError
from jaxseg.intervals import cut_into_gops
from jaxseg.nets import upsample_scores
from jaxseg.runner import compile_scheme, label_gops
from jaxseg.schedules import fixed
from jaxseg.schemes import copy_last, interp_mv, per_frame, prop_mv
from tests import reference

MAKERS = {"copy-last": copy_last, "prop-mv": prop_mv, "interp-mv": interp_mv}
NET = reference.toy_net(stride=8)
PARAMS = reference.toy_params(NET)
HEIGHT, WIDTH = 40, 56


def take_run(frames, motion, **options) -> calibration.Run:
    """Take a whole short video as one run."""
    coded = reference.coded_frames(frames, motion, **options)
    features_fn = calibration.compile_features(NET)
    (run,) = calibration.take_runs(coded, [range(len(frames))], features_fn, PARAMS)
    return run


def label_whole(labeller, frames, motion, interval: int, **options) -> np.ndarray:
    """Label frames by the whole net."""
    coded = reference.coded_frames(frames, motion, **options)
    gops = cut_into_gops(
        coded,
        schedule=fixed(interval),
        max_length=interval,
        reads_all_frames=labeller.reads_all_frames,
    )
    return np.concatenate(list(label_gops(labeller, PARAMS, gops)))


def own_posteriors(frames) -> np.ndarray:
    """Give the net's own probabilities of each frame, on the pixels that are judged."""
    found = []
    for frame in frames:
        scores = reference.task(NET, PARAMS, reference.features_of(NET, PARAMS, frame))
        pixels = upsample_scores(scores, stride=NET.stride, height=HEIGHT, width=WIDTH)
        found.append(np.asarray(jax.nn.softmax(pixels))[2::4, 2::4])
    return np.stack(found)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (100, [(7, 17), (32, 42), (57, 67), (82, 92)]),
        (21, [(0, 10), (10, 20)]),
        (10, [(0, 10)]),
        (3, [(0, 3)]),
        (0, []),
        (None, [(0, 10), (10, 20), (20, 30), (30, 40)]),
    ],
)
def test_runs_are_spread_evenly(num_frames, expected):
    found = calibration.spread_runs(num_frames, num_runs=4, run_length=10)
    assert [(run.start, run.stop) for run in found] == expected


@pytest.mark.parametrize("make_scheme", [per_frame, *MAKERS.values()])
def test_known_features_give_the_labels_of_the_whole_net(make_scheme):
    frames, motion = reference.draw_video(9, height=HEIGHT, width=WIDTH)
    run = take_run(frames, motion, intra=(0, 5))
    light = calibration.with_known_features(NET)
    labeller = compile_scheme(light, make_scheme(light), height=HEIGHT, width=WIDTH)
    whole = compile_scheme(NET, make_scheme(NET), height=HEIGHT, width=WIDTH)
    starts = (0, 2, 3, 6)
    found = calibration.label_from(labeller, run, 3, starts=starts)
    for start, labels in zip(starts, found, strict=True):
        part = slice(start, start + 4)
        intra = [index - start for index in (0, 5) if start <= index < start + 4]
        expected = label_whole(whole, frames[part], motion[part], 3, intra=intra)[:3]
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("cut", [None, 6])
def test_every_frame_within_reach_has_one_vote(cut):
    """Nothing moves, so that a vote is what the net says of the frame that it comes from."""
    frames, motion = reference.draw_video(12, height=HEIGHT, width=WIDTH)
    run = take_run(frames, np.zeros_like(motion), cuts=() if cut is None else (cut,))
    vote_fn = calibration.compile_votes(
        calibration.with_known_features(NET), height=HEIGHT, width=WIDTH
    )
    reach = 2
    found = calibration.judge(vote_fn, run, reach=reach)
    own = own_posteriors(frames)
    for index in range(reach, 12 - reach):
        voters = range(index - reach, index + reach + 1)
        if cut is not None:
            voters = [voter for voter in voters if (voter < cut) == (index < cut)]
        if index in (cut, (cut or 0) + 1) and cut is not None:
            # The interval that would bring all votes back begins before the cut.
            voters = [voter for voter in voters if voter <= index or voter >= cut + reach + 1]
        np.testing.assert_allclose(found[index], np.mean(own[list(voters)], axis=0), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


def test_a_certain_posterior_gives_the_loss_that_labels_give():
    frames, motion = reference.draw_video(10, height=HEIGHT, width=WIDTH)
    run = take_run(frames, motion)
    light = calibration.with_known_features(NET)
    labeller = compile_scheme(light, prop_mv(light), height=HEIGHT, width=WIDTH)
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=(10, 10, 14))
    own = rng.integers(3, size=(10, 10, 14)).astype(np.uint8)
    found = calibration.tally(labeller, run, 4, np.eye(3, dtype=np.float32)[truth], own)
    ours = nets = agreement = 0
    whole = compile_scheme(NET, prop_mv(NET), height=HEIGHT, width=WIDTH)
    for start in range(6):
        labels = label_whole(whole, frames[start : start + 4], motion[start : start + 4], 4)
        for index, of_frame in enumerate(labels, start):
            thin = of_frame[2::4, 2::4]
            ours = ours + metrics.confusion_matrix(truth[index], thin, num_classes=3)
            nets = nets + metrics.confusion_matrix(truth[index], own[index], num_classes=3)
            agreement = agreement + metrics.confusion_matrix(own[index], thin, num_classes=3)
    np.testing.assert_array_equal(found.expected, ours)
    np.testing.assert_array_equal(found.expected_per_frame, nets)
    np.testing.assert_array_equal(found.agreement, agreement)
    drop, error = calibration.expected_drop([found], np.ones(3, bool))
    assert drop == pytest.approx(metrics.mean_iou(nets) - metrics.mean_iou(ours))
    assert np.isnan(error)


def test_the_error_is_that_of_leaving_each_place_out():
    rng = np.random.default_rng(0)
    tallies = [Tally(*rng.uniform(1, 9, (2, 3, 3)), np.eye(3, dtype=np.int64)) for _ in range(4)]

    def drop(some):
        ious = []
        for matrix in (sum(it.expected_per_frame for it in some), sum(it.expected for it in some)):
            hits = np.diag(matrix)
            ious.append(hits / (matrix.sum(0) + matrix.sum(1) - hits))
        return np.mean((ious[0] - ious[1])[:2])  # The third class is never named.

    others = [drop([it for it in tallies if it is not one]) for one in tallies]
    error = np.sqrt(3 / 4 * np.sum((others - np.mean(others)) ** 2))
    found = calibration.expected_drop(tallies, np.array([True, True, False]))
    assert found == pytest.approx((drop(tallies), error))


def row_of(scheme: str, interval: int, drop: float, fps: float) -> Measured:
    return Measured(scheme, interval, 1.0, drop, 0.0, fps, fps)


@pytest.mark.parametrize(
    ("max_drop", "chosen"),
    [(0.0, ("per-frame", 1)), (0.01, ("prop-mv", 2)), (0.02, ("prop-mv", 4)), (1, ("copy", 9))],
)
def test_the_fastest_of_those_that_lose_little_is_chosen(max_drop, chosen):
    rows = [
        row_of("per-frame", 1, 0.0, 10),
        row_of("prop-mv", 2, 0.01, 19),
        row_of("prop-mv", 4, 0.02, 36),
        row_of("interp-mv", 4, 0.005, 9),
        row_of("copy", 9, 0.3, 80),
    ]
    assert calibration.choose(rows, max_drop=max_drop)[:2] == chosen


def test_a_video_that_stands_still_loses_nothing(monkeypatch):
    monkeypatch.setattr(calibration, "ENOUGH_SECONDS", 0.0)
    frames, motion = reference.draw_video(1, height=HEIGHT, width=WIDTH)
    converted: list[int] = []
    coded = reference.coded_frames(
        np.repeat(frames, 40, axis=0),
        np.repeat(0 * motion, 40, axis=0),
        intra=(0, 20),
        converted=converted,
    )
    seen: list[str] = []

    def track(items, *, desc, **_):
        seen.append(desc)
        return items

    rows = calibration.calibrate(
        coded,
        NET,
        PARAMS,
        makers=MAKERS,
        num_frames=40,
        intervals=(4, 8),
        num_runs=2,
        run_length=7,
        track=track,
    )
    settings = [BASE, *(Setting(name, 4) for name in MAKERS)]
    assert [row[:2] for row in rows] == settings  # No place holds an interval of 8.
    assert converted == [*range(7, 14), *range(27, 34)]
    assert next(coded).index == 34
    assert seen == ["reading", "compiling", "place 1 of 2", "place 2 of 2"]
    for row in rows:
        assert row.miou_agreement == 1
        assert (row.miou_drop, row.miou_drop_error) == pytest.approx((0, 0), abs=1e-12)
        assert 0 < row.decoded_throughput_fps < row.throughput_fps


@pytest.mark.parametrize("num_frames", [0, 5])
def test_a_video_that_ends_before_the_first_place_is_refused(num_frames):
    coded = reference.numbered_frames(num_frames)
    with pytest.raises(InputError, match="ends before frame 120, the first to look at"):
        calibration.calibrate(
            coded, NET, PARAMS, makers={}, num_frames=1000, num_runs=4, run_length=10
        )
