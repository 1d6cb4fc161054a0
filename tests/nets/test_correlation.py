"""The cost volume against a loop over cells and displacements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import correlate


def loop(first: np.ndarray, second: np.ndarray, max_displacement: int, stride: int) -> np.ndarray:
    """Compare one pair of cells after the other."""
    *batch, height, width, channels = first.shape
    steps = range(-max_displacement, max_displacement + 1, stride)
    expected = np.zeros((*batch, height, width, len(steps) ** 2), np.float32)
    for y in range(height):
        for x in range(width):
            for index, (dy, dx) in enumerate((dy, dx) for dy in steps for dx in steps):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    product = first[..., y, x, :] * second[..., y + dy, x + dx, :]
                    expected[..., y, x, index] = product.sum(axis=-1) / channels
    return expected


def draw(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
    return first, second


@pytest.mark.parametrize(
    ("shape", "max_displacement", "stride"),
    [((2, 1, 5, 7, 3), 2, 1), ((6, 4, 5), 4, 2), ((1, 2, 3, 1), 6, 3), ((3, 3, 2), 0, 1)],
)
def test_it_is_the_loop(shape, max_displacement, stride):
    first, second = draw(*shape)
    expected = loop(first, second, max_displacement, stride)
    run = jax.jit(correlate, static_argnames=("max_displacement", "stride"))
    found = run(first, second, max_displacement=max_displacement, stride=stride)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_what_moved_right_and_down_is_found_there():
    first, _ = draw(6, 8, 64)
    second = np.roll(first, (1, 2), axis=(0, 1))  # dy = 1, dx = 2
    found = correlate(first, second, max_displacement=2)[:-1, :-2]
    np.testing.assert_array_equal(found.argmax(axis=-1), np.full((5, 6), (1 + 2) * 5 + (2 + 2)))


def test_gradients_are_those_of_the_sum():
    first, second = draw(4, 5, 3)
    weight = np.random.default_rng(1).standard_normal((4, 5, 9), np.float32)

    def total(first, second):
        return jnp.sum(weight * correlate(first, second, max_displacement=1))

    by_first, by_second = jax.jit(jax.grad(total, (0, 1)))(first, second)
    # The sum is linear in each map, so that its slope along a map is its value there.
    for gradient, at in ((by_first, first), (by_second, second)):
        np.testing.assert_allclose(
            np.vdot(gradient, at), np.vdot(weight, loop(first, second, 1, 1)), rtol=1e-4
        )
    # A cell's gradient is a weighted sum of the other map's cells around it.
    expected = np.zeros(3, np.float32)
    for index, (dy, dx) in enumerate((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
        expected += weight[2, 2, index] * second[2 + dy, 2 + dx] / 3
    np.testing.assert_allclose(by_first[2, 2], expected, rtol=0, atol=1e-6)


def test_gradients_do_not_hold_a_product_for_each_displacement():
    first, second = draw(16, 16, 32)

    def total(first, second):
        return jnp.sum(correlate(first, second, max_displacement=4))

    memory = jax.jit(jax.grad(total, (0, 1))).lower(first, second).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 81 * first.nbytes / 4


def test_half_precision_stays_half():
    first, second = (jnp.asarray(it, jnp.bfloat16) for it in draw(3, 4, 8))
    assert correlate(first, second, max_displacement=1).dtype == jnp.bfloat16


def test_displacements_that_miss_the_middle_are_refused():
    first, second = draw(3, 4, 2)
    with pytest.raises(ValueError, match="max_displacement is 3, but must be a multiple of stride"):
        correlate(first, second, max_displacement=3, stride=2)
