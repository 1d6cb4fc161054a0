"""Low latency, learned and measured: what is trained, at which shares, and what is written."""

import json
from contextlib import closing

import jax
import numpy as np
import pytest
from PIL import Image

from data.examples import Sequence, still
from experiments import camvid
from experiments.command import DataSet
from experiments.lowlatency import __main__ as lowlatency
from experiments.lowlatency import speed, train
from experiments.lowlatency.accuracy import keys_fn, measure_unit, starts_of, threshold_for
from experiments.lowlatency.parts import open_parts
from experiments.lowlatency.schedules import MAX_DISTANCE, distances, label_pairs, point_of
from experiments.lowlatency.units import WAYS, Making, Unit, other_units, paper_units
from experiments.lowlatency.video import Film, open_video
from experiments.paper import MEASURED
from experiments.results import read_results
from experiments.settings import SettingsError
from jaxseg.checkpoints import Checkpoints, Model, load_model, write_model_card
from jaxseg.classes import Classes
from jaxseg.latency import slow_thread
from jaxseg.nets import PspnetConfig, segmenter

CLASSES = Classes(("dark", "bright"), ((0, 0, 0), (255, 255, 255)))
CONFIG = PspnetConfig(2, depth=18, width=4)
NUM_FRAMES = 22
SIZES = ("--parts.after", "layer2_1", "--parts.channels", "4", "--parts.kernel-size", "3")
WORDS = (
    *("--side", "64", "--batch-size", "2", "--distances", "1", "3"),
    *("--train.num-steps", "2", "--train.evaluate-every", "1"),
    *("--camera.num-frames", "5", "--camera.forward", "0.5", "2"),
)


def draw(seed: int, shift: int = 0):
    """Draw blocks whose classes are their brightness, moved to the right."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 2, (5, 8), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    frame = rng.integers(0, 20, (*blocks.shape, 3), dtype=np.uint8) + 180 * blocks[..., None]
    return np.roll(frame, shift, axis=1), np.roll(blocks, shift, axis=1)


def sequence() -> Sequence:
    frames, labels = zip(*(draw(9, 2 * index) for index in range(NUM_FRAMES)), strict=True)
    return Sequence("moving", 15.0, np.stack(frames), np.stack(labels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw_variables):
    """Train the parts of a net that nobody trained for two steps, on four stills."""
    path = tmp_path_factory.mktemp("lowlatency")
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    params = draw_variables(jax.eval_shape(segmenter(CONFIG).init, jax.random.key(0), frame))
    write_model_card(path / "net", CONFIG, CLASSES)
    with closing(Checkpoints(path / "net" / "checkpoints")) as checkpoints:
        checkpoints.save(1, params, {"step": np.ones(())}, metrics={"miou": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        stills = DataSet("s", CLASSES, lambda: [still(*draw(i)) for i in range(4)], list)
        patch.setattr(camvid, "data_set", lambda data_dir: stills)
        assert train_in(path) == 0
    return path


def train_in(path, *words: str) -> int:
    paths = ("--checkpoint", str(path / "net"), "--out", str(path / "learned"))
    with jax.numpy_dtype_promotion("standard"):  # Optax counts steps in integers.
        return train.main([*paths, *SIZES, *WORDS, *words])


@pytest.fixture(scope="module")
def model(folder) -> Model:
    return load_model(folder / "learned")


@pytest.fixture(scope="module")
def film(folder) -> Film:
    with pytest.MonkeyPatch.context() as patch:
        moving = DataSet("moving", CLASSES, list, lambda: [sequence()])
        patch.setattr(camvid, "data_set", lambda data_dir: moving)
        (only,) = open_video(None, folder / "films", max_films=None).read_films()
    return only


@pytest.fixture(scope="module")
def making(model) -> Making:
    return Making(model.net, open_parts(model), None, residual_threshold=1.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_parts_are_learned_and_the_net_stays(folder, model):
    before = load_model(folder / "net")
    for name, tree in before.params["params"].items():
        jax.tree.map(np.testing.assert_array_equal, tree, model.params["params"][name])
    learned = model.params["params"].keys() - before.params["params"].keys()
    assert learned == model.extras.keys()
    assert learned >= {"afp", "adapt", "afp-alone", "unified", "image", "clockwork", "aks"}
    assert learned >= {"aks-weights"}
    assert learned >= {"codec", "codec-fused", "codec-adapt", "codec-aks", "low-labels"}
    assert all(
        any(np.any(leaf) for leaf in jax.tree.leaves(model.params["params"][name]))
        for name in learned
    )
    log = [
        json.loads(line)
        for line in (folder / "learned" / "train.jsonl").read_text().split("\n")[:-1]
    ]
    assert {"miou_adaptive+fuse", "miou_warp", "error_learned", "error_codec"} <= log[-1].keys()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_parts_do_not_change_each_other(folder, making, model):
    """The gradient of one loss leaves the variables of the others alone."""
    from data.pairs import drift_pair_batch
    from data.simulated import CameraConfig, simulated_records

    clips = simulated_records(
        [still(*draw(0))], CameraConfig(num_frames=5), seed=0, folder=folder / "more"
    )
    pair = drift_pair_batch(clips, distances=(1, 2), side=64, batch_size=1, seed=0, step=0)
    parts, params = making.parts, model.params

    def loss(learned):
        scores, *_ = train.score_pairs(
            parts, model.net, {**params, "params": {**params["params"], **learned}}, pair
        )
        return scores["adaptive+fuse"].sum()

    learned = {name: params["params"][name] for name in model.extras}
    moved = {
        name
        for name, tree in jax.jit(jax.grad(loss))(learned).items()
        if any(np.any(leaf) for leaf in jax.tree.leaves(tree))
    }
    assert moved == {"afp", "adapt"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thresholds_give_the_share_that_they_promise(making, model, film):
    for deviation in ("learned", "codec", "residual", "low-difference"):
        unit = Unit("afp+aks", "adaptive+fuse", deviation=deviation, share=0.3)
        threshold = threshold_for(unit, making, model.params, [film], share=0.3)
        keys_of = keys_fn(unit, making, model.params, film)
        is_key = keys_of(threshold)
        assert is_key[0]
        assert is_key.mean() <= 0.3
        assert keys_of(-1.0).all()
        if deviation == "residual":  # It grows from frame to frame, so that any share is found.
            assert is_key.mean() >= 0.2
        found = measure_unit(unit, making, model.params, [film], threshold=threshold, num_chosen=1)
        assert found.num_frames == NUM_FRAMES
        assert found.num_keys == is_key.sum()  # What is foreseen is what happens.


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["adaptive+fuse", "codec+fuse"])
def test_pairs_are_what_the_scheme_makes_of_them(making, model, film, way):
    names = ("learned", "codec", "residual")
    found = label_pairs(way, names, making, model.params, film, quiet=True)
    steps = np.broadcast_to(np.arange(MAX_DISTANCE + 1), found.confusion.shape[:2])
    for interval in (1, 3):
        point = point_of([found], [steps >= interval])
        unit = Unit("afp", way, interval)
        measured = measure_unit(unit, making, model.params, [film]).columns()["miou"]
        assert point.miou == pytest.approx(measured, abs=2e-3)
    for name in names:
        unit = Unit("x", way, deviation=name, share=0.3)
        threshold = threshold_for(unit, making, model.params, [film], share=0.3)
        is_key = keys_fn(unit, making, model.params, film)(threshold)
        away = distances(found.deviations[name] > threshold, found.is_fresh, start=0)
        np.testing.assert_array_equal(away == 0, is_key)
    assert (found.deviations["oracle"] <= 1).all()
    assert found.deviations["oracle"][0, 1] > 0


def test_films_begin_where_every_distance_comes_up():
    assert starts_of(Unit("afp", "warp", 5), num_chosen=2) == range(5)
    assert list(starts_of(Unit("x", "warp", deviation="codec"), num_chosen=2)) == [0, 5]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_frame_takes_every_distance(making, model, film):
    every = measure_unit(Unit("per-frame", "warp", 1), making, model.params, [film])
    assert (every.num_frames, every.num_keys) == (NUM_FRAMES, NUM_FRAMES)
    assert every.confusion.sum() == film.labels[9:].size
    fifth = measure_unit(Unit("prop-mv", "warp", 3), making, model.params, [film])
    assert fifth.confusion.sum() == 3 * film.labels[9:].size
    assert fifth.num_keys == sum(-(-(NUM_FRAMES - start) // 3) for start in range(3))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_tables_and_figures_are_written(folder, film, monkeypatch, capsys):
    moving = DataSet("moving", CLASSES, list, lambda: [sequence()])
    monkeypatch.setattr(camvid, "data_set", lambda data_dir: moving)
    monkeypatch.setattr(speed, "NUM_ROUNDS", 1)
    monkeypatch.setattr(speed, "slow_track", lambda parts, params, clip: slow_thread(parts, params))
    words = ["--checkpoint", str(folder / "learned"), "--out", str(folder / "out")]
    words += ["--interval", "3", "--shares", "2", "3", "--no-flow"]
    assert lowlatency.main(words) == 0
    rows = read_results(folder / "out" / "results.json").rows
    measured = [row for row in rows if row["source"] == MEASURED]
    units = [unit for unit in paper_units(interval=3, share=1 / 3) if unit.way != "flow"]
    names = {unit.scheme for unit in units}
    for table in ("schemes", "live", "accuracy"):
        assert {row["scheme"] for row in measured if row["table"] == table} == names
    overview = [row for row in measured if row["table"] == "overview"]
    assert {row["scheme"] for row in overview} == names | {
        unit.scheme for unit in other_units(interval=3)
    }
    assert all(row["max_ms"] > 0 and 0 <= row["miou"] <= 1 for row in overview)
    ways = {row["way"] for row in measured if row["table"] == "propagation"}
    assert ways == set(WAYS) - {"flow"}
    text = (folder / "out" / "tables.md").read_text()
    assert all(f"({name})" in text for name in ("Table 1", "Table 2", "Table 3", "Table 4"))
    for name in ("figure1", "figure5"):
        with Image.open(folder / "out" / f"{name}.png") as picture:
            assert len(np.unique(np.asarray(picture))) > 10
    assert "wrote" in capsys.readouterr().out
    assert lowlatency.main(words) == 2
    assert "holds results already" in capsys.readouterr().err
    log = (folder / "out" / "rows.jsonl").read_text()
    assert len(log.splitlines()) == len(units) + len(other_units(interval=3)) + len(WAYS) - 1
    with monkeypatch.context() as patch:
        patch.setattr(lowlatency, "measure_unit", None)  # All is known.
        assert lowlatency.main([*words, "--resume", "--tables", "propagation"]) == 0
    assert (folder / "out" / "rows.jsonl").read_text() == log


def test_a_net_without_parts_is_refused():
    net = segmenter(CONFIG)
    with pytest.raises(SettingsError, match=r"python -m experiments\.lowlatency\.train"):
        open_parts(Model(net, {}, CONFIG, CLASSES))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_deviations_can_be_learned_alone(folder, model):
    paths = ("--checkpoint", str(folder / "learned"), "--out", str(folder / "again"))
    with jax.numpy_dtype_promotion("standard"):
        assert train.main([*paths, *SIZES, *WORDS, "--only-deviations"]) == 0
    again = load_model(folder / "again")
    assert again.extras == model.extras
    changed = {
        name
        for name, tree in again.params["params"].items()
        if any(
            np.any(new != old)
            for new, old in zip(
                jax.tree.leaves(tree), jax.tree.leaves(model.params["params"][name]), strict=True
            )
        )
    }
    assert "aks-weights" in changed
    assert changed <= {"aks", "aks-weights", "codec-aks", "low-labels"}
    log = (folder / "again" / "train.jsonl").read_text()
    assert "error_learned" in log
    assert "miou" not in log


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bad_input_is_one_line(folder, capsys):
    assert lowlatency.main(["--checkpoint", str(folder / "net"), "--no-flow"]) == 2
    assert "python -m experiments.lowlatency.train" in capsys.readouterr().err
    assert train_in(folder) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert train_in(folder, "--resume", "--seed", "1") == 2
    assert "was begun with seed = 0, not 1" in capsys.readouterr().err
    words = ("--checkpoint", str(folder / "learned"), "--out", str(folder / "new"), *SIZES)
    assert train.main([*words, "--parts.channels", "5"]) == 2
    assert "carries" in capsys.readouterr().err
    assert not (folder / "new").exists()
    assert train_in(folder, "--parts.after", "layer9_0", "--resume") == 2
    assert "must be one of layer1_0" in capsys.readouterr().err
