"""What holds for every test: types checked at run time, strict arrays, the CPU."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # also for the processes that tests start

import jax
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
