"""Low latency, measured: at which shares, from which starts, and what is written."""

import numpy as np
import pytest
from PIL import Image

from experiments import camvid
from experiments.command import DataSet
from experiments.lowlatency import __main__ as lowlatency
from experiments.lowlatency import speed
from experiments.lowlatency.accuracy import keys_fn, measure_unit, starts_of, threshold_for
from experiments.lowlatency.schedules import MAX_DISTANCE, distances, label_pairs, point_of
from experiments.lowlatency.units import WAYS, Unit, other_units, paper_units
from experiments.paper import MEASURED
from experiments.results import read_results
from jaxseg.latency import slow_thread
from tests.experiments.lowlatency.conftest import CLASSES, NUM_FRAMES, sequence


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
