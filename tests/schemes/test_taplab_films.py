"""TapLab on films of both codecs: their GOPs, every way to run it, and a scene that is still."""

import jax
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.intervals import cut_into_gops
from jaxseg.regions import ACCUMULATED
from jaxseg.runner import compile_scheme, label_clip, label_gops, segment, stream
from jaxseg.schedules import at_intra_frames, residual_per_pixel, threshold_for_share
from jaxseg.schemes import along_vectors, carry_scores, taplab
from jaxseg.warping import rest
from tests import reference
from tests import reference_taplab as plain
from tests.films import draw_pan, film

HEIGHT, WIDTH, GOP = 48, 64, 12
UNMOVED = along_vectors(fill_fn=rest)

each_encoder = pytest.mark.parametrize("encoder", ["mpeg4", "libx264"])


def cut(path, *, max_length: int = GOP):
    """Cut a film where its codec does."""
    return list(
        cut_into_gops(
            codec.read_frames(path, residual_threshold=30),
            schedule=at_intra_frames(),
            max_length=max_length,
            reads_all_frames=True,
            reads_residual=True,
            looks_ahead=False,
        )
    )


def net_for(frame: np.ndarray):
    """Make a net, and weights by which no class has the highest scores all over a frame."""
    net = plain.context_net(16)
    params = reference.toy_params(net)
    mean = plain.compiled(carry_scores, net).heavy(params, frame).mean((0, 1))
    weights, bias = params["classify"]
    return net, {**params, "classify": (weights, bias - np.asarray(mean))}


@each_encoder
def test_intervals_are_the_codecs_gops(encoder, tmp_path):
    path = film(
        tmp_path / "v.mp4", draw_pan(27, width=WIDTH, height=HEIGHT), encoder=encoder, gop=GOP
    )
    clip = codec.load(path, residual_threshold=30)
    assert np.flatnonzero(clip.picture_types == 1).tolist() == [0, 12, 24]
    gops = cut(path)
    assert [int(gop.length) for gop in gops] == [12, 12, 3]
    for key, gop in zip((0, 12, 24), gops, strict=True):
        inside = slice(key + 1, key + int(gop.length))
        num_steps = int(gop.length) - 1
        np.testing.assert_array_equal(gop.frames[0], clip.frames[key])
        np.testing.assert_array_equal(gop.motion[:num_steps], clip.motion[inside])
        np.testing.assert_array_equal(gop.residual[:num_steps], clip.residual[inside])
        assert gop.residual[:num_steps].any()
        assert not gop.residual[num_steps:].any()
    assert [int(gop.length) for gop in cut(path, max_length=7)] == [7, 5, 7, 5, 3]


def test_all_ways_to_label_a_film_agree(tmp_path):
    path = film(
        tmp_path / "v.mp4", draw_pan(15, width=WIDTH, height=HEIGHT), encoder="mpeg4", gop=GOP
    )
    clip = codec.load(path, residual_threshold=30)
    scores = residual_per_pixel(clip.residual, height=HEIGHT, width=WIDTH)
    inter = scores[clip.picture_types == 2]
    threshold = threshold_for_share(inter, share=0.25)
    assert 0 < (inter > threshold).sum() < len(inter)
    (net, params), ran = net_for(clip.frames[0]), []

    def make_scheme(net):
        return taplab(plain.noting(net, ran), threshold=threshold, motion_source=UNMOVED)

    options = {"make_scheme": make_scheme, "interval": GOP}
    at_once = label_clip(clip, net, params, **options)
    jax.effects_barrier()
    num_hard = int((inter > threshold).sum())
    assert ran.count((HEIGHT, WIDTH)) == 2 + num_hard
    assert 0 < ran.count((32, 32)) <= len(inter) - num_hard
    assert at_once.shape == (15, HEIGHT, WIDTH)
    assert len(np.unique(at_once)) > 1
    for labels in (
        segment(path, net, params, **options),
        stream(codec.read_frames(path, residual_threshold=30), net, params, **options),
    ):
        assert (np.stack(list(labels)) == at_once).mean() > 0.999


def test_a_still_film_repeats_its_keyframes(tmp_path):
    # Flat blocks, which each codec gives as they were.
    blocks = np.random.default_rng(0).integers(16, 235, (3, 4, 1), dtype=np.uint8)
    still = blocks.repeat(16, axis=0).repeat(16, axis=1).repeat(3, axis=2)
    (net, params), ran = net_for(still), []
    # Not even by the sum of all that remained, and the lowest threshold there is.
    scheme = taplab(
        plain.noting(net, ran), correction=ACCUMULATED, threshold=0.0, motion_source=UNMOVED
    )
    labeller = compile_scheme(net, scheme, height=HEIGHT, width=WIDTH)
    for encoder in ("mpeg4", "h264"):
        path = tmp_path / f"{encoder}.mp4"
        codec.encode([still] * 14, path, codec=encoder, gop=GOP, quality=1)
        gops = cut(path)
        assert [int(gop.length) for gop in gops] == [12, 2]
        assert not any(gop.residual.any() for gop in gops)
        ran.clear()
        found = list(label_gops(labeller, params, gops))
        jax.effects_barrier()
        assert ran == [(HEIGHT, WIDTH)] * 2
        for labels in found:
            np.testing.assert_array_equal(labels, np.broadcast_to(labels[0], labels.shape))
            assert len(np.unique(labels)) > 1
    assert labeller.step._cache_size() == 1
