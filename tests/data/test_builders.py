"""What the builders write is what the source holds, encoded once."""

import functools

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.camvid import camvid_dataset_builder as camvid
from data.camvid import read_sequences, read_stills
from data.pipelines import clips, prepare
from data.street import street_dataset_builder as street
from jaxseg.arrays import PictureType
from jaxseg.codec import encode, load


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    tfds.disable_progress_bar()


def assert_same(first, second):
    for name, left, right in zip(first._fields, first, second, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)
        assert left.dtype == right.dtype, name


def test_camvid_reads_back_its_source(tiny_camvid, tmp_path):
    builder = camvid.Builder(data_dir=tmp_path / "cache", config="segnet")
    prepare(builder, data_dir=tiny_camvid)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 3,
        "val": 1,
    }
    for stored, source in zip(
        clips(builder, "train"), read_stills(tiny_camvid, "train"), strict=True
    ):
        assert_same(stored, source)

    (clip,) = clips(builder, "val")
    (source,) = read_sequences(tiny_camvid, "val")
    encode(source.frames, tmp_path / "v.mp4", rate=15, gop=12, quality=18)
    expected = load(tmp_path / "v.mp4")
    np.testing.assert_array_equal(clip.labels, source.labels)
    np.testing.assert_array_equal(clip.frames, expected.frames)
    np.testing.assert_array_equal(clip.motion, expected.motion)
    np.testing.assert_array_equal(clip.inter, expected.inter)
    np.testing.assert_array_equal(clip.picture_types, expected.picture_types)
    assert np.abs(clip.frames.astype(int) - source.frames).mean() < 4


def test_camvid_says_what_is_missing(tiny_camvid, tmp_path):
    (tiny_camvid / "valannot" / "0016E5_07961.png").unlink()
    builder = camvid.Builder(data_dir=tmp_path / "cache", config="segnet")
    with pytest.raises(ValueError, match=r"valannot/0016E5_07961.png: no such file"):
        prepare(builder, data_dir=tiny_camvid)


def test_street_holds_exact_and_coded_motion(tmp_path, monkeypatch):
    monkeypatch.setattr(street, "render", functools.cache(street.render))
    builder = street.Builder(data_dir=tmp_path, config="tiny")
    prepare(builder)
    assert [len(clip.frames) for clip in clips(builder, "train")] == [1, 1]
    (coded,) = clips(builder, "val")
    (exact,) = clips(builder, "val", motion="exact")
    drawn = street.render(seed=0, num_frames=5, rate=15.0, height=48, width=72)
    np.testing.assert_array_equal(exact.labels, drawn.labels)
    np.testing.assert_array_equal(exact.frames, coded.frames)
    motion, inter = street.exact_blocks(drawn)
    np.testing.assert_array_equal(exact.inter, inter)
    assert np.abs(exact.motion - motion).max() <= 1 / 8
    assert np.any(exact.motion != coded.motion)
    assert coded.picture_types.tolist() == [PictureType.INTRA] + [PictureType.PREDICTED] * 4


def test_exact_blocks_are_means_of_what_was_seen():
    motion = np.zeros((1, 16, 20, 2), np.float32)
    motion[0, :8, :4], motion[0, 8:, 16:] = (-4, 2), (1, 1)
    is_new = np.zeros((1, 16, 20), bool)
    is_new[0, 8:, :8] = True
    blocks, inter = street.exact_blocks(
        street.Street(
            np.zeros((1, 16, 20, 3), np.uint8), np.zeros((1, 16, 20), np.uint8), motion, is_new
        )
    )
    assert blocks.shape == (1, 2, 4, 2)
    assert blocks[0, 0, 0].tolist() == [-2, 1]
    assert blocks[0, 1, 2:].tolist() == [[1, 1], [1, 1]]
    assert inter[0].tolist() == [[True] * 4, [False, True, True, True]]
