"""From scores a cell to labels a pixel, against upsampling all scores first.

Counted is one call from scores `[h, w, k]` on the device to labels `[H, W]` there.  The
scores are noise, so that every cell lies on a boundary: the worst case.  Peers:

- dense: `argmax(upsample_scores)` in one jitted function.
- dense, two steps: the same in two, which is what who keeps a volume of scores pays.
- torch: `interpolate` (bilinear) and `argmax`; its scores are [1, k, h, w].

`temp_bytes` and `peer_temp_bytes` are what the compiled program allocates besides its
input and result; `dense_bytes` is the size of all upsampled scores.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.comparison import Call, TimeFn, against_bandwidth, compare
from benchmarks.machine import copy_bandwidth
from benchmarks.peers import Torch, find_torch, to_numpy
from experiments.timing import time_in_turn
from jaxseg.arrays import Labels, Scores
from jaxseg.nets import predict_labels, upsample_scores


class Case(NamedTuple):
    """A frame's size, pixels, the number of classes, and pixels a cell."""

    height: int
    width: int
    num_classes: int
    stride: int


CASES = (
    Case(720, 960, 12, 16),
    Case(720, 960, 12, 8),
    Case(1024, 2048, 19, 16),
    Case(1024, 2048, 19, 8),
)
TIES = 1e-4
"""Share of pixels whose two best scores are so close that rounding decides."""


def measure(
    *, cases: Sequence[Case] = CASES, time_fn: TimeFn = time_in_turn
) -> list[dict[str, Any]]:
    """Time the labelling of each size.

    Args:
        cases: The sizes.
        time_fn: Does the timing.

    Returns:
        A row for each size and peer.
    """
    torch, bandwidth = find_torch(), copy_bandwidth(time_fn=time_fn)
    return [
        row
        for case in tqdm(cases, desc="upsampling", unit="size", disable=None)
        for row in _measure_case(case, torch, bandwidth, time_fn)
    ]


def _measure_case(
    case: Case, torch: Torch | None, bandwidth: float, time_fn: TimeFn
) -> list[dict[str, Any]]:
    shape = (-(-case.height // case.stride), -(-case.width // case.stride), case.num_classes)
    scores = jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
    size: dict[str, Any] = {"stride": case.stride, "height": case.height, "width": case.width}
    upsample, choose = jax.jit(partial(upsample_scores, **size)), jax.jit(best_class)
    ours = jax.jit(partial(predict_labels, **size))
    dense = jax.jit(lambda scores: best_class(upsample_scores(scores, **size)))
    volume = jax.eval_shape(upsample, scores)
    dense_bytes = volume.size * volume.dtype.itemsize

    peers: dict[str, Call] = {
        "dense": lambda: dense(scores),
        "dense, two steps": lambda: choose(upsample(scores)),
    }
    peer_temp_bytes = {
        "dense": num_temp_bytes(dense, scores),
        "dense, two steps": dense_bytes
        + max(num_temp_bytes(upsample, scores), num_temp_bytes(choose, volume)),
    }
    if torch is not None:
        peers["torch"] = torch_labels(torch, scores, case)
    for name, peer in peers.items():
        require_same_labels(ours(scores), peer(), name=name)
    rows = compare(
        lambda: ours(scores),
        peers,
        time_fn=time_fn,
        benchmark="upsampling",
        case=f"{case.width}x{case.height}x{case.num_classes}, stride {case.stride}",
        what="predict_labels",
    )
    num_bytes = scores.nbytes + case.height * case.width
    return [
        row
        | {
            "dense_bytes": dense_bytes,
            "temp_bytes": num_temp_bytes(ours, scores),
            "peer_temp_bytes": peer_temp_bytes.get(row["peer"]),
        }
        | against_bandwidth(num_bytes, row["ours_ms"], bandwidth=bandwidth)
        for row in rows
    ]


def best_class(scores: Scores) -> Labels:
    """Name the class of each pixel's highest score.

    Args:
        scores: `[H, W, k]`.

    Returns:
        `[H, W]` uint8.
    """
    return jnp.argmax(scores, axis=-1).astype(jnp.uint8)


def torch_labels(torch: Torch, scores: Scores, case: Case) -> Call:
    """Prepare the dense form in torch.

    Args:
        torch: PyTorch.
        scores: `[h, w, k]`.
        case: The frame's size.

    Returns:
        The call, whose result is `[H, W]` uint8.
    """
    planes = torch.tensor(np.moveaxis(np.asarray(scores), -1, 0)[None].copy())

    def label() -> Any:
        with torch.module.inference_mode():
            dense = torch.module.nn.functional.interpolate(
                planes, scale_factor=case.stride, mode="bilinear", align_corners=False
            )
            dense = dense[0, :, : case.height, : case.width]
            return dense.argmax(dim=0).to(torch.module.uint8)

    return label


def num_temp_bytes(function: Any, scores: Any) -> int:
    """Ask the compiler what a program allocates besides its input and its result.

    Args:
        function: Jitted, of one argument.
        scores: The argument, or its shape.

    Returns:
        Bytes.
    """
    return function.lower(scores).compile().memory_analysis().temp_size_in_bytes


def require_same_labels(ours: Any, theirs: Any, *, name: str) -> None:
    """Refuse to time functions that label differently.

    Args:
        ours: `[H, W]`.
        theirs: `[H, W]`, the peer's.
        name: The peer's.

    Raises:
        ValueError: If they differ in more pixels than rounding explains.
    """
    share = np.mean(to_numpy(ours) != to_numpy(theirs))
    if share > TIES:
        raise ValueError(
            f"ours and {name} differ in {100 * share:.2g}% of the pixels, more than "
            f"{100 * TIES:.2g}%: they do not compute the same"
        )
