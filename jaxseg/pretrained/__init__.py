"""Weights that ship with the package, and files of weights like them.

Two files make a model: `NAME.safetensors` holds the variables, most of them in half
precision, and `NAME.json`, its card, what they are: the net and its classes, how it was
trained and what it reaches, under which licence, and what it must not be used for.
`python -m experiments.publish` writes them.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as format_safetensors

from jaxseg.arrays import Params
from jaxseg.checkpoints import (
    CheckpointError,
    Model,
    flatten,
    load_model,
    model_card,
    read_model_card,
    unflatten,
)
from jaxseg.files import replacing
from jaxseg.nets.segmenter import PIXEL_MEAN, PIXEL_STD

HALF_ERROR = 2.0**-11
"""What rounding to half precision may change, of a value or of a kernel's largest one."""


def shipped() -> tuple[str, ...]:
    """List the weights that ship with the package.

    Returns:
        Their names, for `load`.
    """
    paths = (Path(it.name) for it in files(__name__).iterdir())
    return tuple(sorted(path.stem for path in paths if path.suffix == ".safetensors"))


def load(name_or_path: str | Path) -> Model:
    """Load a trained net: one that ships with the package, or your own.

    Args:
        name_or_path: The name of weights that ship, such as "camvid-light"; a
            `.safetensors` file with its card, a `.json` of the same name, beside it; or
            the folder that training wrote.

    Returns:
        The net, its variables in float32 and its classes; it computes in `default_dtype`.

    Raises:
        CheckpointError: If there is no such thing, or it is damaged.
    """
    if name_or_path in shipped():
        return _load_files(files(__name__), str(name_or_path))
    path = Path(name_or_path)
    if path.is_file() and path.suffix == ".safetensors":
        return _load_files(path.parent, path.stem)
    if path.is_dir():
        return load_model(path)
    raise CheckpointError(
        f"{name_or_path}: is no model; give the name of weights that ship "
        f"({', '.join(shipped()) or 'there are none'}), a .safetensors file, or the folder that "
        "training wrote with --out"
    )


def _load_files(folder: Traversable, name: str) -> Model:
    path, card_path = folder / f"{name}.safetensors", folder / f"{name}.json"
    if not card_path.is_file():
        raise CheckpointError(f"{path}: its card, {name}.json, is not beside it; fetch both again")
    model, card = read_model_card(card_path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.get("sha256"):
        raise CheckpointError(
            f"{path}: is damaged or of another card: its SHA-256 is {digest}, but "
            f"{card.get('sha256')} in {name}.json; fetch both again"
        )
    try:
        variables = parse_safetensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is no safetensors file ({error})") from error
    here = {it: leaf.shape for it, leaf in flatten(model.params).items()}
    beside = tuple(f"params.{extra}." for extra in model.extras)
    there = {it: leaf.shape for it, leaf in variables.items() if not it.startswith(beside)}
    for it in here | there:
        if here.get(it) != there.get(it):
            raise CheckpointError(
                f"{path}: does not hold the net of its card: the shape of {it} is "
                f"{there.get(it, 'nothing')} there, but {here.get(it, 'nothing')} in {name}.json"
            )
    for extra in beside:
        if not any(it.startswith(extra) for it in variables):
            raise CheckpointError(f"{path}: has no {extra}*, which {name}.json names")
    wide = {it: jnp.asarray(leaf, jnp.float32) for it, leaf in variables.items()}
    return model._replace(params=unflatten(wide))


def to_half(value: np.ndarray) -> np.ndarray:
    """Round a variable to half precision, if that keeps it.

    Of a vector, which has one value a channel, each value must be kept, since a channel's
    variance or scale counts whatever the others are; of a kernel, whose values are summed
    up, it is the largest ones that count.

    Args:
        value: float32, any shape.

    Returns:
        float16, or the variable as it came where a value would be off by more than
        `HALF_ERROR`: one too large for float16, or too small.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        half = value.astype(np.float16)
        error = np.abs(half.astype(value.dtype) - value)
        size = np.abs(value) if value.ndim < 2 else np.abs(value).max(initial=0)
        return half if (error <= HALF_ERROR * size).all() else value


def format_weights(params: Params) -> bytes:
    """Write variables as safetensors, each in half precision where that keeps it.

    Args:
        params: A net's variables.

    Returns:
        The content of the file.
    """
    leaves = flatten(jax.device_get(params))
    return format_safetensors({name: to_half(np.asarray(leaf)) for name, leaf in leaves.items()})


def save_weights(
    path: str | Path,
    model: Model,
    *,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a model's variables and its card, for `load`.

    Args:
        path: A `.safetensors` file; the card is the `.json` of the same name.
        model: The model.
        about: What the card says beside what the model itself tells: how it was trained,
            what it reaches, its licence and its limits.

    Raises:
        CheckpointError: If the path ends otherwise.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: ends in {path.suffix!r}; give a name in .safetensors")
    content = format_weights(model.params)
    card = {
        "name": path.stem,
        **model_card(model.config, model.classes, extras=model.extras),
        "stride": model.net.stride,
        "num_variables": sum(leaf.size for leaf in flatten(model.params).values()),
        "normalisation": {"mean": PIXEL_MEAN, "std": PIXEL_STD},
        **about,
        "num_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as weights, replacing(path.with_suffix(".json")) as text:
        weights.write_bytes(content)
        text.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
