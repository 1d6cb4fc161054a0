"""CamVid in every form in which a user may have it, and what is missing said in one line."""

import numpy as np
import pytest
from PIL import Image

from data.camvid import read_sequences, read_stills
from data.camvid.originals import (
    FILMS,
    LABELS,
    ORIGINAL_CLASSES,
    PICTURES,
    labels_from_colours,
    read_originals,
    read_runs,
)
from data.camvid.reading import list_pairs
from data.examples import DataError, class_counts
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CAMVID
from jaxseg.codec import encode

SKY, WALL, VOID = (128, 128, 128), (64, 192, 0), (0, 0, 0)


@pytest.fixture
def originals(tmp_path):
    """Make the originals' layout of labelled frames of one film; give it and the film."""
    rng = np.random.default_rng(0)
    scene = rng.integers(60, 200, size=(6, 40, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    film = np.stack([scene[:, 2 * i :][:, :64] for i in range(60)])
    colours = np.full((48, 64, 3), SKY, np.uint8)
    colours[24:], colours[0, 0] = WALL, VOID
    for folder in (PICTURES, LABELS, FILMS):
        (tmp_path / folder).mkdir()
    names = [f"0006R0_f{number:05d}" for number in (5, 40, 42)]
    for name in names:
        Image.fromarray(film[int(name[-5:])]).save(tmp_path / PICTURES / f"{name}.png")
        Image.fromarray(colours).save(tmp_path / LABELS / f"{name}_L.png")
    lines = [f"/SegNet/CamVid/train/{n}.png /SegNet/CamVid/trainannot/{n}.png" for n in names]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    return tmp_path, film


def replace(path, pixels):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def assert_one_line(caught, *words):
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_stills_have_void_ignored(tiny_camvid):
    stills = read_stills(tiny_camvid, "train")
    assert [still.frames.shape for still in stills] == [(1, 48, 64, 3)] * 3
    assert all(still.labels[0, 0, 0] == IGNORE_LABEL for still in stills)
    assert all(still.labels[0, 1:].max() < 11 for still in stills)
    assert class_counts(stills, num_classes=11).sum() == 3 * (48 * 64 - 1)


def test_only_consecutive_frames_make_a_sequence(tiny_camvid):
    assert not list(read_sequences(tiny_camvid, "train"))
    (sequence,) = read_sequences(tiny_camvid, "val")
    assert (sequence.name, sequence.rate, len(sequence.frames)) == ("0016E5_07959", 15, 3)


def test_every_pair_is_in_one_run(tiny_camvid):
    runs = list(read_runs(list_pairs(tiny_camvid, "train") + list_pairs(tiny_camvid, "val")))
    assert [len(run.frames) for run in runs] == [1, 1, 1, 3]
    assert [run.rate for run in runs] == [0, 0, 0, 15]
    (sequence,) = read_sequences(tiny_camvid, "val")
    np.testing.assert_array_equal(runs[-1].frames, sequence.frames)
    np.testing.assert_array_equal(runs[-1].labels, sequence.labels)


def test_labels_of_another_size(tiny_camvid):
    replace(tiny_camvid / "trainannot" / "0001TP_006690.png", np.zeros((24, 32)))
    with pytest.raises(DataError) as caught:
        read_stills(tiny_camvid, "train")
    assert_one_line(caught, "0001TP_006690.png", "32x24", "64x48")


def test_unknown_class_id(tiny_camvid):
    replace(tiny_camvid / "valannot" / "0016E5_07961.png", np.full((48, 64), 12))
    with pytest.raises(DataError) as caught:
        list(read_sequences(tiny_camvid, "val"))
    assert_one_line(caught, "0016E5_07961.png", "12", "0..10")


@pytest.mark.parametrize("name", ["train.txt", "train/0001TP_006720.png"])
def test_missing_file(tiny_camvid, name):
    (tiny_camvid / name).unlink()
    with pytest.raises(DataError) as caught:
        read_stills(tiny_camvid, "train")
    assert_one_line(caught, name, "no such file")


def test_broken_picture(tiny_camvid):
    (tiny_camvid / "train" / "0001TP_006690.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError) as caught:
        read_stills(tiny_camvid, "train")
    assert_one_line(caught, "0001TP_006690.png", "cannot be read")


def test_colours_of_32_classes_become_11():
    members = [(name, rgb) for name, group in ORIGINAL_CLASSES.items() for rgb in group.values()]
    assert len({rgb for _, rgb in members}) == 32
    labels = labels_from_colours(np.array([[rgb for _, rgb in members]], np.uint8), source="x.png")
    expected = [CAMVID.names.index(n) if n != "void" else IGNORE_LABEL for n, _ in members]
    np.testing.assert_array_equal(labels[0], expected)


def test_unknown_colour():
    colours = np.full((4, 6, 3), SKY, np.uint8)
    colours[2, 3] = (1, 2, 3)
    with pytest.raises(DataError) as caught:
        labels_from_colours(colours, source="a_L.png")
    assert_one_line(caught, "a_L.png", "(1, 2, 3)", "row 2, column 3")


def test_originals_without_a_film(originals):
    folder, film = originals
    still, run = read_originals(folder, "train")
    assert (len(still.frames), len(run.frames), run.rate) == (1, 2, 15)
    np.testing.assert_array_equal(run.frames, film[[40, 42]])
    assert [still.labels[0, y, 0] for y in (0, 1, 47)] == [IGNORE_LABEL, 0, 1]


def test_originals_with_their_film(originals):
    folder, film = originals
    encode(film, folder / FILMS / "0006R0.avi", codec="mpeg4", quality=1)
    first, second = read_originals(folder, "train")
    assert (first.rate, len(first.frames), len(second.frames)) == (30, 17, 25)
    labelled = (second.labels != IGNORE_LABEL).any(axis=(1, 2))
    assert np.flatnonzero(labelled).tolist() == [40 - 29, 42 - 29]
    assert np.abs(second.frames.astype(int) - film[29:54]).mean() < 12


def test_film_that_is_too_short(originals):
    folder, film = originals
    encode(film[:42], folder / FILMS / "0006R0.mp4")
    with pytest.raises(DataError) as caught:
        list(read_originals(folder, "train"))
    assert_one_line(caught, "0006R0.mp4", "frame 41", "f00042")


def test_film_of_something_else(originals):
    folder, film = originals
    encode(255 - film, folder / FILMS / "0006R0.mp4")
    with pytest.raises(DataError) as caught:
        list(read_originals(folder, "train"))
    assert_one_line(caught, "frame 5 differs", "grey levels")


def test_real_camvid(camvid_dir):
    assert len(list_pairs(camvid_dir, "train")) == 367
    assert len(list_pairs(camvid_dir, "val")) == 101
    (sequence,) = read_sequences(camvid_dir, "val")
    assert (sequence.rate, sequence.frames.shape) == (15, (101, 360, 480, 3))
    assert set(np.unique(sequence.labels)) <= {*range(11), IGNORE_LABEL}
