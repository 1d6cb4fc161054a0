"""What the tests of the command share: models, and a place to write to."""

import dataclasses
import functools
import json
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.adaptive import AdaptiveConfig, View
from jaxseg.checkpoints import Checkpoints, Model, write_model_card
from jaxseg.classes import Classes
from jaxseg.cli import main
from jaxseg.cli.labelling import make_tools
from jaxseg.geometry import change_stride
from jaxseg.nets import Net, NetConfig, segmenter
from jaxseg.schemes.low_latency import parts_of

CONFIG = NetConfig(
    num_classes=3, depth=18, output_stride=32, ladder_stride=8, ladder_channels=16, width=8
)
CUT = NetConfig(num_classes=3, depth=18, output_stride=16, width=8)
PARTS = AdaptiveConfig(after="layer2_0", channels=4, kernel_size=3, codec_kernel_size=3)
CLASSES = Classes(("sky", "road", "car"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A run's folder with a net of random weights."""
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    shapes = jax.eval_shape(segmenter(CONFIG).init, jax.random.key(0), frame)
    return write_run(tmp_path_factory.mktemp("run"), CONFIG, draw(shapes), {})


@pytest.fixture(scope="session")
def low_latency_run(tmp_path_factory):
    """The same of a net that is cut in two, with what carries its maps, of random weights."""
    net = segmenter(CUT)

    def init(key, frame):
        params = net.init(key, frame[None])
        parts = [parts_of(name, net, CUT, PARTS) for name in ("afp+aks", "afp-mv+aks")]
        split = parts[0].split
        halfway = split.low(params, frame)
        low = change_stride(halfway, stride=split.stride, new_stride=net.stride)
        view = View(frame, low, halfway)
        learned = {it.entry: it.init(key, view) for own in parts for it in own[0::3]}
        features = split.high(params, halfway)
        learned |= {it.fuser.entry: it.fuser.init(key, view, features) for it in parts}
        return params, learned

    frame = jax.ShapeDtypeStruct((64, 64, 3), jnp.uint8)
    shapes, learned = jax.eval_shape(init, jax.random.key(0), frame)
    params = draw({**shapes, "params": {**shapes["params"], **learned}})
    # No class is preferred.
    noise = np.random.default_rng(0).integers(0, 256, frame.shape, np.uint8)
    scores = net.classify(params, net.project(params, net.features(params, noise)))
    params["params"]["classify"]["conv"]["bias"] -= np.asarray(scores).mean((0, 1))
    extras = dict.fromkeys(learned, json.dumps(dataclasses.asdict(PARTS)))
    return write_run(tmp_path_factory.mktemp("run"), CUT, params, extras)


def draw(shapes):
    """Draw weights at random."""
    rng = np.random.default_rng(0)

    def one(leaf):
        spread = 0.1 if leaf.ndim == 1 else np.prod(leaf.shape[:-1]) ** -0.5
        mean = float(leaf.ndim == 1)  # Variances must be positive.
        return (mean + spread * rng.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree.map(one, shapes)


def write_run(folder, config, params, extras):
    """Write what training writes."""
    write_model_card(folder, config, CLASSES, extras=extras)
    with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        checkpoints.save(1, params, {"step": np.ones(1)}, metrics={"miou": 0.5})
    return folder


@pytest.fixture
def by_brightness(monkeypatch):
    """A model that tells cells by their brightness alone, and that any name loads."""

    def features(params, frames):
        rows, columns = (size // 8 for size in frames.shape[-3:-1])
        cells = frames.reshape(*frames.shape[:-3], rows, 8, columns, 8, 3)
        return cells.astype(jnp.float32).mean(axis=(-4, -2, -1))[..., None]

    def classify(params, brightness):
        return jnp.concatenate([-jnp.abs(brightness - it) for it in (100, 128, 156)], axis=-1)

    def refuse(*args):
        raise AssertionError("nothing is trained here")

    net = Net(refuse, features, lambda params, it: it, classify, refuse, 8, 3)
    model = Model(net, {}, CONFIG, CLASSES, {})
    monkeypatch.setattr("jaxseg.pretrained.load", lambda name: model)
    monkeypatch.setattr("jaxseg.runner.keep_compilations", lambda: None)
    return model


@pytest.fixture
def place(tmp_path):
    """A folder of its own for what the command writes."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def refused(place, capfd):
    """Call the command with words that it must refuse, in one line and before it writes."""

    def call(*words) -> str:
        assert main([*map(str, words)]) == 2
        printed = capfd.readouterr().err
        assert printed.startswith("jaxseg: error: ")
        assert printed.count("\n") == 1
        assert list(place.iterdir()) == []
        return printed

    return call


@pytest.fixture(scope="module")
def segment(checkpoint):
    """Call `jaxseg segment` with words, on the net of random weights, which is loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxseg.cli.segment.make_tools", functools.cache(make_tools))
        patch.setattr("jaxseg.runner.keep_compilations", lambda: None)
        cheap = ["--checkpoint", str(checkpoint), "--scheme", "copy-last", "--interval", "3"]
        yield lambda *words: main(["segment", *cheap, *map(str, words)])
