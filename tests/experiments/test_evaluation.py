"""What the evaluation measures, against loops over frames and on a net that sees colours."""

import itertools
import math
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data.examples import Example, Sequence, labelled_clip
from experiments import timing
from experiments.evaluation import COLUMNS, encode_sequence, evaluate_stage, measure_accuracy
from experiments.results import read_results
from experiments.settings import EvaluationConfig
from jaxseg import codec
from jaxseg.arrays import Clip
from jaxseg.checkpoints import Model
from jaxseg.classes import Classes
from jaxseg.nets import Net, NetConfig
from jaxseg.runner import Labeller

CLASSES = Classes(("red", "green", "blue"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
NUM_CLASSES = len(CLASSES.names)
PROVENANCE = {
    "date": "2024-05-06T07:08:09+00:00",
    "commit": "0123456789abcdef",
    "is_dirty": False,
    "machine": {"cpu": "A CPU", "num_cores": 2, "memory_bytes": 8, "devices": ["cpu"]},
    "versions": {"python": "3.11", "jax": "0.10"},
    "command": "python -m experiments.camvid",
}


def colour_model() -> Model:
    """Make a net that takes each 8x8 cell for the class of its brightest channel."""

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2))

    def same(params, it):
        return it

    net = Net(None, features, same, same, None, stride=8, num_classes=NUM_CLASSES)
    return Model(net, {}, NetConfig(NUM_CLASSES), CLASSES)


def hold_first() -> Labeller:
    """Make a labeller that reads labels off the keyframe, and repeats them."""

    def step(params, state, gop):
        first = gop.frames[0, ..., 0]
        return state, np.broadcast_to(first, (len(gop.motion), *first.shape))

    return Labeller(lambda params, gop: (), step, step, reads_all_frames=False)


def flat_example(classes: list[int]) -> Example:
    """Make a still scene whose frames are each of one class, which is their grey level, too."""
    count = len(classes)
    labels = np.broadcast_to(np.array(classes, np.uint8)[:, None, None], (count, 16, 16)).copy()
    frames = np.repeat(labels[..., None], 3, axis=-1)
    inter = np.ones((count, 2, 2), bool)
    kinds = np.array([1] + [2] * (count - 1), np.uint8)
    motion = np.zeros((count, 2, 2, 2), np.float32)
    return labelled_clip(Clip(frames, motion, inter, kinds, None, np.zeros(count, bool)), labels)


def by_hand(classes: list[int], interval: int, phases, far: set[int]):
    """Count, frame by frame, what `hold_first` gets right."""
    count = len(classes)
    total = np.zeros((NUM_CLASSES, NUM_CLASSES), int)
    farthest, agreement = np.zeros_like(total), []
    for phase in phases:
        keys = sorted({0, *range(phase or interval, count, interval)})
        predicted = []
        for index in range(count):
            key = max(key for key in keys if key <= index)
            predicted.append(classes[key])
            total[classes[index], classes[key]] += 256
            if key + interval in keys and index - key in far:
                farthest[classes[index], classes[key]] += 256
        agreement.append(np.mean([a == b for a, b in itertools.pairwise(predicted)]))
    return total, farthest, np.mean(agreement)


@pytest.mark.parametrize(
    ("name", "interval", "num_phases", "phases", "far"),
    [
        ("prop-mv", 1, 10, [0], {0}),
        ("prop-mv", 3, 10, [0, 1, 2], {2}),
        ("copy-last", 4, 1, [0], {3}),
        ("interp-mv", 4, 10, [0, 1, 2, 3], {2}),
        ("interp-mv", 5, 2, [0, 2], {2, 3}),
        ("prop-mv", 30, 1, [0], {29}),
    ],
)
def test_accuracy_is_that_of_every_frame(name, interval, num_phases, phases, far):
    classes = [0, 0, 1, 1, 1, 2, 0, 2, 2, 1, 1]
    measured = measure_accuracy(
        hold_first(),
        colour_model(),
        [flat_example(classes)],
        name=name,
        interval=interval,
        num_phases=num_phases,
    )
    total, farthest, agreement = by_hand(classes, interval, phases, far)
    np.testing.assert_array_equal(measured.total, total)
    np.testing.assert_array_equal(measured.farthest, farthest)
    assert measured.consistency == pytest.approx(agreement)


def test_sequences_are_joined():
    examples = [flat_example([0, 1, 2]), flat_example([2, 2])]
    settings = {"name": "copy-last", "interval": 3, "num_phases": 1}
    measured = measure_accuracy(hold_first(), colour_model(), examples, **settings)
    np.testing.assert_array_equal(measured.total / 256, [[1, 0, 0], [1, 0, 0], [1, 0, 2]])
    assert measured.consistency == 1


def pan(count: int = 8) -> Sequence:
    """Make stripes of the three colours that move right by six pixels a frame."""
    stripes = (np.arange(96 + 6 * count) // 32 % NUM_CLASSES).astype(np.uint8)
    lines = np.stack([stripes[6 * (count - i) :][:96] for i in range(count)])
    labels = np.repeat(lines[:, None], 48, axis=1)
    noise = np.random.default_rng(0).integers(40, size=(48, 96 + 6 * count, 3))
    moving = np.stack([noise[:, 6 * (count - i) :][:, :96] for i in range(count)])
    frames = np.array(CLASSES.palette, np.uint8)[labels] // 2 + moving.astype(np.uint8)
    return Sequence("pan", 15.0, frames, labels)


@pytest.mark.parametrize("name", ["h264", "mpeg4"])
def test_sequences_are_encoded_and_read_back(tmp_path, name):
    sequence, config = pan(), EvaluationConfig(codec=name, quality=4)
    example = encode_sequence(sequence, tmp_path / "sequences", config)
    assert np.abs(example.frames.astype(int) - sequence.frames).mean() < 12
    np.testing.assert_array_equal(example.labels, sequence.labels)
    assert np.median(example.motion[1:][example.inter[1:]], axis=0).tolist() == [-6, 0]
    (path,) = (tmp_path / "sequences").iterdir()
    assert (codec.probe(path).codec, codec.probe(path).rate) == (name, 15)


def test_odd_sizes_are_cut_to_those_of_the_labels(tmp_path):
    odd = pan()._replace(frames=pan().frames[:, :47, :93], labels=pan().labels[:, :47, :93])
    example = encode_sequence(odd, tmp_path, EvaluationConfig(quality=4))
    assert example.frames.shape == (8, 47, 93, 3)
    assert example.motion.shape == (8, 6, 12, 2)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The rows and the folder of an evaluation at three intervals."""
    out = tmp_path_factory.mktemp("out")
    config = EvaluationConfig(intervals=(1, 2, 4), overlay_interval=3)
    example = encode_sequence(pan(), out, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "ENOUGH_SECONDS", 0)
        rows = evaluate_stage(
            colour_model(),
            [example],
            rate=15.0,
            config=config,
            out=out,
            provenance=PROVENANCE,
            title="a pan",
            quiet=True,
        )
    return rows, out


def test_every_scheme_is_measured_at_every_interval(evaluated):
    rows, _ = evaluated
    others = [(name, n) for name in ("copy-last", "prop-mv", "interp-mv") for n in (1, 2, 4)]
    assert [(row["scheme"], row["interval"]) for row in rows] == [("per-frame", 1), *others]
    for row in rows:
        assert 0.2 < row["miou_min"] <= row["miou"] + 0.02 <= 1.02
        assert 0 <= row["temporal_consistency"] <= 1
        interval_s = row["interval"] / row["throughput_fps"]
        assert row["speedup"] == pytest.approx(
            row["keyframe_ms"] * row["interval"] / 1000 / interval_s
        )
        assert math.isnan(row["intermediate_ms"]) == (row["interval"] == 1)
        mean = np.mean([row[f"iou_{name}"] for name in CLASSES.names])
        assert row["miou"] == pytest.approx(mean)
        assert (row["height"], row["width"], row["net"]) == (48, 96, "resnet18")
        assert row["propagation"] == ("composed" if row["scheme"].endswith("-mv") else None)
        assert row["reversal"] == ("invert" if row["scheme"] == "interp-mv" else None)
        assert row["intra"] == ("fill" if row["scheme"].endswith("-mv") else None)


def test_motion_helps_and_keyframes_alone_are_the_baseline(evaluated):
    miou = {(row["scheme"], row["interval"]): row["miou"] for row in evaluated[0]}
    for scheme in ("copy-last", "prop-mv", "interp-mv"):
        assert miou[scheme, 1] == pytest.approx(miou["per-frame", 1], abs=1e-3)
        assert miou[scheme, 4] <= miou[scheme, 2] + 0.02
    for scheme in ("prop-mv", "interp-mv"):
        assert miou[scheme, 4] > miou["copy-last", 4] + 0.1


def test_results_are_written_in_every_form(evaluated):
    rows, out = evaluated
    results = read_results(out / "results.json")
    assert results.provenance == PROVENANCE
    for row, read in zip(rows, results.rows, strict=True):
        assert list(read) == list(row)
        for key, value in row.items():
            is_nan = isinstance(value, float) and math.isnan(value)
            assert read[key] is None if is_nan else read[key] == value
    table = (out / "results.md").read_text().splitlines()
    assert table[0] == f"| {' | '.join(COLUMNS)} |"
    assert len([line for line in table if line.startswith("|")]) == 2 + len(rows)
    with Image.open(out / "accuracy_throughput.png") as plot:
        assert np.asarray(plot.convert("L")).std() > 5
    clip, facts = codec.load(out / "overlay.mp4"), codec.probe(out / "overlay.mp4")
    assert (facts.num_frames, facts.rate, facts.width) == (8, 15, 96)
    assert facts.height > 48, "no legend"
    # Under the overlay, each stripe is of its class's colour still.
    brightest = clip.frames[:, 4:44].argmax(axis=-1)
    assert (brightest == pan().labels[:, 4:44]).mean() > 0.7


def test_steps_are_timed_in_turn(monkeypatch):
    now, calls = [0.0], []

    def rest(seconds: float) -> None:
        now[0] += seconds  # which must not count

    clock = SimpleNamespace(perf_counter=lambda: now[0], sleep=rest)
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing, "PAUSE_SECONDS", 2.0**-6)  # sums of such are exact

    def taking(name: str, seconds: float):
        def step() -> None:
            calls.append(name)
            now[0] += seconds

        return step

    assert timing.time_in_turn(taking("a", 0.25), taking("b", 0.75)) == [250, 750]
    assert "".join(calls) == "ab" * timing.MIN_REPEATS
    calls.clear()
    assert timing.time_in_turn(taking("a", 2**-10)) == [1000 / 1024]
    assert len(calls) == timing.MAX_REPEATS
