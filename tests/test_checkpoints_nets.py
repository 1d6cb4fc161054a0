"""Model cards of every kind of net, and of when there was one kind."""

import dataclasses
import json

import pytest

from jaxseg.checkpoints import CheckpointError, model_card, read_model_card, write_model_card
from jaxseg.classes import Classes
from jaxseg.nets import NET_CONFIGS, IcnetConfig, MobileNetConfig, NetConfig, PspnetConfig

CLASSES = Classes(("sky", "road"), ((0, 0, 0), (128, 64, 128)))
CONFIGS = {
    "NetConfig": NetConfig(2, output_stride=32, num_void=1),
    "IcnetConfig": IcnetConfig(2, depth=18, width=4),
    "MobileNetConfig": MobileNetConfig(2, width=8),
    "PspnetConfig": PspnetConfig(2, 18, 8, freeze_batch_norm=True),
}


@pytest.mark.parametrize("kind", NET_CONFIGS)
def test_a_card_gives_its_net_back(tmp_path, kind):
    config = CONFIGS[kind]
    write_model_card(tmp_path, config, CLASSES)
    model, card = read_model_card(tmp_path / "model.json")
    assert (model.config, model.classes) == (config, CLASSES)
    assert (model.net.stride, model.net.num_classes) == (config.stride, 2)
    assert card["net"]["type"] == kind == type(config).__name__
    assert card["net"].items() >= dataclasses.asdict(config).items()
    scorer = "classify" if kind in ("NetConfig", "MobileNetConfig") else "project"
    assert model.params["params"][scorer]["conv"]["bias"].shape == (2 + config.num_void,)


def test_a_card_without_a_type_is_of_the_first_kind(tmp_path):
    card = model_card(CONFIGS["NetConfig"], CLASSES)
    del card["net"]["type"]
    (tmp_path / "model.json").write_text(json.dumps(card))
    assert read_model_card(tmp_path / "model.json")[0].config == CONFIGS["NetConfig"]


@pytest.mark.parametrize(
    ("kind", "words"), [("UnetConfig", "UnetConfig"), ("PspnetConfig", "output_stride")]
)
def test_a_card_of_an_unknown_kind_is_refused(tmp_path, kind, words):
    card = model_card(CONFIGS["NetConfig"], CLASSES)
    card["net"]["type"] = kind
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=f"is no model card .*{words}"):
        read_model_card(tmp_path / "model.json")
