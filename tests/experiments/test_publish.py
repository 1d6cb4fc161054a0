"""What ships: a run's best checkpoint, and a card whose every number comes from a file."""

import json
import shutil
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxseg
from experiments import publish
from experiments.results import provenance, write_results
from experiments.settings import Experiment, save_settings
from jaxseg.checkpoints import Checkpoints, write_model_card
from jaxseg.classes import CAMVID, Classes
from jaxseg.nets import NetConfig, segmenter
from jaxseg.train import TrainConfig

CONFIG = NetConfig(11, output_stride=32, ladder_stride=8, ladder_channels=16, width=8)
TRAINED = ["python", "-m", "experiments.camvid", "--data-dir", "CAMVID", "--recipe", "light"]
MEASURED = [*TRAINED, "--stage", "evaluate"]
IOU = {f"iou_{name}": 0.01 * number for number, name in enumerate(CAMVID.names)}


@pytest.fixture(scope="module")
def best(draw_variables):
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    return draw_variables(jax.eval_shape(segmenter(CONFIG).init, jax.random.key(0), frame))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, best):
    """Make a run's folder with two checkpoints, of which the first is the best."""
    folder = tmp_path_factory.mktemp("trained")
    write_model_card(folder, CONFIG, CAMVID)
    experiment = Experiment(net=CONFIG, train=TrainConfig(num_steps=2))
    save_settings(folder / "settings.json", experiment, provenance=provenance(TRAINED))
    with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        for step, miou in ((1, 0.6), (2, 0.5)):
            params = jax.tree.map(lambda leaf, step=step: leaf * np.float32(step), best)
            checkpoints.save(step, params, {"step": np.ones(1)}, metrics={"miou": miou})
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """Copy the run's folder, so that it can be damaged."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.json"
    shared = {"net": "resnet18-8", "height": 360, "width": 480, "keyframe_ms": 3.0}
    rows = [
        {"scheme": "per-frame", "interval": 1, "miou": 0.61, **shared, **IOU},
        {"scheme": "interp-mv", "interval": 5, "miou": 0.6, "miou_min": 0.59, **shared, **IOU},
    ]
    write_results(path, rows, provenance=provenance(MEASURED))
    return path


def call(run, results, out) -> int:
    return publish.main([str(run), "--results", str(results), "--out", str(out)])


def edit(path, **changes) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def test_the_best_checkpoint_and_all_facts(run, results, best, tmp_path, capsys):
    out = tmp_path / "new" / "tiny.safetensors"
    assert call(run, results, out) == 0
    assert capsys.readouterr().out.count("wrote ") == 2
    model = jaxseg.load(out)
    assert (model.config, model.classes) == (CONFIG, CAMVID)
    close = {"rtol": 2**-11, "atol": 2**-25}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), model.params, best)

    card = json.loads(out.with_suffix(".json").read_text())
    training = card["training"]
    assert (training["step"], training["miou_at_step"]) == (1, 0.6)
    assert training["provenance"]["command"] == " ".join(TRAINED)
    assert (training["crop_height"], training["settings"]["net.width"]) == (320, 8)
    measured = card["results"]
    assert measured["file"] == "results.json"
    assert measured["provenance"]["command"] == " ".join(MEASURED)
    assert [(row["scheme"], row["miou"]) for row in measured["rows"]] == [
        ("per-frame", 0.61),
        ("interp-mv", 0.6),
    ]
    assert not [key for row in measured["rows"] for key in row if key.endswith("_ms")]
    assert measured["class_iou"] == {key.removeprefix("iou_"): it for key, it in IOU.items()}
    assert card["provenance"]["command"].startswith("python -m experiments.publish")
    assert "CC BY-NC" in card["licence"]
    assert any("Cambridge" in line for line in card["limits"])
    assert str(tmp_path) not in json.dumps(card)


def other_classes(run, results):
    write_model_card(run, CONFIG, Classes(tuple("abcdefghijk"), CAMVID.palette))


def drawn_streets(run, results):
    path = run / "settings.json"
    origin = json.loads(path.read_text())["provenance"]
    edit(path, provenance=origin | {"command": "python -m experiments.camvid"})


def other_net(run, results):
    rows = json.loads(results.read_text())["rows"]
    edit(results, rows=[row | {"net": "resnet50"} for row in rows])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run, results: (run / "model.json").unlink(), "holds no model.json"),
        (other_classes, "tells a, b, c, d"),
        (lambda run, results: (run / "settings.json").unlink(), "does not say how the run was"),
        (drawn_streets, "train with --data-dir and without --weights"),
        (lambda run, results: results.unlink(), "is no results file"),
        (lambda run, results: results.write_text("{"), "is no results file"),
        (other_net, "was measured on resnet50, but the run's net is resnet18-8"),
        (lambda run, results: edit(results, rows=[{"net": "resnet18-8"}]), "lacks iou_sky"),
    ],
)
def test_what_does_not_belong_together_is_refused(run, results, tmp_path, capsys, damage, words):
    damage(run, results)
    assert call(run, results, tmp_path / "out" / "tiny.safetensors") == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert not (tmp_path / "out").exists()


def test_a_large_file_is_refused(run, results, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(publish, "MAX_BYTES", 300_000)
    assert call(run, results, tmp_path / "out" / "tiny.safetensors") == 2
    assert "but at most 300000 may ship; publish a narrower net" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
