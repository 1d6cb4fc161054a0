"""ICNet's layers against slow loops and the published sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import IcnetConfig, segmenter
from jaxseg.nets.icnet import CascadeFusion, SharedResNet
from jaxseg.nets.resnet import BasicBlock, ResNet


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def shapes(config: IcnetConfig) -> dict:
    frames = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    return jax.eval_shape(segmenter(config).init, jax.random.key(0), frames)


def num_learned(tree: dict) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_sizes_are_those_of_the_paper():
    """A quarter, and a ResNet-50 of twice the width is torchvision's."""
    half, whole = (shapes(IcnetConfig(19, width=width))["params"] for width in (32, 64))
    assert num_learned(whole["features"]["backbone"]) == 25_557_032 - 2_049_000
    assert num_learned(half) == pytest.approx(num_learned(whole) / 4, rel=0.01)
    # Channels of the published, compressed net where its branches meet.
    for name, coarse, fine in (("fuse_middle", 256, 256), ("fuse_high", 128, 64)):
        layer = half["features"][name]
        assert layer["coarse_conv"]["kernel"].shape == (3, 3, coarse, 128)
        assert layer["fine_conv"]["kernel"].shape == (1, 1, fine, 128)
    assert half["project"]["conv"]["kernel"].shape == (1, 1, 128, 19)


def test_the_backbone_has_the_variables_of_a_residual_network():
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shared, plain = (
        jax.eval_shape(lambda x, net=net: net.init(jax.random.key(0), x, train=False), x)
        for net in (SharedResNet(18, 4), ResNet(18, 8, width=4))
    )
    assert shared == plain


BLOCKS = {
    "layer2_0": (8, 2, (1, 1)),
    "layer2_1": (8, 1, (1, 1)),
    "layer3_0": (16, 1, (1, 2)),
    "layer3_1": (16, 1, (2, 2)),
    "layer4_0": (32, 1, (2, 4)),
    "layer4_1": (32, 1, (4, 4)),
}
"""Channels, stride and dilations of the layers behind the first stage."""


def test_later_stages_see_half_of_the_map(draw_variables):
    """The branches part behind the second stage's first block."""
    x = draw(1, 64, 80, 3)
    net = SharedResNet(18, 4)
    variables = draw_variables(jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=False)))

    def apply_blocks(x):
        x, early = ResNet(18, 32, width=4).apply(variables, x, train=False)[0], None
        for name, (channels, stride, dilations) in BLOCKS.items():
            own = {kind: layers[name] for kind, layers in variables.items()}
            block = BasicBlock(channels, stride, dilations, 0)
            x = block.apply(own, x, train=False)
            if name == "layer2_0":
                early, x = x, x.reshape(1, 4, 2, 5, 2, 8).mean((2, 4))
        return early, x

    found, expected = jax.jit(lambda x: (net.apply(variables, x, train=False), apply_blocks(x)))(x)
    assert [it.shape for it in found] == [(1, 8, 10, 8), (1, 4, 5, 32)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def slow_fusion(coarse: np.ndarray, fine: np.ndarray, layers: dict) -> np.ndarray:
    """Fuse two maps of one frame cell by cell; their normalisation does nothing."""
    height, width, _ = fine.shape
    wide = np.zeros((height + 4, width + 4, coarse.shape[-1]))
    for row, column in np.ndindex(height, width):
        for dy, dx in np.ndindex(2, 2):
            # Half-pixel centres: three quarters of a cell's own, a quarter of its neighbour.
            y = row // 2 + (dy and (1 if row % 2 else -1))
            x = column // 2 + (dx and (1 if column % 2 else -1))
            y, x = (
                min(max(at, 0), side - 1) for at, side in zip((y, x), coarse.shape, strict=False)
            )
            wide[row + 2, column + 2] += (1 if dy else 3) * (1 if dx else 3) / 16 * coarse[y, x]
    result = np.empty((height, width, layers["fine_conv"]["kernel"].shape[-1]))
    for row, column in np.ndindex(height, width):
        total = fine[row, column] @ layers["fine_conv"]["kernel"][0, 0]
        for dy, dx in np.ndindex(3, 3):
            tap = wide[row + 2 * dy, column + 2 * dx]
            total = total + tap @ layers["coarse_conv"]["kernel"][dy, dx]
        result[row, column] = np.maximum(total, 0)
    return result


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 2)])
def test_cascade_fusion_is_that_of_a_loop(size):
    coarse, fine = draw(*(-(-side // 2) for side in size), 3), draw(*size, 2) + 1
    rng = np.random.default_rng(1)
    learned = {
        "coarse_conv": {"kernel": rng.standard_normal((3, 3, 3, 4), np.float32)},
        "fine_conv": {"kernel": rng.standard_normal((1, 1, 2, 4), np.float32)},
        **{
            name: {"scale": np.ones(4, "f4"), "bias": np.zeros(4, "f4")}
            for name in ("coarse_bn", "fine_bn")
        },
    }
    stats = {"mean": np.zeros(4, "f4"), "var": np.full(4, 1 - 1e-5, "f4")}
    variables = {"params": learned, "batch_stats": {"coarse_bn": stats, "fine_bn": stats}}
    found = CascadeFusion(4).apply(variables, coarse[None], fine[None], train=False)[0]
    expected = slow_fusion(coarse, fine, learned)
    assert (expected > 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
