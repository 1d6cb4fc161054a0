"""Weights of PWC-Net."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import Params
from jaxseg.convert.reading import LEAVES

_HINT = "are these the weights of pwc_net.pth.tar in NVlabs/PWC-Net, or of the same layers?"


def load_pwc_net(flow_params: Params, weights: Mapping[str, np.ndarray]) -> Params:
    """Put published weights into PWC-Net.

    Args:
        flow_params: The variables of `pwc_net`, `params["params"]["flow"]`, or their shapes
            alone.
        weights: Tensors by the names of the authors' PyTorch release, PWCDCNet; those of
            other layers, such as its unused `deconv2`, are not used.

    Returns:
        Variables of the same shapes, with which the net computes what the published one does.

    Raises:
        ValueError: If a tensor is missing or has another shape; the first such is named.
    """

    def take(path: tuple[jax.tree_util.DictKey, ...], leaf: Any) -> jax.Array:
        layer, kind = (entry.key for entry in path)
        is_last = layer.startswith(("predict", "deconv", "upfeat")) or layer == "dc_conv7"
        # Where an activation follows, the two are one module.
        name = f"{layer}.{LEAVES[kind]}" if is_last else f"{layer}.0.{LEAVES[kind]}"
        if name not in weights:
            raise ValueError(f"the weights lack {name}; {_HINT}")
        is_transposed = layer.startswith(("deconv", "upfeat"))
        order = (0,) if kind == "bias" else (2, 3, 0, 1) if is_transposed else (3, 2, 0, 1)
        tensor, shape = weights[name], tuple(leaf.shape[axis] for axis in order)
        if tensor.shape != shape:
            raise ValueError(f"{name} is {tensor.shape}, but the net's is {shape}; {_HINT}")
        tensor = tensor.transpose(np.argsort(order))
        if is_transposed and kind == "kernel":
            # Written as a convolution it has the kernel turned by 180 degrees.
            tensor = tensor[::-1, ::-1]
        return jnp.array(tensor, leaf.dtype)

    return jax.tree_util.tree_map_with_path(take, flow_params)
