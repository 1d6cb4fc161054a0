"""Scene cuts: found where scenes change, and nowhere else."""

from itertools import combinations, pairwise

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from PIL import Image

from jaxseg import codec
from jaxseg.codec.cuts import SAME_SCENE, luma_thumbnail, scene_correlation


def cuts(path):
    return list(np.flatnonzero(codec.load(path, frames=None).is_cut))


@pytest.mark.parametrize(
    ("encoder", "off"), [("libx264", 0), ("mpeg4", 1_000_000_000)], ids=["h264", "mpeg4"]
)
@pytest.mark.parametrize("finds_cuts", [True, False])
@pytest.mark.parametrize("at", [7, 12])
def test_cut_is_found_at_its_frame(pan, encode_as, tmp_path, encoder, off, finds_cuts, at):
    frames = pan(1, at, 4) + pan(2, 9, 2, 2)
    threshold = 40 if finds_cuts else off
    path = encode_as(frames, tmp_path / "v.mp4", encoder, bf=0, refs=1, sc_threshold=threshold)
    assert cuts(path) == [at]


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
def test_fast_pan_is_no_cut(pan, tmp_path, encoder):
    codec.encode(pan(1, 14, 32, 8), tmp_path / "v.mp4", codec=encoder, gop=4)
    assert cuts(tmp_path / "v.mp4") == []


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
def test_change_of_brightness_is_no_cut(pan, tmp_path, encoder):
    ramp = np.linspace(0, 1, 14)
    frames = [(f * r).astype(np.uint8) for f, r in zip(pan(1, 14), ramp, strict=True)]
    codec.encode(frames, tmp_path / "v.mp4", codec=encoder, gop=4)
    assert cuts(tmp_path / "v.mp4") == []


def test_cut_to_black_and_back(pan, tmp_path):
    black = [np.zeros((240, 320, 3), np.uint8)] * 4
    codec.encode(pan(1, 4) + black + pan(1, 4), tmp_path / "v.mp4", gop=4)
    assert cuts(tmp_path / "v.mp4") == [4, 8]


def test_correlation_ignores_brightness_contrast_and_small_moves():
    rng = np.random.default_rng(0)
    image = rng.normal(100, 20, (36, 72)).astype(np.float32)
    assert scene_correlation(image[:, :64], image[:, 8:]) == pytest.approx(1, abs=1e-2)
    assert scene_correlation(image[:, :64], image[:, :64] * 0.5 + 90) > 0.95
    assert scene_correlation(image[:, :64], rng.normal(100, 20, (36, 64)).astype("f")) < 0.5
    flat = np.full((36, 64), 7, np.float32)
    assert scene_correlation(flat, flat + 50) == pytest.approx(1, abs=1e-2)
    assert scene_correlation(flat, image[:, :64]) < 0.5


def test_threshold_separates_real_scenes(camvid_dir):
    reformatter = VideoReformatter()

    def thumbnails(split, step):
        for file in sorted((camvid_dir / split).glob("*.png"))[::step]:
            with Image.open(file) as image:
                picture = av.VideoFrame.from_image(image.convert("RGB"))
            yield luma_thumbnail(picture, reformatter)

    video = list(thumbnails("val", 1))[:40]
    scenes = list(thumbnails("train", 30))
    assert min(scene_correlation(*pair) for pair in pairwise(video)) > SAME_SCENE
    assert max(scene_correlation(*pair) for pair in combinations(scenes, 2)) < SAME_SCENE
