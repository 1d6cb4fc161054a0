"""Published weights of torchvision's ResNets, for the backbone of a net.

    params = load_backbone(params, read_weights("resnet50.safetensors"))

torch is needed only to read its own pickles (`.pth`, `.pt`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import load_file

from jaxseg.arrays import Params

_LAYERS = {"downsample_conv": "downsample.0", "downsample_bn": "downsample.1"}
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_HINT = "are these the weights of a ResNet as deep as the net's?"


def read_weights(path: str | Path) -> dict[str, Float32[np.ndarray, "..."]]:
    """Read the tensors of a published file.

    Args:
        path: A `.safetensors` file, or a state dict that torch saved as `.pth` or
            `.pt`, possibly under the key "state_dict" of a training checkpoint.

    Returns:
        Tensors by torch's names, without the `module.` of a parallel training.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the file is a torch pickle and torch is not installed.
        ValueError: If the file holds no tensors, or more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    readers = {".safetensors": _read_safetensors, ".pth": _read_pickle, ".pt": _read_pickle}
    if path.suffix not in readers:
        raise ValueError(f"{path}: ends in none of {', '.join(readers)}")
    return {name.removeprefix("module."): it for name, it in readers[path.suffix](path).items()}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: is no safetensors file ({error}); fetch it again") from error
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch  # Large, and needed for nothing else.
    except ImportError as error:
        raise ImportError(
            f"{path}: is read by torch, which is not installed: pip install torch, "
            "or give a .safetensors file"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its unpickler, its zip reader or Python raise.
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path}: is no state dict of torch's ({reason})") from error
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    tensors = dict(state) if isinstance(state, dict) else {}
    if not tensors or not all(isinstance(it, torch.Tensor) for it in tensors.values()):
        raise ValueError(
            f"{path}: holds something else than named tensors; save model.state_dict() instead"
        )
    return {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}


def load_backbone(params: Params, weights: Mapping[str, np.ndarray]) -> Params:
    """Put published weights into the backbone of a net.

    Args:
        params: A net's variables, or their shapes alone.
        weights: Tensors by torchvision's names; those of the classifier, `fc.*`, and
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
            raise ValueError(f"the weights lack {name}; {_HINT}")
        unused.remove(name)
        tensor, shape = weights[name], leaf.shape
        if len(shape) == 4:
            shape = (shape[3], shape[2], shape[0], shape[1])
        if tensor.shape != shape:
            raise ValueError(f"{name} is {tensor.shape}, but the net's is {shape}; {_HINT}")
        if tensor.ndim == 4:
            tensor = tensor.transpose(2, 3, 1, 0)
        return jnp.array(tensor, leaf.dtype)

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
    names = [*(name.replace("_", ".") for name in block), _LAYERS.get(layer, layer), _LEAVES[leaf]]
    return ".".join(names)
