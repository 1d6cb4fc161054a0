"""AFP, AKS and LLS in the command: what is learned comes with the net, keyframes are counted."""

import csv
import json
from dataclasses import asdict
from functools import cache, partial

import numpy as np
import pytest

from jaxseg import codec, latency
from jaxseg.checkpoints import Model, load_model
from jaxseg.cli import main, settings
from jaxseg.cli.settings import (
    AKS,
    LLS,
    LOW_LATENCY,
    Settings,
    maker_of,
    read_settings,
    write_settings,
)
from jaxseg.errors import InputError
from jaxseg.intervals import frames_of_clip
from jaxseg.regions import RESIDUAL_THRESHOLD
from jaxseg.runner import segment
from jaxseg.schemes import low_latency
from jaxseg.schemes.afp import afp, tracker
from jaxseg.schemes.low_latency import learned_parts
from tests.cli.conftest import PARTS
from tests.films import draw_pan, film
from tests.test_export import check, export

COUNT, DELAY = 8, 2


@pytest.fixture(scope="module")
def model(low_latency_run) -> Model:
    return load_model(low_latency_run)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A pan in which something new appears at frame 4; frame 5 is an I-frame."""
    frames = [frame.copy() for frame in draw_pan(COUNT, width=64, height=64)]
    for frame in frames[4:]:
        frame[16:40, 16:40] = 255 - frame[16:40, 16:40]
    path = tmp_path_factory.mktemp("films") / "drive.mp4"
    return film(path, frames, encoder="mpeg4", gop=5)


@pytest.fixture
def called(monkeypatch, low_latency_run, video, place):
    """Call `jaxseg segment` with further words; gives masks, marks of keyframes and summary."""
    monkeypatch.setattr("jaxseg.runner.keep_compilations", lambda: None)

    def call(*words):
        given = [video, "-o", place, "--checkpoint", low_latency_run, "--mask-video", *words]
        assert main(["segment", *map(str, given)]) == 0
        with open(place / "drive" / "frames.csv", newline="") as file:
            is_key = [row["is_key"] == "1" for row in csv.DictReader(file)]
        masks = np.stack(list(codec.read_masks(place / "drive" / "masks.mkv")))
        return masks, is_key, json.loads((place / "drive" / "summary.json").read_text())

    return call


@pytest.fixture(scope="module")
def track(model, video):
    """Label the film frame by frame, by the same parts, at any threshold."""
    frames = list(frames_of_clip(codec.load(video, residual_threshold=RESIDUAL_THRESHOLD)))

    @cache
    def prepare(scheme):
        learned = learned_parts(scheme, model.net, model.config, model.extras)
        parts = tracker(model.net, **learned._asdict())
        return parts, latency.compile_tracker(model.net, parts, height=64, width=64)

    def run(scheme, threshold, *, is_late=False):
        parts, programs = prepare(scheme)
        options = {"threshold": threshold, "programs": programs}
        if not is_late:
            return list(latency.track(frames, model.net, model.params, parts, **options))
        with latency.slow_thread(parts, model.params) as submit:
            options |= {"submit": submit, "delay": DELAY}
            return list(latency.track(frames, model.net, model.params, parts, **options))

    return run


def threshold_between(track, scheme):
    """Find a threshold that some frames are above, and some are not."""
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        num_keys = sum(it.is_key for it in track(scheme, middle))
        if 1 < num_keys <= COUNT // 2:
            return middle
        low, high = (low, middle) if num_keys == 1 else (middle, high)
    raise AssertionError(f"{low}..{high}: no threshold makes some frames keyframes")


def test_the_schemes_are_named_twice():
    assert settings.LOW_LATENCY == low_latency.LOW_LATENCY
    assert {*LLS} < {*AKS} < {*LOW_LATENCY}


@pytest.mark.parametrize("scheme", ["afp+aks", "afp+aks+lls", "prop-mv+aks"])
def test_keyframes_are_those_of_the_tracker(scheme, track, called):
    base = scheme.removesuffix("+lls")
    threshold = threshold_between(track, base)
    delay = ["--delay", DELAY] if scheme in LLS else []
    masks, is_key, summary = called("--scheme", scheme, "--threshold", threshold, *delay)
    answers = track(base, threshold, is_late=scheme in LLS)
    assert is_key == [it.is_key for it in answers]
    assert 1 < sum(is_key) < COUNT
    assert summary["num_keyframes"] == sum(is_key)
    assert (summary["settings"]["interval"], summary["settings"]["max_changed"]) == (1, threshold)
    same = masks == np.stack([it.labels for it in answers])
    assert same.mean() > 0.999  # What is compiled otherwise is rounded otherwise.


@pytest.mark.parametrize("scheme", ["afp", "afp-mv"])
def test_a_fixed_interval(scheme, model, video, called):
    masks, is_key, _ = called("--scheme", scheme, "--interval", 3)
    # The I-frame is a keyframe, too.
    assert is_key == [number in (0, 3, 5) for number in range(COUNT)]
    parts = learned_parts(scheme, model.net, model.config, model.extras)
    make = partial(afp, **parts._asdict())
    expected = list(segment(video, model.net, model.params, make_scheme=make, interval=3))
    assert (masks == np.stack(expected)).mean() > 0.999
    assert len(np.unique(masks)) > 1


def test_what_a_scheme_is_made_of(model):
    for scheme in LOW_LATENCY:
        made = maker_of(scheme, model, max_changed=0.3, delay=4).keywords
        assert made["threshold"] == (0.3 if scheme in AKS else float("inf"))
        assert made["delay"] == (4 if scheme in LLS else 0)
        assert (made["deviation"] is not None) == (scheme in AKS)
        assert (made["split"] is None) == (made["fuser"] is None) == scheme.startswith("prop-mv")


@pytest.mark.usefixtures("by_brightness")
@pytest.mark.parametrize("scheme", LOW_LATENCY)
def test_a_net_that_has_learned_nothing(scheme, video, place, refused):
    printed = refused("segment", video, "-o", place, "--scheme", scheme)
    assert f": {scheme}: this net has nothing to carry its maps" in printed
    assert "a run of python -m experiments.lowlatency.train" in printed


def test_a_part_that_is_missing_or_cannot_be_read(model):
    extras = {
        name: it for name, it in model.extras.items() if not name.endswith(("aks", "aks-weights"))
    }
    left_out = {"afp+aks": "aks-weights", "afp-mv+aks": "codec-aks", "prop-mv+aks": "codec-aks"}
    for scheme, entry in left_out.items():
        with pytest.raises(InputError, match=rf"\(no {entry}\); give --checkpoint"):
            learned_parts(scheme, model.net, model.config, extras)
    for text in ("{", '{"kernels": 3}', json.dumps(asdict(PARTS) | {"kernel_size": 4})):
        with pytest.raises(InputError, match="which are no sizes"):
            learned_parts("afp", model.net, model.config, {"afp": text, "adapt": text})
    text = json.dumps(asdict(PARTS) | {"after": "conv4_3"})
    with pytest.raises(InputError, match=r"but must be one of layer1_0, .*train again"):
        learned_parts("afp", model.net, model.config, {"afp": text, "adapt": text})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheme", "afp", "--threshold", "0.1"], "--threshold 0.1: has no meaning for scheme"),
        (["--scheme", "afp+aks", "--delay", "2"], "give --scheme afp+aks+lls or afp-mv+aks+lls or"),
        (["--delay", "2"], "--delay 2: has no meaning for scheme interp-mv; give --scheme afp+"),
        (["--scheme", "afp+aks", "--threshold", "17.2"], "--threshold 17.2: is no share of the"),
        (["--scheme", "afp-mv+aks", "--interval", "5"], "--interval 5: has no meaning for scheme"),
        (["--scheme", "afp-mv+aks", "--regions", "1"], "--regions 1: has no meaning for scheme"),
    ],
)
def test_options_that_do_not_belong(words, said, video, place, refused):
    assert said in refused("segment", video, "-o", place, *words)


def test_settings_come_back(tmp_path):
    chosen = Settings("a", "afp+aks+lls", 1, None, max_changed=0.2, delay=5)
    write_settings(tmp_path / "s.json", chosen)
    assert read_settings(tmp_path / "s.json") == chosen


@pytest.mark.parametrize("change", [{"max_changed": 1.5}, {"delay": 0}])
def test_settings_that_make_no_sense(change, tmp_path):
    content = {"checkpoint": "a", "scheme": "afp+aks+lls", "interval": 1} | change
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"they must be in 0\.\.1 and at least 1"):
        read_settings(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("scheme", "other"), [("afp-mv", "afp"), ("afp-mv+aks", "afp"), ("prop-mv+aks+lls", "prop-mv")]
)
def test_what_reads_the_residual_is_not_exported(scheme, other, place, refused):
    said = f"{scheme}: reads the residual, which programs are not given; export {other}, or"
    assert said in refused("export", place / "out", "--scheme", scheme)


@pytest.mark.slow
def test_the_other_is(model, tmp_path):
    check(export(tmp_path, model, scheme="afp"), "afp")
