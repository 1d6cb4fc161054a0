"""What schemes take from the residual for granted, on files of both codecs.

The prediction is made anew here, block by block from FFmpeg's own list of vectors: nothing of
jaxseg's grid of motion or of its compensation is used.
"""

import time
from collections import Counter

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import PictureType
from jaxseg.codec import opening, reading
from jaxseg.regions import count_above, region_corners, region_scores, sum_up
from jaxseg.schedules import residual_per_pixel
from tests.films import draw_pan

CODECS = ("mpeg4", "h264")
SIZES = (48, 64), (58, 70)
"""Heights and widths: of whole blocks of 16, and of none."""

THRESHOLD = 30


def predict(before, vectors):
    """Move each block of a frame, by whole pixels; what has no vector stays where it is."""
    height, width = before.shape[:2]
    predicted = before.copy()
    for it in vectors:
        top, left = it["dst_y"] - it["h"] // 2, it["dst_x"] - it["w"] // 2
        dx, dy = (int(np.rint(it[name] / it["motion_scale"])) for name in ("motion_x", "motion_y"))
        for y in range(max(top, 0), min(top + it["h"], height)):
            for x in range(max(left, 0), min(left + it["w"], width)):
                there = min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)
                predicted[y, x] = before[there]
    return predicted


def decode(path):
    """Give each picture of a file and its vectors, by PyAV alone."""
    with av.open(path) as container:
        container.streams.video[0].codec_context.options = {"flags2": "+export_mvs"}
        for picture in container.decode(video=0):
            vectors = picture.side_data.get("MOTION_VECTORS")
            known = [] if vectors is None else vectors.to_ndarray().copy()
            yield picture.to_ndarray(format="rgb24"), known


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("encoder", CODECS)
def test_prediction_and_residual_are_the_frame(encoder, size, tmp_path):
    path, (height, width) = tmp_path / "v.mp4", size
    frames = draw_pan(14, width=width, height=height, dx=3, dy=1)
    codec.encode(frames, path, codec=encoder, gop=12)
    clip = codec.load(path, residual_threshold=THRESHOLD)
    before = None
    for index, (frame, vectors) in enumerate(decode(path)):
        np.testing.assert_array_equal(clip.frames[index], frame)
        if before is None:
            assert not clip.residual[index].any()
            before = frame
            continue
        expected = predict(before, vectors)
        residual = frame.astype(int) - expected
        # In uint8, where what is below zero comes round from 255: every pixel, exactly.
        warped = codec.motion_compensate(clip.frames[index - 1], clip.motion[index])
        np.testing.assert_array_equal(warped + residual.astype(np.uint8), frame)
        for y, x in np.ndindex(*clip.residual.shape[1:3]):
            cell = np.abs(residual[16 * y : 16 * y + 16, 16 * x : 16 * x + 16])
            assert clip.residual[index, y, x, 0] == cell.sum()
            assert clip.residual[index, y, x, 1] == (cell.max(axis=-1) > THRESHOLD).sum()
        before = frame
    types = [PictureType.INTRA] + 11 * [PictureType.PREDICTED]
    assert clip.picture_types.tolist() == [*types, *types[:2]]
    # Of an I-frame it is what changed in place, of a P-frame what motion leaves.
    assert clip.residual[12, ..., 0].sum() > 2 * clip.residual[11, ..., 0].sum()


@pytest.mark.parametrize("encoder", CODECS)
def test_where_nothing_changes_all_scores_are_zero(encoder, tmp_path):
    # Flat blocks, which each codec gives as they were, in I- and in P-frames.
    scene = np.random.default_rng(0).integers(16, 235, (4, 6, 1), dtype=np.uint8)
    still = scene.repeat(16, axis=0).repeat(16, axis=1).repeat(3, axis=2)[:58, :90]
    path = tmp_path / "v.mp4"
    codec.encode([still] * 14, path, codec=encoder, gop=12, quality=1)
    clip = codec.load(path, residual_threshold=0)
    assert not clip.motion.any()
    np.testing.assert_array_equal(clip.frames, np.broadcast_to(clip.frames[0], clip.frames.shape))
    assert clip.frames[0].std() > 20
    assert not clip.residual.any()
    assert not residual_per_pixel(clip.residual, height=58, width=90).any()
    corners = region_corners(58, 90, size=(32, 32), stride=(16, 16))
    for score_fn in (count_above, sum_up):
        cells = score_fn(clip.residual).sum(axis=0)
        assert not np.any(region_scores(cells, corners, size=(32, 32)))


def count_work(path, monkeypatch, *, residual_threshold):
    """Read a video, and count what was done to how many things."""
    counts = Counter()

    def counting(name, function, amount_fn):
        def counted(*args, **options):
            result = function(*args, **options)
            counts[name] += amount_fn(result, *args)
            return result

        return counted

    with monkeypatch.context() as patch:
        for name, place, attribute, amount_fn in (
            ("opened", opening, "_open", lambda container, path: 1),
            ("packets", opening, "_decode_packet", lambda pictures, packet: packet.size > 0),
            ("pictures", opening, "_decode_packet", lambda pictures, packet: len(pictures)),
            ("converted", reading._Pixels, "rgb", lambda rgb, pixels: 1),
            ("compared", reading, "residual_statistics", lambda cells, frame, predicted: 1),
        ):
            patch.setattr(place, attribute, counting(name, getattr(place, attribute), amount_fn))
        for _ in codec.read_frames(path, residual_threshold=residual_threshold):
            pass
    return counts


@pytest.mark.parametrize("encoder", CODECS)
def test_one_pass_does_for_each_frame_the_same(encoder, tmp_path, monkeypatch):
    for count in (1, 13, 50):
        path = tmp_path / f"{count}.mp4"
        codec.encode(draw_pan(count), path, codec=encoder, gop=12)
        found = count_work(path, monkeypatch, residual_threshold=THRESHOLD)
        assert found.pop("opened") == 1
        assert found == dict.fromkeys(("packets", "pictures", "converted", "compared"), count)
        found = count_work(path, monkeypatch, residual_threshold=None)
        assert (found["pictures"], found["converted"], found["compared"]) == (count, 0, 0)


@pytest.mark.slow
def test_time_is_linear_in_the_number_of_frames(tmp_path):
    def seconds(count):
        path = tmp_path / f"{count}.mp4"
        codec.encode(draw_pan(count, dx=1, dy=0), path, codec="mpeg4", gop=12)
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            for _ in codec.read_frames(path, residual_threshold=THRESHOLD):
                pass
            times.append(time.perf_counter() - begin)
        return min(times)

    # Decoding from the start of the file for every frame would take 64 times as long.
    assert seconds(400) < 20 * seconds(50)
