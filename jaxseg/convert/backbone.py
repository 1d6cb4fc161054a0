"""Weights of torchvision's ResNets for the backbone."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import Params
from jaxseg.convert.placing import place
from jaxseg.convert.reading import LEAVES

_LAYERS = {
    "downsample_conv": "downsample.0",
    "downsample_bn": "downsample.1",
    "offset": "conv_offset",
}
_HINT = "are these the weights of a ResNet as deep as the net's?"


def load_backbone(params: Params, weights: Mapping[str, np.ndarray]) -> Params:
    """Put published weights into the backbone of a net.

    A plain backbone's weights fit a deformable one: its offsets are then zero, as at
    initialisation, and it computes what the plain one does.

    Args:
        params: A net's variables, or their shapes alone.
        weights: Tensors by torchvision's names, and the layers of offsets, if any, as
            `layer4.0.conv2.conv_offset`; those of the classifier, `fc.*`, and
            `num_batches_tracked` are not used.

    Returns:
        A copy of `params` whose backbone holds the weights and the running statistics.

    Raises:
        ValueError: If a tensor is missing, has another shape or has no place in the
            backbone; the first such is named.
    """
    unused = {
        name
        for name in weights
        if not (name.startswith("fc.") or name.endswith(".num_batches_tracked"))
    }

    def take(path: tuple[jax.tree_util.DictKey, ...], leaf: Any) -> jax.Array:
        name = _torch_name([entry.key for entry in path])
        if name not in weights:
            layer = name.rpartition(".")[0]
            if path[-2].key == "offset" and not any(it.startswith(layer) for it in weights):
                return jnp.zeros(leaf.shape, leaf.dtype)
            raise ValueError(f"the weights lack {name}; {_HINT}")
        unused.remove(name)
        return place(weights[name], leaf, name=name, hint=_HINT)

    learned, stats = params["params"], params["batch_stats"]
    features = learned["features"]
    backbone = jax.tree_util.tree_map_with_path(take, features["backbone"])
    seen = jax.tree_util.tree_map_with_path(take, stats["backbone"])
    if unused:
        raise ValueError(f"the net has no place for {min(unused)}; {_HINT}")
    return {
        **params,
        "params": {**learned, "features": {**features, "backbone": backbone}},
        "batch_stats": {**stats, "backbone": seen},
    }


def _torch_name(path: Sequence[str]) -> str:
    """Translate ("layer1_0", "downsample_bn", "mean") to "layer1.0.downsample.1.running_mean"."""
    *block, layer, leaf = path
    names = [*(name.replace("_", ".") for name in block), _LAYERS.get(layer, layer), LEAVES[leaf]]
    return ".".join(names)
