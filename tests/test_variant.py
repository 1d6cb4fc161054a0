"""Convolution by another kernel at every cell, against a loop over cells and closed forms."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxseg.variant import LEAST_TILE, convolve_variant

fast = jax.jit(convolve_variant)


def draw(*shape: int, size: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a map and kernels whose weights sum to one in every cell."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal(shape, np.float32)
    kernels = np.exp(rng.standard_normal((*shape[:-1], size**2), np.float32))
    return features, kernels / kernels.sum(-1, keepdims=True)


def plain(features: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Sum up the neighbours of each cell of one map, one by one, in float64."""
    height, width, _ = features.shape
    size = round(kernels.shape[-1] ** 0.5)
    total = np.zeros(features.shape)
    for i, j in np.ndindex(height, width):
        for tap in range(size**2):
            u, v = tap // size - size // 2, tap % size - size // 2
            row, column = min(max(i - u, 0), height - 1), min(max(j - v, 0), width - 1)
            total[i, j] += np.float64(kernels[i, j, tap]) * features[row, column]
    return total


def gather(features: jax.Array, kernels: jax.Array) -> jax.Array:
    """Gather the neighbours of all cells first."""
    height, width, _ = features.shape
    size = round(kernels.shape[-1] ** 0.5)
    u, v = np.divmod(np.arange(size**2), size) - np.array(size // 2)
    rows = np.clip(np.arange(height)[:, None, None] - u, 0, height - 1)
    columns = np.clip(np.arange(width)[None, :, None] - v, 0, width - 1)
    return jnp.einsum("hwkc,hwk->hwc", features[rows, columns], kernels)


def gradients_of(function):
    """Make a jitted function of features, kernels and the result's cotangent."""
    return jax.jit(lambda features, kernels, g: jax.vjp(function, features, kernels)[1](g))


def one_hot(u: int, v: int, *, size: int, height: int, width: int) -> np.ndarray:
    """Make kernels that take what is u rows above and v columns to the left."""
    kernels = np.zeros((height, width, size**2), np.float32)
    kernels[..., (u + size // 2) * size + (v + size // 2)] = 1
    return kernels


@pytest.mark.parametrize("size", [1, 3, 9])
@pytest.mark.parametrize("shape", [(13, 17, 3), (8, 16, 2), (1, 20, 2), (20, 1, 2), (1, 1, 1)])
def test_it_is_a_loop_over_cells(shape, size):
    features, kernels = draw(*shape, size=size)
    result = fast(features, kernels)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, plain(features, kernels), atol=1e-5)


def test_kernels_may_be_larger_than_tiles():
    features, kernels = draw(14, 9, 2, size=LEAST_TILE + 5)
    np.testing.assert_allclose(fast(features, kernels), plain(features, kernels), atol=1e-5)


@pytest.mark.parametrize(("u", "v"), [(0, 0), (1, 0), (0, -2), (-4, 3), (4, 4)])
def test_one_weight_shifts_the_map_and_repeats_its_border(u, v):
    features, _ = draw(11, 13, 2)
    rows, columns = np.clip(np.arange(11) - u, 0, 10), np.clip(np.arange(13) - v, 0, 12)
    kernels = one_hot(u, v, size=9, height=11, width=13)
    np.testing.assert_array_equal(fast(features, kernels), features[rows][:, columns])


def test_the_first_weight_is_that_of_the_neighbour_below_on_the_right():
    features = np.zeros((5, 7, 1), np.float32)
    features[3, 4] = 1
    kernels = np.zeros((5, 7, 9), np.float32)
    kernels[..., 0] = 1
    assert np.argwhere(fast(features, kernels)[..., 0]).tolist() == [[2, 3]]


def test_kernels_differ_from_cell_to_cell():
    features, _ = draw(11, 13, 2)
    kernels = one_hot(0, 0, size=3, height=11, width=13)
    kernels[4, 5] = one_hot(1, 0, size=3, height=1, width=1)[0, 0]
    expected = features.copy()
    expected[4, 5] = features[3, 5]
    np.testing.assert_array_equal(fast(features, kernels), expected)


def test_equal_weights_give_the_mean_of_a_box():
    features, _ = draw(12, 10, 2)
    padded = np.pad(features, ((2, 2), (2, 2), (0, 0)), mode="edge")
    boxes = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
    kernels = np.full((12, 10, 25), 1 / 25, np.float32)
    np.testing.assert_allclose(fast(features, kernels), boxes.mean(axis=(-2, -1)), atol=1e-6)


def test_weights_that_sum_to_one_keep_a_constant_map():
    _, kernels = draw(13, 17, 2, size=9)
    features = np.full((13, 17, 2), 3, np.float32)
    np.testing.assert_allclose(fast(features, kernels), 3, rtol=1e-6)


def test_it_commutes_with_a_convolution():
    features, kernels = draw(13, 17, 2, size=9)
    weights, bias = np.random.default_rng(2).standard_normal((2, 2, 2), np.float32)
    before = fast(features @ weights + bias[0], kernels)
    after = np.asarray(fast(features, kernels)) @ weights + bias[0]
    np.testing.assert_allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("batch", [(1,), (3,), (2, 3), (0,)])
def test_batch_axes_are_independent(batch):
    features, kernels = draw(*batch, 9, 10, 2)
    result = fast(features, kernels)
    assert result.shape == features.shape
    for index in np.ndindex(batch):
        one = plain(features[index], kernels[index])
        np.testing.assert_allclose(result[index], one, atol=1e-5)


def test_mapping_over_a_batch_is_a_loop():
    features, kernels = draw(3, 9, 10, 2)
    mapped = jax.jit(jax.vmap(convolve_variant))(features, kernels)
    shared = jax.jit(jax.vmap(convolve_variant, in_axes=(0, None)))(features, kernels[0])
    for index in range(3):
        np.testing.assert_allclose(mapped[index], fast(features[index], kernels[index]), atol=1e-6)
        np.testing.assert_allclose(shared[index], fast(features[index], kernels[0]), atol=1e-6)


def test_compiling_changes_nothing():
    features, kernels = draw(9, 10, 2)
    eager = convolve_variant(features, kernels)
    np.testing.assert_allclose(eager, fast(features, kernels), atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_nothing_but_the_result_is_rounded(dtype):
    features, kernels = draw(9, 10, 2, size=9)
    half = jnp.asarray(features, dtype)
    result = fast(half, kernels)
    assert result.dtype == dtype
    assert jnp.array_equal(result, fast(half.astype(jnp.float32), kernels).astype(dtype))
    of_features, of_kernels = gradients_of(convolve_variant)(half, kernels, result)
    assert (of_features.dtype, of_kernels.dtype) == (dtype, jnp.float32)


@pytest.mark.parametrize(("shape", "size"), [((13, 17, 3), 9), ((3, 2, 4), 5), ((9, 8, 1), 1)])
def test_gradients_are_those_of_gathering(shape, size):
    features, kernels = draw(*shape, size=size)
    cotangent, _ = draw(*shape, seed=3)
    ours = gradients_of(convolve_variant)(features, kernels, cotangent)
    theirs = gradients_of(gather)(features, kernels, cotangent)
    for our, their in zip(ours, theirs, strict=True):
        assert np.isfinite(our).all()
        np.testing.assert_allclose(our, their, atol=1e-4)


def test_derivatives_forward_and_twice_are_closed_forms():
    features, kernels = draw(3, 10, 2)
    (df, dk), (cotangent, _) = draw(3, 10, 2, seed=1), draw(3, 10, 2, seed=2)
    _, tangent = jax.jit(lambda *at: jax.jvp(convolve_variant, at, (df, dk)))(features, kernels)
    np.testing.assert_allclose(tangent, fast(df, kernels) + fast(features, dk), atol=1e-5)

    def slope(kernels):
        return jnp.sum(gradients_of(convolve_variant)(features, kernels, cotangent)[0] * df)

    # It is linear in the features, so that their place is taken by df.
    _, expected = gradients_of(convolve_variant)(df, kernels, cotangent)
    np.testing.assert_allclose(jax.grad(slope)(kernels), expected, atol=1e-5)


def test_neighbours_of_all_cells_never_lie_in_memory():
    features, kernels = jnp.zeros((45, 60, 352)), jnp.zeros((45, 60, 81))

    def num_temp_bytes(function, *inputs):
        compiled = jax.jit(function).lower(*inputs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    inputs = features, kernels
    volume = 81 * features.nbytes
    assert num_temp_bytes(gather, *inputs) >= volume
    assert 10 * num_temp_bytes(convolve_variant, *inputs) <= num_temp_bytes(gather, *inputs)
    ours, theirs = gradients_of(convolve_variant), gradients_of(gather)
    inputs = features, kernels, features
    assert 10 * num_temp_bytes(ours, *inputs) <= num_temp_bytes(theirs, *inputs)


@pytest.mark.parametrize("num_taps", [0, 4, 8, 10, 64])
def test_kernels_that_have_no_middle_are_refused(num_taps):
    with pytest.raises(ValueError, match=f"have {num_taps} weights a cell; give K \\* K"):
        convolve_variant(np.zeros((4, 5, 2), np.float32), np.zeros((4, 5, num_taps), np.float32))


@pytest.mark.parametrize("shape", [(5, 4, 9), (4, 9), (1, 4, 5, 9)])
def test_shapes_that_do_not_belong_together_are_refused(shape, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no such check
    with pytest.raises(ValueError, match=r"need \(4, 5, 9\): one kernel") as caught:
        convolve_variant(np.zeros((4, 5, 2), np.float32), np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)
