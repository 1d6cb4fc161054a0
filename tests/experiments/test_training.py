"""How a training begins: from which weights, on which devices, in which type."""

import dataclasses
import json
from contextlib import closing
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.examples import still
from experiments import camvid, command, training
from experiments.command import DataSet, Options, explain, run
from experiments.settings import Experiment, SettingsError, check_same_training, save_settings
from experiments.training import starting_params, train_stage
from jaxseg.checkpoints import CheckpointError, Checkpoints, write_model_card
from jaxseg.classes import Classes
from jaxseg.nets import NetConfig, PspnetConfig, segmenter
from jaxseg.pretrained import load
from jaxseg.train import TrainConfig, TrainState, make_optimizer, rate_factors

CLASSES = Classes(("a", "b", "c"), ((0, 0, 0),) * 3)
CONFIG = NetConfig(num_classes=3, output_stride=32, ladder_stride=8, ladder_channels=8)
EXPERIMENT = Experiment(CONFIG, TrainConfig(num_steps=2), batch_size=3)


def variables(config: NetConfig, value: float) -> dict:
    """Give a net's variables, all of one value, without compiling its initializers."""
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    shapes = jax.eval_shape(segmenter(config).init, jax.random.key(0), frames)
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, value), shapes)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A run whose net tells four classes apart, all of its variables 2."""
    folder = tmp_path_factory.mktemp("run")
    config = dataclasses.replace(CONFIG, num_classes=4)
    names = ("a", "b", "c", "d")
    write_model_card(folder, config, Classes(names, ((0, 0, 0),) * 4))
    with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        checkpoints.save(1, variables(config, 2.0), {"step": jnp.zeros(())}, metrics={"miou": 0.5})
    return folder


def values(tree: dict) -> set[float]:
    return {float(value) for leaf in jax.tree.leaves(tree) for value in np.unique(leaf)}


@pytest.mark.parametrize("num_classes", [3, 4])
def test_a_run_gives_all_that_does_not_depend_on_classes(run_folder, num_classes):
    config = dataclasses.replace(CONFIG, num_classes=num_classes)
    experiment = dataclasses.replace(EXPERIMENT, net=config, weights=run_folder)
    params = variables(config, 1.0)
    taken = starting_params(params, experiment)
    assert jax.tree.map(jnp.shape, taken) == jax.tree.map(jnp.shape, params)
    classifier = taken["params"].pop("classify")
    assert values(taken) == {2.0}
    assert values(classifier) == {2.0 if num_classes == 4 else 1.0}


def test_a_run_of_another_net_is_refused(run_folder):
    config = dataclasses.replace(CONFIG, ladder_channels=16)
    experiment = dataclasses.replace(EXPERIMENT, net=config, weights=run_folder)
    with pytest.raises(SettingsError, match=r"holds a net of another make"):
        starting_params(variables(config, 1.0), experiment)


def test_a_net_of_another_kind_gives_its_backbone():
    config = PspnetConfig(CONFIG.num_classes, depth=18, width=44)
    experiment = dataclasses.replace(EXPERIMENT, net=config, weights=Path("camvid-light"))
    params = variables(config, 1.0)
    taken = starting_params(params, experiment)
    assert jax.tree.map(jnp.shape, taken) == jax.tree.map(jnp.shape, params)
    shipped = load("camvid-light").params
    pairs = (
        (taken["params"]["features"], shipped["params"]["features"]),
        (taken["batch_stats"], shipped["batch_stats"]),
    )
    for own, other in pairs:
        jax.tree.map(np.testing.assert_array_equal, own.pop("backbone"), other["backbone"])
    assert values(taken) == {1.0}
    narrow = dataclasses.replace(experiment, net=dataclasses.replace(config, width=32))
    with pytest.raises(SettingsError, match=r"of another kind with the same backbone"):
        starting_params(variables(narrow.net, 1.0), narrow)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    experiment = dataclasses.replace(EXPERIMENT, weights=tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no model\.json"):
        starting_params(variables(CONFIG, 1.0), experiment)


def test_frozen_normalisation_needs_weights(tmp_path):
    frozen = dataclasses.replace(CONFIG, freeze_batch_norm=True)
    experiment = dataclasses.replace(EXPERIMENT, net=frozen)
    with pytest.raises(SettingsError, match="give trained ones by --weights"):
        command.begin(Options(experiment, out=tmp_path / "run"))
    command.begin(Options(experiment, out=tmp_path / "run", stage="evaluate"))
    assert not (tmp_path / "run").exists()


def test_without_weights_the_random_ones_stay():
    params = {"params": {}}
    assert starting_params(params, EXPERIMENT) is params


def stills() -> list:
    """Three stills of which one shows a rare class."""
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    labels = np.zeros((3, 16, 16), np.uint8)
    labels[0, :4, :4] = 1
    return [still(*pair) for pair in zip(frames, labels, strict=True)]


def begin(experiment: Experiment, out: Path, monkeypatch) -> dict:
    """Prepare a training, and give what it would have been done with."""
    seen = {}

    def segmenter_of(config, **options):
        seen.update(options)
        return segmenter(config, **options)

    def loss_of(net, **options):
        seen.update(options)

    monkeypatch.setattr(training, "segmenter", segmenter_of)
    monkeypatch.setattr(training, "still_loss", loss_of)
    monkeypatch.setattr(
        training, "init_state", lambda *it, **options: TrainState(jnp.int32(0), {}, ())
    )
    monkeypatch.setattr(training, "make_train_step", lambda *it, **options: seen.update(options))
    monkeypatch.setattr(training, "train", lambda *it, **options: None)
    train_stage(experiment, stills(), [], classes=CLASSES, out=out)
    return seen


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("is_balanced", [True, False])
def test_what_the_settings_say_is_done(tmp_path, monkeypatch, dtype, is_balanced):
    rates = (("classify", 0.5),)
    experiment = dataclasses.replace(
        EXPERIMENT,
        train=TrainConfig(2, rates=rates),
        dtype=dtype,
        balance_classes=is_balanced,
    )
    seen = begin(experiment, tmp_path, monkeypatch)
    assert (seen["dtype"], seen["rates"], seen["mesh"]) == (jnp.dtype(dtype), rates, None)
    if is_balanced:
        # 16 of 768 pixels are of the second class: their weights' roots go as 1 to 47.
        np.testing.assert_allclose(
            seen["class_weights"][1] ** 2, 47 * seen["class_weights"][0] ** 2
        )
    else:
        assert seen["class_weights"] is None


def test_devices_must_share_a_batch(tmp_path, monkeypatch):
    two = jax.sharding.Mesh(2 * jax.devices()[:1], ("batch",))
    monkeypatch.setattr(training, "batch_mesh", lambda: two)
    with pytest.raises(SettingsError, match=r"batch_size is 3, but 2 devices .* multiple of 2"):
        begin(EXPERIMENT, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("stage", "words"), [("all", "give --stage train"), ("train", "no cluster to join (")]
)
def test_there_is_no_cluster(tmp_path, capfd, monkeypatch, stage, words):
    def fail():
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    options = Options(EXPERIMENT, out=tmp_path / "run", stage=stage, distributed=True)
    nothing = DataSet("nothing", Classes((), ()), list, list)
    run_fn = partial(run, options, nothing, argv=["python"])
    assert explain(run_fn, out=options.out) == 2
    assert words in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        (None, {}, None),
        ("train", {"schedule": "step"}, "train.schedule = poly, not step"),
        ("net", {"num_void": 1}, "net.num_void = 0, not 1"),
        (None, {"dtype": "bfloat16"}, "dtype = float32, not bfloat16"),
    ],
)
def test_a_run_of_an_earlier_version_had_the_defaults(tmp_path, part, changes, words):
    path = tmp_path / "settings.json"
    save_settings(path, EXPERIMENT, provenance={})
    stored = json.loads(path.read_text())
    for name in ("train.schedule", "train.rates", "net.num_void", "dtype"):
        del stored["experiment"][name]
    path.write_text(json.dumps(stored))
    if part:
        changes = {part: dataclasses.replace(getattr(EXPERIMENT, part), **changes)}
    now = dataclasses.replace(EXPERIMENT, **changes)
    if words is None:
        check_same_training(path, now)
    else:
        with pytest.raises(SettingsError, match=words):
            check_same_training(path, now)


def test_the_recipe_of_the_paper_is_an_option(capfd, monkeypatch):
    chosen = []

    def keep(options, *_, **__) -> None:
        chosen.append(options)

    monkeypatch.setattr(camvid, "run", keep)
    for words in ("", "--data-dir X", "--data-dir=X --recipe=paper --batch-size 8"):
        assert camvid.main(words.split()) == 0
    experiments = [options.experiment for options in chosen]
    assert experiments[:2] == [camvid.EMBEDDED, camvid.REAL]
    assert experiments[2] == dataclasses.replace(camvid.PAPER, batch_size=8)
    assert [str(options.out) for options in chosen] == [
        "runs/street",
        "runs/camvid",
        "runs/camvid-paper",
    ]
    with pytest.raises(SystemExit):
        camvid.main(["--recipe", "paper"])
    assert "by --data-dir" in " ".join(capfd.readouterr().err.split())


def test_the_recipe_of_the_paper_names_what_is_there():
    experiment = camvid.PAPER
    frames = np.zeros((1, *experiment.augment.crop, 3), np.uint8)
    params = jax.eval_shape(segmenter(experiment.net).init, jax.random.key(0), frames)
    assert params["params"]["classify"]["conv"]["bias"].shape == (12,)
    factors = rate_factors(params["params"], experiment.train.rates)
    frozen = {
        name
        for name, layer in factors["features"]["backbone"].items()
        if 0 in jax.tree.leaves(layer)
    }
    assert frozen == {"conv1", "bn1", "layer1_0", "layer1_1", "layer1_2"}
    assert min(jax.tree.leaves(factors["classify"])) == 1
    jax.eval_shape(make_optimizer(experiment.train).init, params["params"])
