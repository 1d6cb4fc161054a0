"""A run of `experiments.lowlatency.train`, as short as can be, and a film to measure on."""

from contextlib import closing

import jax
import numpy as np
import pytest

from data.examples import Sequence, still
from experiments import camvid
from experiments.command import DataSet
from experiments.lowlatency import train
from experiments.lowlatency.parts import open_parts
from experiments.lowlatency.units import Making
from experiments.lowlatency.video import Film, open_video
from jaxseg.checkpoints import Checkpoints, Model, load_model, write_model_card
from jaxseg.classes import Classes
from jaxseg.nets import PspnetConfig, segmenter

CLASSES = Classes(("dark", "bright"), ((0, 0, 0), (255, 255, 255)))
CONFIG = PspnetConfig(2, depth=18, width=4)
NUM_FRAMES = 22
SIZES = ("--parts.after", "layer2_1", "--parts.channels", "4", "--parts.kernel-size", "3")
WORDS = (
    *("--side", "64", "--batch-size", "2", "--distances", "1", "3"),
    *("--train.num-steps", "2", "--train.evaluate-every", "1"),
    *("--camera.num-frames", "5", "--camera.forward", "0.5", "2"),
)


def draw(seed: int, shift: int = 0):
    """Draw blocks whose classes are their brightness, moved to the right."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 2, (5, 8), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    frame = rng.integers(0, 20, (*blocks.shape, 3), dtype=np.uint8) + 180 * blocks[..., None]
    return np.roll(frame, shift, axis=1), np.roll(blocks, shift, axis=1)


def sequence() -> Sequence:
    frames, labels = zip(*(draw(9, 2 * index) for index in range(NUM_FRAMES)), strict=True)
    return Sequence("moving", 15.0, np.stack(frames), np.stack(labels))


@pytest.fixture(scope="package")
def folder(tmp_path_factory, draw_variables):
    """Train the parts of a net that nobody trained for two steps, on four stills."""
    path = tmp_path_factory.mktemp("lowlatency")
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    params = draw_variables(jax.eval_shape(segmenter(CONFIG).init, jax.random.key(0), frame))
    write_model_card(path / "net", CONFIG, CLASSES)
    with closing(Checkpoints(path / "net" / "checkpoints")) as checkpoints:
        checkpoints.save(1, params, {"step": np.ones(())}, metrics={"miou": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        stills = DataSet("s", CLASSES, lambda: [still(*draw(i)) for i in range(4)], list)
        patch.setattr(camvid, "data_set", lambda data_dir: stills)
        assert train_in(path) == 0
    return path


def train_in(path, *words: str) -> int:
    paths = ("--checkpoint", str(path / "net"), "--out", str(path / "learned"))
    with jax.numpy_dtype_promotion("standard"):  # Optax counts steps in integers.
        return train.main([*paths, *SIZES, *WORDS, *words])


@pytest.fixture(scope="package")
def model(folder) -> Model:
    return load_model(folder / "learned")


@pytest.fixture(scope="package")
def film(folder) -> Film:
    with pytest.MonkeyPatch.context() as patch:
        moving = DataSet("moving", CLASSES, list, lambda: [sequence()])
        patch.setattr(camvid, "data_set", lambda data_dir: moving)
        (only,) = open_video(None, folder / "films", max_films=None).read_films()
    return only


@pytest.fixture(scope="package")
def making(model) -> Making:
    return Making(model.net, open_parts(model), None, residual_threshold=1.0)
