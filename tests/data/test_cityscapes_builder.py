"""What the Cityscapes builder writes is what the source holds, encoded once."""

import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.cityscapes import cityscapes_dataset_builder as cityscapes
from data.cityscapes import find_snippets, read_snippet, read_stills
from data.pipelines import clips, prepare
from tests.snippets import write_snippet


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    tfds.disable_progress_bar()
    root = tmp_path_factory.mktemp("cityscapes")
    write_snippet(root, "train", "ulm", labelled=3, numbers=range(6))
    write_snippet(root, "val", "lindau", labelled=19, numbers=range(15, 23), seed=1)
    write_snippet(root, "val", "munster", labelled=2, numbers=range(5), seed=2)
    return root


def test_stills_read_back_their_source(root, tmp_path):
    builder = cityscapes.Builder(data_dir=tmp_path, config="stills")
    prepare(builder, data_dir=root)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 1,
        "val": 2,
    }
    for stored, source in zip(clips(builder, "val"), read_stills(root, "val"), strict=True):
        for name, left, right in zip(stored._fields, stored, source, strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)


def test_snippets_read_back_their_source(root, tmp_path):
    builder = cityscapes.Builder(data_dir=tmp_path, config="snippets")
    prepare(builder, data_dir=root)
    for stored, snippet in zip(clips(builder, "val"), find_snippets(root, "val"), strict=True):
        source = read_snippet(snippet)
        np.testing.assert_array_equal(stored.labels, source.labels)
        assert np.abs(stored.frames.astype(int) - source.frames).mean() < 12
        assert np.median(stored.motion[1:][stored.inter[1:]], axis=0).tolist() == [-2, 0]


def test_what_is_missing_is_said(tmp_path):
    builder = cityscapes.Builder(data_dir=tmp_path / "cache", config="snippets")
    write_snippet(tmp_path / "source", "train", "ulm", labelled=3, numbers=range(6))
    shutil.rmtree(tmp_path / "source" / "gtFine")
    with pytest.raises(ValueError, match=r"lacks gtFine/train/ \(gtFine_trainvaltest\.zip\);"):
        prepare(builder, data_dir=tmp_path / "source")
