"""Label video by the programs in this folder; needs jax, flatbuffers and safetensors alone.

    python run.py                               tries it on an interval of noise
    python run.py INTERVALS.npz LABELS.npy      labels intervals of your own

INTERVALS.npz holds the arrays that manifest.json lists as inputs of `step` from `frames`
on, by their names: consecutive intervals from the beginning of a video, their frames of
any size.  LABELS.npy gets `[g, t, H, W]` uint8.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file

FOLDER = Path(__file__).resolve().parent
NAMES = ("frames", "motion", "inter", "next_frame", "length", "is_linked")


class Model(NamedTuple):
    """The programs and what they need.

    Attributes:
        init: `(params, frame) -> state`, from the first frame of a video.
        step: `(params, state, *intervals) -> (state, labels)`; each size of frames is
            compiled once.
        params: The variables, by name.
        manifest: What manifest.json says.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    params: Mapping[str, Any]
    manifest: Mapping[str, Any]


def load(folder: Path) -> Model:
    """Load the programs.

    Args:
        folder: Where they are.

    Returns:
        The programs, with the variables on the device.
    """

    def program(name: str) -> Callable[..., Any]:
        content = bytearray((folder / f"{name}.stablehlo").read_bytes())
        return jax.jit(export.deserialize(content).call)

    return Model(
        init=program("init"),
        step=program("step"),
        params=jax.device_put(load_file(folder / "params.safetensors")),
        manifest=json.loads((folder / "manifest.json").read_text(encoding="utf-8")),
    )


def label(model: Model, intervals: Mapping[str, np.ndarray]) -> np.ndarray:
    """Label the first intervals of a video.

    Those that follow go on from the state that `step` returned, without `init`.

    Args:
        model: The programs.
        intervals: Arrays by the names in `NAMES`.

    Returns:
        `[g, t, H, W]` uint8.
    """
    state = model.init(model.params, intervals["frames"][0, 0])
    _, labels = model.step(model.params, state, *(intervals[name] for name in NAMES))
    return np.asarray(labels)


def draw_interval(sizes: Mapping[str, Any], *, height: int, width: int) -> dict[str, np.ndarray]:
    """Make up an interval of noise that does not move.

    Args:
        sizes: From the manifest.
        height: Of a frame, pixels.
        width: Of a frame, pixels.

    Returns:
        Arrays by the names in `NAMES`.
    """
    noise = np.random.default_rng(0)
    grid = (1, sizes["t"], -(-height // 16) * 2, -(-width // 16) * 2)
    return {
        "frames": noise.integers(0, 256, (1, sizes["f"], height, width, 3), np.uint8),
        "motion": np.zeros((*grid, 2), np.float32),
        "inter": np.ones(grid, np.bool_),
        "next_frame": noise.integers(0, 256, (1, height, width, 3), np.uint8),
        "length": np.array([sizes["t"]], np.int32),
        "is_linked": np.array([True]),
    }


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("intervals", type=Path, nargs="?", metavar="INTERVALS.npz")
    parser.add_argument("out", type=Path, nargs="?", metavar="LABELS.npy")
    options = parser.parse_args()
    model = load(FOLDER)
    if options.intervals is None:
        intervals = draw_interval(model.manifest["sizes"], height=96, width=128)
    else:
        with np.load(options.intervals) as arrays:
            intervals = dict(arrays)
    labels = label(model, intervals)
    if options.out is not None:
        np.save(options.out, labels)
    print(f"labels {labels.shape} on {jax.devices()[0].device_kind}")
    for index, name in enumerate(model.manifest["classes"]["names"]):
        print(f"{(labels == index).mean():7.2%}  {name}")


if __name__ == "__main__":
    main()
