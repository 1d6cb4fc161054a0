"""The recipes of TapLab's baselines: what the paper says, their options, and other nets' runs."""

import dataclasses
import json

import pytest

from experiments import camvid, cityscapes
from experiments.settings import Experiment, SettingsError, check_same_training, save_settings
from jaxseg.nets import IcnetConfig, MobileNetConfig, NetConfig, PspnetConfig
from jaxseg.train import TrainConfig

NETS = {"bl1": IcnetConfig, "bl2": MobileNetConfig, "bl3": PspnetConfig}
TRAIN = TrainConfig(num_steps=2)


@pytest.fixture
def parse(monkeypatch):
    """Give the options that a command would run with."""

    def parse(module, *words: str):
        chosen = []
        monkeypatch.setattr(module, "run", lambda options, *_, **__: chosen.append(options))
        assert module.main(["--data-dir", "DATA", *words]) == 0
        return chosen[0]

    return parse


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("module", "num_classes", "crop", "num_pictures"),
    [(cityscapes, 19, 800, 2975), (camvid, 11, 600, 367)],
)
def test_the_baselines_train_as_in_the_paper(parse, module, name, num_classes, crop, num_pictures):
    found = parse(module, "--recipe", name).experiment
    assert found == module.RECIPES[name]
    assert found.net == NETS[name](num_classes)
    assert (found.batch_size, found.weights, found.balance_classes) == (8, None, False)
    train = found.train
    assert (train.optimizer, train.learning_rate, train.weight_decay) == ("adam", 2e-4, 1e-6)
    assert (train.schedule, train.power, train.warmup_steps) == ("poly", 0.9, 0)
    # On CamVid 20000 steps, on Cityscapes as many times through the data.
    assert train.num_steps / num_pictures == pytest.approx(20_000 / 367, rel=1e-4)
    augment = found.augment
    assert (augment.crop, augment.scales) == ((crop, crop), (0.5, 2.0))
    assert (augment.flip, augment.brightness) == (0.5, 0.0)


@pytest.mark.parametrize("module", [cityscapes, camvid])
@pytest.mark.parametrize(
    ("name", "words", "changes"),
    [
        ("bl1", "--net.width 16 --net.depth 18", {"width": 16, "depth": 18}),
        ("bl2", "--net.width 16", {"width": 16}),
        ("bl3", "--net.depth 50 --net.freeze-batch-norm", {"depth": 50, "freeze_batch_norm": True}),
        ("small", "--net.ladder-stride 8", {"ladder_stride": 8}),
    ],
)
def test_a_net_has_options_of_its_own(parse, module, name, words, changes):
    expected = parse(module, "--recipe", name).experiment.net
    found = parse(module, "--recipe", name, *words.split()).experiment.net
    assert found == dataclasses.replace(expected, **changes)


@pytest.mark.parametrize("module", [cityscapes, camvid])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--recipe bl2 --net.depth 50", "--net.depth"),
        ("--recipe bl3 --net.depth 34", "depth is 34, but must be one of"),
        ("--recipe bl2 --net.width 0", "width is 0, but must be at least 1"),
    ],
)
def test_options_of_another_net_are_refused(capfd, module, words, told):
    with pytest.raises(SystemExit) as caught:
        module.main(["--data-dir", "DATA", *words.split()])
    assert caught.value.code == 2
    assert told in " ".join(capfd.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (NetConfig(3), MobileNetConfig(3)),
        (MobileNetConfig(3), NetConfig(3)),
        # Whose options have the same names and the same values.
        (IcnetConfig(3, 18, 64), PspnetConfig(3, 18, 64)),
    ],
)
def test_a_run_of_another_kind_of_net_is_not_continued(tmp_path, old, new):
    path = tmp_path / "settings.json"
    save_settings(path, Experiment(old, TRAIN), provenance={})
    check_same_training(path, Experiment(old, TRAIN))
    told = f"was begun with net.type = {type(old).__name__}, not {type(new).__name__}; resume"
    with pytest.raises(SettingsError, match=told):
        check_same_training(path, Experiment(new, TRAIN))


def test_a_run_that_names_no_kind_of_net_is_of_the_first(tmp_path):
    path = tmp_path / "settings.json"
    save_settings(path, Experiment(NetConfig(3), TRAIN), provenance={})
    stored = json.loads(path.read_text())
    del stored["experiment"]["net.type"]
    path.write_text(json.dumps(stored))
    check_same_training(path, Experiment(NetConfig(3), TRAIN))
    with pytest.raises(SettingsError, match=r"net\.type = NetConfig, not MobileNetConfig"):
        check_same_training(path, Experiment(MobileNetConfig(3), TRAIN))
