"""Where the time goes: each part of a frame alone, and what the codec takes for motion."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax

from benchmarks.decoding import decode
from experiments.timing import time_in_turn
from jaxseg import codec
from jaxseg.arrays import Array, Clip, Frames, Motion, Params
from jaxseg.checkpoints import Model
from jaxseg.geometry import motion_to_cells, pad_frames
from jaxseg.nets import Flow, predict_labels
from jaxseg.warping import warp

FLOW = "flow: "
"""Begins the name of a part that computes optical flow."""


def time_parts(model: Model, clip: Clip, *, flows: Mapping[str, Flow]) -> dict[str, float]:
    """Time each part of a frame alone, on arrays that are on the device.

    Args:
        model: The net and its variables.
        clip: With two frames or more.
        flows: Optical flows by name; with random weights, on which no time depends.

    Returns:
        Milliseconds by part.  The feature net runs on keyframes, the others on each
        frame: warp and task net on the features, as in the paper; or, "projected", on
        maps that went through the task net's first layer at the keyframe.

    Source:
        Jain & Gonzalez 2018, Figure 2.
    """
    net, params = model.net, jax.device_put(model.params)
    assert clip.frames is not None
    height, width = clip.frames.shape[1:3]
    pair = jax.device_put(clip.frames[:2])
    motion = jax.device_put(clip.motion[1])

    @jax.jit
    def features_of(params: Params, frame: Frames) -> Array:
        return net.features(params, pad_frames(frame)[None])[0]

    @jax.jit
    def warped(carried: Array, motion: Motion) -> Array:
        return warp(carried, motion_to_cells(motion, stride=net.stride))

    @jax.jit
    def labels_of(params: Params, projected: Array) -> Array:
        scores = net.classify(params, projected)
        return predict_labels(scores, stride=net.stride, height=height, width=width)

    @jax.jit
    def projected_labels_of(params: Params, features: Array) -> Array:
        return labels_of(params, net.project(params, features))

    features = features_of(params, pair[0])
    projected = jax.jit(net.project)(params, features)
    parts: dict[str, Callable[[], Any]] = {
        "feature net": lambda: features_of(params, pair[0]),
        "warp": lambda: warped(features, motion),
        "task net": lambda: projected_labels_of(params, features),
        "warp, projected": lambda: warped(projected, motion),
        "task net, projected": lambda: labels_of(params, projected),
    }
    parts |= {f"{FLOW}{name}": _estimates(flow, pair) for name, flow in flows.items()}
    steps = [_until_there(part) for part in parts.values()]
    for step in steps:
        step()  # Compiles.
    return dict(zip(parts, time_in_turn(*steps), strict=True))


def time_extraction(clip: Clip, *, rate: float, gop: int, quality: int) -> dict[str, float]:
    """Time what the codec takes for its motion vectors.

    Args:
        clip: With frames.
        rate: Frames a second.
        gop: Frames from one of the codec's I-frames to the next.
        quality: x264's constant rate factor.

    Returns:
        Milliseconds a frame: "compressing" by x264, which a camera does anyway;
        "decoding", which any network needs; and "extracting", by how much longer
        decoding takes when it gives the motion of each frame, too.

    Source:
        Jain & Gonzalez 2018, section 3.4.
    """
    assert clip.frames is not None
    frames = clip.frames

    def run(path: Path) -> list[float]:
        def encode() -> None:
            codec.encode(frames, path, rate=rate, gop=gop, quality=quality)

        encode()
        return time_in_turn(
            encode, lambda: _exhaust(decode(path)), lambda: _exhaust(codec.read_frames(path))
        )

    with TemporaryDirectory() as folder:
        compressing, decoding, reading = (ms / len(frames) for ms in run(Path(folder) / "clip.mp4"))
    return {"compressing": compressing, "decoding": decoding, "extracting": reading - decoding}


def bars_of(parts_ms: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Add the parts up to what a frame takes in each approach.

    Args:
        parts_ms: From `time_parts` and `time_extraction`.

    Returns:
        For each bar of the plot its parts.
    """
    shared = {"warp": parts_ms["warp"], "task net": parts_ms["task net"]}
    bars = {"keyframe": {"feature net": parts_ms["feature net"], "task net": parts_ms["task net"]}}
    for part, time_ms in parts_ms.items():
        if part.startswith(FLOW):
            bars[f"prop-flow, {part.removeprefix(FLOW)}"] = {"optical flow": time_ms} | shared
    bars["prop-mv, the paper's order"] = shared
    bars["prop-mv, projected first"] = {
        "warp": parts_ms["warp, projected"],
        "task net": parts_ms["task net, projected"],
    }
    bars["motion vectors, by x264"] = {
        name: max(parts_ms[name], 0.0) for name in ("compressing", "extracting")
    }
    return bars


def _estimates(flow: Flow, pair: Frames) -> Callable[[], Any]:
    learned = flow.init(jax.random.key(0), pair[:1])
    params = {"params": {"flow": learned}, "batch_stats": {}}
    estimate = jax.jit(flow.estimate)
    return lambda: estimate(params, pair[0], pair[1])


def _until_there(part: Callable[[], Any]) -> Callable[[], None]:
    def step() -> None:
        jax.block_until_ready(part())

    return step


def _exhaust(frames: Any) -> None:
    for _ in frames:
        pass
