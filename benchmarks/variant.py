"""Convolving by another kernel at every cell, against gathering the neighbours first.

Counted is one call on arrays that are on the device already, kernels of 9x9 weights: from
features and kernels to the result, or from these and the result's cotangent to the
cotangents of both.  Peers:

- gather: the 81 neighbours of all cells gathered first (im2col), then `einsum`, jitted.
- taps: the sum of 81 shifted maps, each times its weights, jitted.
- torch: `unfold` and `einsum`; its maps are [1, c, h, w], and its gradient contains the
  forward call, whose neighbours it keeps.

`temp_bytes` and `peer_temp_bytes` are what the compiled program allocates besides its
inputs and results; `volume_bytes` is the size of all neighbours of all cells, of which
torch and, in the gradient, the other peers too hold more than one: at 128x256x512 that
takes 16 GB of memory.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.comparison import Call, TimeFn, compare, require_close
from benchmarks.peers import Torch, find_torch
from benchmarks.warping import Case
from experiments.timing import time_in_turn
from jaxseg.arrays import Array, Features
from jaxseg.variant import convolve_variant


class Inputs(NamedTuple):
    """What is convolved, by what, and the cotangent of the result."""

    features: Features
    kernels: Array
    cotangent: Features


class Convolver(NamedTuple):
    """One function's two calls on the same inputs."""

    forward: Call
    gradient: Call


CASES = (Case(45, 60, 352), Case(46, 60, 512), Case(90, 120, 256), Case(128, 256, 512))
SIZE = 9
TOLERANCE = 1e-4


def measure(
    *, cases: Sequence[Case] = CASES, time_fn: TimeFn = time_in_turn
) -> list[dict[str, Any]]:
    """Time convolutions of each size.

    Args:
        cases: The sizes.
        time_fn: Does the timing.

    Returns:
        A row for each size, direction and peer.
    """
    torch = find_torch()
    return [
        row
        for case in tqdm(cases, desc="variant", unit="size", disable=None)
        for row in _measure_case(case, torch, time_fn)
    ]


def _measure_case(case: Case, torch: Torch | None, time_fn: TimeFn) -> list[dict[str, Any]]:
    inputs = draw_inputs(case)
    functions = {"ours": convolve_variant, "gather": sum_gathered, "taps": sum_taps}
    compiled = {name: compile_calls(function, inputs) for name, function in functions.items()}
    temp_bytes = {name: num_bytes for name, (_, num_bytes) in compiled.items()}
    calls = {name: convolver for name, (convolver, _) in compiled.items()}
    ours = calls.pop("ours")
    if torch is not None:
        calls["torch"] = torch_calls(torch, inputs)
    rows = []
    for direction in Convolver._fields:
        call = getattr(ours, direction)
        peers = {name: getattr(peer, direction) for name, peer in calls.items()}
        for name, peer in peers.items():
            require_close(call(), peer(), name=f"{name}'s {direction}", tolerance=TOLERANCE)
        compared = compare(
            call,
            peers,
            time_fn=time_fn,
            benchmark="variant",
            case="x".join(map(str, case)),
            what=f"convolve_variant, {direction}",
        )
        rows += [
            row
            | {
                "volume_bytes": SIZE**2 * inputs.features.nbytes,
                "temp_bytes": temp_bytes["ours"][direction],
                "peer_temp_bytes": temp_bytes.get(row["peer"], {}).get(direction),
            }
            for row in compared
        ]
    return rows


def draw_inputs(case: Case) -> Inputs:
    """Draw a map and kernels whose weights sum to one.

    Args:
        case: The size.

    Returns:
        Arrays on the device.
    """
    generator = np.random.default_rng(0)
    features, cotangent = generator.standard_normal((2, *case), np.float32)
    scores = generator.standard_normal((case.height, case.width, SIZE**2), np.float32)
    return Inputs(jnp.asarray(features), jax.nn.softmax(scores), jnp.asarray(cotangent))


def compile_calls(
    function: Callable[[Features, Array], Features], inputs: Inputs
) -> tuple[Convolver, dict[str, int]]:
    """Compile a function of features and kernels, and its gradient.

    Args:
        function: Gives the result.
        inputs: What it is called on.

    Returns:
        The calls, and by direction the bytes that each allocates besides its inputs and
        results.
    """

    def pull_back(features: Features, kernels: Array, cotangent: Features) -> Any:
        return jax.vjp(function, features, kernels)[1](cotangent)

    forward: Any = jax.jit(function).lower(*inputs[:2]).compile()
    gradient: Any = jax.jit(pull_back).lower(*inputs).compile()
    num_bytes = {
        "forward": forward.memory_analysis().temp_size_in_bytes,
        "gradient": gradient.memory_analysis().temp_size_in_bytes,
    }
    return Convolver(lambda: forward(*inputs[:2]), lambda: gradient(*inputs)), num_bytes


def sum_gathered(features: Features, kernels: Array) -> Features:
    """Gather the neighbours of all cells, and sum them up.

    Args:
        features: `[h, w, c]`.
        kernels: `[h, w, 81]`.

    Returns:
        `[h, w, c]`.
    """
    height, width, _ = features.shape
    u, v = np.divmod(np.arange(SIZE**2), SIZE) - np.array(SIZE // 2)
    rows = np.clip(np.arange(height)[:, None, None] - u, 0, height - 1)
    columns = np.clip(np.arange(width)[None, :, None] - v, 0, width - 1)
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("hwtc,hwt->hwc", features[rows, columns], kernels, precision=highest)


def sum_taps(features: Features, kernels: Array) -> Features:
    """Sum up shifted maps, one a tap.

    Args:
        features: `[h, w, c]`.
        kernels: `[h, w, 81]`.

    Returns:
        `[h, w, c]`.
    """
    height, width, _ = features.shape
    beyond = (SIZE // 2, SIZE // 2)
    padded = jnp.pad(features, (beyond, beyond, (0, 0)), mode="edge")
    total = jnp.zeros_like(features)
    for tap in range(SIZE**2):
        i, j = SIZE - 1 - tap // SIZE, SIZE - 1 - tap % SIZE
        total += padded[i : i + height, j : j + width] * kernels[..., tap, None]
    return total


def torch_calls(torch: Torch, inputs: Inputs) -> Convolver:
    """Prepare torch's unfolding, and its gradient, of the same inputs.

    Args:
        torch: PyTorch.
        inputs: As for ours.

    Returns:
        The calls; results are views laid out as ours.
    """
    height, width, channels = inputs.features.shape

    def planes(array: Features) -> Any:
        return torch.tensor(np.moveaxis(np.asarray(array), -1, 0)[None].copy())

    features = planes(inputs.features).requires_grad_()
    kernels, cotangent = planes(inputs.kernels).requires_grad_(), planes(inputs.cotangent)

    def convolve() -> Any:
        functional = torch.module.nn.functional
        padded = functional.pad(features, (SIZE // 2,) * 4, mode="replicate")
        volume = functional.unfold(padded, SIZE).reshape(channels, SIZE**2, height * width)
        # Its first neighbour is the one above on the left, ours the one below on the right.
        weights = kernels.flip(1).reshape(SIZE**2, height * width)
        result = torch.module.einsum("ctn,tn->cn", volume, weights)
        return result.reshape(1, channels, height, width)

    def forward() -> Any:
        with torch.module.no_grad():
            return convolve()[0].permute(1, 2, 0)

    def gradient() -> Any:
        found = torch.module.autograd.grad(convolve(), (features, kernels), cotangent)
        return tuple(it[0].permute(1, 2, 0) for it in found)

    return Convolver(forward, gradient)
