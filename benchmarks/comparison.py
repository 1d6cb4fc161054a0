"""What every benchmark shares: agreement first, then timing in turn, then rows alike."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np

from benchmarks.peers import to_numpy
from experiments.timing import time_in_turn

Call: TypeAlias = Callable[[], Any]
TimeFn: TypeAlias = Callable[..., list[float]]
"""`time_in_turn`, or the same with other numbers of repeats."""

QUEUED_CALLS = 20
"""Calls in a turn on an accelerator, which else would wait for the host between them."""


def require_close(ours: Any, theirs: Any, *, name: str, tolerance: float) -> None:
    """Refuse to time functions that compute different things.

    Args:
        ours: A tree of arrays.
        theirs: The peer's, of the same structure and shapes.
        name: The peer's.
        tolerance: Largest difference, as a share of the largest value, or of 1.

    Raises:
        ValueError: If they differ by more.
    """
    for our, their in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        expected = to_numpy(their).astype(np.float64)
        difference = np.abs(to_numpy(our) - expected).max()
        allowed = tolerance * max(1.0, np.abs(expected).max())
        if not difference <= allowed:
            raise ValueError(
                f"ours and {name} differ by {difference:.2g} on {expected.shape}, "
                f"more than {allowed:.2g}: they do not compute the same"
            )


def time_calls(calls: Sequence[Call], *, time_fn: TimeFn = time_in_turn) -> list[float]:
    """Time calls that give device arrays, in turn, until their results are there.

    Args:
        calls: Each computes something; the first call, which compiles, is not counted.
        time_fn: Does the timing.

    Returns:
        Milliseconds a call, of each.
    """
    count = 1 if jax.default_backend() == "cpu" else QUEUED_CALLS

    def prepare(call: Call) -> Callable[[], None]:
        _wait(call())

        def turn() -> None:
            for _ in range(count):
                result = call()
            _wait(result)

        return turn

    return [turn_ms / count for turn_ms in time_fn(*map(prepare, calls))]


def compare(
    ours: Call, peers: Mapping[str, Call], *, time_fn: TimeFn = time_in_turn, **about: str
) -> list[dict[str, Any]]:
    """Time one of our functions and its peers side by side.

    Args:
        ours: Calls our function.
        peers: Call theirs, by name.
        time_fn: Does the timing.
        **about: The row's `benchmark`, `case` and `what`.

    Returns:
        A row for each peer.
    """
    ours_ms, *peers_ms = time_calls([ours, *peers.values()], time_fn=time_fn)
    return [
        comparison(**about, peer=peer, ours_ms=ours_ms, peer_ms=peer_ms)
        for peer, peer_ms in zip(peers, peers_ms, strict=True)
    ]


def comparison(
    *, benchmark: str, case: str, what: str, peer: str, ours_ms: float, peer_ms: float
) -> dict[str, Any]:
    """Make the columns that every row begins with.

    Args:
        benchmark: The module's name.
        case: Net and sizes.
        what: Our function or scheme.
        peer: What it is compared with.
        ours_ms: Our time, for a unit of work that the benchmark's docstring names.
        peer_ms: The peer's time for the same.

    Returns:
        The row; `speedup` is above 1 where ours is faster.
    """
    return {
        "benchmark": benchmark,
        "case": case,
        "what": what,
        "peer": peer,
        "ours_ms": ours_ms,
        "peer_ms": peer_ms,
        "speedup": peer_ms / ours_ms,
    }


def against_bandwidth(num_bytes: int, ms: float, *, bandwidth: float) -> dict[str, float]:
    """Hold a time against the shortest that the memory allows.

    Args:
        num_bytes: What must be read and written, once each.
        ms: The time measured.
        bandwidth: Bytes a second of a plain copy, read and written.

    Returns:
        `must_move_bytes`, `bound_ms` and `share_of_bandwidth`; the share exceeds 1
        where a cache holds what the copy had to fetch from memory.
    """
    bound_ms = 1000 * num_bytes / bandwidth
    return {
        "must_move_bytes": num_bytes,
        "bound_ms": bound_ms,
        "share_of_bandwidth": bound_ms / ms,
    }


def _wait(result: Any) -> None:
    jax.block_until_ready(result)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
