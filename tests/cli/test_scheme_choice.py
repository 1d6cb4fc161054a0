"""Which scheme `jaxseg segment` runs."""

import pytest

from jaxseg.checkpoints import Model
from jaxseg.classes import CAMVID
from jaxseg.cli.settings import LOW_LATENCY, SCHEMES, maker_of
from jaxseg.fusion import CONV, CONV_BEFORE
from jaxseg.nets import NetConfig, segmenter
from jaxseg.regions import Correction
from jaxseg.schedules import PAPER_THRESHOLD
from jaxseg.schemes import ffw, interp_mv, itp, per_frame, prop_mv, taplab

CONFIG = NetConfig(len(CAMVID.names))


def model(**extras: str) -> Model:
    return Model(segmenter(CONFIG), {}, CONFIG, CAMVID, extras)


def test_every_scheme_that_is_offered_is_there():
    # Those that a net has to learn stand in test_low_latency.py.
    made = {name: maker_of(name, model()) for name in SCHEMES if name not in LOW_LATENCY}
    assert len(set(made.values())) == len(SCHEMES) - len(LOW_LATENCY)
    assert made["per-frame"] is per_frame
    assert maker_of("interp-mv", model(flow="flownet-s")) is interp_mv


@pytest.mark.parametrize(("name", "fusion"), [("conv", CONV), ("conv-before", CONV_BEFORE)])
def test_a_learned_fusion_is_used(name, fusion):
    learned = model(fusion=name)
    assert maker_of("interp-mv", learned).keywords == {"fusion": fusion}
    assert maker_of("prop-mv", learned) is prop_mv


@pytest.mark.parametrize(
    ("name", "correction", "threshold"),
    [
        ("ffw+rgc", Correction(num_regions=2), None),
        ("ffw+rgfs", None, 5.0),
        ("ffw+rgc+rgfs", Correction(num_regions=2), 5.0),
    ],
)
def test_modules_are_those_of_the_name(name, correction, threshold):
    made = maker_of(name, model(), threshold=5.0, num_regions=2)
    assert (made.func, made.keywords) == (
        taplab,
        {"correction": correction, "threshold": threshold},
    )


def test_modules_are_by_default_those_of_the_paper():
    made = maker_of("ffw+rgc+rgfs", model())
    assert made.keywords == {"correction": Correction(), "threshold": PAPER_THRESHOLD}
    assert (maker_of("ffw", model()), maker_of("itp", model())) == (ffw, itp)
