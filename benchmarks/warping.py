"""Warping a map and its gradient, against other samplers and against copying the map.

Counted is one call on arrays that are on the device already: from features and motion to
the warped features, or from these and the result's cotangent to the cotangents of both.
Memory of the results is allocated as everywhere in JAX.  Peers:

- torch: `grid_sample` (bilinear, border, align_corners), from the same motion; its maps
  are [1, c, h, w], as torch likes them, ours [h, w, c].
- map_coordinates: of `jax.scipy.ndimage` (order 1, nearest), mapped over channels, jitted.
- copy: the map, read once and written once to fresh memory: a jitted `jnp.copy`.
- copyto: the same by numpy into memory that is there; on hosts only.

A `speedup` of 0.33 against a copy means: within three times a copy.  Before timing,
results are compared with those of torch and map_coordinates.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from tqdm import tqdm

from benchmarks.comparison import Call, TimeFn, against_bandwidth, compare, require_close
from benchmarks.machine import copy_bandwidth
from benchmarks.peers import Torch, find_torch
from experiments.timing import time_in_turn
from jaxseg.arrays import Array, Features, Motion
from jaxseg.geometry import cell_positions
from jaxseg.warping import warp


class Case(NamedTuple):
    """The size of a map."""

    height: int
    width: int
    channels: int


class Inputs(NamedTuple):
    """What is warped, where to, and the cotangent of the result."""

    features: Features
    motion: Motion
    cotangent: Features


class Sampler(NamedTuple):
    """One function's two calls on the same inputs."""

    forward: Call
    gradient: Call


CASES = (Case(180, 240, 64), Case(45, 60, 2048), Case(64, 128, 1024), Case(64, 128, 2048))
TOLERANCE = 1e-4


def measure(
    *, cases: Sequence[Case] = CASES, time_fn: TimeFn = time_in_turn
) -> list[dict[str, Any]]:
    """Time warps of each size.

    Args:
        cases: The sizes.
        time_fn: Does the timing.

    Returns:
        A row for each size, direction and peer.
    """
    torch, bandwidth = find_torch(), copy_bandwidth(time_fn=time_fn)
    return [
        row
        for case in tqdm(cases, desc="warping", unit="size", disable=None)
        for row in _measure_case(case, torch, bandwidth, time_fn)
    ]


def _measure_case(
    case: Case, torch: Torch | None, bandwidth: float, time_fn: TimeFn
) -> list[dict[str, Any]]:
    inputs = draw_inputs(case)
    ours = sampler(warp, inputs)
    peers = {"map_coordinates": sampler(sample_by_map_coordinates, inputs)}
    if torch is not None:
        peers["torch"] = torch_sampler(torch, inputs)
    map_bytes, motion_bytes = inputs.features.nbytes, inputs.motion.nbytes
    num_bytes = {
        "forward": 2 * map_bytes + motion_bytes,
        "gradient": 3 * map_bytes + 2 * motion_bytes,
    }
    rows = []
    for direction in Sampler._fields:
        call = getattr(ours, direction)
        others = {name: getattr(peer, direction) for name, peer in peers.items()}
        for name, other in others.items():
            require_close(call(), other(), name=f"{name}'s {direction}", tolerance=TOLERANCE)
        compared = compare(
            call,
            others | copies(inputs.features),
            time_fn=time_fn,
            benchmark="warping",
            case="x".join(map(str, case)),
            what=f"warp, {direction}",
        )
        rows += [
            row | against_bandwidth(num_bytes[direction], row["ours_ms"], bandwidth=bandwidth)
            for row in compared
        ]
    return rows


def draw_inputs(case: Case) -> Inputs:
    """Draw a map and a motion that also leaves it.

    Args:
        case: The size.

    Returns:
        Arrays on the device.  Positions keep away from whole cells, where the motion's
        gradient jumps and rounding decides to which side.
    """
    generator = np.random.default_rng(0)
    features, cotangent = generator.standard_normal((2, *case), np.float32)
    shape = (case.height, case.width, 2)
    whole = generator.normal(scale=3.0, size=shape).round()
    motion = (whole + generator.uniform(0.1, 0.9, shape)).astype(np.float32)
    return Inputs(*map(jnp.asarray, (features, motion, cotangent)))


def sampler(function: Callable[[Features, Motion], Features], inputs: Inputs) -> Sampler:
    """Compile a function of features and motion, and its gradient.

    Args:
        function: Gives the warped features.
        inputs: What it is called on.

    Returns:
        The calls.
    """
    forward = jax.jit(function)
    gradient = jax.jit(lambda *inputs: jax.vjp(function, *inputs[:2])[1](inputs[2]))
    return Sampler(
        forward=lambda: forward(inputs.features, inputs.motion),
        gradient=lambda: gradient(*inputs),
    )


def sample_by_map_coordinates(features: Features, motion: Motion) -> Features:
    """Warp by JAX's own sampling of one channel.

    Args:
        features: `[h, w, c]`.
        motion: `[h, w, 2]`, cells.

    Returns:
        `[h, w, c]`.
    """
    position = cell_positions(*motion.shape[:2]) + motion
    coordinates = [jnp.asarray(position[..., 1]), jnp.asarray(position[..., 0])]

    def sample(channel: Array) -> Array:
        return map_coordinates(channel, coordinates, order=1, mode="nearest")

    return jax.vmap(sample, in_axes=-1, out_axes=-1)(features)


def torch_sampler(torch: Torch, inputs: Inputs) -> Sampler:
    """Prepare torch's sampling, and its gradient, of the same inputs.

    Args:
        torch: PyTorch.
        inputs: As for ours.

    Returns:
        The calls; results are views laid out as ours.
    """
    height, width, _ = inputs.features.shape

    def planes(array: Features) -> Any:
        return torch.tensor(np.moveaxis(np.asarray(array), -1, 0)[None].copy())

    features = planes(inputs.features).requires_grad_()
    cotangent, motion = planes(inputs.cotangent), torch.tensor(inputs.motion).requires_grad_()
    position = torch.tensor(cell_positions(height, width))
    # With aligned corners -1 and 1 are the centres of the first and of the last cell.
    scale = torch.tensor(np.array([2 / (width - 1), 2 / (height - 1)], np.float32))

    def sample() -> Any:
        grid = (position + motion) * scale - 1
        return torch.module.nn.functional.grid_sample(
            features, grid[None], mode="bilinear", padding_mode="border", align_corners=True
        )

    def forward() -> Any:
        with torch.module.no_grad():
            return sample()[0].permute(1, 2, 0)

    result = sample()

    def gradient() -> Any:
        of_features, of_motion = torch.module.autograd.grad(
            result, (features, motion), cotangent, retain_graph=True
        )
        return of_features[0].permute(1, 2, 0), of_motion

    return Sampler(forward, gradient)


def copies(features: Features) -> dict[str, Call]:
    """Prepare plain copies of a map.

    Args:
        features: The map, on the device.

    Returns:
        The calls, by the peer's name.
    """
    copy = jax.jit(jnp.copy)
    calls: dict[str, Call] = {"copy": lambda: copy(features)}
    if jax.default_backend() == "cpu":
        source = np.asarray(features)
        target = np.zeros_like(source)
        calls["copyto"] = lambda: np.copyto(target, source)
    return calls
