"""Variables of nets, drawn without the time that their own initializers take."""

from typing import Any

import jax
import numpy as np
import pytest


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
