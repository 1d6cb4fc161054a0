"""FlowNet-S by its published names: what torch computes, and MXNet's files byte by byte."""

import struct

import jax
import numpy as np
import pytest

from jaxseg.convert import load_flow, read_weights
from jaxseg.nets import flownet_s
from jaxseg.nets.flownet import PIXEL_MEAN, PIXELS_PER_UNIT

Weights = dict[str, np.ndarray]
CONVOLUTIONS = {  # name: outputs, inputs, side of the kernel, stride
    "conv1": (64, 6, 7, 2),
    "conv2": (128, 64, 5, 2),
    "conv3": (256, 128, 5, 2),
    "conv3_1": (256, 256, 3, 1),
    "conv4": (512, 256, 3, 2),
    "conv4_1": (512, 512, 3, 1),
    "conv5": (512, 512, 3, 2),
    "conv5_1": (512, 512, 3, 1),
    "conv6": (1024, 512, 3, 2),
    "conv6_1": (1024, 1024, 3, 1),
}
INPUTS = {6: 1024, 5: 1026, 4: 770, 3: 386, 2: 194}
"""Channels from which the flow is predicted, by level."""
DECONVOLUTIONS = {5: 512, 4: 256, 3: 128, 2: 64}
SKIPS = {5: "conv5_1", 4: "conv4_1", 3: "conv3_1", 2: "conv2"}


@pytest.fixture(scope="module")
def published() -> Weights:
    """Draw a state dict as FlowNetPytorch publishes it; not to be changed."""
    rng = np.random.default_rng(0)
    weights: Weights = {}

    def draw(name: str, *shape: int, taps: int) -> None:
        deviation = np.float32((2 / taps) ** 0.5)
        weights[name] = deviation * rng.standard_normal(shape, np.float32)

    for name, (outputs, inputs, size, _) in CONVOLUTIONS.items():
        draw(f"{name}.0.weight", outputs, inputs, size, size, taps=inputs * size**2)
        weights[f"{name}.0.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)
    for level, outputs in DECONVOLUTIONS.items():
        inputs = INPUTS[level + 1]
        draw(f"deconv{level}.0.weight", inputs, outputs, 4, 4, taps=4 * inputs)
        draw(f"upsampled_flow{level + 1}_to_{level}.weight", 2, 2, 4, 4, taps=8)
    for level, inputs in INPUTS.items():
        draw(f"predict_flow{level}.weight", 2, inputs, 3, 3, taps=9 * inputs)
    return weights


def shapes(scale_channels: int = 0) -> dict:
    flow = flownet_s(scale_channels=scale_channels)
    return jax.eval_shape(flow.init, jax.random.key(0), np.zeros((64, 64, 3), np.uint8))


def in_mxnet(weights: Weights) -> Weights:
    """Give the same tensors by the names of Deep Feature Flow, which has all biases."""
    renamed = {}
    for name, tensor in weights.items():
        layer, kind = name.split(".")[0], name.split(".")[-1]
        layer = "flow_conv1" if layer == "conv1" else layer
        if layer.startswith("predict"):
            layer = f"Convolution{7 - int(layer[-1])}"
        if layer.startswith("upsampled"):
            layer = f"upsample_flow{layer[-6]}to{layer[-1]}"
        renamed[f"{layer}_{kind}"] = tensor
        if kind == "weight":
            outputs = tensor.shape[layer.startswith(("deconv", "upsample"))]
            renamed.setdefault(f"{layer}_bias", np.full(outputs, 0.5, np.float32))
    return renamed


def torch_flow(torch, weights: Weights, frames: np.ndarray, references: np.ndarray):
    """Run the published net on halves of the frames; its last concat is averaged once more."""
    functional = torch.nn.functional
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    pair = [it / np.float32(255) - np.float32(PIXEL_MEAN) for it in (frames, references)]
    pixels = torch.from_numpy(np.concatenate(pair, axis=-1)).permute(0, 3, 1, 2)
    x, maps = functional.avg_pool2d(pixels, 2), {}

    def leak(x):
        return functional.leaky_relu(x, 0.1)

    def deconvolve(x, name: str, like):
        x = functional.conv_transpose2d(x, tensors[f"{name}.weight"], stride=2, padding=1)
        return x[:, :, : like.shape[2], : like.shape[3]]

    for name, (_, _, size, stride) in CONVOLUTIONS.items():
        weight, bias = tensors[f"{name}.0.weight"], tensors[f"{name}.0.bias"]
        x = leak(functional.conv2d(x, weight, bias, stride=stride, padding=(size - 1) // 2))
        maps[name] = x
    for level, name in SKIPS.items():
        skip = maps[name]
        flow = functional.conv2d(x, tensors[f"predict_flow{level + 1}.weight"], padding=1)
        flow = deconvolve(flow, f"upsampled_flow{level + 1}_to_{level}", skip)
        x = torch.cat([skip, leak(deconvolve(x, f"deconv{level}.0", skip)), flow], dim=1)
    x = functional.avg_pool2d(x, 2)
    flow = functional.conv2d(x, tensors["predict_flow2.weight"], padding=1)
    return flow.permute(0, 2, 3, 1).numpy()


def test_motion_is_that_of_torch(published, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    state = {f"module.{name}": torch.from_numpy(it) for name, it in published.items()}
    torch.save({"arch": "flownets", "state_dict": state}, tmp_path / "flownets.pth.tar")
    flow = flownet_s()
    params = {"params": {"flow": load_flow(shapes(), read_weights(tmp_path / "flownets.pth.tar"))}}
    rng = np.random.default_rng(1)
    references, frames = rng.integers(256, size=(2, 2, 80, 96, 3), dtype=np.uint8)
    units = torch_flow(torch, published, frames, references)
    # A unit is 20 pixels of the halved frame: 40 of the frame, or 2.5 cells of 16.
    assert PIXELS_PER_UNIT == 2 * 20 == 2.5 * flow.stride
    motion = jax.jit(flow.estimate)(params, references, frames)
    assert units.std() > 0.1
    np.testing.assert_allclose(motion / 40, units, rtol=0, atol=1e-4 * np.abs(units).max())


def test_both_names_lead_to_the_same_places(published):
    from_torch = load_flow(shapes(7), published)
    renamed = in_mxnet(published)
    renamed["res5c_branch2a_weight"] = np.zeros((1, 1, 1, 1), np.float32)  # the feature net's
    from_mxnet = load_flow(shapes(7), renamed)
    assert jax.tree.structure(from_torch) == jax.tree.structure(shapes(7))
    for (layer, kind), expected in (
        ((layer, kind), leaf) for layer, it in from_torch.items() for kind, leaf in it.items()
    ):
        found = from_mxnet[layer][kind]
        if kind == "bias" and not layer.startswith("conv") and layer != "scale":
            np.testing.assert_array_equal(expected, np.zeros(expected.shape))
            np.testing.assert_array_equal(found, np.full(expected.shape, 0.5))
        else:
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(from_mxnet["scale"]["kernel"], np.zeros((1, 1, 194, 7)))
    np.testing.assert_array_equal(from_mxnet["scale"]["bias"], np.ones(7))


def test_a_scale_map_is_taken(published):
    scale = np.random.default_rng(0).standard_normal((7, 194, 1, 1), np.float32)
    weights = {**in_mxnet(published), "Convolution5_scale_weight": scale}
    weights["Convolution5_scale_bias"] = np.full(7, 0.25, np.float32)
    loaded = load_flow(shapes(7), weights)["scale"]
    np.testing.assert_array_equal(loaded["kernel"][0, 0], scale[:, :, 0, 0].T)
    np.testing.assert_array_equal(loaded["bias"], weights["Convolution5_scale_bias"])
    with pytest.raises(ValueError, match=r"scale_bias is \(7,\), but the net's is \(8,\)"):
        load_flow(shapes(8), weights)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("conv3_1.0.bias", None, r"lack conv3_1\.0\.bias; .*without batch normalisation"),
        (
            "conv3_1.0.weight",  # FlowNet-C's
            np.zeros((256, 473, 3, 3), np.float32),
            r"conv3_1\.0\.weight is \(256, 473, 3, 3\), but the net's is \(256, 256, 3, 3\); ",
        ),
        (
            "deconv4.0.weight",
            np.zeros((256, 1026, 4, 4), np.float32),
            r"deconv4\.0\.weight is \(256, 1026, 4, 4\), but the net's is \(1026, 256, 4, 4\); ",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(published, name, tensor, message):
    weights = {**published, name: tensor}
    if tensor is None:
        del weights[name]
    with pytest.raises(ValueError, match=message):
        load_flow(shapes(), weights)


ARRAYS = {
    "arg:flow_conv1_weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "aux:bn_moving_mean": np.array([1.5, -2, 0.25], np.float64),
    "deconv5_bias": np.array([7], np.float16),
}
TYPES = {"float32": 0, "float64": 1, "float16": 2}
HEADS = {
    "legacy": lambda shape: struct.pack(f"<I{len(shape)}I", len(shape), *shape),
    "v1": lambda shape: struct.pack(f"<II{len(shape)}q", 0xF993FAC8, len(shape), *shape),
    "v2": lambda shape: struct.pack(f"<IiI{len(shape)}q", 0xF993FAC9, 0, len(shape), *shape),
}


def mxnet_file(version: str) -> bytes:
    """Write `ARRAYS` as MXNet did."""
    content = struct.pack("<QQQ", 0x112, 0, len(ARRAYS))
    for array in ARRAYS.values():
        content += HEADS[version](array.shape)
        content += struct.pack("<iii", 2, 1, TYPES[array.dtype.name]) + array.tobytes()
    content += struct.pack("<Q", len(ARRAYS))
    for name in ARRAYS:
        content += struct.pack("<Q", len(name)) + name.encode()
    return content


@pytest.mark.parametrize("version", HEADS)
def test_mxnet_files_of_every_age_are_read(version, tmp_path):
    path = tmp_path / "flownet-0000.params"
    path.write_bytes(mxnet_file(version))
    read = read_weights(path)
    assert list(read) == ["flow_conv1_weight", "bn_moving_mean", "deconv5_bias"]
    for found, expected in zip(read.values(), ARRAYS.values(), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>moved permanently</html>",
        mxnet_file("v2")[:100],
        mxnet_file("v1")[:-1],
        struct.pack("<QQQIi", 0x112, 0, 1, 0xF993FAC9, 1),
        struct.pack("<QQQI", 0x112, 0, 1, 100_000),
    ],
)
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "flownet-0000.params"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"flownet-0000\.params: is no MXNet parameter file \("):
        read_weights(path)
