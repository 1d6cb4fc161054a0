"""FlowNet 2.0 by its published names: what torch computes, and what is refused."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from jaxseg.convert import load_flownet2, read_weights
from jaxseg.nets import Flow, flownet2, flownet2_s, flownet_c
from jaxseg.nets.flownet2 import FlowNetFusion, FlowNetSD

FRAMES = np.random.default_rng(0).integers(256, size=(2, 1, 64, 128, 3), dtype=np.uint8)
"""A reference and a frame."""


@pytest.fixture(scope="module")
def in_torch() -> Any:
    pytest.importorskip("torch", reason="torch is not installed")
    from tests import flownets_in_torch

    return flownets_in_torch


def shapes(flow: Flow) -> Any:
    return jax.eval_shape(flow.init, jax.random.key(0), FRAMES[0])


def run_torch(net: Any, frames: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Run the net as its authors do, on pixels without the mean of their pair."""
    import torch

    pair = torch.from_numpy(np.stack([frames, references], axis=1)).float()
    pair = (pair - pair.mean(dim=(1, 2, 3), keepdim=True)) / 255
    with torch.no_grad():
        x = torch.cat([pair[:, 0], pair[:, 1]], dim=-1).permute(0, 3, 1, 2)
        return net(x).permute(0, 2, 3, 1).numpy()


def compare(flow: Flow, net: Any, weights: dict, *, pixels_per_unit: int) -> None:
    params = {"params": {"flow": load_flownet2(shapes(flow), weights)}}
    references, frames = FRAMES
    expected = pixels_per_unit * run_torch(net, frames, references)
    motion = jax.jit(flow.estimate)(params, references, frames)
    assert expected.std() > 1
    np.testing.assert_allclose(motion, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("build", "name"), [(flownet_c, "FlowNetC"), (flownet2_s, "FlowNetS")])
def test_motion_is_that_of_torch(build: Callable[[], Flow], name, in_torch, tmp_path):
    import torch

    net = in_torch.redraw(getattr(in_torch, name)())
    state = {"epoch": 0, "state_dict": net.state_dict(), "best_EPE": 1e10}
    torch.save(state, tmp_path / "checkpoint.pth.tar")
    weights = read_weights(tmp_path / "checkpoint.pth.tar")
    compare(build(), net, weights, pixels_per_unit=20)


@pytest.mark.slow  # 160 million variables
@pytest.mark.timeout(600)
def test_motion_of_the_whole_is_that_of_torch(in_torch):
    net = in_torch.redraw(in_torch.FlowNet2())
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    compare(flownet2(), net, weights, pixels_per_unit=1)


@pytest.mark.parametrize(
    ("module", "channels"), [(FlowNetSD(np.float32), 6), (FlowNetFusion(np.float32), 11)]
)
def test_other_members_compute_what_torch_does(module, channels, in_torch):
    import torch

    net = in_torch.redraw(getattr(in_torch, type(module).__name__)())
    x = np.random.default_rng(0).standard_normal((1, 64, 64, channels), np.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    found = jax.jit(module.apply)({"params": load_flownet2(params, weights)}, x)
    with torch.no_grad():
        expected = net(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def published(params: Any) -> dict[str, np.ndarray]:
    """Give zeros by the published names and in torch's order of axes."""
    weights = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        *layer, kind = (entry.key for entry in path)
        is_alone = layer[-1].startswith(("predict", "upsampled"))
        is_transposed = layer[-1].startswith(("deconv", "upsampled"))
        order = (2, 3, 0, 1) if is_transposed else (3, 2, 0, 1)
        shape = leaf.shape if kind == "bias" else tuple(leaf.shape[axis] for axis in order)
        names = [*layer, *([] if is_alone else ["0"]), "bias" if kind == "bias" else "weight"]
        weights[".".join(names)] = np.zeros(shape, np.float32)
    return weights


@pytest.mark.parametrize(
    ("build", "change", "message"),
    [
        (flownet_c, {"conv_redir.0.weight": None}, r"lack conv_redir\.0\.weight; .*2-C_checkp"),
        (
            flownet_c,
            {"upsampled_flow6_to_5.bias": None},
            r"lack upsampled_flow6_to_5\.bias; are these the weights of FlowNet2-C_",
        ),
        (
            flownet2_s,
            {"conv1.0.weight": (64, 12, 7, 7)},
            r"conv1\.0\.weight is \(64, 12, 7, 7\), but the net's is \(64, 6, 7, 7\); .*2-S_",
        ),
        (
            flownet2_s,
            {"deconv5.0.weight": (512, 1024, 4, 4)},
            r"deconv5\.0\.weight is \(512, 1024, 4, 4\), but .* is \(1024, 512, 4, 4\); ",
        ),
        (flownet2_s, {"conv1.1.running_var": (64,)}, r"no place for conv1\.1\.running_var; .*-S_"),
        (
            flownet2,
            {"flownetfusion.conv0.0.bias": None},
            r"lack flownetfusion\.conv0\.0\.bias; are these the weights of FlowNet2_checkpoint",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(build, change, message):
    params = shapes(build())
    weights = published(params)
    for name, shape in change.items():
        if shape is None:
            del weights[name]
        else:
            weights[name] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=message):
        load_flownet2(params, weights)


def test_a_file_of_another_member_is_refused():
    c, s, whole = (shapes(build()) for build in (flownet_c, flownet2_s, flownet2))
    for params, other in ((c, s), (s, c), (whole, c), (c, whole)):
        with pytest.raises(ValueError, match=r"are these the weights of FlowNet2"):
            load_flownet2(params, published(other))
