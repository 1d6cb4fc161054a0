"""A video that must be encoded anew on the way gets the labels of one that is read as it is."""

import numpy as np
import pytest

import jaxseg
from data import camvid
from data.street import loading as street
from jaxseg import codec
from tests.films import film

NUM_FRAMES = 11


@pytest.fixture(scope="module", params=["street", "camvid"])
def frames(request):
    """Frames of a drawn street, and where CamVid is at hand of a real one."""
    if request.param == "street":
        return list(street.read_sequence(seed=100, num_frames=NUM_FRAMES).frames)
    sequence = next(iter(camvid.read_sequences(request.getfixturevalue("camvid_dir"), "val")))
    return list(sequence.frames[:NUM_FRAMES])


def test_labels_of_an_exact_stream_and_of_its_sibling_with_b_frames(frames, tmp_path):
    exact = film(tmp_path / "exact.mp4", frames, gop=250, crf="18")
    sibling = film(tmp_path / "b.mp4", frames, gop=250, crf="18", b_frames=3, references=3)
    assert codec.probe(exact).is_exact
    with codec.open_source(sibling) as source:
        assert "it has B-frames" in source.why
    model = jaxseg.load("camvid-light")
    labels = [
        np.stack(list(jaxseg.segment(video, model.net, model.params, interval=5)))
        for video in (exact, sibling)
    ]
    assert labels[0].shape == labels[1].shape == (NUM_FRAMES, *frames[0].shape[:2])
    assert len(np.unique(labels[0])) > 3
    assert np.mean(labels[0] == labels[1]) >= 0.97
