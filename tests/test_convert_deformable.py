"""Published weights in a backbone whose last stage is deformable."""

import jax
import numpy as np
import pytest

from jaxseg.convert import load_backbone
from jaxseg.nets import NetConfig, segmenter
from tests.test_convert import published

WEIGHTS = published(18)
OFFSET = "layer4.1.conv2.conv_offset"


@pytest.fixture(scope="module")
def template():
    """A deformable net's shapes."""
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
    net = segmenter(NetConfig(2, deformable_groups=2))
    return jax.eval_shape(net.init, jax.random.key(0), frame)


def test_plain_weights_leave_the_offsets_zero(template):
    backbone = load_backbone(template, WEIGHTS)["params"]["features"]["backbone"]
    for index in range(2):
        layer = backbone[f"layer4_{index}"]["conv2"]
        published_kernel = WEIGHTS[f"layer4.{index}.conv2.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(layer["kernel"], published_kernel)
        assert layer["offset"]["kernel"].shape == (3, 3, 512, 36)
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(layer["offset"]))


def test_published_offsets_find_their_place(template):
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((36, 512, 3, 3), np.float32)
    bias = rng.standard_normal(36, np.float32)
    weights = {**WEIGHTS, f"{OFFSET}.weight": kernel, f"{OFFSET}.bias": bias}
    backbone = load_backbone(template, weights)["params"]["features"]["backbone"]
    offset = backbone["layer4_1"]["conv2"]["offset"]
    np.testing.assert_array_equal(offset["kernel"], kernel.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(offset["bias"], bias)


def test_half_a_layer_of_offsets_is_refused(template):
    weights = {**WEIGHTS, f"{OFFSET}.weight": np.zeros((36, 512, 3, 3), np.float32)}
    with pytest.raises(ValueError, match=rf"lack {OFFSET}\.bias; "):
        load_backbone(template, weights)
