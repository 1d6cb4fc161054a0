"""tf.data gives the batches that plain Python gives; a file of arrays gives what was put in."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data import batches, pipelines
from data.augment import AugmentConfig
from data.cache import decode_record, encode_record, load_examples, save_examples

CONFIG = AugmentConfig(crop=(32, 32))
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("start", [0, 3])
def test_tf_data_gives_the_plain_batches(pan, start):
    stills = [pan(seed) for seed in range(5)]
    options = {"batch_size": 2, "seed": 3, "start": start}
    made = pipelines.training_batches(stills, CONFIG, **options)
    plain = batches.training_batches(stills, CONFIG, **options)
    for left, right in itertools.islice(zip(made, plain, strict=True), 5):
        np.testing.assert_array_equal(left[0], right[0])
        np.testing.assert_array_equal(left[1], right[1])


def test_clips_are_augmented_with_their_motion(pan):
    config = AugmentConfig(crop=(32, 32), scales=(0.5, 0.5), flip=1.0)
    examples = [pan(seed, count=3, dx=8, dy=4) for seed in range(2)]
    batch = next(pipelines.augmented_batches(examples, config, batch_size=2, seed=0))
    assert batch.frames.shape == (2, 3, 32, 32, 3)
    np.testing.assert_array_equal(batch.motion[:, 1:], np.full((2, 2, 4, 4, 2), (4, -2)))


def test_clips_of_several_lengths_make_no_batch(pan):
    with pytest.raises(ValueError, match=r"same number of frames, but they have \[1, 2\]"):
        pipelines.augmented_batches([pan(0), pan(0, count=2)], CONFIG, batch_size=2, seed=0)


@pytest.mark.slow
def test_a_pipeline_in_use_does_not_keep_python_from_ending():
    code = """
import numpy as np
from data import pipelines
from data.augment import AugmentConfig
from data.examples import still
stills = [still(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8))]
batches = pipelines.training_batches(stills, AugmentConfig(crop=(32, 32)), batch_size=2, seed=0)
next(batches)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_the_rest_needs_no_tensorflow():
    names = (
        "data.cache, data.batches, data.augment, data.camvid, data.camvid.originals, data.street"
    )
    code = f"import sys, {names}; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_a_record_is_decoded_to_what_was_encoded(pan):
    source = pan(0, count=14, dx=4)
    record = encode_record(source.frames, source.labels, rate=15)
    assert len(record["file"]) < source.frames.nbytes / 10
    example = decode_record(record)
    assert np.flatnonzero(example.picture_types == 1).tolist() == [0, 12]
    moved = example.motion[1:12][example.inter[1:12]]
    assert np.median(moved, axis=0).tolist() == [-4, 0]
    np.testing.assert_array_equal(example.labels, source.labels)


def test_a_record_of_odd_size_is_cut_to_it(pan):
    source = pan(0, count=2, size=(33, 47))
    example = decode_record(encode_record(source.frames, source.labels, rate=15))
    assert example.frames.shape == (2, 33, 47, 3)
    assert example.motion.shape == (2, 6, 6, 2)
    assert np.abs(example.frames.astype(int) - source.frames).mean() < 4


def test_a_record_of_labels_of_another_size_is_refused(pan):
    with pytest.raises(ValueError, match=r"labels .*48, 32\).*48, 64"):
        encode_record(pan(0, count=2).frames, pan(0, count=2).labels[:, :, :32], rate=15)


def test_saved_examples_are_loaded(pan, tmp_path):
    examples = [pan(0), pan(1, count=3, dx=4, size=(40, 56))]
    save_examples(tmp_path / "a.npz", examples)
    for stored, source in zip(load_examples(tmp_path / "a.npz"), examples, strict=True):
        for left, right in zip(stored, source, strict=True):
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_files_of_another_kind_are_refused(pan, tmp_path):
    path = tmp_path / "a.npz"
    save_examples(path, [pan(0)])
    whole = path.read_bytes()
    np.savez(tmp_path / "other.npz", frames=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    others = {
        "cut.npz": whole[: len(whole) // 2],
        "empty.npz": b"",
        "text.npz": b"hello",
        "other.npz": (tmp_path / "other.npz").read_bytes(),
        "array.npz": (tmp_path / "array.npy").read_bytes(),
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: holds no examples") as caught:
            load_examples(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="none"):
        load_examples(tmp_path / "none.npz")


def test_a_failed_save_leaves_what_was_there(pan, tmp_path, monkeypatch):
    save_examples(tmp_path / "a.npz", [pan(0)])

    def fill_disk(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        save_examples(tmp_path / "a.npz", [pan(1)])
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert len(load_examples(tmp_path / "a.npz")) == 1
