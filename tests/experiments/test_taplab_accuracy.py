"""What TapLab's modules are measured with: who is counted for whom, kept, and timed."""

import json

import numpy as np
import pytest

from experiments import timing
from experiments.taplab.accuracy import compile_units, confusion_of, keys_of, measure_units
from experiments.taplab.flows import NamedFlow
from experiments.taplab.speed import prepare_unit, time_propagation
from experiments.taplab.units import SCHEMES, Carrying, Unit, units_of
from experiments.taplab.video import TURNS, Film
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.runner import Labeller
from tests.taplab_scenes import NUM_CLASSES, STILL, colour_model, short_film


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Film:
    return short_film(tmp_path_factory.mktemp("films"))


def always(label: int, calls: list[int]) -> Labeller:
    """Make a labeller that says the same of every pixel, and notes the frames it is given."""

    def step(params, state, gop):
        calls.append(label)
        return state, np.full((len(gop.motion), *gop.next_frame.shape[:2]), label, np.uint8)

    return Labeller(lambda params, gop: (), step, step, reads_all_frames=False)


def test_each_frame_is_counted_with_the_threshold_of_its_own_part(film):
    clip, truth = film.read_fn()
    parts = film.divisions[TURNS]
    assert parts.tolist() == [0, 0, 0, 1, 1, 1, 0]
    truth = truth.copy()
    truth[1] = IGNORE_LABEL
    calls: list[int] = []
    pair = [always(0, calls), always(2, calls)]
    counted = {"gop": 3, "num_classes": NUM_CLASSES}
    found = confusion_of(pair, {}, clip, truth, parts, **counted)
    first, second = np.bincount(truth[[0, 2, 6]].ravel()), np.bincount(truth[3:6].ravel())
    np.testing.assert_array_equal(found, np.stack([first, [0, 0, 0], second], axis=1))
    assert calls == [0] * 3 + [2] * 3
    # One labeller serves both parts at once; one without frames that count is not run.
    calls.clear()
    found = confusion_of([pair[1]] * 2, {}, clip, truth, parts, **counted)
    np.testing.assert_array_equal(found[:, 2], first + second)
    confusion_of(pair, {}, clip, truth, np.ones(7, int), **counted)
    assert calls == [2] * 6


def test_what_was_measured_alike_is_kept(film, tmp_path):
    model, calls = colour_model(), []
    units = [Unit("ffw", 3), Unit("ffw+rgfs", 3)]
    labellers = {unit: [always(number, calls)] * 2 for number, unit in enumerate(units)}
    log = tmp_path / "rows.jsonl"

    def run(threshold: float) -> list[int]:
        calls.clear()
        settings = {"video": "v", "carrying": Carrying(), "flows": {}}
        keys = keys_of(units, model, thresholds={3: [threshold, 2.0]}, **settings)
        found = measure_units([film], labellers, model, keys, flows={}, log=log)
        assert [confusion.sum() for confusion in found.values()] == [7 * 64 * 96] * 2
        assert [int(found[unit][:, number].sum() > 0) for number, unit in enumerate(units)] == [
            1
        ] * 2
        return sorted(set(calls))

    assert run(1.0) == [0, 1]
    with log.open("a") as file:
        file.write('["{\\"net\\"')
    assert run(1.0) == []
    assert run(1.5) == [1]
    assert len([json.loads(line) for line in log.read_text().splitlines()]) == 3


def test_modules_do_what_their_names_say(film):
    """RGFS on every frame is the net on every frame; RGC that weighs nothing is FFW."""
    model = colour_model()
    modules = units_of("modules", model.net, height=64, width=96, gops=(3,), flows=["still"])
    by_scheme = {unit.scheme: unit for unit in modules if unit.motion == "codec"}
    assert list(by_scheme) == list(SCHEMES)
    ffw, rgc, every = (by_scheme[scheme] for scheme in ("ffw", "ffw+rgc", "ffw+rgc+rgfs"))
    weightless, still = rgc._replace(alpha=0.0), ffw._replace(motion="still")
    units = [by_scheme["per-frame"], ffw, rgc, every, weightless, still]
    settings = {
        "carrying": Carrying(),
        "flows": {"still": NamedFlow(STILL, {})},
        "thresholds": {3: [-1.0, 1e9]},
    }
    labellers = compile_units(model, units, height=64, width=96, **settings)
    keys = keys_of(units, model, video="v", **settings)
    assert len({json.dumps(key) for key in keys.values()}) == len(units)
    clip, truth = film.read_fn()

    def count(unit: Unit, part: int = 0) -> np.ndarray:
        pair, whole = [labellers[unit][part]] * 2, np.zeros(7, int)
        return confusion_of(pair, model.params, clip, truth, whole, gop=3, num_classes=3)

    np.testing.assert_array_equal(count(every, 0), count(by_scheme["per-frame"]))
    np.testing.assert_array_equal(count(every, 1), count(rgc))
    np.testing.assert_array_equal(count(weightless), count(ffw))
    different = [count(unit).tolist() for unit in (by_scheme["per-frame"], ffw, rgc, still)]
    assert all(one not in different[:index] for index, one in enumerate(different))


def test_whole_gops_are_timed_with_the_threshold_of_their_i_frame(film):
    clip, _ = film.read_fn()
    calls: list[int] = []
    pair = [always(0, calls), always(1, calls)]
    step, count = prepare_unit(pair, {}, [(clip, film.divisions[TURNS])], gop=3)
    calls.clear()
    step()
    assert (count, calls) == (6, [0, 1])


def test_the_parts_of_a_step_are_timed_for_every_flow(film, monkeypatch):
    monkeypatch.setattr(timing, "ENOUGH_SECONDS", 0)
    flows = {"still": NamedFlow(STILL, None)}
    found = time_propagation(
        colour_model(), film.read_fn()[0], carrying=Carrying(intra="rest"), flows=flows
    )
    assert list(found) == ["itp", "ffw", "ffw (nearest)", "still"]
    assert [flow_ms is None for flow_ms, _ in found.values()] == [True, True, True, False]
    assert all(warp_ms > 0 for _, warp_ms in found.values())
