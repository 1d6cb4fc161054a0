"""Weights of FlowNet-S for Deep Feature Flow, and of FlowNet 2.0 and its members."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import Params
from jaxseg.convert.placing import place
from jaxseg.convert.reading import LEAVES

_TRANSPOSED = ("deconv", "upsampled")
"""How the names of the layers begin that are transposed convolutions."""

_FLOW_HINT = "are these the weights of a FlowNet-S without batch normalisation?"


def load_flow(flow_params: Params, weights: Mapping[str, np.ndarray]) -> Params:
    """Put published weights into the flow net of Deep Feature Flow.

    Args:
        flow_params: The variables of `flownet_s`, `params["params"]["flow"]`, or their
            shapes alone.
        weights: Tensors by the names of FlowNet-S in PyTorch or of Deep Feature Flow in
            MXNet.  Where PyTorch's layers have no bias it is zero, and where the weights
            hold no scale map it is 1 everywhere; tensors of other layers are not used.

    Returns:
        Variables of the same shapes, with which the net computes what the published one does.

    Raises:
        ValueError: If a tensor is missing or has another shape; the first such is named.
    """
    name_fn = _flow_name_in_mxnet if "flow_conv1_weight" in weights else _flow_name_in_torch

    def take(path: tuple[jax.tree_util.DictKey, ...], leaf: Any) -> jax.Array:
        layer, kind = (entry.key for entry in path)
        name = name_fn(layer, LEAVES[kind])
        is_optional = layer == "scale" or (kind == "bias" and not layer.startswith("conv"))
        if name not in weights and is_optional:
            return jnp.full(leaf.shape, float((layer, kind) == ("scale", "bias")), leaf.dtype)
        if name not in weights:
            raise ValueError(f"the weights lack {name}; {_FLOW_HINT}")
        is_transposed = layer.startswith(_TRANSPOSED)
        return place(weights[name], leaf, name=name, hint=_FLOW_HINT, is_transposed=is_transposed)

    return jax.tree_util.tree_map_with_path(take, flow_params)


def load_flownet2(flow_params: Params, weights: Mapping[str, np.ndarray]) -> Params:
    """Put published weights into FlowNet 2.0 or one of its members.

    Args:
        flow_params: The variables of `flownet2`, `flownet_c` or `flownet2_s`,
            `params["params"]["flow"]`, or their shapes alone.
        weights: Tensors by NVIDIA's names, as in their FlowNet2_checkpoint.pth.tar,
            FlowNet2-C_checkpoint.pth.tar or FlowNet2-S_checkpoint.pth.tar.

    Returns:
        Variables of the same shapes, with which the net computes what the published one does.

    Raises:
        ValueError: If a tensor is missing, has another shape or has no place in the net; the
            first such is named.
    """
    is_whole, is_c = "flownetfusion" in flow_params, "conv_redir" in flow_params
    member = "" if is_whole else "-C" if is_c else "-S"
    hint = f"are these the weights of FlowNet2{member}_checkpoint.pth.tar?"
    unused = set(weights)

    def take(path: tuple[jax.tree_util.DictKey, ...], leaf: Any) -> jax.Array:
        *net, layer, kind = (entry.key for entry in path)
        name = ".".join([*net, _flow_name_in_torch(layer, LEAVES[kind])])
        if name not in weights:
            raise ValueError(f"the weights lack {name}; {hint}")
        unused.remove(name)
        is_transposed = layer.startswith(_TRANSPOSED)
        return place(weights[name], leaf, name=name, hint=hint, is_transposed=is_transposed)

    loaded = jax.tree_util.tree_map_with_path(take, flow_params)
    if unused:
        raise ValueError(f"the net has no place for {min(unused)}; {hint}")
    return loaded


def _flow_name_in_torch(layer: str, leaf: str) -> str:
    """Translate ("conv3_1", "weight") to "conv3_1.0.weight"."""
    # Those are modules of several layers, of which the convolution is the first.
    is_first = layer.startswith(("conv", "deconv", "inter_conv"))
    return f"{layer}.0.{leaf}" if is_first else f"{layer}.{leaf}"


def _flow_name_in_mxnet(layer: str, leaf: str) -> str:
    """Translate ("predict_flow6", "weight") to "Convolution1_weight"."""
    if layer.startswith("predict_flow"):
        layer = f"Convolution{7 - int(layer[-1])}"
    elif layer.startswith("upsampled_flow"):
        layer = layer.replace("upsampled", "upsample").replace("_to_", "to")
    else:
        layer = {"conv1": "flow_conv1", "scale": "Convolution5_scale"}.get(layer, layer)
    return f"{layer}_{leaf}"
