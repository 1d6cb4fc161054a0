"""PSPNet's published size, and torchvision's weights in its backbone."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.convert import load_backbone
from jaxseg.nets import PspnetConfig, segmenter
from tests.test_convert import published


def shapes(config: PspnetConfig) -> dict:
    frames = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    return jax.eval_shape(segmenter(config).init, jax.random.key(0), frames)


def test_there_are_as_many_weights_as_published():
    params = shapes(PspnetConfig(19, 50))["params"]
    of_part = {
        name: sum(leaf.size for leaf in jax.tree.leaves(layers))
        for name, layers in (params | params["features"]).items()
    }
    # Torchvision's ResNet-50 without its classifier, four 1x1 and a 3x3 convolution with
    # their scales and shifts, and the scores.
    assert of_part["backbone"] == 25_557_032 - 2_049_000
    pools = 4 * (2048 * 512 + 2 * 512)
    assert of_part["features"] == of_part["backbone"] + pools + 9 * 4096 * 512 + 2 * 512
    assert of_part["project"] == 513 * 19


def test_published_weights_begin_the_backbone():
    template = shapes(PspnetConfig(3, 18))
    params = load_backbone(template, published(18))
    backbone = params["params"]["features"]["backbone"]
    np.testing.assert_array_equal(
        backbone["layer4_1"]["conv2"]["kernel"][2, 0, 5, 9],
        published(18)["layer4.1.conv2.weight"][9, 5, 2, 0],
    )
    head = {name: it for name, it in params["params"]["features"].items() if name != "backbone"}
    assert head.keys() == {
        f"{part}_{kind}"
        for part in ("pool1", "pool2", "pool3", "pool6", "context")
        for kind in ("conv", "bn")
    }
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(head))
