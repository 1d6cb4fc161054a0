"""A video labelled frame by frame: the labels of the scanned scheme, and when they come."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.adaptive import (
    AdaptiveConfig,
    adapt_net,
    along_motion,
    learned_deviation,
    predicted_kernels,
    reuse,
)
from jaxseg.intervals import frames_of_clip
from jaxseg.latency import (
    Programs,
    compile_tracker,
    latency_columns,
    slow_thread,
    track,
)
from jaxseg.nets import predict_labels
from jaxseg.schedules import fixed
from jaxseg.schemes.afp import afp, tracker
from tests import reference
from tests import reference_afp as plain

CONFIG = AdaptiveConfig(channels=4, kernel_size=3)
NET, SPLIT, WEIGHTS = plain.toy_split()
KERNELS, ADAPT, AKS = (
    predicted_kernels(CONFIG),
    adapt_net(CONFIG, num_classes=3),
    learned_deviation(CONFIG),
)
WHOLE = {"split": SPLIT, "fuser": ADAPT, "deviation": AKS, "threshold": 0.595}
PARTS = tracker(NET, KERNELS, **WHOLE)
PROGRAMS = compile_tracker(NET, PARTS, height=plain.HEIGHT, width=plain.WIDTH)
LATE = 1000
"""More frames than there are."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return plain.make_clip(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="module")
def params(clip):
    return plain.with_learned(SPLIT, WEIGHTS, clip.frames[0], KERNELS, ADAPT, AKS)


def labels_of(scores) -> np.ndarray:
    labels = predict_labels(scores, stride=16, height=plain.HEIGHT, width=plain.WIDTH)
    return np.asarray(labels)


def check(answers, labels) -> None:
    """See that the labels are the same but for a pixel that rounding may decide."""
    found = np.stack([it.labels for it in answers])
    assert (found.shape, found.dtype) == (labels.shape, np.uint8)
    wrong = (found != labels).mean((1, 2))
    assert (wrong < 1e-3).all(), wrong
    assert len(np.unique(labels)) > 1


def answer(clip, params, **options):
    """Go through the film with the whole of it compiled once."""
    return track(frames_of_clip(clip), NET, params, PARTS, programs=PROGRAMS, **options)


def test_blocking_keyframes_it_is_the_scheme_without_delay(clip, params):
    answers = list(answer(clip, params))
    check(answers, labels_of(plain.run(afp(NET, KERNELS, **WHOLE), params, clip)))
    expected = plain.expect(NET, params, clip, KERNELS, **WHOLE)
    keys = [index for index, it in enumerate(answers) if it.is_key]
    assert keys == expected.keys
    assert 2 < len(keys) < 20
    assert [it.waited_for_net for it in answers] == [it.is_key for it in answers]
    assert not any(it.num_pending for it in answers)


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_with_a_slow_track_it_is_the_scheme_with_that_delay(clip, params, delay):
    threads = set(threading.enumerate())
    with slow_thread(PARTS, params) as submit:
        answers = list(answer(clip, params, submit=submit, delay=delay))
    assert set(threading.enumerate()) <= threads
    scheme = afp(NET, KERNELS, **WHOLE, delay=delay)
    check(answers, labels_of(plain.run(scheme, params, clip)))
    expected = plain.expect(NET, params, clip, KERNELS, **WHOLE, delay=delay)
    assert [index for index, it in enumerate(answers) if it.is_key] == expected.keys
    assert [it.num_pending for it in answers] == expected.num_pending
    assert [index for index, it in enumerate(answers) if it.waited_for_net] == [0, plain.CUT]
    assert PROGRAMS.fast._cache_size() == 1


def test_by_a_schedule_it_is_the_scheme_of_a_fixed_interval(clip, params):
    propagator = along_motion(stride=plain.STRIDE)
    parts = tracker(NET, propagator)
    answers = list(track(frames_of_clip(clip), NET, params, parts, schedule=fixed(5)))
    check(answers, labels_of(plain.run(afp(NET, propagator), params, clip)))
    assert [index for index, it in enumerate(answers) if it.is_key] == [0, 5, 9, 12, 17]


def test_a_threshold_may_take_the_trackers_place(clip, params):
    answers = list(answer(clip, params, threshold=-1.0))
    assert all(it.is_key for it in answers)
    check(answers, labels_of(np.stack([
        reference.task(NET, params, reference.features_of(NET, params, it)) for it in clip.frames
    ])))  # fmt: skip


def test_frames_are_answered_while_the_slow_track_is_held(clip, params):
    # The first run ends after frame 5, the second is still going on at the cut, the third
    # is there at once, and the others never.
    gate, futures, answers = threading.Event(), [], []
    begun = iter([gate, never := threading.Event(), *[None] * 18])

    with slow_thread(PARTS, params) as submit, ThreadPoolExecutor(9) as pool:

        def held(event, start):
            assert event is None or event.wait(60)
            return submit(start).result()

        def begin(start):
            futures.append(pool.submit(held, next(begun), start))
            return futures[-1]

        try:
            for found in answer(clip, params, submit=begin, threshold=-1.0):
                answers.append(found)
                if len(answers) == 6:
                    assert not futures[0].done()
                    gate.set()
                if len(answers) > 5 and len(futures) != 2:
                    wait(futures[-1:], 60)
        finally:
            gate.set()
            never.set()
    given = WHOLE | {"threshold": -1.0}
    delays = [5, LATE, *[1] * 19]
    expected = plain.expect(NET, params, clip, KERNELS, **given, delay=delays)
    assert expected.keys[:5] == [0, 1, 6, 9, 10]
    assert expected.dropped == [6]
    assert [index for index, it in enumerate(answers) if it.is_key] == expected.keys
    assert [it.num_pending for it in answers] == expected.num_pending
    assert [it.num_pending for it in answers[:10]] == [0, 0, 1, 2, 3, 4, 0, 1, 2, 0]
    check(answers, labels_of(expected.scores))


def test_nothing_is_compiled_once_frames_come(clip, params):
    """Also not for variables that are bound to a device, as those of a checkpoint are."""
    bound = jax.device_put(params, jax.devices()[0])
    programs = compile_tracker(NET, PARTS, height=plain.HEIGHT, width=plain.WIDTH)
    with slow_thread(PARTS, bound) as submit:
        frames = frames_of_clip(clip)
        options = {"submit": submit, "delay": 1, "programs": programs}
        answers = list(track(frames, NET, bound, PARTS, **options))
    assert sum(it.is_key and not it.waited_for_net for it in answers) > 0
    assert programs.fast._cache_size() == programs.fresh._cache_size() == 1


def test_what_has_not_begun_by_a_cut_never_does(clip, params):
    futures = []
    submit = lambda start: futures.append(Future()) or futures[-1]  # noqa: E731
    answers = list(answer(clip, params, submit=submit, threshold=-1.0))
    assert [it.cancelled() for it in futures] == [True, False]
    assert [index for index, it in enumerate(answers) if it.is_key] == [0, 1, 9, 10]


def test_an_error_of_the_slow_track_is_raised(clip, params):
    failed = Future()
    failed.set_exception(RuntimeError("out of memory"))
    answers = answer(clip, params, submit=lambda start: failed, threshold=-1.0)
    assert [next(answers).is_key for _ in range(2)] == [True, True]
    with pytest.raises(RuntimeError, match="out of memory"):
        next(answers)


class Clock:
    """Time that passes only when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("rate", "expected"), [(10, [10, 150, 130, 40, 10]), (None, [10, 150, 80, 10, 10])]
)
def test_a_frame_that_takes_too_long_makes_the_next_ones_late(monkeypatch, rate, expected):
    clock, costs = Clock(), iter([3000, 3000, 10, 150, 80, 10, 10])  # first those to compile
    monkeypatch.setattr("jaxseg.latency.time", clock)

    def work(params, memory, tick):
        clock.sleep(next(costs) / 1000)
        return memory, jnp.zeros((16, 16), jnp.uint8)

    net = reference.toy_net()
    parts, params = tracker(net, reuse()), reference.toy_params(net)
    programs = Programs(
        init=parts.init,
        fresh=work,
        blocking=lambda *args: (*work(*args), False),
        fast=lambda *args: pytest.fail("there is no slow track"),
    )
    frames = reference.numbered_frames(5)
    answers = track(frames, net, params, parts, programs=programs, rate=rate)
    latencies = np.array([it.latency_ms for it in answers])
    np.testing.assert_allclose(latencies, expected)
    assert latency_columns(latencies, rate=10)["num_missed"] == (2 if rate else 1)


def test_latencies_are_summed_up():
    columns = latency_columns(np.arange(101.0), rate=20)
    assert columns == {
        **{"mean_ms": 50, "p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "max_ms": 100},
        **{"num_missed": 50, "share_missed": pytest.approx(50 / 101)},
    }
    assert latency_columns(np.array([7.0])).keys() == {
        f"{name}_ms" for name in ("mean", "p50", "p95", "p99", "max")
    }
    with pytest.raises(ValueError, match="0 latencies"):
        latency_columns(np.zeros(0))


def test_a_delay_of_no_frame_is_refused(clip, params):
    with pytest.raises(ValueError, match="delay is 0, but must be at least 1 frame, or None"):
        next(answer(clip, params, delay=0))
