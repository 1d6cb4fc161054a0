"""PWC-Net by its published names: what torch computes."""

import jax
import numpy as np
import pytest

from jaxseg.convert import load_pwc_net
from jaxseg.nets import pwc_net

Weights = dict[str, np.ndarray]
PYRAMID = {1: 16, 2: 32, 3: 64, 4: 96, 5: 128, 6: 196}
VOLUME, DENSE = 81, (128, 128, 96, 64, 32)
INPUTS = {level: VOLUME + (PYRAMID[level] + 4 if level < 6 else 0) for level in (6, 5, 4, 3, 2)}
CONTEXT = {  # name: outputs, dilation
    "dc_conv1": (128, 1),
    "dc_conv2": (128, 2),
    "dc_conv3": (128, 4),
    "dc_conv4": (96, 8),
    "dc_conv5": (64, 16),
    "dc_conv6": (32, 1),
}


def layers_of(level: int) -> list[str]:
    """List a level's layers of the pyramid in the order in which the release runs them."""
    return [f"conv{level}{letter}" for letter in (("a", "aa", "b"), ("aa", "a", "b"))[level == 6]]


@pytest.fixture(scope="module")
def published() -> Weights:
    """Draw a state dict as the authors publish it; not to be changed."""
    rng = np.random.default_rng(0)
    weights: Weights = {}

    def draw(name: str, *shape: int, taps: int) -> None:
        deviation = np.float32((2 / taps) ** 0.5)
        weights[f"{name}.weight"] = deviation * rng.standard_normal(shape, np.float32)
        num_biases = shape[1] if len(shape) == 4 and shape[2] == 4 else shape[0]
        weights[f"{name}.bias"] = rng.normal(0, 0.1, num_biases).astype(np.float32)

    inputs = 3
    for level, outputs in PYRAMID.items():
        for name in layers_of(level):
            draw(f"{name}.0", outputs, inputs, 3, 3, taps=9 * inputs)
            inputs = outputs
    for level, inputs in INPUTS.items():
        for index, outputs in enumerate(DENSE):
            draw(f"conv{level}_{index}.0", outputs, inputs, 3, 3, taps=9 * inputs)
            inputs += outputs
        draw(f"predict_flow{level}", 2, inputs, 3, 3, taps=9 * inputs)
        draw(f"deconv{level}", 2, 2, 4, 4, taps=8)
        if level > 2:
            draw(f"upfeat{level}", inputs, 2, 4, 4, taps=4 * inputs)
    for name, (outputs, _) in CONTEXT.items():
        draw(f"{name}.0", outputs, inputs, 3, 3, taps=9 * inputs)
        inputs = outputs
    draw("dc_conv7", 2, inputs, 3, 3, taps=9 * inputs)
    return weights


@pytest.fixture(scope="module")
def shapes() -> dict:
    """Give the net's shapes, into which the weights go."""
    return jax.eval_shape(pwc_net().init, jax.random.key(0), np.zeros((64, 64, 3), np.uint8))


def torch_flow(torch, weights: Weights, frames: np.ndarray, references: np.ndarray):
    """Run the published net on frames of whole coarsest cells; its unit is 20 pixels."""
    functional = torch.nn.functional
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}

    def plain(x, name: str, **options):
        return functional.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], **options)

    def convolve(x, name: str, stride: int = 1, dilation: int = 1):
        x = plain(x, f"{name}.0", stride=stride, padding=dilation, dilation=dilation)
        return functional.leaky_relu(x, 0.1)

    def enlarge(x, name: str):
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return functional.conv_transpose2d(x, weight, bias, stride=2, padding=1)

    def correlate(first, second):
        height, width = first.shape[2:]
        around = functional.pad(second, (4, 4, 4, 4))
        volume = [
            (first * around[:, :, y : y + height, x : x + width]).mean(dim=1)
            for y in range(9)
            for x in range(9)
        ]
        return functional.leaky_relu(torch.stack(volume, dim=1), 0.1)

    def warp(x, motion):
        height, width = x.shape[2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        across = 2 * (columns + motion[:, 0]) / max(width - 1, 1) - 1
        down = 2 * (rows + motion[:, 1]) / max(height - 1, 1) - 1
        grid = torch.stack([across, down], dim=-1)
        # Torch of that time sampled with aligned corners.
        found = functional.grid_sample(x, grid, align_corners=True)
        mask = functional.grid_sample(torch.ones_like(x), grid, align_corners=True)
        return found * (mask >= 0.9999), mask

    def pyramid(frames: np.ndarray):
        x, maps = torch.from_numpy(frames[..., ::-1] / np.float32(255)).permute(0, 3, 1, 2), {}
        for level in PYRAMID:
            for name, stride in zip(layers_of(level), (2, 1, 1), strict=True):
                x = convolve(x, name, stride)
            maps[level] = x
        return maps

    first, second = pyramid(frames), pyramid(references)
    x, outside = correlate(first[6], second[6]), []
    for level in INPUTS:
        if level < 6:
            motion = enlarge(plain(x, f"predict_flow{level + 1}", padding=1), f"deconv{level + 1}")
            warped, mask = warp(second[level], motion * 20 / 2**level)
            outside.append(float((mask < 0.9999).float().mean()))
            hints = enlarge(x, f"upfeat{level + 1}")
            x = torch.cat([correlate(first[level], warped), first[level], motion, hints], dim=1)
        for index in range(len(DENSE)):
            x = torch.cat([convolve(x, f"conv{level}_{index}"), x], dim=1)
    motion = plain(x, "predict_flow2", padding=1)
    for name, (_, dilation) in CONTEXT.items():
        x = convolve(x, name, dilation=dilation)
    motion = motion + plain(x, "dc_conv7", padding=1)
    return motion.permute(0, 2, 3, 1).numpy(), outside


def test_motion_is_that_of_torch(published, shapes):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    flow = pwc_net()
    params = {"params": {"flow": load_pwc_net(shapes, published)}}
    rng = np.random.default_rng(1)
    references, frames = rng.integers(256, size=(2, 2, 64, 128, 3), dtype=np.uint8)
    units, outside = torch_flow(torch, published, frames, references)
    # Compiled in half the time: it runs once.
    fast = {"xla_backend_optimization_level": 0}
    motion = jax.jit(flow.estimate, compiler_options=fast)(params, references, frames)
    assert all(0.05 < share < 0.95 for share in outside)
    assert units.std() > 0.1
    np.testing.assert_allclose(motion / 20, units, rtol=0, atol=1e-4 * np.abs(units).max())


def test_every_tensor_but_one_is_used(published, shapes):
    loaded = load_pwc_net(shapes, published)
    assert jax.tree.map(np.shape, loaded) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    used = [published[name] for name in published if not name.startswith("deconv2.")]
    assert len(used) == len(jax.tree.leaves(loaded)) == len(published) - 2
    total = sum(np.abs(leaf, dtype=np.float64).sum() for leaf in jax.tree.leaves(loaded))
    np.testing.assert_allclose(total, sum(np.abs(it, dtype=np.float64).sum() for it in used))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("conv3aa.0.bias", None, r"lack conv3aa\.0\.bias; are these the weights of pwc_net\.pth"),
        ("dc_conv7.weight", None, r"lack dc_conv7\.weight; "),
        (
            "upfeat6.weight",
            np.zeros((2, 529, 4, 4), np.float32),
            r"upfeat6\.weight is \(2, 529, 4, 4\), but the net's is \(529, 2, 4, 4\); ",
        ),
        (
            "conv6aa.0.weight",
            np.zeros((196, 196, 3, 3), np.float32),
            r"conv6aa\.0\.weight is \(196, 196, 3, 3\), but the net's is \(196, 128, 3, 3\); ",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(published, shapes, name, tensor, message):
    weights = {**published, name: tensor}
    if tensor is None:
        del weights[name]
    with pytest.raises(ValueError, match=message):
        load_pwc_net(shapes, weights)
