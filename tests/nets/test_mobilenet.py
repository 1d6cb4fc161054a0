"""MobileNet's own convolutions against XLA's and flax's, and the published sizes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import MobileNetConfig, segmenter
from jaxseg.nets.mobilenet import _sum_whole, depthwise_convolve
from jaxseg.nets.resnet import convolve

SIZES = [(6, 8), (5, 7), (2, 1)]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_depthwise_convolution_is_that_of_xla(size, stride):
    """So are both of its gradients, on any device."""
    x, kernel = draw(2, *size, 3), draw(3, 3, 1, 3)
    out = draw(2, *(-(-side // stride) for side in size), 3)

    def grouped(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [(1, 1), (1, 1)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=3,
        )

    def value_and_gradients(convolve_fn):
        value, pull_back = jax.vjp(convolve_fn, x, kernel)
        return value, *pull_back(out)

    found, expected = jax.jit(
        lambda: (
            value_and_gradients(lambda x, kernel: depthwise_convolve(x, kernel, stride)),
            value_and_gradients(grouped),
        )
    )()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    # What accelerators compute, where this is no longer a scan over rows.
    elsewhere = _sum_whole(jnp.asarray(x), jnp.asarray(out), stride=stride)
    np.testing.assert_allclose(elsewhere.reshape(3, 3, 1, 3), expected[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_pointwise_convolution_is_that_of_flax(size, stride):
    """With a kernel of the same shape, stored under the same name."""
    x = draw(2, *size, 3)
    plain = nn.Conv(4, (1, 1), strides=stride, use_bias=False, padding=0)

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x):
            return convolve(x, 4, name="conv", size=1, stride=stride)

    kernel = draw(1, 1, 3, 4)
    shapes = jax.eval_shape(Layer().init, jax.random.key(0), x)["params"]
    assert jax.tree.map(jnp.shape, shapes) == {"conv": {"kernel": kernel.shape}}
    found = Layer().apply({"params": {"conv": {"kernel": kernel}}}, x)
    expected = plain.apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_encoder_has_the_published_sizes():
    """Those of MobileNet without its classifier, which has 1025 weights for 1000 classes."""
    frames = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    shapes = jax.eval_shape(segmenter(MobileNetConfig(19)).init, jax.random.key(0), frames)
    backbone = shapes["params"]["features"]["backbone"]
    num_learned = sum(leaf.size for leaf in jax.tree.leaves(backbone))
    assert num_learned == 4_231_976 - 1025 * 1000
    assert backbone["layer13_depthwise"]["kernel"].shape == (3, 3, 1, 1024)
    scorer = shapes["params"]["classify"]["conv"]["kernel"]
    assert scorer.shape == (3, 3, 64, 19)
    assert "project" not in shapes["params"]
