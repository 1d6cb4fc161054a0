"""Which scheme `jaxseg segment` runs."""

import pytest

from jaxseg.checkpoints import Model
from jaxseg.classes import CAMVID
from jaxseg.cli.settings import SCHEMES, maker_of
from jaxseg.fusion import CONV, CONV_BEFORE
from jaxseg.nets import NetConfig, segmenter
from jaxseg.schemes import interp_mv, per_frame, prop_mv

CONFIG = NetConfig(len(CAMVID.names))


def model(**extras: str) -> Model:
    return Model(segmenter(CONFIG), {}, CONFIG, CAMVID, extras)


def test_every_scheme_that_is_offered_is_there():
    made = {name: maker_of(name, model()) for name in SCHEMES}
    assert len(set(made.values())) == len(SCHEMES)
    assert made["per-frame"] is per_frame
    assert maker_of("interp-mv", model(flow="flownet-s")) is interp_mv


@pytest.mark.parametrize(("name", "fusion"), [("conv", CONV), ("conv-before", CONV_BEFORE)])
def test_a_learned_fusion_is_used(name, fusion):
    learned = model(fusion=name)
    assert maker_of("interp-mv", learned).keywords == {"fusion": fusion}
    assert maker_of("prop-mv", learned) is prop_mv
