"""Weights as files: what half precision keeps, what comes back, and one line for the rest."""

import dataclasses
import hashlib
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import jaxseg
from jaxseg import pretrained
from jaxseg.checkpoints import CheckpointError, Checkpoints, Model, flatten, write_model_card
from jaxseg.classes import Classes
from jaxseg.nets import NetConfig, predict_labels, segmenter

CONFIG = NetConfig(
    num_classes=3, depth=18, output_stride=32, ladder_stride=8, ladder_channels=16, width=8
)
CLASSES = Classes(("sky", "road", "car"), ((0, 0, 0), (128, 64, 128), (64, 0, 128)))
FUSION = {"kernel": np.full((16, 4), 0.3, np.float32), "bias": np.full(4, -0.1, np.float32)}


@pytest.fixture(scope="module")
def model(draw_variables):
    net = segmenter(CONFIG)
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    params = draw_variables(jax.eval_shape(net.init, jax.random.key(0), frame))
    params["params"]["fusion"] = FUSION
    return Model(net, params, CONFIG, CLASSES, {"fusion": "conv"})


@pytest.fixture
def weights(model, tmp_path):
    path = tmp_path / "tiny.safetensors"
    pretrained.save_weights(path, model, about={"licence": "for tests", "limits": ["tiny"]})
    return path


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        ([1.0, 0.25, 0.1, -3.7], True),
        ([0.0, 1.0], True),
        ([65504.0, 1.0], True),
        ([70000.0, 1.0], False),
        ([1e-7, 1.0], False),
        ([[1e-7, 1.0]], True),
        ([[1e-7, 2e-7]], False),
        ([[70000.0, 1.0]], False),
        ([[np.nan, 1.0]], False),
        ([np.inf], False),
        ([], True),
    ],
)
def test_a_variable_is_halved_where_that_keeps_it(value, is_kept):
    value = np.array(value, np.float32)
    half = pretrained.to_half(value)
    assert half.dtype == (np.float16 if is_kept else np.float32)
    if is_kept:
        np.testing.assert_allclose(half.astype(np.float32), value, rtol=2**-11, atol=2**-25)
    else:
        np.testing.assert_array_equal(half, value)


def test_what_was_saved_comes_back(model, weights):
    found = jaxseg.load(weights)
    assert (found.config, found.classes) == (CONFIG, CLASSES)
    assert found.extras == {"fusion": "conv"}
    assert found.net.stride == 8
    before, after = flatten(model.params), flatten(found.params)
    assert list(before) == list(after)
    assert "params.fusion.kernel" in after
    for name, leaf in after.items():
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype == np.float32
        np.testing.assert_allclose(leaf, before[name], rtol=2**-11, atol=2**-25)


def test_the_file_is_half_as_large_and_its_card_describes_it(model, weights):
    variables = load_file(weights)
    assert {it.dtype for it in variables.values()} == {np.dtype(np.float16)}
    card = json.loads(weights.with_suffix(".json").read_text())
    num_variables = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    assert card["num_variables"] == num_variables
    content = weights.read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert 2 * num_variables < card["num_bytes"] == len(content) < 2.2 * num_variables
    assert card["net"]["width"] == 8
    assert (card["name"], card["stride"], card["licence"]) == ("tiny", 8, "for tests")
    assert card["normalisation"]["mean"] == [123.675, 116.28, 103.53]
    assert len(list(weights.parent.iterdir())) == 2


def test_labels_are_those_of_the_run(model, tmp_path, camvid_dir):
    path, net = min((camvid_dir / "val").glob("*.png")), model.net
    frame = np.asarray(Image.open(path).convert("RGB").crop((100, 160, 196, 224)))

    @jax.jit
    def label(params):
        scores = net.classify(params, net.project(params, net.features(params, frame)))
        return scores, predict_labels(scores, stride=net.stride, height=64, width=96)

    # Random weights have a favourite: it gets the handicap that leaves each class a share.
    params = {**model.params, "params": dict(model.params["params"])}
    layer = params["params"]["classify"]["conv"]
    shifted = layer["bias"] - np.asarray(label(params)[0]).mean((0, 1))
    params["params"]["classify"] = {"conv": {**layer, "bias": shifted}}
    pretrained.save_weights(tmp_path / "fair.safetensors", model._replace(params=params))
    before = np.asarray(label(params)[1])
    after = np.asarray(label(jaxseg.load(tmp_path / "fair.safetensors").params)[1])
    assert len(np.unique(before)) == 3
    assert (before == after).mean() > 0.999


def test_a_large_variance_stays_whole(model, tmp_path):
    stats = jax.tree.map(lambda leaf: leaf * np.float32(1e5), model.params["batch_stats"])
    large = model._replace(params={**model.params, "batch_stats": stats})
    pretrained.save_weights(tmp_path / "large.safetensors", large)
    found = jaxseg.load(str(tmp_path / "large.safetensors"))
    jax.tree.map(np.testing.assert_array_equal, found.params["batch_stats"], stats)


def test_a_name_that_ships(model, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "files", lambda package: tmp_path)
    assert pretrained.shipped() == ("tiny",)
    assert jaxseg.load("tiny").config == CONFIG
    with pytest.raises(CheckpointError, match=r"^camvid-heavy: is no model; .*\(tiny\).*folder"):
        jaxseg.load("camvid-heavy")


@pytest.mark.parametrize("name", pretrained.shipped())
def test_what_ships_loads_and_fits(name):
    model = jaxseg.load(name)
    folder = importlib.resources.files(pretrained)
    card = json.loads((folder / f"{name}.json").read_text())
    assert card["num_bytes"] < 12_000_000
    assert card["net"] == dataclasses.asdict(model.config)
    assert {"licence", "limits", "results", "training"} <= card.keys()


def test_a_runs_folder(model, tmp_path):
    write_model_card(tmp_path, CONFIG, CLASSES, extras=model.extras)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, model.params, {"step": np.ones(1)}, metrics={"miou": 0.5})
    checkpoints.close()
    found = jaxseg.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found.params, model.params)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def reseal(path, change):
    """Write other variables, and a card that fits them."""
    save_file(change(load_file(path)), path)
    card = json.loads(path.with_suffix(".json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card | {"sha256": digest}))


def without(prefix):
    return lambda path: reseal(
        path, lambda tree: {k: v for k, v in tree.items() if not k.startswith(prefix)}
    )


def no_safetensors(path):
    path.write_bytes(b"no tensors")
    card = json.loads(path.with_suffix(".json").read_text())
    digest = hashlib.sha256(b"no tensors").hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card | {"sha256": digest}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "is no model; give the name"),
        (flip_a_byte, "is damaged or of another card: its SHA-256"),
        (empty, "is damaged or of another card: its SHA-256"),
        (no_safetensors, "is no safetensors file"),
        (lambda path: path.with_suffix(".json").unlink(), "its card, tiny.json, is not beside it"),
        (lambda path: path.with_suffix(".json").write_text("{"), "is no model card"),
        (without("params.classify.conv.bias"), "shape of params.classify.conv.bias is nothing"),
        (without("params.fusion"), "has no params.fusion.*, which tiny.json names"),
        (lambda path: reseal(path, lambda tree: tree | {"more": np.ones(2)}), "of more is (2,)"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_line(weights, damage, words):
    damage(weights)
    with pytest.raises(CheckpointError) as caught:
        jaxseg.load(weights)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_suffix_is_refused(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"give a name in \.safetensors"):
        pretrained.save_weights(tmp_path / "tiny.npz", model)
    assert not list(tmp_path.iterdir())
