"""Every way to carry features is compared, each is another, and bad input is one line."""

import jax
import numpy as np
import pytest

from experiments import propagation
from experiments.propagation import Way, ways
from experiments.settings import EvaluationConfig
from experiments.variants import Unit, Variant, key_of
from jaxseg.schemes import interp_mv, prop_mv
from jaxseg.warping import CHAIN, COMPOSED, fill, negate, rest
from tests import reference


@pytest.fixture(scope="module")
def scores_of():
    """Give the scores of a scheme on an interval in which all ways differ."""
    net = reference.toy_net(stride=8)
    params = reference.toy_params(net)
    gop = reference.build_gop(*reference.draw_video(6), 0, 5, longest=5)
    gop = gop._replace(inter=np.random.default_rng(0).random(gop.inter.shape) < 0.7)

    def scores(make_scheme) -> np.ndarray:
        scheme = make_scheme(net)
        return np.asarray(scheme.step(params, scheme.init(params, gop), gop)[1])

    return scores


def test_no_two_ways_are_the_same(scores_of):
    found = {way: scores_of(make_scheme) for way, make_scheme in ways().items()}
    assert len(found) == 2 * 2 + 3 * 2 * 2
    for way, scores in found.items():
        others = [other for other in found if other != way]
        assert min(np.abs(found[other] - scores).max() for other in others) > 1e-3, way


def test_ways_are_what_they_are_called(scores_of):
    named = ways()
    paper = Way("interp-mv", "chain", "negate", "rest", "border")
    ours = Way("prop-mv", "composed", None, "fill", None)
    jax.tree.map(
        np.testing.assert_array_equal,
        [scores_of(named[paper]), scores_of(named[ours])],
        [
            scores_of(
                lambda net: interp_mv(net, propagation=CHAIN, reverse_fn=negate, fill_fn=rest)
            ),
            scores_of(lambda net: prop_mv(net, propagation=COMPOSED, fill_fn=fill)),
        ],
    )
    default = scores_of(interp_mv)
    best = scores_of(named[Way("interp-mv", "composed", "invert", "fill", "other")])
    np.testing.assert_array_equal(best, default)


@pytest.mark.parametrize(
    ("variant", "propagation", "unseen"),
    [
        (Variant("interp-mv", fusion="max"), "composed", "other"),
        (Variant("interp-mv", fusion="max"), "chain", "border"),
        (Variant("interp-mv", fusion="backward"), "composed", "border"),
        (Variant("prop-mv"), "composed", None),
        (Variant("prop-flow", flow="dis"), "composed", None),
    ],
)
def test_a_row_says_what_was_done_not_what_was_asked_for(variant, propagation, unseen):
    config = EvaluationConfig(propagation=propagation, unseen="other")
    assert key_of(Unit(variant, 5), config)["unseen"] == unseen


def test_without_a_trained_net_there_is_one_line(tmp_path, capfd):
    words = ["--checkpoint", str(tmp_path), "--out", str(tmp_path / "out.json")]
    assert propagation.main(words) == 2
    printed = capfd.readouterr().err
    assert printed.startswith(f"error: {tmp_path}: holds no model.json")
    assert printed.count("\n") == 1
    assert not (tmp_path / "out.json").exists()
