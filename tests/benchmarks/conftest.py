"""A net that costs nothing, and timing that takes one turn."""

from functools import partial

import jax.numpy as jnp
import pytest

from benchmarks import machine
from experiments.timing import time_in_turn
from jaxseg.nets import Net


@pytest.fixture(autouse=True)
def small_copy(monkeypatch):
    """Keep the copies that measure the memory short."""
    monkeypatch.setattr(machine, "COPIED_BYTES", 2**16)


@pytest.fixture
def time_once():
    """Time everything once."""
    return partial(time_in_turn, min_repeats=1, max_repeats=1)


@pytest.fixture
def make_net():
    """Make a net that takes each 8x8 cell for the class of its brightest channel."""

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2)) @ params["mixing"]

    def same(params, it):
        return it

    def init(key, frames):
        return {"mixing": jnp.eye(3)}

    return lambda config: Net(init, features, same, same, None, stride=8, num_classes=3)


@pytest.fixture
def check_rows():
    """Check what rows of every benchmark have in common."""

    def check(rows: list[dict]) -> None:
        for row in rows:
            assert list(row)[:7] == (
                ["benchmark", "case", "what", "peer", "ours_ms", "peer_ms", "speedup"]
            )
            assert list(row) == list(rows[0])
            assert row["ours_ms"] > 0
            assert row["speedup"] == row["peer_ms"] / row["ours_ms"] > 0

    return check
