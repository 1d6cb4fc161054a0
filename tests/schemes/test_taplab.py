"""TapLab against its Algorithm 1, written out frame by frame, in every combination."""

import jax
import numpy as np
import pytest

from jaxseg.nets import predict_labels
from jaxseg.regions import ACCUMULATED, Correction
from jaxseg.runner import compile_scheme, label_gops, scan
from jaxseg.schedules import Tracking
from jaxseg.schemes import along_vectors, carry_features, carry_projected, carry_scores, taplab
from jaxseg.warping import fill, look_up, rest, warp
from tests import reference
from tests import reference_taplab as plain

VIDEO = plain.draw_video()
FILLED = VIDEO._replace(
    motion=np.stack([reference.fill(*it) for it in zip(VIDEO.motion, VIDEO.inter, strict=True)])
)
WAYS = {
    "look_up": (look_up, rest, {"warp": plain.look_up, "video": VIDEO}),
    "warp": (warp, fill, {"warp": reference.warp, "video": FILLED}),
}
"""The paper's way to carry a map, and what measured best."""

CORRECTION = Correction(size=plain.SIZE, stride=plain.STEP)
MODULES = {
    "ffw": {"correction": None, "threshold": None},
    "ffw+rgc": {"correction": CORRECTION, "threshold": None},
    "ffw+rgfs": {"correction": None, "threshold": plain.THRESHOLD},
    "ffw+rgc+rgfs": {
        "correction": CORRECTION._replace(num_regions=2),
        "threshold": plain.THRESHOLD,
    },
}
"""Table 5's rows, the last one with two regions a frame."""


@pytest.mark.parametrize(
    ("modules", "way", "cut_fn", "stride"),
    [
        ("ffw", "look_up", carry_scores, 8),
        ("ffw", "warp", carry_projected, 16),
        ("ffw+rgc", "look_up", carry_projected, 16),
        ("ffw+rgc", "warp", carry_scores, 8),
        ("ffw+rgfs", "look_up", carry_features, 16),
        ("ffw+rgfs", "warp", carry_scores, 8),
        ("ffw+rgc+rgfs", "look_up", carry_scores, 8),
        ("ffw+rgc+rgfs", "warp", carry_features, 16),
    ],
)
def test_each_combination_is_algorithm_1(modules, way, cut_fn, stride):
    ran, net, options = [], plain.context_net(stride), MODULES[modules]
    params, (warp_fn, fill_fn, by_hand) = reference.toy_params(net), WAYS[way]
    scheme = taplab(
        plain.noting(net, ran),
        **options,
        motion_source=along_vectors(fill_fn=fill_fn),
        warp_fn=warp_fn,
        cut_fn=cut_fn,
    )
    assert [int(gop.length) for gop in plain.gops_of(scheme, VIDEO)] == [6, 2, 6, 3]
    scores, _ = plain.run(scheme, params, VIDEO)
    expected, labelled = plain.expect(cut_fn, net, params, **by_hand, **options)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    hard = [3, 11, 12, 15] if "rgfs" in modules else []
    assert labelled.keys == sorted([0, 6, 8, 14, *hard])
    assert (labelled.num_corrections > 0) == ("rgc" in modules)
    # Nothing is run that is not used, neither a module nor the net beyond an interval's end.
    jax.effects_barrier()
    assert ran.count((48, 64)) == len(labelled.keys)
    assert ran.count(plain.SIZE) == labelled.num_corrections


def test_a_scan_is_a_loop_is_algorithm_1():
    net = plain.context_net(8)
    params, ran = reference.toy_params(net), []
    options = {
        "correction": ACCUMULATED._replace(size=plain.SIZE, stride=plain.STEP, alpha=0.7),
        "threshold": plain.THRESHOLD,
        "tracking": Tracking(share=0.1, rate=1.5, pull=0.02, most=1.0),
    }
    scheme = taplab(plain.noting(net, ran), **options, motion_source=along_vectors(fill_fn=rest))
    expected, labelled = plain.expect(
        carry_scores, net, params, VIDEO, warp=reference.warp, **options
    )
    # The threshold has risen above two frames that a fixed one is below.
    assert labelled.keys == [0, 3, 6, 8, 11, 14]
    found, limit = plain.run(scheme, params, VIDEO)
    jax.effects_barrier()
    assert (ran.count((48, 64)), ran.count(plain.SIZE)) == (6, labelled.num_corrections)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(limit, labelled.threshold, rtol=1e-5)
    gops = plain.gops_of(scheme, VIDEO)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
    state = scheme.init(params, gops[0])
    last, together = jax.jit(scheme.steps)(params, state, stacked)
    scanned = jax.jit(lambda *args: scan(scheme, *args))(params, stacked)
    for scores in (together, scanned):
        real = [it[: int(gop.length)] for it, gop in zip(scores, gops, strict=True)]
        np.testing.assert_allclose(np.concatenate(real), found, atol=1e-5)
    np.testing.assert_allclose(last.threshold, limit, rtol=1e-6)


def test_one_compilation_labels_a_video():
    traced, net, options = [], plain.context_net(8), MODULES["ffw+rgc+rgfs"]
    counting = net._replace(features=lambda *args: traced.append(1) or net.features(*args))
    params = reference.toy_params(net)
    scheme = taplab(counting, **options, motion_source=along_vectors(fill_fn=rest))
    labeller = compile_scheme(net, scheme, height=40, width=56)
    stream = label_gops(labeller, params, iter(plain.gops_of(scheme, VIDEO)))
    labels = [next(stream)]
    num_traced = len(traced)
    labels += stream
    assert [len(it) for it in labels] == [6, 2, 6, 3]
    assert len(traced) == num_traced > 0
    assert labeller.step._cache_size() == 1
    scores, _ = plain.expect(carry_scores, net, params, VIDEO, warp=reference.warp, **options)
    expected = predict_labels(scores, stride=8, height=40, width=56)
    assert (np.concatenate(labels) == expected).mean() > 0.999
    assert len(np.unique(expected)) > 1
