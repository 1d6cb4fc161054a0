"""Published files of weights, read into tensors by their names."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import load_file

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""What torch calls a layer's variables."""

_MXNET_LIST = 0x112
_MXNET_ARRAYS = (0xF993FAC8, 0xF993FAC9)
_MXNET_TYPES = ("f4", "f8", "f2", "u1", "i4", "i1", "i8")


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
