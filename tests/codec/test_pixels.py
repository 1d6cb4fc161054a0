"""Reading for the pixels of I-frames alone: all else stays the same, bit by bit."""

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import PictureType


def coded(path, pixels):
    """Collect all that was said about the frames, and the pixels of I-frames."""
    said, images = [], {}
    for frame in codec.read_frames(path, pixels=pixels):
        said.append((frame.time, frame.picture_type, frame.is_cut, frame.motion, frame.inter))
        if frame.picture_type == PictureType.INTRA:
            images[frame.index] = frame.rgb()
    return said, images


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("libx264", {"bf": 0, "refs": 1}),
        ("libx264", {"bf": 2, "refs": 3, "x264-params": "open-gop=1"}),
        ("libx264", {"bf": 0, "flags": "+ildct+ilme"}),
        ("mpeg4", {"bf": 0, "qmin": 20}),
        ("mpeg2video", {"bf": 2, "qmin": 20}),
    ],
    ids=["h264", "open-gop", "interlaced", "mpeg4", "mpeg2"],
)
def test_all_but_the_other_pixels_is_the_same(pan, encode_as, tmp_path, encoder, options):
    if encoder == "libx264":
        options = options | {"crf": 40}  # coarse: the loop filter has much to do
    frames = pan(1, 15, 3, 1, height=180, width=216) + pan(2, 20, 2, 2, height=180, width=216)
    path = encode_as(frames, tmp_path / "v.mkv", encoder, gop=10, **options)
    (said, images), (expected, expected_images) = coded(path, "intra"), coded(path, "all")
    assert len(said) == 35
    assert len(images) >= 3
    assert sum(is_cut for _, _, is_cut, _, _ in said) == 1
    for one, other in zip(said, expected, strict=True):
        assert one[:3] == other[:3]
        np.testing.assert_array_equal(one[3], other[3])
        np.testing.assert_array_equal(one[4], other[4])
    assert images.keys() == expected_images.keys()
    for index, image in images.items():
        np.testing.assert_array_equal(image, expected_images[index])


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
def test_other_frames_have_no_pixels(pan, tmp_path, encoder):
    codec.encode(pan(0, 5, 3, 1), tmp_path / "v.mp4", codec=encoder, gop=4)
    refused = []
    for frame in codec.read_frames(tmp_path / "v.mp4", pixels="intra"):
        if frame.picture_type != PictureType.INTRA:
            with pytest.raises(codec.CodecError, match=f"frame {frame.index} is no I-frame"):
                frame.rgb()
            refused.append(frame.index)
    assert refused == [1, 2, 3]


def test_residual_needs_all_pixels(pan, tmp_path):
    codec.encode(pan(0, 2), tmp_path / "v.mp4")
    with pytest.raises(codec.CodecError, match="threshold 30 need the pixels of every frame"):
        next(codec.read_frames(tmp_path / "v.mp4", pixels="intra", residual_threshold=30))


@pytest.mark.parametrize("gop", [5, 50])
@pytest.mark.parametrize("quality", [20, 30, 45])
def test_the_same_cuts_without_the_filter(pan, tmp_path, gop, quality):
    lengths = (7, 13, 5, 10, 9, 6)
    frames = [f for seed, count in enumerate(lengths) for f in pan(seed, count, seed, 1)]
    path = tmp_path / "v.mp4"
    codec.encode(frames, path, gop=gop, quality=quality)
    every = [frame.index for frame in codec.read_frames(path) if frame.is_cut]
    found = [frame.index for frame in codec.read_frames(path, pixels="intra") if frame.is_cut]
    assert every == list(np.cumsum(lengths)[:-1])
    # The coarse stream drifts so much that there are more than these.
    assert set(every) <= set(found) if quality > 30 else every == found
