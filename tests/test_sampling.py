"""Rows pulled and pushed, against loops, and each processor's way against the other's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import sampling
from jaxseg.sampling import pull, push

NUM_ROWS = 6


def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw 2 maps of 6 rows, 3 taps for each of 5 targets with weights, and the targets' values."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2, NUM_ROWS, 4), np.float32)
    index = rng.integers(NUM_ROWS, size=(2, 3, 5)).astype(np.int32)
    weight, values = (rng.standard_normal(shape, np.float32) for shape in [(2, 3, 5), (2, 5, 4)])
    index[0, 1] = index[0, 0]  # two taps of one target may be the same row
    return rows, index, weight, values


def test_pull_is_a_loop():
    rows, index, weight, values = draw()
    expected = np.zeros_like(values)
    for n, k, m in np.ndindex(index.shape):
        expected[n, m] += weight[n, k, m] * rows[n, index[n, k, m]]
    np.testing.assert_allclose(pull(rows, index, weight), expected, atol=1e-5)


def test_push_is_a_loop():
    rows, index, weight, values = draw()
    expected = np.zeros_like(rows)
    for n, k, m in np.ndindex(index.shape):
        expected[n, index[n, k, m]] += weight[n, k, m] * values[n, m]
    np.testing.assert_allclose(push(values, index, weight, size=NUM_ROWS), expected, atol=1e-5)


def test_each_is_the_transpose_of_the_other():
    rows, index, weight, values = draw()
    pushed = push(values, index, weight, size=NUM_ROWS)
    np.testing.assert_allclose(
        np.sum(pull(rows, index, weight) * values), np.sum(rows * pushed), rtol=1e-4
    )


def test_both_ways_agree():
    rows, index, weight, values = map(jnp.asarray, draw())
    plain = sampling._push(values, index, weight, size=NUM_ROWS)
    loop = sampling._push_in_a_loop(values, index, weight, size=NUM_ROWS)
    np.testing.assert_allclose(plain, loop, atol=1e-5)
    plain, loop = (fn(rows, index, values) for fn in (sampling._match, sampling._match_in_a_loop))
    np.testing.assert_allclose(plain, loop, atol=1e-5)


@pytest.mark.parametrize(
    ("platform", "has_loops"), [("cpu", True), ("cuda", False), ("tpu", False)]
)
def test_only_a_cpu_loops(platform, has_loops):
    rows, index, weight, _ = draw()
    gradient = jax.jit(jax.grad(lambda *it: jnp.sum(pull(it[0], index, it[1]) ** 2), (0, 1)))
    text = gradient.trace(rows, weight).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.while" in text) == has_loops
    assert ("stablehlo.scatter" in text) != has_loops


@pytest.mark.parametrize("fn", [pull, lambda *it: push(*it, size=NUM_ROWS)], ids=["pull", "push"])
def test_derivatives_are_those_of_the_plain_way(fn):
    rows, index, weight, values = draw()
    first = rows if fn is pull else values
    plain = sampling._pull if fn is pull else lambda *it: sampling._push(*it, size=NUM_ROWS)

    def derivatives(fn):
        def loss(first, weight):
            return jnp.sum(fn(first, jnp.asarray(index), weight) ** 3)

        return jax.jit(jax.hessian(loss, (0, 1)))(jnp.asarray(first), jnp.asarray(weight))

    pairs = zip(*(jax.tree.leaves(derivatives(it)) for it in (fn, plain)), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
