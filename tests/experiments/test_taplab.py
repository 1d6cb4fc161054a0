"""The command that measures TapLab: its tables, its pictures, and what it refuses."""

import numpy as np
import pytest
from PIL import Image

from experiments import camvid, timing
from experiments.results import read_results
from experiments.settings import SettingsError
from experiments.taplab import __main__ as taplab
from experiments.taplab import speed, units
from experiments.taplab.calibration import Calibration
from experiments.taplab.flows import NamedFlow, open_flows
from experiments.taplab.pictures import hardest_scene, regions_of
from experiments.taplab.rows import rows_of
from experiments.taplab.units import SCHEMES, TABLES, Carrying, Unit, correction_of, units_of
from jaxseg.checkpoints import Checkpoints, write_model_card
from jaxseg.classes import CAMVID
from jaxseg.nets import NetConfig
from tests.taplab_scenes import NUM_CLASSES, STILL, colour_model, colour_net, short_film


def test_regions_are_those_of_table_4():
    net = colour_net(NetConfig(NUM_CLASSES))
    units = units_of("regions", net, height=1024, width=2048, gops=(3, 12))
    assert [unit.scheme for unit in units[:2]] == ["per-frame", "ffw"]
    assert [unit[4:7] for unit in units[2:]] == [
        *((256, 256, 256), (256, 256, 512), (512, 512, 512), (256, 512, 512))
    ]
    assert {unit.gop for unit in units} == {12}
    assert units[-1] in units_of("modules", net, height=1024, width=2048, gops=(3, 12))
    assert units[-1] in units_of("alpha", net, height=1024, width=2048, gops=(3, 12))


def test_rows_say_how_much_was_gained_and_at_which_speed():
    units = [Unit("per-frame", 4), *(Unit(s, g) for g in (2, 4) for s in ("ffw", SCHEMES[-1]))]
    miou = dict(zip(units, (0.7, 0.6, 0.65, 0.5, 0.64), strict=True))
    frame_ms = dict(zip(units, (50.0, 10.0, 20.0, 5.0, 16.0), strict=True))
    one = Calibration(3.0, share_calibrated=0.1, share=0.2, share_tracked=0.1, num_frames=30)
    other = Calibration(5.0, share_calibrated=0.1, share=0.0, share_tracked=0.1, num_frames=10)
    found = {gop: [one, other] for gop in (2, 4)}
    rows = rows_of("gops", units, miou, frame_ms, found, {})
    assert [row["speedup"] for row in rows] == pytest.approx([1, 5, 2.5, 10, 3.125])
    assert rows[2]["throughput_fps"] == pytest.approx(50)
    assert [row.get("gain_miou") for row in rows] == [
        *(None, None, pytest.approx(0.05), None, pytest.approx(0.14))
    ]
    assert (rows[4]["key_share"], rows[4]["threshold"]) == (pytest.approx(0.15), 4)
    parts = {"itp": (None, 2.0), "ffw": (None, 1.0), "pwc-net": (9.0, 1.5)}
    carried = [Unit("itp", 4), Unit("ffw", 4)]
    rows = rows_of("propagation", carried, dict.fromkeys(carried, 0.5), {}, found, parts)
    assert [row["method"] for row in rows] == ["itp", "ffw", "pwc-net"]
    assert [row.get("miou") for row in rows] == [0.5, 0.5, None]
    assert [row["total_ms"] for row in rows] == [2, 1, 10.5]


def test_the_region_that_is_drawn_is_the_one_with_most_residual(tmp_path):
    scene = hardest_scene(short_film(tmp_path), gop=3)
    assert (len(scene.truth), scene.shown, scene.part) in {(3, (1, 2), part) for part in (0, 1)}
    net = colour_net(NetConfig(NUM_CLASSES))
    unit = units_of("modules", net, height=64, width=96, gops=(3,))[2]
    residual = np.zeros((4, 4, 6, 2), np.float32)
    residual[1, 3, 5], residual[2, 0, 0], residual[2, 3, 5] = 9, 5, 4
    last = [64 - unit.region_height, 96 - unit.region_width]

    def drawn(carrying: Carrying) -> list[list[list[int]]]:
        correction = correction_of(unit, carrying)
        return [it.tolist() for it in regions_of(correction, net, residual, height=64, width=96)]

    assert drawn(Carrying()) == [[], [last], [[0, 0]], []]
    # What was not labelled anew in one frame still counts in the next.
    assert drawn(Carrying(score="accumulated")) == [[], [last], [[0, 0]], [last]]


def test_a_flow_without_weights_is_only_timed(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert open_flows(None, {}) == {}
    assert "dis is left out" in capsys.readouterr().err
    flow = open_flows(["pwc-net"], {})["pwc-net"]
    assert flow.learned is None


def save_run(run, monkeypatch) -> None:
    """Write the run of a net that tells CamVid's classes by colours."""
    monkeypatch.setattr("jaxseg.checkpoints.segmenter", colour_net)
    config = NetConfig(len(CAMVID.names))
    write_model_card(run, config, CAMVID)
    kernel = np.random.default_rng(0).standard_normal((3, 11), np.float32)
    store = Checkpoints(run / "checkpoints")
    params = {"params": {"kernel": kernel}, "batch_stats": {}}
    store.save(1, params, {"step": np.zeros(())}, metrics={"miou": 0.1})
    store.close()


def test_what_cannot_be_measured_ends_in_one_line(tmp_path, monkeypatch, capsys):
    save_run(tmp_path / "run", monkeypatch)
    monkeypatch.setattr(camvid, "MEASURED_FRAMES", 4)
    words = ["--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    words += ["--gops", "2"]
    assert taplab.main([*words, "--checkpoint", str(tmp_path / "none")]) == 2
    assert "model.json" in capsys.readouterr().err
    assert taplab.main([*words[:-1], "4"]) == 2
    assert "give shorter GOPs" in capsys.readouterr().err
    monkeypatch.setattr(taplab, "load_model", lambda folder: colour_model())
    assert taplab.main(words) == 2
    assert "has 3 classes, other than the 11" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="one of several"):
        taplab.open_models([tmp_path, tmp_path / "other"])
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "rows.jsonl").write_text("")
    assert taplab.main(words) == 2
    assert "--resume" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_writes_every_table_and_figure(tmp_path, monkeypatch, capsys):
    save_run(tmp_path / "run", monkeypatch)
    monkeypatch.setattr(camvid, "MEASURED_FRAMES", 9)
    monkeypatch.setattr(speed, "MIN_ROUNDS", 1)
    monkeypatch.setattr(timing, "ENOUGH_SECONDS", 0)
    monkeypatch.setattr(taplab, "open_flows", lambda *_: {"dis": NamedFlow(STILL, None)})
    monkeypatch.setattr(units, "ALPHAS", (0.0, 1.0))
    out = tmp_path / "out"
    words = ["--checkpoint", str(tmp_path / "run"), "--out", str(out), "--gops", "2", "3"]
    words += ["--num-phases", "2", "--stretch", "3"]
    assert taplab.main(words) == 0, capsys.readouterr().err
    rows = [row for row in read_results(out / "results.json").rows if row["source"] == "measured"]
    tables = {row["table"] for row in rows}
    assert tables == {*TABLES, "calibration"} - {"pictures"}
    miou = {row["scheme"]: row["miou"] for row in rows if row["table"] == "modules"}
    assert len(miou) == len(SCHEMES)
    assert all(0 < value < 1 for value in miou.values())
    assert all({"data_set", "net", "height", "width", "codec", "gop"} <= row.keys() for row in rows)
    for number in (6, 8, 9, 10, 11, 12):
        assert np.asarray(Image.open(out / f"figure{number}.png").convert("L")).std() > 5
    assert "experiments.taplab --checkpoint" in (out / "tables.md").read_text()
    before = (out / "rows.jsonl").read_text()
    assert taplab.main([*words, "--resume", "--tables", "modules"]) == 0
    assert (out / "rows.jsonl").read_text() == before
