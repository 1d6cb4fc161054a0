"""Write a scheme's compiled functions as StableHLO, for whoever runs them without jaxseg.

A folder holds two programs for frames of any size, `init.stablehlo` and `step.stablehlo`
(as `jax.export` serialises them), the variables that they take, `params.safetensors`, what
goes in and out, `manifest.json`, and an example that needs none of jaxseg, `run.py`.
"""

import json
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct, export
from safetensors.numpy import save as format_safetensors

from jaxseg.arrays import Gop, Labels, Params
from jaxseg.checkpoints import Model, flatten, model_card, unflatten
from jaxseg.errors import InputError
from jaxseg.geometry import motion_grid_size
from jaxseg.nets import Net
from jaxseg.runner import compile_scheme
from jaxseg.schemes import Scheme, interp_mv

PLATFORMS = ("cpu", "cuda", "tpu")
"""What the programs run on."""

SIZES = {
    "g": "consecutive intervals, labelled together; 1 or more",
    "H": "rows of a frame, pixels; any number",
    "W": "columns of a frame, pixels; any number",
    "h": "rows of the motion grid, 2 * ceil(H / 16)",
    "w": "columns of the motion grid, 2 * ceil(W / 16)",
}
"""Letters of shapes, but for `t`, the interval, and `f`, how many of its frames are read."""

INPUTS = {
    "frames": ("g f H W 3", "0..255", "RGB, of each interval the keyframe or all t frames"),
    "motion": (
        "g t h w 2",
        "pixels",
        "(dx, dy) of each block of 8x8 pixels: entry i leads from frame i + 1 of the interval back "
        "to frame i; what is at p in the one was at p + motion in the other; 0 after `length`",
    ),
    "inter": (
        "g t h w",
        "",
        "False where a block of that step was coded without motion; True after `length`",
    ),
    "next_frame": (
        "g H W 3",
        "0..255",
        "RGB, the next keyframe, frame `length` of the interval; any picture where there is none",
    ),
    "length": ("g", "frames", "how many of the t frames are real; of a whole interval, t"),
    "is_linked": (
        "g",
        "",
        "False where the next keyframe shows another scene, or there is none",
    ),
}
"""Of the step, after the variables and the state: shape, unit and meaning."""


class Programs(NamedTuple):
    """A scheme's functions, lowered for frames of any size.

    Attributes:
        init: `(params, frame [H, W, 3] uint8) -> state`, from the video's first frame.
        step: `(params, state, frames, motion, inter, next_frame, length, is_linked) ->
            (state, labels [g, t, H, W] uint8)`, as `INPUTS` describes them.
    """

    init: export.Exported
    step: export.Exported


def export_programs(model: Model, scheme: Scheme, *, interval: int) -> Programs:
    """Lower a scheme for every size of frames and every number of intervals.

    Args:
        model: The model; its variables become an input, by the names of `flatten`.
        scheme: The scheme, made of the model's net.
        interval: Frames from one keyframe to the next.

    Returns:
        The programs.
    """
    sizes: Any = export.symbolic_shape("g, H, W")
    num_gops, height, width = sizes
    rows, columns = motion_grid_size(height, width)
    num_read = interval if scheme.reads_all_frames else 1

    def spec(dtype: Any, *shape: Any) -> Any:
        return ShapeDtypeStruct(shape, dtype)

    def gops_of(*batch: Any) -> Gop:
        return Gop(
            frames=spec(np.uint8, *batch, num_read, height, width, 3),
            motion=spec(np.float32, *batch, interval, rows, columns, 2),
            inter=spec(np.bool_, *batch, interval, rows, columns),
            next_frame=spec(np.uint8, *batch, height, width, 3),
            length=spec(np.int32, *batch),
            is_linked=spec(np.bool_, *batch),
        )

    labeller = compile_scheme(model.net, scheme, height=height, width=width)

    def begin(params: Params, frame: jax.Array) -> Any:
        still = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), gops_of())
        return scheme.init(unflatten(params), still._replace(frames=frame[None]))

    # A program's state is an array or a tuple of them: it does not know the types of jaxseg.
    def init(params: Params, frame: jax.Array) -> Any:
        return jax.tree.unflatten(plain, jax.tree.leaves(begin(params, frame)))

    def step(params: Params, state: Any, *gops: jax.Array) -> tuple[Any, Labels]:
        own = jax.tree.unflatten(structure, jax.tree.leaves(state))
        own, labels = labeller.steps(unflatten(params), own, Gop(*gops))
        return jax.tree.unflatten(plain, jax.tree.leaves(own)), labels

    def lower(function: Callable[..., Any], *inputs: Any) -> export.Exported:
        # Inputs that a scheme does not read stay: all schemes are called alike.
        return export.export(jax.jit(function, keep_unused=True), platforms=PLATFORMS)(*inputs)

    leaves = flatten(model.params)
    shapes = {name: spec(leaf.dtype, *leaf.shape) for name, leaf in leaves.items()}
    frame = gops_of().next_frame
    own_state = jax.eval_shape(begin, shapes, frame)
    structure = jax.tree.structure(own_state)
    is_array = jax.tree_util.treedef_is_leaf(structure)
    plain = structure if is_array else jax.tree.structure(tuple(jax.tree.leaves(own_state)))
    state = jax.eval_shape(init, shapes, frame)
    inputs = gops_of(num_gops)[: len(INPUTS)]  # What comes after them is None.
    return Programs(init=lower(init, shapes, frame), step=lower(step, shapes, state, *inputs))


def describe(programs: Programs) -> dict[str, Any]:
    """Say what goes in and out of the programs, in order.

    Args:
        programs: The programs.

    Returns:
        For JSON.
    """
    (_, state, *gops), _ = jax.tree.unflatten(programs.step.in_tree, programs.step.in_avals)
    labels = programs.step.out_avals[-1]
    params = {
        "name": "params",
        "meaning": "the variables, a dictionary by their names in params.safetensors; where a "
        "program is called with a flat list, in the order of the names",
    }
    carried = {
        "name": "state",
        "arrays": [
            {"shape": [str(size) for size in leaf.shape], "dtype": str(leaf.dtype)}
            for leaf in jax.tree.leaves(state)
        ],
        "meaning": "what one interval leaves to the next: an array, or a tuple of them, () where "
        "there is none; floordiv rounds down",
    }
    frame = {
        "name": "frame",
        "shape": ["H", "W", "3"],
        "dtype": "uint8",
        "unit": "0..255",
        "meaning": "RGB, the first frame of the video",
    }
    inputs = [
        {
            "name": name,
            "shape": shape.split(),
            "dtype": str(leaf.dtype),
            **({"unit": unit} if unit else {}),
            "meaning": meaning,
        }
        for leaf, (name, (shape, unit, meaning)) in zip(gops, INPUTS.items(), strict=True)
    ]
    outputs = [
        carried,
        {
            "name": "labels",
            "shape": ["g", "t", "H", "W"],
            "dtype": str(labels.dtype),
            "meaning": "the class of each pixel, a position in the list of classes; what comes "
            "after `length` frames means nothing",
        },
    ]
    return {
        "init": {"file": "init.stablehlo", "inputs": [params, frame], "outputs": [carried]},
        "step": {
            "file": "step.stablehlo",
            "inputs": [params, carried, *inputs],
            "outputs": outputs,
        },
    }


def export_model(
    out: str | Path,
    model: Model,
    *,
    make_scheme: Callable[[Net], Scheme] = interp_mv,
    interval: int = 5,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a model and a scheme as programs that need no jaxseg.

    Args:
        out: The folder to write; it appears once it is complete.
        model: The model.
        make_scheme: A scheme's constructor, from `jaxseg.schemes`.
        interval: Frames from one keyframe to the next.
        about: What the manifest begins with.

    Raises:
        InputError: If there is something of that name already, or it is no name.
    """
    with _new_folder(Path(out)) as folder:
        scheme = make_scheme(model.net)
        programs = export_programs(model, scheme, interval=interval)
        for name, program in programs._asdict().items():
            (folder / f"{name}.stablehlo").write_bytes(program.serialize())
        arrays = {name: np.asarray(leaf) for name, leaf in flatten(model.params).items()}
        (folder / "params.safetensors").write_bytes(format_safetensors(arrays))
        manifest = {
            **about,
            **model_card(model.config, model.classes, extras=model.extras),
            "interval": interval,
            "looks_ahead": scheme.looks_ahead,
            "platforms": PLATFORMS,
            "calling_convention_version": programs.step.calling_convention_version,
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
            },
            "sizes": SIZES | {"t": interval, "f": interval if scheme.reads_all_frames else 1},
            "programs": describe(programs),
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        example = (files(__name__) / "run.py").read_text(encoding="utf-8")
        (folder / "run.py").write_text(example, encoding="utf-8")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Fill a folder beside its place, and move it there at the end."""
    if not out.name:
        raise InputError(f"{out}: has no name of its own; give that of a new folder")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is there already; give a new name, or remove it")
    hidden = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    hidden.mkdir(parents=True)
    try:
        yield hidden
        hidden.replace(out)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
