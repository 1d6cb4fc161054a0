"""What holds for every test: types checked at run time, strict arrays, the CPU."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # also for the processes that tests start

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

# Before anything of ours is imported: only what is imported later gets checked.
# The tower lets an int pass for a float, as type checkers do.
install_import_hook(
    ["jaxseg", "data", "experiments"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def key() -> jax.Array:
    """A random key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def camvid_dir() -> Path:
    """CamVid as the SegNet tutorial publishes it; the test is skipped where it is absent."""
    path = Path(os.environ.get("JAXSEG_CAMVID", ROOT.parent / "shared" / "camvid"))
    if not (path / "val.txt").is_file():
        pytest.skip(f"no CamVid in {path}: set JAXSEG_CAMVID to the folder that holds val.txt")
    return path


def _draw_variables(shapes: Any) -> Any:
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) == 1:  # positive, as a variance must be
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        deviation = np.float32(np.prod(leaf.shape[:-1]) ** -0.5)
        return rng.standard_normal(leaf.shape, np.float32) * deviation

    return jax.tree.map(draw, shapes)


@pytest.fixture(scope="session")
def draw_variables():
    """Fill a tree of shapes with numbers other than the 0 and 1 of the initializers."""
    return _draw_variables
