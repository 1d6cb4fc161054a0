"""Low latency, learned: which variables change, and what is refused."""

import json

import jax
import numpy as np
import pytest

from data.examples import still
from experiments.lowlatency import __main__ as lowlatency
from experiments.lowlatency import train
from experiments.lowlatency.parts import open_parts
from experiments.settings import SettingsError
from jaxseg.checkpoints import Model, load_model
from jaxseg.nets import segmenter
from tests.experiments.lowlatency.conftest import CLASSES, CONFIG, SIZES, WORDS, draw, train_in


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_parts_are_learned_and_the_net_stays(folder, model):
    before = load_model(folder / "net")
    for name, tree in before.params["params"].items():
        jax.tree.map(np.testing.assert_array_equal, tree, model.params["params"][name])
    learned = model.params["params"].keys() - before.params["params"].keys()
    assert learned == model.extras.keys()
    assert learned >= {"afp", "adapt", "afp-alone", "unified", "image", "clockwork", "aks"}
    assert learned >= {"aks-weights"}
    assert learned >= {"codec", "codec-fused", "codec-adapt", "codec-aks", "low-labels"}
    assert all(
        any(np.any(leaf) for leaf in jax.tree.leaves(model.params["params"][name]))
        for name in learned
    )
    log = [
        json.loads(line)
        for line in (folder / "learned" / "train.jsonl").read_text().split("\n")[:-1]
    ]
    assert {"miou_adaptive+fuse", "miou_warp", "error_learned", "error_codec"} <= log[-1].keys()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_parts_do_not_change_each_other(folder, making, model):
    """The gradient of one loss leaves the variables of the others alone."""
    from data.pairs import drift_pair_batch
    from data.simulated import CameraConfig, simulated_records

    clips = simulated_records(
        [still(*draw(0))], CameraConfig(num_frames=5), seed=0, folder=folder / "more"
    )
    pair = drift_pair_batch(clips, distances=(1, 2), side=64, batch_size=1, seed=0, step=0)
    parts, params = making.parts, model.params

    def loss(learned):
        scores, *_ = train.score_pairs(
            parts, model.net, {**params, "params": {**params["params"], **learned}}, pair
        )
        return scores["adaptive+fuse"].sum()

    learned = {name: params["params"][name] for name in model.extras}
    moved = {
        name
        for name, tree in jax.jit(jax.grad(loss))(learned).items()
        if any(np.any(leaf) for leaf in jax.tree.leaves(tree))
    }
    assert moved == {"afp", "adapt"}


def test_a_net_without_parts_is_refused():
    net = segmenter(CONFIG)
    with pytest.raises(SettingsError, match=r"python -m experiments\.lowlatency\.train"):
        open_parts(Model(net, {}, CONFIG, CLASSES))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_deviations_can_be_learned_alone(folder, model):
    paths = ("--checkpoint", str(folder / "learned"), "--out", str(folder / "again"))
    with jax.numpy_dtype_promotion("standard"):
        assert train.main([*paths, *SIZES, *WORDS, "--only-deviations"]) == 0
    again = load_model(folder / "again")
    assert again.extras == model.extras
    changed = {
        name
        for name, tree in again.params["params"].items()
        if any(
            np.any(new != old)
            for new, old in zip(
                jax.tree.leaves(tree), jax.tree.leaves(model.params["params"][name]), strict=True
            )
        )
    }
    assert changed == {"aks", "aks-weights", "codec-aks", "low-labels"}
    log = (folder / "again" / "train.jsonl").read_text()
    assert "error_learned" in log
    assert "miou" not in log


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bad_input_is_one_line(folder, capsys):
    assert lowlatency.main(["--checkpoint", str(folder / "net"), "--no-flow"]) == 2
    assert "python -m experiments.lowlatency.train" in capsys.readouterr().err
    assert train_in(folder) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert train_in(folder, "--resume", "--seed", "1") == 2
    assert "was begun with seed = 0, not 1" in capsys.readouterr().err
    words = ("--checkpoint", str(folder / "learned"), "--out", str(folder / "new"), *SIZES)
    assert train.main([*words, "--parts.channels", "5"]) == 2
    assert "carries" in capsys.readouterr().err
    assert not (folder / "new").exists()
    assert train_in(folder, "--parts.after", "layer9_0", "--resume") == 2
    assert "must be one of layer1_0" in capsys.readouterr().err
