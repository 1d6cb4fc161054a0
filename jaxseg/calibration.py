"""Find the fastest setting for a video whose loss of accuracy is small, without labels.

Nobody knows the truth of a user's own video, so its place is taken by a probability of
each class: what the net says of a spot, averaged over all frames within `REACH` of a frame,
carried to it along the motion, one vote a frame (a linear opinion pool).  The frame itself
and the keyframe that its labels may come from then count alike, whereas the net's own
scores alone would always side with the net on every frame.  Under these probabilities both
have an expected confusion matrix; the difference of the two mIoUs is the expected loss.

What that assumes, and where it ends:

- The softmax of the net's scores is a fair probability.  A loss that weighs classes without
  correcting the scores for it (`losses.cross_entropy` does) would break this.
- What the net gets wrong in all frames alike counts as right for both sides.
- Where motion carries badly, votes blur.  Large losses therefore come out too small, above
  all those of labels that are not moved at all.
- Only the loss is estimated, not the mIoU itself: mean over the classes that the net names.

`experiments/calibration.py` compares it with the truth where there are labels.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8

from jaxseg.arrays import Array, CodedFrame, Features, Frames, Gop, Labels, Params, Scores
from jaxseg.errors import InputError
from jaxseg.fusion import BACKWARD
from jaxseg.geometry import pad_frames
from jaxseg.intervals import cut_into_gops
from jaxseg.metrics import class_iou, confusion_matrix, expected_confusion, mean_iou
from jaxseg.nets import Net, upsample_scores
from jaxseg.runner import Labeller, compile_scheme, label_gops
from jaxseg.schedules import fixed
from jaxseg.schemes import Scheme, interp_mv, per_frame, prop_mv

INTERVALS = (2, 3, 4, 5, 6, 8, 10, 12)
"""Frames from one keyframe to the next that are tried; at 16 the promise has been seen to be
wrong by more than a point."""

NUM_RUNS, RUN_LENGTH = 4, 48
"""So many places of a video are looked at, so many consecutive frames at each."""

REACH = 4
"""A frame is judged by those up to so many frames from it, before and after."""

SPACING = 4
"""One pixel of so many, in both directions, is judged."""
_JUDGED = slice(SPACING // 2, None, SPACING)

NUM_GRIDS = 4
"""Grids of keyframes that are averaged over, about, where an interval is that long."""

MIN_ROUNDS, MAX_ROUNDS, ENOUGH_SECONDS = 5, 20, 5.0
"""All settings are timed in turn so often, unless that takes longer than enough."""

Posterior: TypeAlias = Float[np.ndarray, "t h w k"]
Thinned: TypeAlias = UInt8[np.ndarray, "_t _h _w"]
FeaturesFn: TypeAlias = Callable[[Params, Frames], Features]
VoteFn: TypeAlias = Callable[[Params, Gop], tuple[Array, Array]]
MakeScheme: TypeAlias = Callable[[Net], Scheme]
Track: TypeAlias = Callable[..., Iterable[Any]]
"""Shows progress: called as `tqdm` is, with the items and `desc`, `total`, `unit`."""


class Setting(NamedTuple):
    """A scheme by its name, and the frames from one keyframe to the next."""

    scheme: str
    interval: int


BASE = Setting("per-frame", 1)
"""The net on every frame, against which losses are counted."""


class Measured(NamedTuple):
    """What a setting costs and gives on a video; a row of the table.

    Attributes:
        scheme: Its name.
        interval: Frames from one keyframe to the next.
        miou_agreement: mIoU of its labels with those of the net on every frame taken
            for the truth, 0..1.
        miou_drop: The mIoU that it is expected to lose against the net on every frame,
            0..1; below zero if it is expected to gain.
        miou_drop_error: Standard error of that over the places of the video; nan where
            there was only one.
        throughput_fps: Frames a second, from pixels and motion in host memory to labels
            there.
        decoded_throughput_fps: Frames a second with decoding, one after the other.
    """

    scheme: str
    interval: int
    miou_agreement: float
    miou_drop: float
    miou_drop_error: float
    throughput_fps: float
    decoded_throughput_fps: float


class Run(NamedTuple):
    """Consecutive frames, with the net's features in place of their pixels.

    Attributes:
        frames: What the codec says; the pixels of each are its number in the run.
        params: The net's variables, with the features of all frames at `"carried"`.
        height: Of the pictures, pixels.
        width: Of the pictures, pixels.
    """

    frames: list[CodedFrame]
    params: Params
    height: int
    width: int


class Tally(NamedTuple):
    """What a setting's labels came to on the whole intervals of a run.

    Attributes:
        expected: `[k, k]`, the expected confusion of its labels.
        expected_per_frame: `[k, k]`, that of the net's own labels on the same frames.
        agreement: `[k, k]`, its labels against the net's own.
    """

    expected: Float64[np.ndarray, "k k"]
    expected_per_frame: Float64[np.ndarray, "k k"]
    agreement: Int64[np.ndarray, "k k"]


def calibrate(
    frames: Iterable[CodedFrame],
    net: Net,
    params: Params,
    *,
    makers: Mapping[str, MakeScheme],
    num_frames: int | None,
    intervals: Iterable[int] = INTERVALS,
    num_runs: int = NUM_RUNS,
    run_length: int = RUN_LENGTH,
    reach: int = REACH,
    track: Track = lambda items, **_: items,
) -> list[Measured]:
    """Measure what each setting loses and how fast it is, on a video without labels.

    The video is read once, up to the last place that is looked at, and the feature net
    runs once a frame there.  Memory is that of one place, however long the video is.

    Args:
        frames: The video, from its first frame.
        net: The net.
        params: Its variables.
        makers: Constructors of the schemes to try, by name.
        num_frames: Frames of the video; None where nothing tells, then its beginning is
            looked at.
        intervals: Frames from one keyframe to the next to try; those of which no place
            holds a whole one are left out.
        num_runs: Places to look at, at most.
        run_length: Frames at each place, at most.
        reach: Frames before and after a frame that vote on its labels.
        track: Shows progress, such as `tqdm`.

    Returns:
        A row each: the net on every frame first, which loses nothing, then `makers` in
        order, each by interval.

    Raises:
        InputError: If the video ends before the first place.
    """
    places = spread_runs(num_frames, num_runs=num_runs, run_length=run_length)
    features_fn, light = compile_features(net), with_known_features(net)
    schemes = {BASE.scheme: per_frame(light)} | {k: make(light) for k, make in makers.items()}
    wanted = [Setting(k, n) for k in makers if k != BASE.scheme for n in sorted({*intervals} - {1})]
    tallies: dict[Setting, list[Tally]] = {}
    is_named = np.zeros(net.num_classes, bool)
    clock = _Clock()
    runs = take_runs(clock.watch(frames), places, features_fn, params, track=track)
    for number, run in enumerate(runs):
        if number == 0:
            size = {"height": run.height, "width": run.width}
            labellers = {k: compile_scheme(light, it, **size) for k, it in schemes.items()}
            vote_fn = compile_votes(light, **size)
            wanted = [setting for setting in wanted if setting.interval < len(run.frames)]
            heavy_fn = partial(features_fn, params)
            network_ms = _time(heavy_fn, labellers, [BASE, *wanted], run, track=track)
        posterior = judge(vote_fn, run, reach=reach)
        everywhere = label_from(labellers[BASE.scheme], run, 1, starts=range(len(run.frames)))
        own = np.concatenate([thin(labels) for labels in everywhere])
        is_named[np.unique(own)] = True
        title = {"desc": f"place {number + 1} of {len(places)}", "unit": "setting", "leave": False}
        for setting in track(wanted, **title):
            if setting.interval < len(run.frames):
                tallies.setdefault(setting, []).append(
                    tally(labellers[setting.scheme], run, setting.interval, posterior, own)
                )
        del run  # or the features of two places would lie in memory
    if not is_named.any():
        first = places[0].start if places else 0
        raise InputError(
            f"the video ends before frame {first}, the first to look at; check that it plays"
        )
    rows = []
    for setting in (BASE, *tallies):
        reads_all = schemes[setting.scheme].reads_all_frames
        decode_ms = clock.frame_ms(share_of_pixels=1.0 if reads_all else 1 / setting.interval)
        rows.append(
            Measured(
                *setting,
                *((1.0, 0.0, 0.0) if setting == BASE else _losses(tallies[setting], is_named)),
                throughput_fps=1000 / network_ms[setting],
                decoded_throughput_fps=1000 / (network_ms[setting] + decode_ms),
            )
        )
    return rows


def choose(rows: Iterable[Measured], *, max_drop: float) -> Measured:
    """Choose the fastest setting that is expected to lose little.

    Args:
        rows: From `calibrate`.
        max_drop: The mIoU that may be lost, 0..1.

    Returns:
        The row; that of the net on every frame, which loses nothing, where no other will do.
    """
    good = [row for row in rows if row.miou_drop <= max_drop or row[:2] == BASE]
    return max(good, key=lambda row: row.throughput_fps)


def spread_runs(num_frames: int | None, *, num_runs: int, run_length: int) -> list[range]:
    """Place runs of consecutive frames in the middle of equal parts of a video.

    Args:
        num_frames: Frames of the video; None where nothing tells, then the runs follow
            on each other from its beginning.
        num_runs: Runs, at most.
        run_length: Frames of each, at most.

    Returns:
        The frames of each run, in order, none in two of them.
    """
    if num_frames is None:
        num_frames = num_runs * run_length
    length = min(run_length, num_frames)
    num_runs = min(num_runs, num_frames // max(length, 1))
    middles = ((2 * number + 1) * num_frames // (2 * num_runs) for number in range(num_runs))
    starts = (max(0, middle - length // 2) for middle in middles)
    return [range(start, start + length) for start in starts]


def take_runs(
    frames: Iterable[CodedFrame],
    places: Sequence[range],
    features_fn: FeaturesFn,
    params: Params,
    *,
    track: Track = lambda items, **_: items,
) -> Iterator[Run]:
    """Read a video up to the last of some places, and compute the features there.

    Args:
        frames: The video, from its first frame.
        places: Which frames, in order; from `spread_runs`.
        features_fn: `(params, frame [H, W, 3]) -> features`, from `compile_features`.
        params: The net's variables.
        track: Shows progress, such as `tqdm`.

    Yields:
        A run each, as soon as it is complete; a shorter one where the video ends in it.
    """
    coming = iter(places)
    place = next(coming, range(0))
    taken: list[CodedFrame] = []
    table: np.ndarray | None = None
    height = width = 0

    def finish() -> Run:
        nonlocal taken, table
        # Of one size also where the video ended, so that nothing is compiled twice.
        run = Run(taken, {**params, "carried": jnp.asarray(table)}, height, width)
        taken, table = [], None
        return run

    end = places[-1].stop if places else 0
    for frame in track(islice(frames, end), desc="reading", unit="frame", total=end):
        if frame.index not in place:
            continue
        pixels = frame.rgb()
        height, width = pixels.shape[:2]
        features = np.asarray(features_fn(params, pixels))
        if table is None:
            table = np.zeros((len(place), *features.shape), features.dtype)
        table[len(taken)] = features
        # A sign for its row in place of the pixels.
        sign = np.array([[[len(taken) % 256, len(taken) // 256, 0]]], np.uint8)
        taken.append(replace(frame, residual=None, rgb=partial(np.asarray, sign)))
        if len(taken) == len(place):
            yield finish()
            place = next(coming, range(0))
    if taken:
        yield finish()


def compile_features(net: Net) -> FeaturesFn:
    """Compile what runs on keyframes alone.

    Args:
        net: The net.

    Returns:
        `(params, frame [H, W, 3]) -> features [h, w, c]`.
    """
    return jax.jit(lambda params, frame: net.features(params, pad_frames(frame[None]))[0])


def with_known_features(net: Net) -> Net:
    """Put features that are there already in the place of a net's feature net.

    Args:
        net: The net.

    Returns:
        A net that costs only what a scheme does between keyframes.  Its frames are not
        pictures, but say by their first pixel which of `params["carried"]` is meant.
    """

    def features(params: Params, frames: Frames) -> Features:
        digits = frames[..., 0, 0, :2].astype(jnp.int32)
        return params["carried"][digits[..., 0] + 256 * digits[..., 1]]

    return net._replace(features=features)


def thin(labels: Labels) -> Labels:
    """Take the pixels that are judged: one of `SPACING`, in both directions.

    Args:
        labels: `[*b, H, W]`.

    Returns:
        `[*b, h, w]`, the same pixels for all frames.
    """
    return labels[..., _JUDGED, _JUDGED]


def compile_votes(net: Net, *, height: int, width: int) -> VoteFn:
    """Compile what both keyframes of an interval say of each of its frames.

    Args:
        net: From `with_known_features`.
        height: Of the frames, pixels.
        width: Of the frames, pixels.

    Returns:
        `(params, gop) -> (ahead, back)`, each `[t, h, w, k]`: the probabilities of the
        classes on the pixels of `thin`, carried from the keyframe and from the next.
    """

    def probabilities(scores: Scores) -> Float[Array, "h w k"]:
        every = upsample_scores(scores, stride=net.stride, height=height, width=width)
        return jax.nn.softmax(every[_JUDGED, _JUDGED])

    def say(scheme: Scheme, params: Params, gop: Gop) -> Float[Array, "t h w k"]:
        _, scores = scheme.step(params, scheme.init(params, gop), gop)
        return jax.lax.map(probabilities, scores)

    ahead, back = prop_mv(net), interp_mv(net, fusion=BACKWARD)
    return jax.jit(lambda params, gop: (say(ahead, params, gop), say(back, params, gop)))


def judge(vote_fn: VoteFn, run: Run, *, reach: int = REACH) -> Posterior:
    """Let the frames around each frame vote on what it shows.

    Nothing is carried across a scene cut.

    Args:
        vote_fn: From `compile_votes`.
        run: The frames.
        reach: Frames before and after a frame whose votes count; the frame's own counts
            as much as each of theirs.  At the ends of the run and next to a cut there are
            fewer.

    Returns:
        `[t, h, w, k]` float32, the probability of each class on the pixels of `thin`.
    """
    total: np.ndarray | None = None
    num_votes = np.zeros(len(run.frames), np.int64)
    for start in range(len(run.frames)):
        gop = _cut(run, start, reach + 1, reads_all_frames=False)[0]
        ahead, back = map(np.asarray, vote_fn(run.params, gop))
        if total is None:
            total = np.zeros((len(run.frames), *ahead.shape[1:]), np.float32)
        length = int(gop.length)
        total[start : start + length] += ahead[:length]
        num_votes[start : start + length] += 1
        if gop.is_linked:
            total[start + 1 : start + length] += back[1:length]
            num_votes[start + 1 : start + length] += 1
    assert total is not None
    return total / num_votes[:, None, None, None].astype(np.float32)


def label_from(
    labeller: Labeller, run: Run, interval: int, *, starts: Iterable[int]
) -> Iterator[UInt8[np.ndarray, "t H W"]]:
    """Label the interval that begins with each of some frames.

    Args:
        labeller: The scheme, compiled for a net from `with_known_features`.
        run: The frames.
        interval: Frames from one keyframe to the next.
        starts: Which frames of the run are keyframes.

    Yields:
        `[t, H, W]`, the labels of `interval` frames, or of fewer at the end of the run.
    """
    for start in starts:
        gops = _cut(run, start, interval, reads_all_frames=labeller.reads_all_frames)
        # The keyframe after the interval is there only to be looked ahead at.
        yield np.concatenate(list(label_gops(labeller, run.params, gops)))[:interval]


def tally(labeller: Labeller, run: Run, interval: int, posterior: Posterior, own: Thinned) -> Tally:
    """Judge a setting's labels on whole intervals of a run, on shifted grids of keyframes.

    Args:
        labeller: The scheme, compiled for the net that the run was made for.
        run: The frames.
        interval: Frames from one keyframe to the next; fewer than the run has.
        posterior: From `judge`.
        own: `[t, h, w]`, the labels of the net on every frame, on the same pixels.

    Returns:
        What the labels came to; every distance to the keyframe counts alike.
    """
    num_classes = posterior.shape[-1]
    shape = num_classes, num_classes
    expected, expected_per_frame = np.zeros(shape), np.zeros(shape)
    agreement = np.zeros(shape, np.int64)
    starts = range(0, len(run.frames) - interval, max(1, interval // NUM_GRIDS))
    intervals = label_from(labeller, run, interval, starts=starts)
    for start, labels in zip(starts, intervals, strict=True):
        for index, of_frame in enumerate(thin(labels), start):
            expected += expected_confusion(posterior[index], of_frame)
            expected_per_frame += expected_confusion(posterior[index], own[index])
            agreement += confusion_matrix(own[index], of_frame, num_classes=num_classes)
    return Tally(expected, expected_per_frame, agreement)


def expected_drop(
    tallies: Sequence[Tally], is_named: Bool[np.ndarray, " k"]
) -> tuple[float, float]:
    """Estimate the mIoU that a setting loses against the net on every frame.

    Args:
        tallies: From `tally`, one a place.
        is_named: `[k]`; False for classes that the net never names, which do not count.

    Returns:
        The expected loss, 0..1, below zero for a gain, and its standard error by the
        jackknife over the places; nan of a single one.
    """

    def drop(some: Sequence[Tally]) -> float:
        ours, nets = (
            np.sum([getattr(it, name) for it in some], axis=0)
            for name in ("expected", "expected_per_frame")
        )
        return float(np.nanmean((class_iou(nets) - class_iou(ours))[is_named]))

    count = len(tallies)
    if count == 1:
        return drop(tallies), float("nan")
    others = [drop([*tallies[:one], *tallies[one + 1 :]]) for one in range(count)]
    return drop(tallies), float(np.sqrt((count - 1) * np.var(others)))


def _losses(
    tallies: Sequence[Tally], is_named: Bool[np.ndarray, " k"]
) -> tuple[float, float, float]:
    agreement = mean_iou(np.sum([it.agreement for it in tallies], axis=0))
    return float(agreement), *expected_drop(tallies, is_named)


class _Clock:
    """How long frames take to come, and their pixels to be converted."""

    def __init__(self) -> None:
        self.decode_s: list[float] = []
        self.convert_s: list[float] = []

    def watch(self, frames: Iterable[CodedFrame]) -> Iterator[CodedFrame]:
        iterator, began = iter(frames), time.perf_counter()
        while (frame := next(iterator, None)) is not None:
            self.decode_s.append(time.perf_counter() - began)
            yield replace(frame, rgb=partial(self.convert, frame))
            began = time.perf_counter()

    def convert(self, frame: CodedFrame) -> UInt8[np.ndarray, "H W 3"]:
        began = time.perf_counter()
        pixels = frame.rgb()
        self.convert_s.append(time.perf_counter() - began)
        return pixels

    def frame_ms(self, *, share_of_pixels: float) -> float:
        convert_s = share_of_pixels * statistics.median(self.convert_s)
        return 1000 * (statistics.mean(self.decode_s) + convert_s)


def _cut(run: Run, start: int, interval: int, *, reads_all_frames: bool) -> list[Gop]:
    """Cut out what follows on a frame, up to the next keyframe and that one itself."""
    return list(
        cut_into_gops(
            run.frames[start : start + interval + 1],
            schedule=fixed(interval),
            max_length=interval,
            reads_all_frames=reads_all_frames,
        )
    )


def _time(
    heavy_fn: Callable[[Frames], Features],
    labellers: Mapping[str, Labeller],
    settings: Sequence[Setting],
    run: Run,
    *,
    track: Track,
) -> dict[Setting, float]:
    """Time what the network does for a frame, in milliseconds: heavy part and rest apart."""
    picture = np.zeros((run.height, run.width, 3), np.uint8)

    def heavy() -> None:
        jax.block_until_ready(heavy_fn(picture))

    def prepare(setting: Setting) -> Callable[[], None]:
        labeller = labellers[setting.scheme]
        reads = labeller.reads_all_frames
        gop = _cut(run, 0, setting.interval, reads_all_frames=reads)[0]
        state = labeller.init(run.params, gop)

        def step() -> None:
            nonlocal state  # A step may reuse the memory of the state that it was given.
            state, labels = labeller.step(run.params, state, gop)
            np.asarray(jax.block_until_ready(labels))

        step()
        return step

    # Compilation takes longer than all else, and one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = pool.map(prepare, settings)
        title = {"desc": "compiling", "unit": "setting", "total": len(settings), "leave": False}
        steps = list(track(compiled, **title))
    heavy()
    times = time_in_turn([heavy, *steps])
    return {
        setting: (times[0] + rest_ms) / setting.interval
        for setting, rest_ms in zip(settings, times[1:], strict=True)
    }


def time_in_turn(steps: Sequence[Callable[[], None]]) -> list[float]:
    """Time functions turn by turn, so that a machine's changes of pace hit all alike.

    Args:
        steps: What to time, each compiled and run before.

    Returns:
        Milliseconds of each, the median of several runs.
    """
    rounds: list[list[float]] = []
    while len(rounds) < MIN_ROUNDS or (
        len(rounds) < MAX_ROUNDS and np.sum(rounds) < ENOUGH_SECONDS
    ):
        rounds.append([])
        for step in steps:
            began = time.perf_counter()
            step()
            rounds[-1].append(time.perf_counter() - began)
    return [1000 * statistics.median(each) for each in zip(*rounds, strict=True)]
