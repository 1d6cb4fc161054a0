"""A net, a flow and a film so small that TapLab's modules are compiled and run in no time."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from data.examples import Sequence
from experiments.taplab.video import Coding, Film, films_of_sequences
from jaxseg.checkpoints import Model
from jaxseg.classes import Classes
from jaxseg.nets import Flow, Net, NetConfig
from tests.films import draw_pan

NUM_CLASSES = 3
CLASSES = Classes(("red", "green", "blue"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
STILL = Flow(
    init=lambda key, frames: {},
    estimate=lambda params, reference, frames: jnp.zeros(
        (*frames.shape[:-3], -(-frames.shape[-3] // 16), -(-frames.shape[-2] // 16), 2)
    ),
    stride=16,
)
"""Nothing moves."""


def colour_net(config: NetConfig, *, dtype=jnp.float32) -> Net:
    """Make a net that tells classes by the mean colour of 8x8 pixels."""

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2)) / 255

    def init(key, frames):
        return {"params": {"kernel": jnp.zeros((3, config.num_classes))}, "batch_stats": {}}

    def classify(params, projected):
        return projected @ params["params"]["kernel"]

    return Net(init, features, lambda params, it: it, classify, None, 8, config.num_classes)


def colour_model() -> Model:
    """Give such a net three classes, and weights that tell them apart."""
    kernel = np.random.default_rng(0).standard_normal((3, NUM_CLASSES), np.float32)
    params = {"params": {"kernel": kernel}, "batch_stats": {}}
    config = NetConfig(NUM_CLASSES)
    return Model(colour_net(config), params, config, CLASSES)


def short_film(folder: Path) -> Film:
    """Encode seven frames of 96x64 in GOPs of three, all of them labelled."""
    frames = np.stack(draw_pan(7, dx=5))
    labels = np.random.default_rng(0).integers(NUM_CLASSES, size=frames.shape[:3], dtype=np.uint8)
    coding = Coding(num_phases=1, stretch=3)
    (made,) = films_of_sequences(
        [Sequence("pan", 15.0, frames, labels)], folder, 3, first=0, coding=coding
    )
    return made
