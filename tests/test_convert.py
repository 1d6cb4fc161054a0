"""Weights by torchvision's names: where each lands, what is refused, and what torch computes."""

import functools
import pickle
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxseg.convert import load_backbone, read_weights
from jaxseg.nets import NetConfig, segmenter
from jaxseg.nets.resnet import NUM_BLOCKS, max_pool

Weights = dict[str, np.ndarray]
LEAVES = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
DEPTHS = [18, 50, pytest.param(101, marks=pytest.mark.slow)]


@functools.cache
def published(depth: int) -> Weights:
    """Draw a state dict as torchvision publishes it, classifier and all; not to be changed."""
    rng = np.random.default_rng(depth)
    weights: Weights = {}

    def convolution(name: str, outputs: int, inputs: int, size: int) -> None:
        kernel = rng.standard_normal((outputs, inputs, size, size), np.float32)
        weights[f"{name}.weight"] = kernel * np.float32((inputs * size**2 / 2) ** -0.5)

    def norm(name: str, channels: int, scale: float = 1.0) -> None:
        weights[f"{name}.weight"] = scale * rng.uniform(0.5, 1.5, channels).astype(np.float32)
        weights[f"{name}.bias"] = rng.normal(0, 0.2, channels).astype(np.float32)
        weights[f"{name}.running_mean"] = rng.normal(0, 0.2, channels).astype(np.float32)
        weights[f"{name}.running_var"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        weights[f"{name}.num_batches_tracked"] = np.array(7)

    convolution("conv1", 64, 3, 7)
    norm("bn1", 64)
    inputs = 64
    for stage, num_blocks in enumerate(NUM_BLOCKS[depth]):
        inner = 64 * 2**stage
        for index in range(num_blocks):
            block = f"layer{stage + 1}.{index}"
            sizes = [(inner, 1), (inner, 3), (4 * inner, 1)] if depth >= 50 else [(inner, 3)] * 2
            before = inputs
            for number, (outputs, size) in enumerate(sizes, start=1):
                convolution(f"{block}.conv{number}", outputs, before, size)
                # Small at the end of a block, or a hundred blocks would overflow.
                norm(f"{block}.bn{number}", outputs, 0.3 if number == len(sizes) else 1.0)
                before = outputs
            if index == 0 and (stage > 0 or depth >= 50):
                convolution(f"{block}.downsample.0", before, inputs, 1)
                norm(f"{block}.downsample.1", before)
            inputs = before
    weights["fc.weight"] = np.ones((1000, inputs), np.float32)
    weights["fc.bias"] = np.ones(1000, np.float32)
    return weights


def shapes(depth: int, output_stride: int = 16, ladder_stride: int = 0) -> dict:
    """Give the shapes of a net's variables, without the time it takes to draw them."""
    config = NetConfig(2, depth, output_stride, ladder_stride)
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    return jax.eval_shape(segmenter(config).init, jax.random.key(0), frame)


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_tensor_finds_its_place(depth, tmp_path):
    weights = published(depth)
    save_file(weights, tmp_path / "weights.safetensors")
    params = load_backbone(shapes(depth), read_weights(tmp_path / "weights.safetensors"))
    backbone = params["params"]["features"]["backbone"]
    stats = params["batch_stats"]["backbone"]

    leaves = jax.tree.leaves((backbone, stats))
    used = [name for name in weights if not name.startswith("fc.") and "num_" not in name]
    assert len(leaves) == len(used)
    assert all(isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32 for leaf in leaves)

    kernel = weights["layer2.0.downsample.0.weight"]
    placed = backbone["layer2_0"]["downsample_conv"]["kernel"]
    np.testing.assert_array_equal(placed[0, 0], kernel[:, :, 0, 0].T)
    kernel = weights["layer3.1.conv2.weight"]
    placed = backbone["layer3_1"]["conv2"]["kernel"]
    np.testing.assert_array_equal(placed[2, 0, 5, 9], kernel[9, 5, 2, 0])
    for layer, name in (("bn1", "bn1"), ("downsample_bn", "downsample.1")):
        norm = backbone["layer4_0"][layer] | stats["layer4_0"][layer]
        for ours, theirs in LEAVES.items():
            np.testing.assert_array_equal(norm[ours], weights[f"layer4.0.{name}.{theirs}"])


def test_the_rest_of_the_net_stays():
    template = shapes(18, output_stride=32, ladder_stride=8)
    params = load_backbone(template, published(18))
    assert jax.tree.structure(params) == jax.tree.structure(template)
    assert params["params"]["project"] is template["params"]["project"]
    assert params["params"]["features"]["ladder"] is template["params"]["features"]["ladder"]
    assert params["batch_stats"]["ladder"] is template["batch_stats"]["ladder"]


def test_parallel_training_and_halves_are_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"module.bn1.bias": np.array([0.5, -2], np.float16)}, path)
    read = read_weights(str(path))
    assert read["bn1.bias"].dtype == np.float32
    np.testing.assert_array_equal(read["bn1.bias"], [0.5, -2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("layer3.1.bn2.running_var"), r"lack layer3\.1\.bn2\.running_var; "),
        (lambda w: w.pop("conv1.weight"), r"lack conv1\.weight; .*as deep"),
        (
            lambda w: w.update({"conv1.weight": np.zeros((64, 1, 7, 7), np.float32)}),
            r"conv1\.weight is \(64, 1, 7, 7\), but the net's is \(64, 3, 7, 7\); ",
        ),
        (
            lambda w: w.update({"bn1.bias": np.zeros(32, np.float32)}),
            r"bn1\.bias is \(32,\), but the net's is \(64,\); ",
        ),
        (
            lambda w: w.update({"layer3.5.conv1.weight": np.zeros(1, np.float32)}),
            r"no place for layer3\.5\.conv1\.weight; .*as deep",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change: Callable, message):
    weights = dict(published(18))
    change(weights)
    with pytest.raises(ValueError, match=message):
        load_backbone(shapes(18), weights)


@pytest.mark.parametrize(("depth", "other"), [(18, 50), (50, 18), (101, 50)])
def test_another_depth_is_refused(depth, other):
    with pytest.raises(ValueError, match="as deep"):
        load_backbone(shapes(depth), published(other))


def test_files_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    for name in ("weights.safetensors", "weights.pth", "weights.onnx"):
        with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
            read_weights(tmp_path / name)
        (tmp_path / name).write_bytes(b"<html>moved permanently</html>")
    with pytest.raises(ValueError, match=r"weights\.safetensors: is no safetensors file"):
        read_weights(tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights\.onnx: ends in none of \.safetensors, \.pth"):
        read_weights(tmp_path / "weights.onnx")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"weights\.pth: .*pip install torch, or"):
        read_weights(tmp_path / "weights.pth")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


def torch_features(torch, weights: Weights, frames: np.ndarray, *, depth: int, stride: int):
    """Run torchvision's ResNet with `replace_stride_with_dilation` up to its last stage."""
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}

    def convolve(x, name: str, step: int = 1, dilation: int = 1):
        kernel = tensors[f"{name}.weight"]
        padding = dilation * (kernel.shape[-1] // 2)
        x = torch.nn.functional.conv2d(x, kernel, stride=step, padding=padding, dilation=dilation)
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        weight, bias, mean, var = (tensors[f"{norm}.{leaf}"] for leaf in LEAVES.values())
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias)

    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = torch.from_numpy((frames / np.float32(255) - mean) / std).permute(0, 3, 1, 2)
    x = torch.nn.functional.max_pool2d(convolve(x, "conv1", 2).relu(), 3, stride=2, padding=1)
    dilation = 1
    for stage, num_blocks in enumerate(NUM_BLOCKS[depth]):
        before = dilation
        is_dilated = 2 ** (stage + 2) > stride
        dilation *= 2 if is_dilated else 1
        for index in range(num_blocks):
            block = f"layer{stage + 1}.{index}"
            step = 2 if index == 0 and stage > 0 and not is_dilated else 1
            first = before if index == 0 else dilation
            if depth >= 50:
                y = convolve(x, f"{block}.conv1").relu()
                y = convolve(y, f"{block}.conv2", step, first).relu()
                y = convolve(y, f"{block}.conv3")
            else:
                y = convolve(x, f"{block}.conv1", step, first).relu()
                y = convolve(y, f"{block}.conv2", 1, dilation)
            if f"{block}.downsample.0.weight" in tensors:
                x = convolve(x, f"{block}.downsample.0", step)
            x = (x + y).relu()
    return x.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("depth", DEPTHS)
def test_features_are_those_of_torch(torch, tmp_path, depth, stride):
    weights = published(depth)
    frames = np.random.default_rng(0).integers(256, size=(2, 75, 53, 3), dtype=np.uint8)
    expected = torch_features(torch, weights, frames, depth=depth, stride=stride)

    torch.save({name: torch.from_numpy(it) for name, it in weights.items()}, tmp_path / "w.pth")
    params = load_backbone(shapes(depth, stride), read_weights(tmp_path / "w.pth"))
    net = segmenter(NetConfig(num_classes=2, depth=depth, output_stride=stride))
    features = net.features(params, jnp.asarray(frames))
    assert features.shape == expected.shape
    assert expected.std() > 0.1
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 2)])
def test_max_pool_is_that_of_torch(torch, size):
    features = np.random.default_rng(0).standard_normal((2, *size, 3), np.float32)
    expected = torch.nn.functional.max_pool2d(
        torch.from_numpy(features).permute(0, 3, 1, 2), 3, stride=2, padding=1
    )
    np.testing.assert_array_equal(max_pool(features), expected.permute(0, 2, 3, 1).numpy())


def test_pickles_of_every_age_are_read(torch, tmp_path):
    bias = torch.nn.Parameter(torch.tensor([0.5, -2.0]))
    halves = {"epoch": 3, "state_dict": {"module.bn1.bias": bias.detach().bfloat16()}}
    torch.save(halves, tmp_path / "new.pt")
    torch.save({"bn1.bias": bias}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("new.pt", "old.pth"):
        read = read_weights(tmp_path / name)
        assert read["bn1.bias"].dtype == np.float32
        np.testing.assert_array_equal(read["bn1.bias"], [0.5, -2])


def test_pickles_that_hold_anything_else_are_refused(torch, tmp_path):
    path = tmp_path / "weights.pth"
    for content in (b"<html>", pickle.dumps(functools.partial(print))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.pth: is no state dict of torch's \("):
            read_weights(path)
    for state in ({}, {"lr": 0.1}, torch.zeros(3)):
        torch.save(state, path)
        with pytest.raises(ValueError, match=r"weights\.pth: holds something else"):
            read_weights(path)
