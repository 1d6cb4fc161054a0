"""The packages we are compared with, each left out where it is not installed."""

import importlib
import sys
from importlib import metadata
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PACKAGES = {
    "torch": "torch",
    "mvextractor.videocap": "motion-vector-extractor",
    "cv2": "opencv-python",
    "av": "av",
}
"""Peers' modules, and what to install for each."""


class Torch(NamedTuple):
    """PyTorch on the device that JAX computes on."""

    module: Any
    device: str

    def tensor(self, array: Any) -> Any:
        """Copy an array to the device."""
        return self.module.from_numpy(np.array(array)).to(self.device)


def find(name: str) -> ModuleType | None:
    """Import a peer, or say how to install it.

    Args:
        name: The module, a key of `PACKAGES`.

    Returns:
        The module; None where it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        _leave_out(name, f"it is not installed: pip install '{PACKAGES[name]}', or make bench")
        return None


def find_torch() -> Torch | None:
    """Import PyTorch for the device that JAX computes on.

    Returns:
        The module and its device; None where it is not installed or sees no such device.
    """
    torch: Any = find("torch")
    if torch is None:
        return None
    if jax.default_backend() == "cpu":
        return Torch(torch, "cpu")
    if not torch.cuda.is_available():
        _leave_out("torch", f"it sees no {jax.default_backend()}: install a build that does")
        return None
    return Torch(torch, "cuda")


def versions() -> dict[str, str]:
    """List the peers that are installed.

    Returns:
        Their versions, without importing them.
    """
    found = {}
    for package in (*PACKAGES.values(), "opencv-python-headless"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def to_numpy(array: Any) -> np.ndarray:
    """Bring JAX's, torch's or numpy's array to the host.

    Args:
        array: On any device, of any type.

    Returns:
        The array; float32 if it was of a type that numpy does not know.
    """
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = array.float() if array.is_floating_point() else array
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype == jnp.bfloat16 else array


def _leave_out(name: str, reason: str) -> None:
    print(f"{name} is left out; {reason}", file=sys.stderr)
