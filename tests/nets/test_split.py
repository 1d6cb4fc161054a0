"""A net cut within its backbone: one part after the other is the net itself."""

import jax
import numpy as np
import pytest

from jaxseg.geometry import pad_frames
from jaxseg.nets import IcnetConfig, MobileNetConfig, NetConfig, PspnetConfig, segmenter, split_net

FRAMES = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)

NETS = {
    "pspnet18": (PspnetConfig(5, 18, width=8), ("layer1_0", "layer2_1", "layer3_0", "layer4_1")),
    "pspnet50": (PspnetConfig(5, 50, width=8), ("layer3_2", "layer4_2")),
    "deeplab18": (
        NetConfig(5, 18, output_stride=32, deformable_groups=2, width=8),
        ("layer1_1", "layer3_0", "layer4_0"),
    ),
    "deeplab50": (NetConfig(5, 50, output_stride=16, width=8), ("layer2_3", "layer4_2")),
}


@pytest.fixture(scope="module", params=NETS)
def built(request, draw_variables):
    """Draw a net's variables, and see what its features are."""
    config, cuts = NETS[request.param]
    net = segmenter(config)
    params = draw_variables(jax.eval_shape(net.init, jax.random.key(0), FRAMES))
    return config, cuts, params, np.asarray(net.features(params, FRAMES))


def test_one_part_after_the_other_is_the_net_bit_for_bit(built):
    config, cuts, params, features = built
    assert len(np.unique(features)) > 100
    for after in cuts:
        split = split_net(config, after=after)
        low = split.low(params, FRAMES)
        assert low.shape[:3] == (2, 32 // split.stride, -(-48 // split.stride)), after
        np.testing.assert_array_equal(split.high(params, low), features, err_msg=after)


def test_in_small_steps_it_is_the_net_bit_for_bit(built):
    config, cuts, params, features = built
    after = cuts[-2]
    split = split_net(config, after=after)
    low = split.low(params, FRAMES)
    maps = [low]
    for step in split.steps:
        maps.append(step(params, maps[-1]))
    np.testing.assert_array_equal(maps[-1], features)
    # Each step but the last is one block: the lower part of the net that is cut there.
    names = _names(params)
    following = names[names.index(after) + 1]
    low = split_net(config, after=following).low(params, FRAMES)
    np.testing.assert_array_equal(maps[1], low)
    assert len(split.steps) == len(names) - names.index(after)


def _names(params) -> list[str]:
    names = params["params"]["features"]["backbone"]
    return sorted(name for name in names if name.startswith("layer"))


@pytest.mark.parametrize(
    ("config", "strides"),
    [
        (PspnetConfig(5, 18, width=8), (4, 8, 8, 8)),
        (NetConfig(5, 50, output_stride=16, width=8), (4, 8, 16, 16)),
        (NetConfig(5, 18, output_stride=32, width=8), (4, 8, 16, 32)),
    ],
)
def test_the_stride_is_that_of_the_stage(config, strides):
    params = jax.eval_shape(segmenter(config).init, jax.random.key(0), FRAMES)
    for stage, stride in enumerate(strides, start=1):
        split = split_net(config, after=f"layer{stage}_1")
        assert split.stride == stride
        low = jax.eval_shape(split.low, params, FRAMES)
        assert low.shape[:3] == (2, 32 // stride, -(-48 // stride))


@pytest.mark.parametrize("built", ["pspnet18"], indirect=True)
def test_a_frame_is_padded_and_needs_no_batch(built):
    config, cuts, params, _ = built
    low = split_net(config, after=cuts[0]).low
    frame = FRAMES[0, :27, :40]
    np.testing.assert_array_equal(low(params, frame), low(params, pad_frames(frame)[None])[0])


@pytest.mark.parametrize(
    ("config", "after", "says"),
    [
        (NetConfig(5, 18, ladder_stride=4), "layer3_0", "resnet18 cannot be cut in two"),
        (MobileNetConfig(5), "layer3_0", "cannot be cut in two, .* give a PSPNet, or a DeepLab"),
        (IcnetConfig(5), "layer3_0", "cannot be cut in two"),
        (PspnetConfig(5, 18), "layer3_2", "after is 'layer3_2', but must be one of layer1_0, "),
        (NetConfig(5, 50), "conv4_3", "after is 'conv4_3', but must be one of .*, layer4_2"),
    ],
)
def test_nets_and_cuts_that_do_not_fit_are_refused(config, after, says):
    with pytest.raises(ValueError, match=says) as error:
        split_net(config, after=after)
    assert "\n" not in str(error.value)
