"""AFP, AKS and LLS: scanned, they are the paper's plain loop; and what they must agree with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.adaptive import (
    AdaptiveConfig,
    View,
    adapt_net,
    along_motion,
    codec_deviation,
    learned_deviation,
    predicted_kernels,
    reuse,
    unified_kernel,
)
from jaxseg.arrays import Clip, Params
from jaxseg.intervals import frames_of_clip
from jaxseg.nets import PspnetConfig, predict_labels, segmenter, split_net
from jaxseg.runner import compile_scheme, cut_for_scheme, label_gops
from jaxseg.schemes import Scheme, copy_last, per_frame, prop_mv
from jaxseg.schemes.afp import afp, tracker
from tests import reference
from tests import reference_afp as plain
from tests.reference_taplab import QUICK

CONFIG = AdaptiveConfig(channels=4, kernel_size=3, codec_kernel_size=3)
NET, SPLIT, WEIGHTS = plain.toy_split()
KERNELS, ADAPT = predicted_kernels(CONFIG), adapt_net(CONFIG, num_classes=3)
BY_MOTION = along_motion(stride=plain.STRIDE, config=CONFIG)
AKS, CODEC_AKS = learned_deviation(CONFIG), codec_deviation(CONFIG, stride=plain.STRIDE)

WHOLE = {"fuser": ADAPT, "deviation": AKS, "threshold": 0.595}
BY_CODEC = {"deviation": CODEC_AKS, "threshold": 0.506}
WAYS = {
    "fixed": (KERNELS, {"split": SPLIT}),
    "fixed, fused": (KERNELS, {"split": SPLIT, "fuser": ADAPT}),
    "AKS": (KERNELS, {"split": SPLIT, **WHOLE}),
    "AKS + LLS, 1": (KERNELS, {"split": SPLIT, **WHOLE, "delay": 1}),
    "AKS + LLS, 2": (KERNELS, {"split": SPLIT, **WHOLE, "delay": 2}),
    "AKS + LLS, 3": (KERNELS, {"split": SPLIT, **WHOLE, "delay": 3}),
    "codec, fixed": (BY_MOTION, {}),
    "codec": (BY_MOTION, BY_CODEC),
    "codec + LLS, 2": (BY_MOTION, {**BY_CODEC, "delay": 2}),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    return plain.make_clip(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="module")
def params(clip) -> Params:
    parts = (KERNELS, ADAPT, BY_MOTION, AKS, CODEC_AKS)
    return plain.with_learned(SPLIT, WEIGHTS, clip.frames[0], *parts)


def gops_of(scheme: Scheme, clip: Clip) -> list:
    gops = list(cut_for_scheme(scheme, frames_of_clip(clip), interval=5))
    assert [int(gop.length) for gop in gops] == [5, 4, 3, 5, 3]
    return gops


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_plain_loop(way, clip, params):
    propagator, options = WAYS[way]
    given = {"split": SPLIT, **options}
    is_fixed = "deviation" not in options
    expected = plain.expect(NET, params, clip, propagator, **given, interval=5 * is_fixed)
    if is_fixed:
        assert expected.keys == [0, 5, 9, 12, 17]
    else:
        # Some frames become keyframes, some do not, and none of them by a hair.
        assert 2 < len(expected.keys) < 15
        assert np.abs(np.subtract(expected.deviations, options["threshold"])).min() > 1e-4
    scheme = afp(NET, propagator, **options)
    assert scheme.reads_all_frames == (way != "codec, fixed")
    assert scheme.looks_ahead == (not is_fixed)
    assert scheme.reads_residual == ("codec" in way)
    found = plain.run(scheme, params, clip)
    np.testing.assert_allclose(found, expected.scores, atol=1e-3)


def test_what_the_slow_track_works_on_at_a_cut_is_dropped(clip, params):
    options = {"split": SPLIT, "deviation": AKS, "threshold": -1.0, "delay": 3}
    expected = plain.expect(NET, params, clip, KERNELS, **options)
    assert expected.keys == [0, 1, 4, 7, 9, 10, 13, 16, 19]
    assert expected.dropped == [7]
    scheme = afp(NET, KERNELS, **options)
    np.testing.assert_allclose(plain.run(scheme, params, clip), expected.scores, atol=1e-3)
    # The first frame of a scene is labelled by the net itself.
    alone = NET.classify(params, NET.project(params, NET.features(params, clip.frames[9])))
    np.testing.assert_allclose(expected.scores[9], alone, atol=1e-4)


def test_one_compilation_serves_intervals_of_every_length(clip, params):
    scheme = afp(NET, KERNELS, split=SPLIT, **WHOLE, delay=2)
    labeller = compile_scheme(NET, scheme, height=plain.HEIGHT, width=plain.WIDTH)
    gops = gops_of(scheme, clip)
    found = np.concatenate(list(label_gops(labeller, params, gops)))
    assert labeller.step._cache_size() == 1
    scores = plain.run(scheme, params, clip)
    expected = predict_labels(scores, stride=16, height=plain.HEIGHT, width=plain.WIDTH)
    assert found.shape == (20, plain.HEIGHT, plain.WIDTH)
    assert np.mean(found == expected) > 0.999
    assert len(np.unique(found)) > 1


def test_the_state_counts_keyframes_and_follows_the_threshold(clip, params):
    scheme = afp(NET, BY_MOTION, **BY_CODEC)
    gops = gops_of(scheme, clip)
    step = jax.jit(scheme.step, compiler_options=QUICK)
    nums = []
    for threshold in (0.506, -1.0, 2.0):
        state = scheme.init(params, gops[0])
        state = state._replace(memory=state.memory._replace(threshold=jnp.float32(threshold)))
        for gop in gops:
            state, _ = step(params, state, gop)
        nums.append(int(state.num_keys))
    expected = plain.expect(NET, params, clip, BY_MOTION, split=SPLIT, **BY_CODEC)
    assert nums == [len(expected.keys), 20, 2]


def test_frames_that_all_become_keyframes_are_labelled_by_the_net(clip, params):
    everywhere = afp(NET, KERNELS, split=SPLIT, **WHOLE | {"threshold": -1.0})
    expected = plain.run(per_frame(NET), params, clip, interval=4)
    np.testing.assert_allclose(plain.run(everywhere, params, clip), expected, atol=1e-4)


def test_it_runs_a_real_net_in_two_parts(clip, draw_variables):
    config = PspnetConfig(3, 18, width=8)
    net, split = segmenter(config), split_net(config, after="layer2_1")
    params = draw_variables(jax.eval_shape(net.init, jax.random.key(0), clip.frames[:1]))
    deviation = codec_deviation(CONFIG, stride=8)
    low = jax.eval_shape(split.low, params, clip.frames[0])
    view = View(clip.frames[0], jnp.zeros(low.shape), jnp.zeros(low.shape))
    learned = {it.entry: it.init(jax.random.key(0), view) for it in (KERNELS, deviation)}
    params = {**params, "params": {**params["params"], **learned}}
    short = Clip(*(leaf[6:12] for leaf in clip))
    scheme = afp(net, KERNELS, split=split, deviation=deviation, threshold=-1.0)
    expected = plain.run(per_frame(net), params, short, interval=3)
    found = plain.run(scheme, params, short, interval=3)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("propagator", "other"),
    # In the grid's own cells: where they are coarser, it composes before it takes their mean.
    [(reuse(), copy_last), (along_motion(stride=8), prop_mv)],
    ids=["reuse", "along motion"],
)
def test_at_a_fixed_interval_without_learning_it_is_a_simpler_scheme(clip, propagator, other):
    net = reference.toy_net(stride=8)
    params, scheme = reference.toy_params(net), afp(net, propagator)
    assert not scheme.reads_all_frames
    assert not scheme.looks_ahead
    found = plain.run(scheme, params, clip)
    np.testing.assert_allclose(found, plain.run(other(net), params, clip), atol=1e-4)
    # A delay changes nothing, as those keyframes wait.
    late = plain.run(afp(net, propagator, delay=2), params, clip)
    np.testing.assert_allclose(late, found, atol=1e-5)


@pytest.mark.parametrize(
    ("propagator", "options", "says"),
    [
        (KERNELS, {}, "the propagator must see the lower part of the net, but split is None"),
        (reuse(), {"fuser": ADAPT, "deviation": AKS}, "the fuser and the deviation must see"),
        (reuse(), {"split": SPLIT._replace(stride=32)}, "stride 32, which does not divide 16"),
    ],
)
def test_parts_that_do_not_fit_are_refused(propagator, options, says):
    for make in (tracker, afp):
        with pytest.raises(ValueError, match=says) as error:
            make(NET, propagator, **options)
        assert "\n" not in str(error.value)


def test_a_delay_into_the_past_is_refused():
    with pytest.raises(ValueError, match="delay is -1, but must be 0 or more frames"):
        afp(NET, unified_kernel(CONFIG), delay=-1)
