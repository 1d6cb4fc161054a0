"""Checkpoints of nets with something learned beside them: a fusion, a flow net."""

import json
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.checkpoints import CheckpointError, Checkpoints, load_model, write_model_card
from jaxseg.classes import Classes
from jaxseg.fusion import CONV, init_fusion
from jaxseg.nets import NetConfig, segmenter

CONFIG = NetConfig(num_classes=2, output_stride=32, ladder_stride=16, ladder_channels=8)
CLASSES = Classes(("sky", "road"), ((0, 0, 0), (128, 64, 128)))
FLOW = {"conv1": {"kernel": np.ones((3, 3, 6, 2), np.float32)}}


@pytest.fixture(scope="module")
def run(tmp_path_factory, draw_variables):
    """A run's folder, without its card, of a net with a fusion, a flow net and an empty flow."""
    folder = tmp_path_factory.mktemp("run")
    net = segmenter(CONFIG)
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    params = draw_variables(jax.eval_shape(net.init, jax.random.key(0), frame))
    params = init_fusion(net, params, CONV)
    params = {**params, "params": {**params["params"], "flow": FLOW, "classical": {}}}
    with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        training = {"step": np.array(1, np.int32)}
        checkpoints.save(1, params, training, metrics={"miou": 0.5})
    return folder, params


def load(folder, run, extras: dict[str, str]):
    """Load the run with another card, by an object that has not written it."""
    (folder / "checkpoints").symlink_to(run[0] / "checkpoints")
    write_model_card(folder, CONFIG, CLASSES, extras=extras)
    return load_model(folder)


def test_what_is_learned_beside_the_net_is_loaded_with_it(run, tmp_path):
    extras = {"fusion": "conv", "flow": "flownet-s", "classical": "dis"}
    model = load(tmp_path, run, extras)
    assert model.extras == json.loads((tmp_path / "model.json").read_text())["extras"] == extras
    assert jax.tree.structure(model.params) == jax.tree.structure(run[1])
    jax.tree.map(np.testing.assert_array_equal, model.params, run[1])
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model.params))


def test_a_card_without_extras_is_as_it_was(tmp_path):
    write_model_card(tmp_path, CONFIG, CLASSES)
    assert set(json.loads((tmp_path / "model.json").read_text())) == {"net", "classes"}


@pytest.mark.parametrize(
    ("extras", "words"),
    [
        ({}, "nothing here; use the settings"),
        ({"fusion": "conv", "flow": "dis", "classical": "", "gate": "sum"}, "has no 'gate', which"),
    ],
)
def test_a_card_that_does_not_say_what_is_there_is_refused(run, tmp_path, extras, words):
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path, run, extras)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extras", [3, ["fusion"]])
def test_a_card_with_unreadable_extras_is_refused(tmp_path, extras):
    write_model_card(tmp_path, CONFIG, CLASSES)
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(card | {"extras": extras}))
    with pytest.raises(CheckpointError, match="is no model card"):
        load_model(tmp_path)


def test_a_damaged_run_with_extras_is_refused(run, tmp_path):
    with closing(Checkpoints(tmp_path / "checkpoints")) as checkpoints:
        training = {"step": np.array(1, np.int32)}
        checkpoints.save(1, run[1], training, metrics={"miou": 0.5})
    metadata = tmp_path / "checkpoints" / "1" / "params" / "_METADATA"
    metadata.write_bytes(metadata.read_bytes()[:100])
    write_model_card(tmp_path, CONFIG, CLASSES, extras={"fusion": "conv"})
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(tmp_path)
