"""Published weights, of torchvision's ResNets for the backbone and of FlowNet-S for the flow.

    params = load_backbone(params, read_weights("resnet50.safetensors"))
    flow_params = load_flow(flow_params, read_weights("flownets.pth"))

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

_LAYERS = {
    "downsample_conv": "downsample.0",
    "downsample_bn": "downsample.1",
    "offset": "conv_offset",
}
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
        path: A `.safetensors` file; a state dict that torch saved as `.pth`, `.pt` or
            `.pth.tar`, possibly under the key "state_dict" of a training checkpoint; or
            MXNet's `.params`.

    Returns:
        Tensors by their published names, without the `module.` of a parallel training
        and the `arg:` or `aux:` of MXNet.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the file is a torch pickle and torch is not installed.
        ValueError: If the file holds no tensors, or more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    readers = {
        ".safetensors": _read_safetensors,
        ".pth": _read_pickle,
        ".pt": _read_pickle,
        ".tar": _read_pickle,
        ".params": _read_mxnet,
    }
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


_MXNET_LIST = 0x112
_MXNET_ARRAYS = (0xF993FAC8, 0xF993FAC9)
_MXNET_TYPES = ("f4", "f8", "f2", "u1", "i4", "i1", "i8")


def _read_mxnet(path: Path) -> dict[str, np.ndarray]:
    """Read what `mx.nd.save` wrote, of any age: arrays in a row, then their names."""
    content, position = path.read_bytes(), 0

    def take(dtype: str, count: int = 1) -> np.ndarray:
        nonlocal position
        # A file that ends too early makes NumPy raise.
        found = np.frombuffer(content, np.dtype(dtype).newbyteorder("<"), count, position)
        position += found.nbytes
        return found

    def take_one(dtype: str) -> int:
        return int(take(dtype)[0])

    def take_array() -> np.ndarray:
        # The first number is a version; files of before there were any begin with the rank.
        rank, size = take_one("u4"), "u4"
        if rank in _MXNET_ARRAYS:
            if rank == _MXNET_ARRAYS[1] and take_one("i4"):
                raise ValueError("a sparse array")
            rank, size = take_one("u4"), "i8"
        if not 1 <= rank <= 8:
            raise ValueError(f"an array of rank {rank}")
        shape = take(size, rank)
        take("i4", 2)  # The device on which it was.
        dtype = _MXNET_TYPES[take_one("i4")]
        return take(dtype, int(shape.prod())).reshape(shape).astype(np.float32)

    try:
        if take("u8", 2)[0] != _MXNET_LIST:
            raise ValueError("it begins otherwise")
        tensors = [take_array() for _ in range(take_one("u8"))]
        names = [take("u1", take_one("u8")).tobytes().decode() for _ in range(take_one("u8"))]
        named = dict(zip(names, tensors, strict=True))
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path}: is no MXNet parameter file ({error}); fetch it again") from error
    return {name.removeprefix("arg:").removeprefix("aux:"): it for name, it in named.items()}


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
        name = name_fn(layer, _LEAVES[kind])
        is_optional = layer == "scale" or (kind == "bias" and not layer.startswith("conv"))
        if name not in weights and is_optional:
            return jnp.full(leaf.shape, float((layer, kind) == ("scale", "bias")), leaf.dtype)
        if name not in weights:
            raise ValueError(f"the weights lack {name}; {_FLOW_HINT}")
        is_transposed = layer.startswith(("deconv", "upsampled"))
        order = (0,) if kind == "bias" else (2, 3, 0, 1) if is_transposed else (3, 2, 0, 1)
        tensor, shape = weights[name], tuple(leaf.shape[axis] for axis in order)
        if tensor.shape != shape:
            raise ValueError(f"{name} is {tensor.shape}, but the net's is {shape}; {_FLOW_HINT}")
        tensor = tensor.transpose(np.argsort(order))
        if is_transposed and kind == "kernel":
            # Written as a convolution it has the kernel turned by 180 degrees.
            tensor = tensor[::-1, ::-1]
        return jnp.array(tensor, leaf.dtype)

    return jax.tree_util.tree_map_with_path(take, flow_params)


def _flow_name_in_torch(layer: str, leaf: str) -> str:
    """Translate ("conv3_1", "weight") to "conv3_1.0.weight"."""
    is_followed = layer.startswith(("conv", "deconv"))  # by an activation, in one module
    return f"{layer}.0.{leaf}" if is_followed else f"{layer}.{leaf}"


def _flow_name_in_mxnet(layer: str, leaf: str) -> str:
    """Translate ("predict_flow6", "weight") to "Convolution1_weight"."""
    if layer.startswith("predict_flow"):
        layer = f"Convolution{7 - int(layer[-1])}"
    elif layer.startswith("upsampled_flow"):
        layer = layer.replace("upsampled", "upsample").replace("_to_", "to")
    else:
        layer = {"conv1": "flow_conv1", "scale": "Convolution5_scale"}.get(layer, layer)
    return f"{layer}_{leaf}"
