"""Cityscapes as it is published: which frames belong together, and what is missing in one line."""

import numpy as np
import pytest
from PIL import Image

from data.cityscapes import find_snippets, read_snippet, read_stills, write_submission
from data.cityscapes.reading import read_labels, train_labels
from data.examples import DataError, Lazy, class_counts
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.classes import CITYSCAPES
from tests.snippets import NUM_IDS, labels_of, picture, write_cityscapes, write_snippet

COUNTED = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
    19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """A folder for one test's own snippets."""
    return tmp_path / "cityscapes"


def assert_one_line(caught, *words):
    text = str(caught.value)
    assert "\n" not in text
    assert all(str(word) in text for word in words), text


def expected_labels(ids: np.ndarray) -> np.ndarray:
    names = [COUNTED.get(int(one)) for one in ids.ravel()]
    labels = [CITYSCAPES.names.index(name) if name else IGNORE_LABEL for name in names]
    return np.array(labels, np.uint8).reshape(ids.shape)


@pytest.mark.parametrize(
    ("labelled", "there", "first", "num_frames"),
    [
        (19, range(30), 0, 30),
        (5, range(40), 0, 16),  # begins with its sequence
        (60, range(20, 90), 41, 30),  # within a long sequence
        (60, range(55, 64), 55, 9),
    ],
)
def test_the_labelled_frame_is_found(root, labelled, there, first, num_frames):
    frames, ids = write_snippet(root, "val", "bad-town", labelled=labelled, numbers=there)
    (snippet,) = find_snippets(root, "val")
    assert snippet.name == f"bad-town_000000_{labelled:06}"
    assert snippet.labelled == labelled - first
    run = range(first, first + num_frames)
    assert snippet.frames == tuple(picture(root, "val", "bad-town", 0, n) for n in run)
    sequence = read_snippet(snippet)
    assert (sequence.name, sequence.rate) == (snippet.name, 17)
    np.testing.assert_array_equal(sequence.frames, frames[first - there[0] :][:num_frames])
    np.testing.assert_array_equal(sequence.labels[snippet.labelled], expected_labels(ids))
    others = np.delete(sequence.labels, snippet.labelled, axis=0)
    assert (others == IGNORE_LABEL).all()


def test_snippets_of_one_long_sequence_may_overlap(root):
    write_snippet(root, "train", "hanover", labelled=40, numbers=range(80), sequence=7)
    write_snippet(root, "train", "hanover", labelled=45, numbers=range(80), sequence=7)
    write_snippet(root, "train", "hanover", labelled=19, numbers=range(30), sequence=8)
    first, second, third = find_snippets(root, "train")
    assert [len(one.frames) for one in (first, second, third)] == [30, 30, 30]
    assert first.frames[5:] == second.frames[:-5]
    assert not set(second.frames) & set(third.frames)


def test_every_id_has_its_class():
    ids = np.arange(256, dtype=np.uint8)
    labels = train_labels(np.append(ids[:NUM_IDS], ids[-1])[None], source="x.png")[0]
    np.testing.assert_array_equal(labels, expected_labels(np.append(ids[:NUM_IDS], -1)))
    assert len(CITYSCAPES.names) == len(COUNTED)


def test_classes_are_the_official_ones():
    official = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    for label in official:
        if label.id >= 0:
            ids = np.full((1, 1), label.id, np.uint8)
            assert train_labels(ids, source="x.png").item() == label.trainId
        if 0 <= label.trainId < IGNORE_LABEL:
            assert CITYSCAPES.names[label.trainId] == label.name
            assert CITYSCAPES.palette[label.trainId] == label.color


@pytest.mark.parametrize("holds_pictures", [False, True])
def test_stills_are_read_when_asked_for(root, holds_pictures):
    frames, ids = write_snippet(root, "train", "ulm", labelled=19, numbers=range(17, 22))
    write_snippet(root, "train", "ulm", labelled=1, numbers=range(3), sequence=2, seed=1)
    if holds_pictures:  # other ones, to tell them apart
        for number, sequence in ((19, 0), (1, 2)):
            path = picture(root / "x", "train", "ulm", sequence, number).relative_to(root / "x")
            path = root / "leftImg8bit" / path.relative_to("leftImg8bit_sequence")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frames[0]).save(path)
    stills = read_stills(root, "train")
    first, second = stills
    np.testing.assert_array_equal(first.frames, frames[[0 if holds_pictures else 2]])
    np.testing.assert_array_equal(first.labels[0], expected_labels(ids))
    counts = class_counts(stills, num_classes=19)
    both = np.stack([first.labels, second.labels])
    np.testing.assert_array_equal(counts, [(both == label).sum() for label in range(19)])
    labels_of(root, "train", "ulm", 2, 1).write_bytes(b"\x89PNG")
    assert len(stills) == 2
    stills[0]
    with pytest.raises(DataError) as caught:
        stills[1]
    assert_one_line(caught, labels_of(root, "train", "ulm", 2, 1), "cannot be read")


def test_a_lazy_sequence_is_a_sequence():
    read = []
    lazy = Lazy(range(5), lambda item: read.append(item) or item * 10)
    assert (len(lazy), len(lazy[1:3]), read) == (5, 2, [])
    assert list(lazy[1:4:2]) == [10, 30]
    assert (lazy[-1], lazy[np.int64(2)]) == (40, 20)
    assert list(lazy) == [0, 10, 20, 30, 40]


LABELS_TEXT = "gtFine/val/ (gtFine_trainvaltest.zip)"
FRAMES_TEXT = "leftImg8bit_sequence/val/ (leftImg8bit_sequence_trainvaltest.zip, 324 GB)"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((), f"{LABELS_TEXT} and {FRAMES_TEXT};"),
        (("gtFine",), f"{FRAMES_TEXT};"),
        (("leftImg8bit_sequence",), f"{LABELS_TEXT};"),
    ],
)
@pytest.mark.parametrize("read_fn", [find_snippets, read_stills])
def test_missing_folders_are_named(root, there, expected, read_fn):
    write_snippet(root, "train", "ulm", labelled=19, numbers=range(18, 20))
    for folder in there:
        (root / folder / "val").mkdir()
    with pytest.raises(DataError) as caught:
        read_fn(root, "val")
    assert_one_line(caught, f"{root}: lacks {expected}", "www.cityscapes-dataset.com")


def test_missing_labels_are_named(root):
    for folder in ("gtFine", "leftImg8bit_sequence"):
        (root / folder / "val").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        find_snippets(root, "val")
    assert_one_line(caught, root / "gtFine" / "val", "labelIds", "gtFine_trainvaltest.zip")


def test_missing_frames_are_named_and_counted(root):
    write_cityscapes(root)
    gone = [picture(root, "val", "lindau", 1, number) for number in (3, 4, 17, 19, 28)]
    for path in gone:
        path.unlink()
    with pytest.raises(DataError) as caught:
        find_snippets(root, "val")
    named = [path.relative_to(root) for path in gone[:3]]
    assert_one_line(caught, root, *named, "and 2 more files", "sequence_trainvaltest.zip")
    assert gone[3].name not in str(caught.value)
    with pytest.raises(DataError, match=r"lindau_000001_000019_leftImg8bit.png; unpack"):
        read_stills(root, "val")


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (np.full((64, 128), 34, np.uint8), ["unknown id 34", "0..33"]),
        (np.zeros((64, 128, 3), np.uint8), ["(64, 128, 3)", "labelIds.png"]),
        (np.zeros((64, 128), np.uint16), ["holds", "labelIds.png"]),
        (np.zeros((32, 64), np.uint8), ["64x32", "128x64"]),
    ],
)
def test_unusable_labels(root, ids, words):
    write_snippet(root, "val", "ulm", labelled=19, numbers=range(18, 21))
    path = labels_of(root, "val", "ulm", 0, 19)
    Image.fromarray(ids).save(path)
    (snippet,) = find_snippets(root, "val")
    with pytest.raises(DataError) as caught:
        read_snippet(snippet)
    assert_one_line(caught, path, *words)


def test_frames_of_two_sizes(root):
    write_snippet(root, "val", "ulm", labelled=19, numbers=range(18, 21))
    path = picture(root, "val", "ulm", 0, 20)
    Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(path)
    (snippet,) = find_snippets(root, "val")
    with pytest.raises(DataError) as caught:
        read_snippet(snippet)
    assert_one_line(caught, path, "64x32", "128x64")


def test_a_submission_holds_the_ids_of_the_files(tmp_path):
    labels = np.arange(19, dtype=np.uint8).repeat(4).reshape(4, 19)
    path = write_submission(labels, tmp_path / "new" / "per-frame", "ulm_000000_000019")
    with Image.open(path) as opened:
        assert opened.mode == "L"
        assert set(np.asarray(opened).ravel()) == set(COUNTED)
    np.testing.assert_array_equal(read_labels(path), labels)
    with pytest.raises(ValueError, match="ulm_000000_000019: holds the label 255"):
        write_submission(np.full((2, 2), 255, np.uint8), tmp_path, "ulm_000000_000019")
