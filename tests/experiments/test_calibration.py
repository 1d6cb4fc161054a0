"""The promise of calibration is compared with what the labels say, and bad input is one line."""

import numpy as np
import pytest

from data.examples import Example
from experiments import calibration as experiment
from experiments.calibration import Options, compared, measure, tables, true_drops
from experiments.command import DataSet
from jaxseg import calibration
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.calibration import BASE, Measured, Setting
from jaxseg.checkpoints import Model
from jaxseg.classes import Classes
from jaxseg.intervals import cut_into_gops
from jaxseg.metrics import confusion_matrix, mean_iou
from jaxseg.nets import NetConfig
from jaxseg.runner import compile_scheme, label_gops
from jaxseg.schedules import fixed
from jaxseg.schemes import per_frame, prop_mv
from tests import reference

NET = reference.toy_net(stride=8)
PARAMS = reference.toy_params(NET)
CLASSES = Classes(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
MODEL = Model(NET, PARAMS, NetConfig(3), CLASSES)
MAKERS = {"prop-mv": prop_mv}


def draw_example(num_frames: int) -> Example:
    frames, motion = reference.draw_video(num_frames)
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=frames.shape[:3], dtype=np.uint8)
    labels[rng.random(labels.shape) < 0.2] = IGNORE_LABEL
    return Example(
        frames=frames,
        labels=labels,
        motion=motion,
        inter=np.ones(motion.shape[:3], bool),
        picture_types=np.full(num_frames, 2, np.uint8),
        is_cut=np.zeros(num_frames, bool),
    )


def test_the_true_loss_is_that_of_all_whole_intervals():
    example = draw_example(8)
    settings = [BASE, Setting("prop-mv", 3)]
    found = true_drops(example, MODEL, MAKERS, settings, track=lambda items, **_: items)
    assert list(found) == settings
    assert found[BASE] == 0

    def label(start: int, stop: int, make_scheme, interval: int) -> np.ndarray:
        part = slice(start, stop)
        coded = reference.coded_frames(example.frames[part], example.motion[part])
        scheme = make_scheme(NET)
        gops = cut_into_gops(
            coded,
            schedule=fixed(interval),
            max_length=interval,
            reads_all_frames=scheme.reads_all_frames,
        )
        return np.concatenate(list(label_gops(labellers[make_scheme], PARAMS, gops)))

    labellers = {
        make_scheme: compile_scheme(NET, make_scheme(NET), height=40, width=56)
        for make_scheme in (per_frame, prop_mv)
    }
    own = label(0, 8, per_frame, 1)
    ours = nets = 0
    for start in range(5):
        labels = label(start, start + 4, prop_mv, 3)[:3]
        for index, of_frame in enumerate(labels, start):
            truth = example.labels[index]
            ours = ours + confusion_matrix(truth, of_frame, num_classes=3)
            nets = nets + confusion_matrix(truth, own[index], num_classes=3)
    expected = mean_iou(nets) - mean_iou(ours)
    assert abs(expected) > 1e-4
    assert found[Setting("prop-mv", 3)] == pytest.approx(expected)


def test_a_row_has_the_promise_the_truth_and_the_difference():
    row = Measured("prop-mv", 4, 0.9, 0.02, 0.001, 30.0, 20.0)
    assert compared(row, {Setting("prop-mv", 4): 0.015}) == {
        "scheme": "prop-mv",
        "interval": 4,
        "miou_agreement": 0.9,
        "miou_drop": 0.02,
        "miou_drop_error": 0.001,
        "throughput_fps": 30.0,
        "miou_drop_true": 0.015,
        "miou_drop_miss": pytest.approx(0.005),
    }


def test_the_choices_are_the_fastest_that_are_promised_to_lose_little(tmp_path, monkeypatch):
    rows = [
        Measured("per-frame", 1, 1.0, 0.0, 0.0, 10.0, 9.0),
        Measured("prop-mv", 2, 0.95, 0.004, 0.0, 20.0, 15.0),
        Measured("prop-mv", 8, 0.9, 0.025, 0.001, 70.0, 40.0),
    ]
    reaches = []

    def calibrate(frames, net, params, *, reach, **options):
        assert options["num_frames"] == 12 == len(list(frames))
        reaches.append(reach)
        return rows

    monkeypatch.setattr(experiment, "calibrate", calibrate)
    monkeypatch.setattr(experiment, "encode_sequence", lambda *words: draw_example(12))
    chosen = DataSet("a street", CLASSES, read_stills=list, read_sequences=lambda: [None])
    monkeypatch.setattr(experiment, "data_set", lambda data_dir: chosen)
    options = Options(checkpoint=tmp_path, out=tmp_path, reaches=(4, 1))
    found = measure(options, MODEL, track=lambda items, **_: items)
    assert reaches == [4, 1]
    choices = [row for row in found if row["table"] == "choices"]
    assert [(row["miou_drop_allowed"], row["interval"]) for row in choices] == [
        (0.005, 2), (0.01, 2), (0.02, 2), (0.03, 8), (0.05, 8),
    ]  # fmt: skip
    assert [row["speedup"] for row in choices] == [2, 2, 2, 7, 7]
    assert all(row["data_set"] == "a street" for row in found)

    text = tables(found)
    miss = choices[-1]["miou_drop_miss"]
    assert miss == pytest.approx(0.025 - choices[-1]["miou_drop_true"])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    head = ["allowed", "scheme", "interval", "agreement (%)", "promised", "standard error"]
    assert lines[2][:6] == head
    assert lines[8][:6] == ["5", "prop-mv", "8", "90", "2.5", "0.1"]
    assert [line for line in lines if line[:1] == ["4"]] == [["4", f"{_largest(found):.4g}"]]


def _largest(rows) -> float:
    return max((100 * row["miou_drop_miss"] for row in rows if row["scheme"] == "prop-mv"), key=abs)


def test_without_a_trained_net_there_is_one_line(tmp_path, capfd):
    out = tmp_path / "out"
    assert experiment.main(["--checkpoint", str(tmp_path), "--out", str(out)]) == 2
    printed = capfd.readouterr().err
    assert printed.startswith(f"error: {tmp_path}: holds no model.json")
    assert printed.count("\n") == 1
    assert not out.exists()


def test_it_calibrates_with_what_the_command_has_by_default():
    options = Options(checkpoint=experiment.Path())
    assert set(calibration.INTERVALS) < set(options.intervals)
    assert options.reaches[0] == calibration.REACH
