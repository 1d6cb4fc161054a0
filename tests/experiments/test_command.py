"""An experiment from settings to results, with a net that compiles at once."""

import dataclasses
import itertools
import json
import shutil
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data.augment import AugmentConfig
from data.examples import Sequence, still
from experiments import command
from experiments.command import DataSet, Options, explain
from experiments.results import read_results
from experiments.settings import (
    EvaluationConfig,
    Experiment,
    SettingsError,
    check_same_training,
    save_settings,
)
from jaxseg import codec
from jaxseg.classes import Classes
from jaxseg.nets import Net, NetConfig
from jaxseg.train import TrainConfig

CLASSES = Classes(("red", "green", "blue"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
EXPERIMENT = Experiment(
    net=NetConfig(num_classes=3),
    # Not Adam, which raises a float to the power of an int: too lax for tests.
    train=TrainConfig(8, "sgd", learning_rate=0.3, warmup_steps=2, evaluate_every=3),
    augment=AugmentConfig(crop=(32, 32)),
    evaluation=EvaluationConfig(intervals=(1, 3), overlay_interval=2),
    batch_size=2,
)
ARTIFACTS = ("results.json", "results.md", "accuracy_throughput.png", "overlay.mp4")


def colour_net(config: NetConfig, *, dtype=jnp.float32) -> Net:
    """Make a net that tells classes by the mean colour of 8x8 pixels."""

    def init(key, frames):
        kernel = jax.random.normal(key, (3, config.num_classes))
        return {"params": {"kernel": kernel}, "batch_stats": {"num_seen": jnp.zeros(())}}

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2)) / 255

    def classify(params, projected):
        return projected @ params["params"]["kernel"]

    def train_scores(params, frames):
        stats = {"num_seen": params["batch_stats"]["num_seen"] + len(frames)}
        return classify(params, features(params, frames)), stats

    return Net(init, features, lambda params, it: it, classify, train_scores, 8, 3)


@pytest.fixture(autouse=True)
def colour_nets(monkeypatch):
    """Let every net be one that tells colours."""
    for room in ("experiments.training", "jaxseg.checkpoints"):
        monkeypatch.setattr(f"{room}.segmenter", colour_net)


def data_set() -> DataSet:
    """Draw stripes in their classes' colours; the measured ones move right."""
    labels = (np.arange(96) // 16 % 3).astype(np.uint8)
    lines = np.stack([labels[4 * (6 - index) :][:64] for index in range(7)])
    labels = np.repeat(lines[:, None], 48, axis=1)
    frames = np.array(CLASSES.palette, np.uint8)[labels]
    return DataSet(
        title="stripes",
        classes=CLASSES,
        read_stills=lambda: [still(*pair) for pair in zip(frames, labels, strict=True)],
        read_sequences=lambda: [Sequence("stripes", 10.0, frames, labels)],
    )


def run(out: Path, *, experiment: Experiment = EXPERIMENT, **options: object) -> int:
    chosen = Options(experiment, out=out, **options)
    return explain(partial(command.run, chosen, data_set(), argv=["python"]), out=out)


def log_of(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run that was trained, but not measured."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.training.segmenter", colour_net)
        assert run(out, stage="train") == 0
    return out


def test_training_alone_writes_no_results(trained):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"settings.json", "model.json", "checkpoints", "sequences", "train.jsonl"}
    assert names.isdisjoint(ARTIFACTS)
    assert [row["step"] for row in log_of(trained) if "miou" in row] == [3, 6, 8]
    settings = json.loads((trained / "settings.json").read_text())
    assert settings["experiment"]["train.num_steps"] == 8
    assert settings["provenance"]["command"] == "python"


def test_a_run_interrupted_anywhere_ends_the_same(trained, tmp_path, monkeypatch, capfd):
    out = tmp_path / "run"
    for num_batches in (1, 3, 1):
        with monkeypatch.context() as patch:
            patch.setattr("experiments.training.training_batches", interrupted(num_batches))
            assert run(out, resume=True, stage="train") == 130
        assert capfd.readouterr().err.splitlines()[-1].startswith("interrupted; continue with")
    assert run(out, resume=True) == 0
    assert log_of(out) == log_of(trained)
    assert_measured(out)


def interrupted(num_batches: int):
    """Make a source of batches during which the user presses Ctrl-C."""
    from data.batches import training_batches

    def batches(*arguments, **options):
        yield from itertools.islice(training_batches(*arguments, **options), num_batches)
        raise KeyboardInterrupt

    return batches


def assert_measured(out: Path) -> None:
    results = read_results(out / "results.json")
    assert {"date", "commit", "is_dirty", "machine", "versions"} < results.provenance.keys()
    miou = {(row["scheme"], row["interval"]): row["miou"] for row in results.rows}
    others = [(name, n) for name in ("copy-last", "prop-mv", "interp-mv") for n in (1, 3)]
    assert list(miou) == [("per-frame", 1), *others]
    assert miou["per-frame", 1] > 0.5
    assert miou["prop-mv", 3] > miou["copy-last", 3]
    assert "| per-frame |" in (out / "results.md").read_text()
    with Image.open(out / "accuracy_throughput.png") as plot:
        plot.load()
    assert codec.probe(out / "overlay.mp4").num_frames == 7


def test_a_trained_net_is_measured_with_any_settings(trained, tmp_path):
    out = shutil.copytree(trained, tmp_path / "run")
    evaluation = EvaluationConfig(intervals=(2,), propagation="composed", codec="mpeg4")
    other = dataclasses.replace(EXPERIMENT, evaluation=evaluation)
    assert run(out, experiment=other, stage="evaluate") == 0
    rows = read_results(out / "results.json").rows
    assert [row["interval"] for row in rows] == [1, 2, 2, 2]
    assert [row["propagation"] for row in rows] == [None, None, "composed", "composed"]
    assert log_of(out) == log_of(trained)


def test_a_diverging_run_ends_in_one_line(tmp_path, capfd):
    train = dataclasses.replace(EXPERIMENT.train, learning_rate=1e38, max_gradient_norm=1e38)
    assert run(tmp_path / "run", experiment=dataclasses.replace(EXPERIMENT, train=train)) == 2
    assert "error: the loss is" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; continue with --resume --out"),
        (PermissionError(13, "Permission denied", "labels.png"), 2, "labels.png"),
    ],
)
def test_what_ends_a_run_is_said_in_one_line(tmp_path, capfd, error, code, words):
    def read_sequences():
        raise error

    nothing = data_set()._replace(read_sequences=read_sequences)
    options = Options(EXPERIMENT, out=tmp_path / "run")
    run_fn = partial(command.run, options, nothing, argv=["python"])
    assert explain(run_fn, out=options.out) == code
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1
    assert words in printed


def test_a_run_is_not_overwritten(trained, capfd):
    before = (trained / "train.jsonl").read_text()
    assert run(trained) == 2
    assert "holds a run already; continue it with --resume" in capfd.readouterr().err
    assert (trained / "train.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("net", {"depth": 50}, "net.depth = 18, not 50"),
        ("train", {"learning_rate": 0.5}, "train.learning_rate = 0.3, not 0.5"),
        ("augment", {"crop": (64, 32)}, r"augment.crop = \[32, 32\], not \[64, 32\]"),
        (None, {"batch_size": 3}, "batch_size = 2, not 3"),
        (None, {"seed": 1}, "seed = 0, not 1"),
        (None, {"weights": Path("r18.pth")}, "weights = None, not r18.pth"),
    ],
)
def test_the_setting_that_differs_is_named(tmp_path, part, changes, words):
    path = tmp_path / "settings.json"
    save_settings(path, EXPERIMENT, provenance={})
    check_same_training(path, EXPERIMENT)
    other = dataclasses.replace(EXPERIMENT, evaluation=EvaluationConfig(intervals=(3,)))
    check_same_training(path, other)
    if part:
        changes = {part: dataclasses.replace(getattr(EXPERIMENT, part), **changes)}
    with pytest.raises(SettingsError, match=words):
        check_same_training(path, dataclasses.replace(EXPERIMENT, **changes))
