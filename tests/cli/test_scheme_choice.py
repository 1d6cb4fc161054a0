"""Which scheme `jaxseg segment` runs."""

import pytest

from jaxseg.checkpoints import Model
from jaxseg.classes import CAMVID
from jaxseg.cli import SCHEMES
from jaxseg.cli.segment import MAKE_SCHEME, maker_of
from jaxseg.fusion import CONV, CONV_BEFORE
from jaxseg.nets import NetConfig, segmenter
from jaxseg.schemes import interp_mv, prop_mv

CONFIG = NetConfig(len(CAMVID.names))


def model(**extras: str) -> Model:
    return Model(segmenter(CONFIG), {}, CONFIG, CAMVID, extras)


def test_every_scheme_that_is_offered_is_there():
    assert tuple(MAKE_SCHEME) == tuple(SCHEMES)
    assert maker_of("interp-mv", model(flow="flownet-s")) is interp_mv


@pytest.mark.parametrize(("name", "fusion"), [("conv", CONV), ("conv-before", CONV_BEFORE)])
def test_a_learned_fusion_is_used(name, fusion):
    learned = model(fusion=name)
    assert maker_of("interp-mv", learned).keywords == {"fusion": fusion}
    assert maker_of("prop-mv", learned) is prop_mv
