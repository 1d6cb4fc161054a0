"""Checkpoints: which are kept, what comes back, and one line for what cannot be used."""

import dataclasses
import json
import subprocess
import sys
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.checkpoints import CheckpointError, Checkpoints, load_model, write_model_card
from jaxseg.classes import Classes
from jaxseg.nets import NetConfig, segmenter

CONFIG = NetConfig(num_classes=3, depth=18, output_stride=32, ladder_stride=8, ladder_channels=16)
CLASSES = Classes(("sky", "road", "car"), ((0, 0, 0), (128, 64, 128), (64, 0, 128)))
CARD = {"net": dataclasses.asdict(CONFIG), "classes": dataclasses.asdict(CLASSES)}

PARAMS = {
    "params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "batch_stats": {"mean": np.full(3, 1 / 3, np.float32)},
}
TRAINING = {"step": np.array(7, np.int32), "moments": np.ones((2, 3), np.float32)}

ELSEWHERE = """
import sys
import numpy as np
from jaxseg.checkpoints import load_model

params = load_model(sys.argv[1]).params
np.save(sys.argv[2], params["params"]["classify"]["conv"]["kernel"])
"""


def save(folder, miou_of_step: dict[int, float], params=PARAMS) -> None:
    with closing(Checkpoints(folder)) as checkpoints:
        for step, miou in miou_of_step.items():
            checkpoints.save(step, params, TRAINING, metrics={"miou": miou})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with a real net of two checkpoints; the first one is the best."""
    folder = tmp_path_factory.mktemp("run")
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    shapes = jax.eval_shape(segmenter(CONFIG).init, jax.random.key(0), frame)
    rng = np.random.default_rng(0)
    best = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), shapes)
    write_model_card(folder, CONFIG, CLASSES)
    save(folder / "checkpoints", {1: 0.5}, best)
    save(folder / "checkpoints", {2: 0.4}, jax.tree.map(np.zeros_like, best))
    return folder, best


def assert_one_line(caught, *words: object) -> None:
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 600
    assert all(str(word) in text for word in words), text


@pytest.mark.parametrize(
    ("mious", "kept", "best"),
    [
        ((0.1, 0.2, 0.3), [3], 3),
        ((0.3, 0.1, 0.2), [1, 3], 1),
        ((0.1, np.nan), [1, 2], 1),
        ((np.nan, 0.1), [2], 2),
        ((np.nan, np.nan), [2], 2),
        ((0.1, 0.1), [2], 2),
    ],
)
def test_the_best_and_the_latest_are_kept(tmp_path, mious, kept, best):
    save(tmp_path, dict(enumerate(mious, start=1)))
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == kept
    with closing(Checkpoints(tmp_path)) as checkpoints:
        assert list(checkpoints.steps()) == kept
        assert (checkpoints.best(), checkpoints.latest()) == (best, kept[-1])
        metrics = {step: {"miou": mious[step - 1]} for step in kept}
        np.testing.assert_equal(checkpoints.steps(), metrics)


def test_a_new_folder_holds_nothing(tmp_path):
    with closing(Checkpoints(tmp_path / "new")) as checkpoints:
        assert checkpoints.steps() == {}
        assert checkpoints.best() is checkpoints.latest() is None


def test_what_was_saved_comes_back_whole_or_in_part(tmp_path):
    save(tmp_path, {7: 0.5})
    with closing(Checkpoints(tmp_path)) as checkpoints:
        found = checkpoints.restore(7, params=PARAMS, training=TRAINING)
        alone = checkpoints.restore(7, params=PARAMS)
    assert set(alone) == {"params"}
    for tree in (found["params"], alone["params"]):
        jax.tree.map(np.testing.assert_array_equal, tree, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, found["training"], TRAINING)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))


def test_half_written_states_are_no_states(tmp_path):
    save(tmp_path, {1: 0.5})
    half = tmp_path / "2.orbax-checkpoint-tmp"
    (half / "params").mkdir(parents=True)
    with closing(Checkpoints(tmp_path)) as reader:
        assert reader.latest() == 1
    assert half.exists(), "another run may be writing it"
    with closing(Checkpoints(tmp_path, cleanup=True)) as writer:
        assert writer.latest() == 1
        writer.save(2, PARAMS, TRAINING, metrics={"miou": 0.1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    ("learned", "words"),
    [
        ({"kernel": np.zeros((2, 4))}, ["params.params.kernel is (2, 3) there, but (2, 4) here"]),
        ({"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}, ["bias is nothing there, but (3,)"]),
        ({}, ["kernel is (2, 3) there, but nothing here"]),
    ],
)
def test_another_structure_is_refused(tmp_path, learned, words):
    save(tmp_path, {1: 0.5})
    with closing(Checkpoints(tmp_path)) as checkpoints, pytest.raises(CheckpointError) as caught:
        checkpoints.restore(1, params={**PARAMS, "params": learned})
    assert_one_line(caught, tmp_path, "step 1", *words, "use the settings it was trained with")


def test_a_damaged_state_is_refused(tmp_path):
    save(tmp_path, {1: 0.5})
    metadata = tmp_path / "1" / "params" / "_METADATA"
    metadata.write_bytes(metadata.read_bytes()[:100])
    with closing(Checkpoints(tmp_path)) as checkpoints, pytest.raises(CheckpointError) as caught:
        checkpoints.restore(1, params=PARAMS)
    assert_one_line(caught, tmp_path, "step 1", "is damaged")


def test_a_model_is_its_best_checkpoint(run):
    folder, best = run
    model = load_model(folder)
    assert (model.config, model.classes) == (CONFIG, CLASSES)
    assert (model.net.stride, model.net.num_classes) == (8, 3)
    jax.tree.map(np.testing.assert_array_equal, model.params, best)


def test_a_card_from_before_an_option_means_its_default(run, tmp_path):
    old = {"num_classes": 3, "depth": 18, "output_stride": 32}
    old |= {"ladder_stride": 8, "ladder_channels": 16}
    (tmp_path / "model.json").write_text(json.dumps(CARD | {"net": old}))
    (tmp_path / "checkpoints").symlink_to(run[0] / "checkpoints")
    model = load_model(tmp_path)
    assert model.config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, model.params, run[1])


def test_another_process_loads_the_same(run, tmp_path):
    folder, best = run
    command = [sys.executable, "-c", ELSEWHERE, str(folder), str(tmp_path / "kernel.npy")]
    subprocess.run(command, check=True)
    kernel = best["params"]["classify"]["conv"]["kernel"]
    np.testing.assert_array_equal(np.load(tmp_path / "kernel.npy"), kernel)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (None, ["holds no model.json", "--out"]),
        ("", ["model.json: is no model card"]),
        ("{", ["model.json: is no model card"]),
        ("[]", ["model.json: is no model card"]),
        ("{}", ["model.json: is no model card", "net"]),
        (json.dumps(CARD | {"net": {"num_classes": 3, "depth": 19}}), ["depth is 19"]),
        (json.dumps(CARD | {"net": {"num_classes": 3, "width": 3}}), ["width"]),
        (json.dumps(CARD | {"classes": {"names": ["a"], "palette": []}}), ["1 names but 0"]),
        (json.dumps(CARD), ["has no checkpoint yet"]),
    ],
)
def test_a_folder_without_a_model(tmp_path, card, words):
    if card is not None:
        (tmp_path / "model.json").write_text(card)
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    assert_one_line(caught, tmp_path, *words)


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent: holds no model\.json"):
        load_model(tmp_path / "absent")


def test_a_card_of_another_net(run, tmp_path):
    (tmp_path / "checkpoints").symlink_to(run[0] / "checkpoints")
    write_model_card(tmp_path, dataclasses.replace(CONFIG, ladder_channels=32), CLASSES)
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    assert_one_line(caught, tmp_path, "step 1", "ladder.", "here; use")
