"""The slow track in a process of its own: the same labels, and nothing of it is left behind."""

import threading
import time
from functools import partial

import jax
import numpy as np
import psutil
import pytest

from jaxseg.adaptive import AdaptiveConfig, along_motion, codec_deviation
from jaxseg.intervals import frames_of_clip
from jaxseg.latency import compile_tracker, slow_process, slow_thread, track
from jaxseg.schemes.afp import tracker
from tests import reference_afp as plain

NET, SPLIT, WEIGHTS = plain.toy_split()
CODEC_AKS = codec_deviation(AdaptiveConfig(channels=4), stride=plain.STRIDE)
PARTS = tracker(
    NET, along_motion(stride=plain.STRIDE), split=SPLIT, deviation=CODEC_AKS, threshold=-1.0
)
PROGRAMS = compile_tracker(NET, PARTS, height=plain.HEIGHT, width=plain.WIDTH)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return plain.make_clip(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="module")
def params(clip):
    return plain.with_learned(SPLIT, WEIGHTS, clip.frames[0], CODEC_AKS)


@pytest.fixture
def open_process(clip, params):
    """Open the slow track; afterwards see that neither process nor thread is left."""
    before, threads = set(psutil.Process().children()), set(threading.enumerate())
    start = jax.eval_shape(lambda *it: SPLIT.low(*it), params, clip.frames[0])
    yield partial(slow_process, PARTS, params, start)
    assert set(psutil.Process().children()) == before
    assert set(threading.enumerate()) <= threads


def worker() -> psutil.Process:
    """Find the process of the slow track."""
    (found,) = (it for it in psutil.Process().children() if "serve()" in it.cmdline()[-1])
    return found


def answer(clip, params, submit, **options):
    frames = frames_of_clip(clip)
    return track(frames, NET, params, PARTS, programs=PROGRAMS, submit=submit, **options)


def test_it_gives_the_labels_of_the_thread_until_it_dies(clip, params, open_process):
    with slow_thread(PARTS, params) as submit:
        expected = list(answer(clip, params, submit, delay=2))
    with open_process() as submit:
        found = list(answer(clip, params, submit, delay=2))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.labels, other.labels)
            assert (one.is_key, *one[3:]) == (other.is_key, *other[3:])
        worker().kill()
        answers = answer(clip, params, submit, delay=2)
        assert [next(answers).num_pending for _ in range(3)] == [0, 0, 1]
        with pytest.raises(RuntimeError, match="slow track ended with exit code -9"):
            next(answers)


def test_nobody_waits_for_it_in_the_end(clip, params, open_process):
    times = []

    def interrupt() -> None:
        with open_process() as submit:
            worker().suspend()  # as if it worked for ever
            answers = answer(clip, params, submit)
            assert [next(answers).num_pending for _ in range(4)] == [0, 0, 1, 2]
            answers.close()
            times.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert time.monotonic() - times[0] < 30
