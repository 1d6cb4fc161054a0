"""The tables and figures of Jain & Gonzalez 2018: what is counted, written and quoted."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data.examples import Example, labelled_clip
from experiments import camvid, jain_gonzalez, timing
from experiments.evaluation import measure_accuracy
from experiments.footage import (
    Accuracy,
    Footage,
    fingerprint,
    measure_densely,
    measure_sparsely,
)
from experiments.paper import MEASURED, name_of
from experiments.published import published_rows
from experiments.results import read_results
from experiments.settings import EvaluationConfig, SettingsError
from experiments.sparse import SparseClip, midway_offset
from experiments.variants import Unit, Variant, choose_flow, key_of, makers_of, units_of
from jaxseg.arrays import Clip
from jaxseg.checkpoints import Checkpoints, Model, write_model_card
from jaxseg.classes import CAMVID, Classes
from jaxseg.metrics import mean_iou
from jaxseg.nets import Flow, Net, NetConfig
from jaxseg.runner import Labeller

COUNT = 11
NUMBERS = Classes(
    tuple(map(str, range(COUNT))), tuple((20 * index, 0, 0) for index in range(COUNT))
)
INTERP = Variant("interp-mv", fusion="average")


def numbered(net: Net | None = None) -> tuple[Example, Model]:
    """Make a clip whose frames are labelled by their index, which is their grey level, too."""
    labels = np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None], (COUNT, 16, 16))
    frames = np.repeat(labels[..., None], 3, axis=-1)
    kinds = np.array([1] + [2] * (COUNT - 1), np.uint8)
    motion, inter = np.zeros((COUNT, 2, 2, 2), np.float32), np.ones((COUNT, 2, 2), bool)
    clip = Clip(frames, motion, inter, kinds, None, np.zeros(COUNT, bool))
    net = net or Net(None, None, None, None, None, stride=8, num_classes=COUNT)
    return labelled_clip(clip, labels.copy()), Model(net, {}, NetConfig(COUNT), NUMBERS)


def read_numbers() -> Labeller:
    """Make a labeller that reads each frame's own number off it."""

    def step(params, state, gop):
        return state, gop.frames[..., 0]

    return Labeller(lambda params, gop: (), step, step, reads_all_frames=True)


@pytest.mark.parametrize("distance", [1, 2, 3, 4])
def test_table_2_counts_frames_midway_in_whole_linked_intervals(distance):
    _, by_distance = units_of([INTERP], intervals=[1], distances=[distance])
    (unit,) = by_distance
    assert (unit, by_distance[unit]) == (Unit(INTERP, 2 * distance), distance)
    example, model = numbered()
    measured = measure_accuracy(
        read_numbers(),
        model,
        [example],
        name="interp-mv",
        interval=unit.interval,
        num_phases=unit.interval,
    )
    expected = np.zeros(COUNT, int)
    for phase in range(unit.interval):
        keys = [0, *range(phase or unit.interval, COUNT, unit.interval)]
        for key in keys:
            if key + unit.interval in keys:
                expected[key + distance] += 256
    assert expected.sum() > 0
    np.testing.assert_array_equal(measured.farthest, np.diag(expected))
    assert {midway_offset(number, unit.interval) for number in range(6)} == {distance}
    ((same, accuracy),) = measure_densely([example], {INTERP: read_numbers()}, model, [unit])
    assert same == unit
    assert accuracy.miou_min == float(mean_iou(measured.farthest)) == 1


def test_sparse_labels_rotate_through_the_distances():
    example, model = numbered()
    clips = [SparseClip(f"clip {number}", example, 5) for number in range(6)]

    def step(params, state, gop):  # Repeats the keyframe's number.
        return state, np.broadcast_to(gop.frames[0, ..., 0], (len(gop.motion), 16, 16))

    hold = Labeller(lambda params, gop: (), step, step, reads_all_frames=False)
    variant = Variant("prop-mv")
    units = [Unit(variant, 1), Unit(variant, 3)]
    found = dict(measure_sparsely(lambda: clips, len(clips), {variant: hold}, model, units))
    assert found[units[0]] == Accuracy(1.0, 1.0)
    # Two clips in six are right, and 4 and 3 are never: (1/3 + 0 + 0) / 3.
    assert found[units[1]].miou == pytest.approx(1 / 9)
    assert found[units[1]].miou_min == 0


def test_only_what_the_net_has_learned_is_compared(capsys):
    _, model = numbered()
    flow, model = choose_flow("none", model._replace(params={"params": {}}))
    assert flow is None
    assert "prop-flow is left out" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="--flow-weights"):
        choose_flow("flownet-s", model)
    plain = makers_of(EvaluationConfig(), model, flow=flow)
    assert [variant.scheme for variant in plain][:3] == ["per-frame", "copy-last", "prop-mv"]
    learned = makers_of(EvaluationConfig(), model._replace(extras={"fusion": "conv"}), flow=flow)
    assert [variant.fusion for variant in learned if variant not in plain] == ["conv"]
    units, by_distance = units_of(learned, intervals=[1, 4], distances=[2])
    assert len(units) == 1 + 2 * 4
    assert [unit.variant.fusion for unit in by_distance] == [
        *("forward", "backward", "max", "average", "by-distance", "conv")
    ]


def test_what_was_measured_alike_is_kept(tmp_path):
    example, model = numbered()
    measured: list[Unit] = []

    def measure(labellers, model, units):
        for unit in units:
            measured.append(unit)
            yield unit, Accuracy(0.5, unit.interval / 100)

    footage = Footage("numbers", 10.0, example, True, measure, "a")
    log, config = tmp_path / "rows.jsonl", EvaluationConfig()

    def run(intervals, video):
        units = [Unit(INTERP, interval) for interval in intervals]
        keys = {unit: key_of(unit, config) | {"video": video} for unit in units}
        measured.clear()
        found = jain_gonzalez.measure_units(footage, {}, model, keys, log=log)
        assert {unit.interval: accuracy.miou_min for unit, accuracy in found.items()} == {
            interval: interval / 100 for interval in intervals
        }
        return [unit.interval for unit in measured]

    assert run([1, 2], "a") == [1, 2]
    with log.open("a") as file:
        file.write('{"scheme": "interp-mv", "inter')
    assert run([1, 2, 3], "a") == [3]
    assert len([json.loads(line) for line in log.read_text().splitlines()]) == 3
    assert run([2, 3], "b") == [2, 3]
    assert fingerprint([np.zeros(3)]) != fingerprint([np.ones(3)]) == fingerprint([np.ones(3)])


STILL = Flow(
    init=lambda key, frames: {},
    estimate=lambda params, reference, frames: jnp.zeros((*frames.shape[:-3], 15, 20, 2)),
    stride=16,
)
"""Nothing moves in frames of 320x240."""


def colour_net(config: NetConfig, *, dtype=jnp.float32) -> Net:
    """Make a net that tells classes by the mean colour of 8x8 pixels."""

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2)) / 255

    def init(key, frames):
        return {"params": {"kernel": jnp.zeros((3, config.num_classes))}, "batch_stats": {}}

    def classify(params, projected):
        return projected @ params["params"]["kernel"]

    return Net(init, features, lambda params, it: it, classify, None, 8, config.num_classes)


@pytest.mark.slow
def test_the_command_writes_every_table_and_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jaxseg.checkpoints.segmenter", colour_net)
    monkeypatch.setattr(camvid, "MEASURED_FRAMES", 9)
    monkeypatch.setattr(jain_gonzalez, "MIN_ROUNDS", 1)
    monkeypatch.setattr(timing, "ENOUGH_SECONDS", 0)
    for room in ("jain_gonzalez", "variants"):
        monkeypatch.setattr(f"experiments.{room}.flownet_s", lambda **options: STILL)
    config, run = NetConfig(len(CAMVID.names)), tmp_path / "run"
    write_model_card(run, config, CAMVID, extras={"flow": "flownet-s", "fusion": "conv"})
    kernel = np.random.default_rng(0).standard_normal((3, 11), np.float32)
    fusion = {"kernel": np.tile(np.eye(3, dtype=np.float32), (2, 1)), "bias": np.zeros(3)}
    learned = {"kernel": kernel, "fusion": fusion, "flow": {"bias": np.zeros(2, np.float32)}}
    store = Checkpoints(run / "checkpoints")
    params = {"params": learned, "batch_stats": {}}
    store.save(1, params, {"step": np.zeros(())}, metrics={"miou": 0.1})
    store.close()
    out = tmp_path / "out"
    words = ["--checkpoint", str(run), "--out", str(out), "--intervals", "1", "2"]
    words += ["--distances", "1", "--flow", "flownet-s"]
    assert jain_gonzalez.main(words) == 0, capsys.readouterr().err
    rows = read_results(out / "results.json").rows
    ours = [row for row in rows if row["source"] == MEASURED]
    assert len(rows) - len(ours) == len(published_rows())
    assert {row["table"] for row in ours} == {"accuracy", "fusion", "runtime"}
    miou = {(name_of(row), row["interval"]): row for row in ours if row["table"] == "accuracy"}
    assert len(miou) == 1 + 2 * 5
    for scheme in ("prop-flow (flownet-s)", "interp-mv (conv)"):
        assert miou[scheme, 1]["miou"] == pytest.approx(miou["per-frame", 1]["miou"], abs=1e-6)
    # What nothing moves is what is repeated, and equal halves fuse as the distance does.
    for one, other in (("prop-flow (flownet-s)", "copy-last"), ("interp-mv (conv)", "interp-mv")):
        assert miou[one, 2]["miou"] == pytest.approx(miou[other, 2]["miou"], abs=1e-3)
    assert miou["interp-mv", 1]["miou"] == pytest.approx(miou["per-frame", 1]["miou"], abs=1e-6)
    assert miou["interp-mv", 2]["delay_frames"] == 2
    assert all(row["is_dense"] and row["height"] > 0 for row in ours)
    text = (out / "tables.md").read_text()
    assert text.count("Table 3 |") == 9
    assert text.count("| prop-flow (flownet-s) | measured |") == 6
    assert text.count("experiments.jain_gonzalez --checkpoint") == 1
    for number in (2, 4, 5, 6):
        assert np.asarray(Image.open(out / f"figure{number}.png").convert("L")).std() > 5
    assert jain_gonzalez.main(words) == 2
    assert "--resume" in capsys.readouterr().err
