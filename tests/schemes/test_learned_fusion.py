"""Learned fusions against the paper's stacked convolution, on unprojected features."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.fusion import BY_DISTANCE, CONV, CONV_BEFORE, MAX, init_fusion
from jaxseg.runner import compile_scheme, label_gops
from jaxseg.schemes import interp_mv, prop_mv
from jaxseg.warping import CHAIN, negate
from tests import reference
from tests.algorithms import (
    NUM_FRAMES,
    PROPAGATIONS,
    REVERSALS,
    algorithm_2,
    gops_of,
    run,
)

LEARNED = {"conv": CONV, "conv_before": CONV_BEFORE}
VIDEO = reference.draw_video(NUM_FRAMES)
SIGNED = reference.toy_net()
NET = SIGNED._replace(features=lambda *args: jax.nn.relu(SIGNED.features(*args)))
"""A net whose features, like those of a real one, are not negative."""

QUICK = {"propagation": CHAIN, "reverse_fn": negate}
"""The ways that compile soonest, for what does not depend on them."""

each = pytest.mark.parametrize("name", LEARNED)


def begun(net, fusion) -> dict:
    """Give a toy net's weights and the fusion's, before training."""
    return init_fusion(net, reference.toy_params(net) | {"params": {}}, fusion)


def trained(net, fusion) -> dict:
    """Give weights as if the fusion's had been trained."""
    rng = np.random.default_rng(3)
    params = begun(net, fusion)
    draw = {
        k: rng.standard_normal(v.shape, np.float32) for k, v in params["params"]["fusion"].items()
    }
    return params | {"params": {"fusion": draw}}


def stack_and_convolve(name, params):
    """Write the fusion out: weigh, stack, convolve, and in the published code rectify."""
    fusion = params["params"]["fusion"]

    def fuse(forward, backward, p, n):
        stacked = np.concatenate([(n - p) / n * forward, p / n * backward], axis=-1)
        mixed = stacked @ fusion["kernel"] + fusion["bias"]
        return mixed if name == "conv" else np.maximum(mixed, 0)

    return fuse


@each
@pytest.mark.parametrize(("way", "reversal"), [("chained", "negated"), ("composed", "inverted")])
def test_learned_fusion_is_the_convolution_of_the_stack(name, way, reversal):
    params = trained(SIGNED, LEARNED[name])
    (propagation, plain_propagate), (reverse_fn, plain_reverse) = (
        PROPAGATIONS[way],
        REVERSALS[reversal],
    )
    fusion = LEARNED[name]._replace(fills_unseen=False)
    scheme = interp_mv(SIGNED, fusion=fusion, propagation=propagation, reverse_fn=reverse_fn)

    def project_once(params, features):
        # What the paper's text fuses comes out projected.
        return features if features.shape[-1] == 4 else SIGNED.project(params, features)

    net, fuse = SIGNED._replace(project=project_once), stack_and_convolve(name, params)
    expected = algorithm_2(
        net, params, *VIDEO, fuse, plain_propagate, plain_reverse, fills_unseen=False
    )
    np.testing.assert_allclose(run(scheme, params, *VIDEO), expected, atol=5e-5)


@each
def test_what_one_keyframe_did_not_show_comes_from_the_others_map_alone(name):
    fusion, params = LEARNED[name], trained(SIGNED, LEARNED[name])
    scores, blind, *alone = (
        run(interp_mv(SIGNED, fusion=each), params, *VIDEO)
        for each in (
            fusion,
            fusion._replace(fills_unseen=False),
            *(fusion._replace(fuse=partial(one_of, fusion, part)) for part in (0, 1)),
        )
    )
    is_one = [(scores == it).all(axis=-1) for it in (blind, *alone)]
    assert np.logical_or.reduce(is_one).all()
    assert all((it & ~is_one[0]).any() for it in is_one[1:])


def one_of(fusion, part, forward, backward, share):
    """Fuse one of the maps with itself: what stands for a map that shows nothing."""
    chosen = (forward, backward)[part]
    return fusion.fuse(chosen, chosen, share)


@each
def test_before_training_it_is_the_weighted_average(name):
    params = begun(NET, LEARNED[name])
    average = run(interp_mv(NET, fusion=BY_DISTANCE), params, *VIDEO)
    scores = run(interp_mv(NET, fusion=LEARNED[name]), params, *VIDEO)
    np.testing.assert_allclose(scores, average, atol=1e-5)


def test_negative_features_make_the_published_code_begin_elsewhere():
    average = run(interp_mv(SIGNED, **QUICK), begun(SIGNED, CONV), *VIDEO)
    conv = run(interp_mv(SIGNED, fusion=CONV, **QUICK), begun(SIGNED, CONV), *VIDEO)
    scheme = interp_mv(SIGNED, fusion=CONV_BEFORE, **QUICK)
    before = run(scheme, begun(SIGNED, CONV_BEFORE), *VIDEO)
    np.testing.assert_allclose(conv, average, atol=1e-5)
    assert np.abs(before - average).max() > 0.1


@each
def test_where_nothing_is_linked_it_is_propagation(name):
    params = trained(SIGNED, LEARNED[name])
    scheme = interp_mv(SIGNED, fusion=LEARNED[name], **QUICK)
    gop = gops_of(scheme, *VIDEO)[0]._replace(is_linked=np.bool_(False))
    scores = jax.jit(scheme.step)(params, scheme.init(params, gop), gop)[1]
    expected = jax.jit(prop_mv(SIGNED, propagation=CHAIN).step)(params, (), gop)[1]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@each
def test_gradients_of_its_variables_are_finite(name):
    params, scheme = trained(NET, LEARNED[name]), interp_mv(NET, fusion=LEARNED[name])
    gop = gops_of(scheme, *VIDEO)[0]

    def loss(fusion, is_linked):
        variables = params | {"params": {"fusion": fusion}}
        scores = scheme.step(
            variables, scheme.init(variables, gop), gop._replace(is_linked=is_linked)
        )[1]
        return jnp.mean(scores**2)

    gradient = jax.jit(jax.grad(loss))
    found = gradient(params["params"]["fusion"], np.bool_(True))
    assert all(np.isfinite(it).all() for it in found.values())
    for part in (*np.split(found["kernel"], 2), found["bias"]):
        assert np.abs(part).max() > 1e-3
    alone = gradient(params["params"]["fusion"], np.bool_(False))
    assert not any(np.any(it) for it in alone.values())


@each
def test_all_ways_to_run_it_agree(name):
    params, scheme = trained(NET, LEARNED[name]), interp_mv(NET, fusion=LEARNED[name], **QUICK)
    gops = gops_of(scheme, *VIDEO)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gops)
    first = state = scheme.init(params, gops[0])
    step, one_by_one = jax.jit(scheme.step), []
    for gop in gops:
        state, scores = step(params, state, gop)
        one_by_one.append(scores)

    def scan(params, state, gops):
        return jax.lax.scan(lambda state, gop: scheme.step(params, state, gop), state, gops)

    for together in (scan, scheme.steps):
        last, scores = jax.jit(together)(params, first, stacked)
        np.testing.assert_allclose(scores, one_by_one, atol=1e-5)
        np.testing.assert_allclose(last, state, atol=1e-5)
    states = jax.vmap(scheme.init, in_axes=(None, 0))(params, stacked)
    mapped = jax.jit(jax.vmap(scheme.step, in_axes=(None, 0, 0)))(params, states, stacked)[1]
    np.testing.assert_allclose(mapped, one_by_one, atol=1e-5)
    eager = scheme.step(params, first, gops[0])[1]
    np.testing.assert_allclose(eager, one_by_one[0], atol=1e-5)


@each
def test_its_state_may_be_donated(name):
    params, labels = begun(NET, LEARNED[name]), []
    height, width = VIDEO[0].shape[1:3]
    for fusion in (BY_DISTANCE, LEARNED[name]):
        scheme = interp_mv(NET, fusion=fusion, **QUICK)
        labeller = compile_scheme(NET, scheme, height=height, width=width)
        labels.append(np.concatenate(list(label_gops(labeller, params, gops_of(scheme, *VIDEO)))))
    assert len(np.unique(labels[0])) > 1
    assert np.mean(labels[0] != labels[1]) < 0.001


@pytest.mark.parametrize(
    ("fusion", "width"), [(BY_DISTANCE, 4), (CONV, 4), (MAX, 8), (CONV_BEFORE, 8)]
)
def test_only_maps_of_the_announced_width_are_warped(fusion, width):
    widths = []

    def fetch(features, carried):
        widths.append(features.shape[-1])
        return CHAIN.fetch(features, carried)

    scheme = interp_mv(
        NET, fusion=fusion, propagation=CHAIN._replace(fetch=fetch), reverse_fn=negate
    )
    params, gop = begun(NET, fusion), gops_of(scheme, *VIDEO)[0]
    jax.eval_shape(scheme.step, params, scheme.init(params, gop), gop)
    assert set(widths) == {width}


@each
def test_variables_that_are_missing_or_anothers_are_refused(name):
    scheme = interp_mv(NET, fusion=LEARNED[name])
    other = CONV_BEFORE if name == "conv" else CONV
    gop = gops_of(scheme, *VIDEO)[0]
    for params in (reference.toy_params(NET) | {"params": {}}, begun(NET, other)):
        with pytest.raises(ValueError, match="add it with init_fusion"):
            jax.eval_shape(scheme.step, params, scheme.init(params, gop), gop)
