"""Figure 5: which frames should be keyframes, at equal shares of them.

Every frame is labelled once from every frame before it as its keyframe, up to `MAX_DISTANCE`
away.  Whatever chooses keyframes then picks from these, at any number of thresholds and
starts, so that a difference is not that of one lucky keyframe.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

from experiments.lowlatency.accuracy import NUM_STARTS, ticks_of
from experiments.lowlatency.units import Making, Unit, deviation_of, tracker_of
from experiments.lowlatency.video import Film
from jaxseg.arrays import Array, Labels, Params
from jaxseg.metrics import confusion_matrix, mean_iou
from jaxseg.nets import predict_labels
from jaxseg.schemes.afp import Memory, Tick, remember

MAX_DISTANCE = 30
"""A frame so far from its keyframe is one, whatever is estimated."""

ORACLE = "oracle"
"""The share of labels that differ, as the net itself says them, which deviations estimate."""

NUM_THRESHOLDS = 200

BAND = 0.15
"""Thresholds count whose share of keyframes is so near the one that is asked for, relative."""


class Pairs(NamedTuple):
    """What became of a film.

    Attributes:
        confusion: `[t, d, k, k]`, of frame `t + d` as labelled from keyframe `t`.
        deviations: By name `[t, d]`, of frame `t + d` from frame `t`; 0 for `d = 0`.
        is_fresh: `[t]`, frames that are keyframes in any case.
    """

    confusion: Int[np.ndarray, "t d k k"]
    deviations: Mapping[str, Float[np.ndarray, "t d"]]
    is_fresh: Bool[np.ndarray, "t"]


class Point(NamedTuple):
    """A schedule: the share of keyframes, and how well all frames are labelled."""

    share: float
    miou: float


def label_pairs(
    way: str,
    names: Sequence[str],
    making: Making,
    params: Params,
    film: Film,
    *,
    max_distance: int = MAX_DISTANCE,
    quiet: bool = False,
) -> Pairs:
    """Label every frame from every frame a while before it.

    Args:
        way: How maps are carried.
        names: Deviations to ask.
        making: What schemes are made of.
        params: The variables.
        film: The film.
        max_distance: Frames from a keyframe to the last that is labelled from it.
        quiet: Show no progress bar.

    Returns:
        What became of it, `ORACLE` among the deviations.
    """
    net, parts = making.net, tracker_of(Unit("afp", way), making)
    asked = {name: it for name in names if (it := deviation_of(name, making.parts))}
    num_frames, height, width = film.labels.shape
    ticks = ticks_of(film.clip, reads_residual=True)

    def to_labels(scores: Array) -> Labels:
        return predict_labels(scores, stride=net.stride, height=height, width=width)

    def ask(params: Params, view: Any) -> dict[str, Any]:
        return {name: it.look(params, view) for name, it in asked.items()}

    @jax.jit
    def begin(params: Params, tick: Tick) -> tuple[Memory, dict[str, Any], Labels]:
        memory = parts.init(params, tick.frame)
        fresh = tick._replace(is_fresh=jnp.ones((), bool))
        glance = parts.look(params, memory, fresh, jnp.zeros((), bool))
        carried = parts.renew(params, glance.view)
        labels = to_labels(parts.score_key(params, carried))
        return remember(memory, glance, carried), ask(params, glance.view), labels

    @jax.jit
    def go_on(
        params: Params, memory: Memory, before: dict[str, Any], tick: Tick
    ) -> tuple[Memory, dict[str, Array], Labels]:
        other = tick._replace(is_fresh=jnp.zeros((), bool))
        glance = parts.look(params, memory, other, jnp.zeros((), bool))
        carried = parts.follow(params, memory, glance)
        values = {
            name: asked[name].measure(params, before[name], own, glance.drift)
            for name, own in ask(params, glance.view).items()
        }
        labels = to_labels(parts.score(params, carried, glance.view))
        return remember(memory, glance, carried), values, labels

    begun = [begin(params, tick) for tick in ticks]
    own = [np.asarray(labels) for _, _, labels in begun]
    k = net.num_classes
    confusion = np.zeros((num_frames, max_distance + 1, k, k), np.int32)
    deviations = {name: np.zeros((num_frames, max_distance + 1)) for name in (*asked, ORACLE)}
    for key in tqdm(range(num_frames), unit="keyframe", disable=quiet or None):
        memory, before, _ = begun[key]
        confusion[key, 0] = confusion_matrix(film.labels[key], own[key], num_classes=k)
        for distance in range(1, min(max_distance, num_frames - 1 - key) + 1):
            here = key + distance
            memory, values, labels = go_on(params, memory, before, ticks[here])
            confusion[key, distance] = confusion_matrix(
                film.labels[here], np.asarray(labels), num_classes=k
            )
            for name, value in values.items():
                deviations[name][key, distance] = value
            deviations[ORACLE][key, distance] = np.mean(own[key] != own[here])
    is_fresh = np.array([bool(tick.is_fresh) for tick in ticks])
    return Pairs(confusion, deviations, is_fresh)


def distances(
    is_due: Bool[np.ndarray, "t d"], is_fresh: Bool[np.ndarray, "t"], *, start: int
) -> Int[np.ndarray, "s"]:
    """Say how far each frame is from its keyframe.

    Args:
        is_due: Whether frame `t + d` is to be a keyframe if the last one was `t`.
        is_fresh: `[t]`, frames that are keyframes in any case.
        start: The first frame, a keyframe.

    Returns:
        Frames, of each frame from the start on.
    """
    found, key = [], start
    for index in range(start, len(is_fresh)):
        distance = index - key
        if is_fresh[index] or distance == is_due.shape[1] or is_due[key, distance]:
            key = index
        found.append(index - key)
    return np.array(found)


def point_of(films: Sequence[Pairs], is_due: Sequence[Bool[np.ndarray, "t d"]]) -> Point:
    """Run a schedule from several starts.

    Args:
        films: What became of each film.
        is_due: As in `distances`, for each.

    Returns:
        What comes of it; frames count that all starts share.
    """
    confusion = np.zeros(films[0].confusion.shape[2:], np.int64)
    num_frames, num_keys = 0, 0
    for film, due in zip(films, is_due, strict=True):
        for start in range(min(NUM_STARTS, len(film.is_fresh))):
            away = distances(due, film.is_fresh, start=start)
            num_frames, num_keys = num_frames + len(away), num_keys + int((away == 0).sum())
            here = np.arange(NUM_STARTS - 1, len(film.is_fresh))
            back = away[here - start]
            confusion += film.confusion[here - back, back].sum(0)
    return Point(num_keys / num_frames, float(mean_iou(confusion)))


def fixed_points(films: Sequence[Pairs]) -> list[Point]:
    """Give a keyframe every so many frames, from every frame to every tenth and a few more.

    Args:
        films: What became of each film.

    Returns:
        Points, by falling share; longer intervals than there are starts do not try every shift.
    """
    steps = np.arange(films[0].confusion.shape[1])
    return [
        point_of(
            films, [np.broadcast_to(steps >= interval, it.confusion.shape[:2]) for it in films]
        )
        for interval in range(1, NUM_STARTS + 4)
    ]


def chosen_points(films: Sequence[Pairs], name: str) -> Iterator[Point]:
    """Let a deviation choose, with many thresholds.

    Args:
        films: What became of each film.
        name: Of the deviation.

    Yields:
        Points, by falling share but for single steps.
    """
    values = np.concatenate([film.deviations[name].ravel() for film in films])
    thresholds = np.quantile(np.maximum(values, 0), np.linspace(0, 1, NUM_THRESHOLDS))
    for threshold in np.unique(thresholds):
        yield point_of(films, [film.deviations[name] > threshold for film in films])


def compare_schedules(films: Sequence[Pairs], shares: Sequence[float]) -> list[dict[str, Any]]:
    """Compare what chooses keyframes at equal shares of them.

    Args:
        films: What became of each film.
        shares: Of frames that are keyframes, 0.1 or more.

    Returns:
        A row for each deviation (None for a fixed interval) and share that it can have:
        `share_keys`, `miou`, and, of the chosen, `gain`: the mean difference from a fixed interval
        at the share of each threshold in the band, and `deviation_of_gain`, the standard
        deviation over these, of which there are `num_thresholds`.
    """
    fixed = fixed_points(films)[::-1]
    logs, mious = np.log([it.share for it in fixed]), [it.miou for it in fixed]

    def fixed_at(share: float) -> float:
        return float(np.interp(np.log(share), logs, mious))

    rows: list[dict[str, Any]] = [
        {"deviation": None, "share_keys": share, "miou": fixed_at(share)} for share in shares
    ]
    for name in films[0].deviations:
        points = list(chosen_points(films, name))
        for share in shares:
            gains = [
                it.miou - fixed_at(it.share)
                for it in points
                if abs(np.log(it.share / share)) < BAND
            ]
            if gains:
                gain = float(np.mean(gains))
                rows.append(
                    {"deviation": name, "share_keys": share, "miou": fixed_at(share) + gain}
                    | {"gain": gain, "deviation_of_gain": float(np.std(gains))}
                    | {"num_thresholds": len(gains)}
                )
    return rows
