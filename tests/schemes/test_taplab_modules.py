"""What TapLab reads, refuses and defaults to; its derivatives; batches; and flow as its motion."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import Flow
from jaxseg.regions import Correction, count_above, region_corners, scaled_region, sum_up
from jaxseg.schedules import PAPER_THRESHOLD, Limit
from jaxseg.schemes import along_flow, along_vectors, carry_scores, ffw, taplab
from jaxseg.schemes.taplab import Step
from jaxseg.warping import fill, rest, warp
from tests import reference
from tests import reference_taplab as plain

NET = plain.context_net(16)
PARAMS = reference.toy_params(NET)
VIDEO = plain.draw_video()
BOTH = {
    "correction": Correction(size=plain.SIZE, stride=plain.STEP),
    "threshold": plain.THRESHOLD,
}
CORRECTED = BOTH | {"threshold": None}
UNMOVED = along_vectors(fill_fn=rest)


def trace(scheme) -> str:
    """Write down the program of a step."""
    gop = plain.gops_of(scheme, VIDEO)[0]
    state = jax.eval_shape(scheme.init, PARAMS, gop)
    return str(jax.make_jaxpr(scheme.step)(PARAMS, state, gop))


def known_flow(motion: np.ndarray, *, stride: int = 8) -> Flow:
    """Look up the motion of a frame by its number; its reference must be the frame before it."""

    def estimate(params, before, frames):
        number, last = (it[..., 0, 0, 0].astype(jnp.int32) for it in (frames, before))
        found = jnp.asarray(motion)[number]
        return jnp.where(number == last + 1, found, jnp.full_like(found, jnp.nan))

    return Flow(init=lambda key, frames: {}, estimate=estimate, stride=stride)


def test_motion_may_be_a_flows():
    flow = 12 * np.random.default_rng(5).standard_normal(VIDEO.motion.shape, np.float32)
    scheme = taplab(NET, **BOTH, motion_source=along_flow(known_flow(flow)))
    expected, labelled = plain.expect(
        carry_scores, NET, PARAMS, VIDEO, warp=reference.warp, flow=flow, **BOTH
    )
    assert labelled.num_corrections > 0
    assert len(labelled.keys) > 4
    np.testing.assert_allclose(plain.run(scheme, PARAMS, VIDEO)[0], expected, atol=1e-4)


@pytest.mark.parametrize(("stride", "cells"), [(16, (3, 4)), (8, (6, 8)), (4, (12, 16))])
def test_a_flow_comes_in_the_nets_cells(stride, cells):
    # Constant in space: whatever the strides are, a cell moves by so many pixels.
    pixels = np.float32([12, -8])
    flow = np.broadcast_to(pixels, (plain.NUM_FRAMES, *cells, 2))
    source = along_flow(known_flow(flow, stride=stride))
    step = Step(VIDEO.frames[3:5], VIDEO.motion[4], VIDEO.inter[4], None, np.bool_(True))
    found = source.motion_fn(PARAMS, step, 8)
    np.testing.assert_allclose(found, np.broadcast_to(pixels / 8, (6, 8, 2)), rtol=1e-6)


@pytest.mark.parametrize("motion_source", [UNMOVED, along_flow(known_flow(VIDEO.motion))])
def test_nothing_is_read_that_no_module_reads(motion_source):
    for options, reads in (
        ({"correction": None, "threshold": None}, False),
        (CORRECTED, True),
        (BOTH | {"correction": None}, True),
        (BOTH, True),
    ):
        scheme = taplab(NET, **options, motion_source=motion_source)
        assert scheme.reads_residual == reads
        assert scheme.reads_all_frames == (reads or motion_source.reads_all_frames)
        assert not scheme.looks_ahead
        for gop in plain.gops_of(scheme, VIDEO):
            assert (gop.residual is not None) == reads
            assert len(gop.frames) == (plain.INTERVAL if scheme.reads_all_frames else 1)


def test_ffw_is_taplab_without_corrections():
    assert trace(ffw(NET)) == trace(taplab(NET, correction=None, threshold=None))


def test_what_the_paper_says_is_the_default():
    side, half = scaled_region(40, 56)
    correction = Correction(
        size=(side, side),
        stride=(half, half),
        num_regions=1,
        alpha=0.6,
        score_fn=count_above,
        memory=0.0,
    )
    spelled_out = taplab(
        NET,
        correction=correction,
        threshold=PAPER_THRESHOLD,
        tracking=None,
        motion_source=along_vectors(fill_fn=fill),
        warp_fn=warp,
        cut_fn=carry_scores,
    )
    assert trace(taplab(NET)) == trace(spelled_out)
    gop = plain.gops_of(spelled_out, VIDEO)[0]
    assert float(spelled_out.init(PARAMS, gop).threshold) == pytest.approx(17.166, abs=1e-3)


def test_a_region_is_half_of_its_size_from_the_next_one():
    given = [Correction(size=(32, 48)), Correction(size=(32, 48), stride=(16, 16))]
    texts = {trace(taplab(NET, correction=it, motion_source=UNMOVED)) for it in given}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": (24, 32)}, "size is 24x32, but both must be multiples of 16"),
        ({"size": (32, 32), "stride": (16, 8)}, "stride is 16x8, but both must be multiples of 16"),
        ({"size": (64, 32)}, "size is 64x32, but the frame has 40x56 pixels"),
    ],
)
@pytest.mark.parametrize("stride", [8, 16])
def test_regions_that_do_not_fit_are_refused(stride, options, says):
    net = plain.context_net(stride)
    scheme = taplab(net, correction=Correction(**options), motion_source=UNMOVED)
    if stride == 16 and "multiples" in says:
        says = "do not fit a net of stride 16; give multiples of 16"
    with pytest.raises(ValueError, match=says) as error:
        trace(scheme)
    assert "\n" not in str(error.value)


def test_gradients_reach_the_net_through_warps_and_regions():
    scheme = taplab(NET, **BOTH, motion_source=UNMOVED)
    gop = plain.gops_of(scheme, VIDEO)[0]

    def loss(params):
        scores = scheme.step(params, scheme.init(params, gop), gop)[1]
        return jnp.mean(scores**2)

    gradient = jax.jit(jax.grad(loss), compiler_options=plain.QUICK)(PARAMS)
    assert all(np.isfinite(it).all() for it in jax.tree.leaves(gradient))
    rng = np.random.default_rng(7)
    along = jax.tree.map(lambda it: rng.standard_normal(it.shape, np.float32), PARAMS)

    def plain_loss(size):
        there = jax.tree.map(lambda it, by: it + np.float32(size) * by, PARAMS, along)
        scores, labelled = plain.expect(
            carry_scores, NET, there, VIDEO, warp=reference.warp, **BOTH
        )
        assert labelled.keys[:3] == [0, 3, 6]  # two frames are carried on either side
        return np.mean(scores[: plain.INTERVAL].astype(np.float64) ** 2)

    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(along), strict=True)
    slope = math.fsum(float(np.vdot(*pair)) for pair in pairs)
    assert abs(slope) > 0.01
    assert slope == pytest.approx((plain_loss(0.01) - plain_loss(-0.01)) / 0.02, rel=0.01)


def test_videos_side_by_side_are_those_one_by_one():
    scheme = taplab(NET, **BOTH, motion_source=UNMOVED)
    videos = [VIDEO, plain.draw_video(1)]
    first = [plain.gops_of(scheme, it)[0] for it in videos]
    gops = jax.tree.map(lambda *leaves: np.stack(leaves), *first)
    thresholds = jnp.float32([plain.THRESHOLD, 1000])  # the second video has no hard frames
    limits = Limit(thresholds, jnp.zeros(2))
    step = jax.jit(jax.vmap(scheme.step, (None, 0, 0)), compiler_options=plain.QUICK)
    found, scores = step(PARAMS, limits, gops)
    np.testing.assert_array_equal(found, limits)
    for video, threshold, labelled in zip(videos, thresholds, scores, strict=True):
        alone = {**BOTH, "threshold": float(threshold)}
        expected, _ = plain.expect(carry_scores, NET, PARAMS, video, warp=reference.warp, **alone)
        np.testing.assert_allclose(labelled, expected[: plain.INTERVAL], atol=1e-4)


def test_a_region_with_the_whole_frame_as_its_margin_is_labelled_as_in_the_frame():
    video = VIDEO._replace(residual=np.full_like(VIDEO.residual, 90))
    height, width = video.frames.shape[1:3]
    corners = region_corners(height, width, size=plain.SIZE, stride=plain.SIZE)
    everywhere = Correction(
        size=plain.SIZE, stride=plain.SIZE, num_regions=len(corners), alpha=1.0, score_fn=sum_up
    )
    whole = carry_scores(NET).heavy(PARAMS, video.frames)
    for margin, agrees in ((16 * (height + width), True), (0, False)):
        scheme = taplab(NET, correction=everywhere._replace(margin=margin), threshold=None)
        scores, _ = plain.run(scheme, PARAMS, video)
        assert np.allclose(scores, whole, atol=1e-4) == agrees


def test_a_margin_of_half_a_cell_is_refused():
    correction = Correction(size=plain.SIZE, stride=plain.STEP, margin=8)
    scheme = taplab(NET, correction=correction, threshold=None)
    with pytest.raises(ValueError, match="margin of 8"):
        trace(scheme)
