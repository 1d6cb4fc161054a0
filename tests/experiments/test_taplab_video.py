"""The films that TapLab is measured on: distances from I-frames, parts, and thresholds."""

from collections import Counter

import numpy as np
import pytest

from data.cityscapes import find_snippets
from data.cityscapes.reading import read_labels
from data.examples import DataError, Sequence
from experiments import camvid
from experiments.command import DataSet
from experiments.taplab.calibration import calibrate, scores_of, share_of, thresholds_of
from experiments.taplab.video import (
    HALVES,
    TURNS,
    Coding,
    Film,
    films_of_sequences,
    films_of_snippets,
    open_video,
)
from jaxseg.arrays import IGNORE_LABEL, Clip, PictureType
from jaxseg.classes import CAMVID
from tests.films import draw_frames
from tests.snippets import write_cityscapes

HEIGHT, WIDTH = 48, 64


def numbered(name: str, count: int) -> Sequence:
    """Make a sequence whose labels are the frames' numbers."""
    labels = np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None], (count, HEIGHT, WIDTH)
    )
    return Sequence(name, 15.0, np.stack(draw_frames(count)), labels.copy())


@pytest.mark.parametrize("codec_name", ["mpeg4", "h264"])
def test_each_frame_that_counts_takes_every_distance_from_an_i_frame(tmp_path, codec_name):
    count, gop, first = 13, 3, 4
    coding = Coding(codec=codec_name, num_phases=gop)
    films = films_of_sequences([numbered("a", count)], tmp_path, gop, first=first, coding=coding)
    assert [film.phase for film in films] == [0, 1, 2]
    seen = Counter()
    for film in films:
        clip, labels = film.read_fn()
        assert clip.residual is not None
        since = 0
        for kind, one in zip(clip.picture_types, labels, strict=True):
            since = 0 if kind == PictureType.INTRA else since + 1
            if (one != IGNORE_LABEL).any():
                seen[int(one[0, 0]), since] += 1
    assert seen == {
        (frame, distance): 1 for frame in range(first, count) for distance in range(gop)
    }


def test_stretches_take_turns_and_halves_do_not(tmp_path):
    sequences = [numbered("a", 5), numbered("b", 7)]
    coding = Coding(num_phases=2, stretch=4)
    films = films_of_sequences(sequences, tmp_path, 2, first=1, coding=coding)
    assert [len(film.divisions[TURNS]) for film in films] == [5, 4, 7, 6]
    whole = {
        name: np.concatenate([films[it].divisions[name] for it in (0, 2)])
        for name in (TURNS, HALVES)
    }
    assert whole[TURNS].tolist() == [0] * 4 + [1] * 4 + [0] * 4
    assert whole[HALVES].tolist() == [0] * 6 + [1] * 6
    # A film that begins later says the same of the same frames.
    assert films[3].divisions[TURNS].tolist() == films[2].divisions[TURNS][1:].tolist()


def test_a_snippet_is_coded_from_a_random_number_of_frames_before_its_label(tmp_path):
    snippets = find_snippets(write_cityscapes(tmp_path / "cityscapes"), "val")
    gop = 4
    coding = Coding(seed=1)
    films = films_of_snippets(snippets, tmp_path / "films", gop, coding=coding)
    assert not (tmp_path / "films").exists()
    assert [film.divisions[TURNS][0] for film in films] == [
        number % 2 for number in range(len(snippets))
    ]
    distances = []
    for film, snippet in zip(films, snippets, strict=True):
        clip, labels = film.read_fn()
        (distance,) = np.flatnonzero((labels != IGNORE_LABEL).any(axis=(1, 2)))
        np.testing.assert_array_equal(labels[distance], read_labels(snippet.labels))
        kinds = clip.picture_types.tolist()
        assert len(kinds) == len(film.divisions[TURNS]) == gop + 1
        assert [kinds.index(1), kinds[1:].index(1)] == [0, gop - 1]
        distances.append(int(distance))
    assert len(set(distances)) > 1
    assert max(distances) < gop
    again = films_of_snippets(snippets, tmp_path / "films", gop, coding=coding)
    assert [film.name for film in again] == [film.name for film in films]
    other = films_of_snippets(snippets, tmp_path / "films", gop, coding=Coding(seed=2))
    assert [film.name for film in other] != [film.name for film in films]


def residual_film(totals, *, name: str, halves) -> Film:
    """Make a film of 16x16 pixels with given sums of |residual|; the first frame is an I-frame."""
    count = len(totals)
    frames, labels = np.zeros((count, 16, 16, 3), np.uint8), np.zeros((count, 16, 16), np.uint8)
    residual = np.zeros((count, 1, 1, 2), np.float32)
    residual[:, 0, 0, 0] = totals
    kinds = np.array([1] + [2] * (count - 1), np.uint8)
    motion, inter = np.zeros((count, 2, 2, 2), np.float32), np.ones((count, 2, 2), bool)
    clip = Clip(frames, motion, inter, kinds, residual, np.zeros(count, bool))
    turns = np.arange(count) % 2
    return Film(name, 0, {TURNS: turns, HALVES: np.array(halves)}, lambda: (clip, labels))


def test_a_threshold_is_found_on_the_other_part():
    rng = np.random.default_rng(0)
    totals = [rng.uniform(0, 2560, 41) for _ in range(2)]
    films = [residual_film(it, name=str(n), halves=[n] * 41) for n, it in enumerate(totals)]
    found = calibrate(films, share=0.25)
    values = [it[1:] / 256 for it in totals]  # Without the I-frames.
    pools = {
        HALVES: values,
        TURNS: [
            np.concatenate([it[1::2] for it in values]),
            np.concatenate([it[::2] for it in values]),
        ],
    }
    for division, parts in pools.items():
        for own, other, calibration in zip(parts, parts[::-1], found[division], strict=True):
            assert (other > calibration.threshold).sum() == round(0.25 * len(other))
            assert calibration.share_calibrated == pytest.approx(0.25, abs=0.5 / len(other))
            assert calibration.share == (own > calibration.threshold).mean()
            assert calibration.num_frames == len(own)
    both = found[TURNS]
    above = sum((own > it.threshold).sum() for own, it in zip(pools[TURNS], both, strict=True))
    assert share_of(both) == pytest.approx(above / 80)
    assert thresholds_of({3: both}) == {3: [it.threshold for it in both]}
    # The part's own frames have no say.
    larger = residual_film(3 * totals[1], name="1", halves=[1] * 41)
    again = calibrate([films[0], larger], share=0.25)[HALVES]
    assert again[1].threshold == found[HALVES][1].threshold
    assert again[0].threshold > found[HALVES][0].threshold


def test_frames_that_nothing_leads_to_have_no_score_that_counts():
    film = residual_film([9, 256, 512], name="a", halves=[0, 0, 1])
    clip, _ = film.read_fn()
    scores, counts = scores_of(clip._replace(is_cut=np.array([False, False, True])))
    np.testing.assert_allclose(scores, [9 / 256, 1, 2])
    assert counts.tolist() == [False, True, False]
    with pytest.raises(DataError, match="0 and 1 P-frames"):
        calibrate([residual_film([9, 256], name="b", halves=[0, 0])], share=0.5)


def test_what_is_too_short_is_refused(tmp_path, monkeypatch):
    data_set = DataSet("numbers", CAMVID, list, lambda: [numbered("a", 5)])
    monkeypatch.setattr(camvid, "data_set", lambda data_dir: data_set)
    with pytest.raises(DataError, match=r"5 frames, but GOPs of 4.* late, need 7"):
        open_video(None, tmp_path, gops=(3, 4), coding=Coding())
    with pytest.raises(ValueError, match="num_phases is 0"):
        Coding(num_phases=0)
    video = open_video(None, tmp_path, gops=(3,), coding=Coding())
    other = open_video(None, tmp_path, gops=(3,), coding=Coding(quality=5))
    assert video.is_dense
    assert video.fingerprint != other.fingerprint
