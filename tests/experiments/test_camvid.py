"""The command of the CamVid experiment on a CamVid in miniature: trained, killed, resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import camvid
from experiments.results import provenance, read_results
from experiments.settings import save_settings
from jaxseg import codec

ROOT = Path(__file__).resolve().parents[2]
TRAIN = [f"0006R0_f{number:05d}" for number in range(30, 210, 30)]
VAL = [f"0016E5_{number:05d}" for number in range(7959, 7969, 2)]
TINY = """
    --net.ladder-stride 8 --net.ladder-channels 16 --batch-size 2 --augment.crop 64 64
    --train.num-steps 12 --train.evaluate-every 3 --train.warmup-steps 2
    --evaluation.intervals 1 2 3
"""


@pytest.fixture(scope="module")
def camvid_in_miniature(tmp_path_factory) -> Path:
    """Make 6 stills and 5 frames of 64x48 pixels in the SegNet tutorial's layout."""
    folder = tmp_path_factory.mktemp("CamVid")
    scene = np.random.default_rng(0).integers(12, size=(6, 20), dtype=np.uint8)
    scene = scene.repeat(8, axis=0).repeat(8, axis=1)
    for split, names in (("train", TRAIN), ("val", VAL)):
        lines = []
        for index, name in enumerate(names):
            ids = scene[:, 4 * index :][:, :64]
            picture = np.stack([ids * 20, 220 - ids * 20, ids % 3 * 100], axis=-1)
            for part, pixels in ((split, picture.astype(np.uint8)), (f"{split}annot", ids)):
                (folder / part).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(folder / part / f"{name}.png")
            line = " ".join(f"/SegNet/CamVid/{p}/{name}.png" for p in (split, f"{split}annot"))
            lines.append(f"{line}\n")
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def data_dir(camvid_in_miniature, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(camvid_in_miniature, tmp_path / "CamVid")


def start(data_dir: Path, out: Path, *words: str) -> subprocess.Popen:
    """Start the command as a user does; what was compiled once is kept beside the data."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(data_dir.with_name("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    words = (*TINY.split(), "--data-dir", str(data_dir), "--out", str(out), *words)
    line = [sys.executable, "-m", "experiments.camvid", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, cwd=ROOT, env=os.environ | cache, **pipes)


def finish(process: subprocess.Popen) -> str:
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed


def losses(out: Path) -> list[tuple[int, float]]:
    rows = map(json.loads, (out / "train.jsonl").read_text().splitlines())
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def assert_measured(out: Path, printed: str) -> None:
    """Check everything that the command promises to write."""
    results = read_results(out / "results.json")
    expected = provenance(["python"])
    assert results.provenance.keys() == expected.keys()
    for key in ("machine", "versions"):
        assert results.provenance[key] == expected[key]
    assert results.provenance["command"].startswith("python -m experiments.camvid --net.")
    assert str(out.parent) not in (out / "results.json").read_text()
    assert [(row["scheme"], row["interval"]) for row in results.rows] == [
        ("per-frame", 1),
        *((name, n) for name in ("copy-last", "prop-mv", "interp-mv") for n in (1, 2, 3)),
    ]
    assert all(0 <= row["miou"] <= 1 and row["throughput_fps"] > 0 for row in results.rows)
    table = (out / "results.md").read_text()
    assert table.count("| interp-mv |") == 3
    assert table.split("\n\n")[0] in printed
    with Image.open(out / "accuracy_throughput.png") as plot:
        plot.load()
    clip, facts = codec.load(out / "overlay.mp4"), codec.probe(out / "overlay.mp4")
    assert (len(clip.frames), facts.width, facts.rate) == (5, 64, 15)
    for name in ("results.json", "results.md", "accuracy_throughput.png", "overlay.mp4"):
        assert f"wrote {out / name}" in printed


@pytest.fixture(scope="module")
def uninterrupted(camvid_in_miniature, tmp_path_factory) -> tuple[Path, str]:
    """The folder of a whole run, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, finish(start(camvid_in_miniature, out))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_learns_and_measures(uninterrupted):
    out, printed = uninterrupted
    assert_measured(out, printed)
    assert [step for step, _ in losses(out)] == list(range(1, 13))
    values = [loss for _, loss in losses(out)]
    assert np.mean(values[-4:]) < np.mean(values[:4])
    assert json.loads((out / "settings.json").read_text())["experiment"]["batch_size"] == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_run_ends_as_if_nothing_had_happened(camvid_in_miniature, uninterrupted, tmp_path):
    out = tmp_path / "killed"
    process = start(camvid_in_miniature, out, "--resume")
    while process.poll() is None and not (out / "checkpoints" / "3").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "checkpoints" / "12").exists(), "killed too late"
    printed = finish(start(camvid_in_miniature, out, "--resume"))
    assert_measured(out, printed)
    assert losses(out) == losses(uninterrupted[0])
    first, second = (read_results(path / "results.json").rows for path in (out, uninterrupted[0]))
    assert [row["miou"] for row in first] == [row["miou"] for row in second]


def call(*words: object) -> int:
    return camvid.main([*TINY.split(), *map(str, words)])


def assert_refused(capfd, code: int, *words: object) -> None:
    printed = capfd.readouterr()
    assert code == 2
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert all(str(word) in printed.err for word in words), printed.err


def replace_by(pixels: np.ndarray):
    return lambda path: Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("val.txt", Path.unlink, ["no such file", "SegNet"]),
        ("train.txt", Path.unlink, ["no such file", "SegNet"]),
        (f"val/{VAL[2]}.png", Path.unlink, ["no such file", "val.txt names it"]),
        (f"trainannot/{TRAIN[1]}.png", Path.unlink, ["no such file", "train.txt names it"]),
        (f"val/{VAL[2]}.png", lambda path: path.write_bytes(b"\x89PNG"), ["cannot be read"]),
        (f"valannot/{VAL[1]}.png", replace_by(np.zeros((24, 32), np.uint8)), ["32x24", "64x48"]),
        (f"trainannot/{TRAIN[0]}.png", replace_by(np.full((48, 64), 12, np.uint8)), ["id 12"]),
        ("val.txt", lambda path: path.write_text("\n"), ["names no picture"]),
    ],
)
def test_unusable_data(data_dir, tmp_path, capfd, name, damage, words):
    damage(data_dir / name)
    code = call("--data-dir", data_dir, "--out", tmp_path / "run")
    assert_refused(capfd, code, data_dir / name, *words)


def test_a_folder_that_is_missing_or_holds_stills_only(data_dir, tmp_path, capfd):
    code = call("--data-dir", tmp_path / "absent", "--out", tmp_path / "run")
    assert_refused(capfd, code, tmp_path / "absent" / "val.txt", "--data-dir")
    shutil.copy(data_dir / "train.txt", data_dir / "val.txt")
    code = call("--data-dir", data_dir, "--out", tmp_path / "run")
    assert_refused(capfd, code, "no labelled sequence")
    assert not (tmp_path / "run").exists()


def test_a_run_is_neither_overwritten_nor_changed(data_dir, tmp_path, capfd):
    out = tmp_path / "run"
    out.mkdir()
    save_settings(out / "settings.json", camvid.EMBEDDED, provenance={})
    where = ["--data-dir", data_dir, "--out", out]
    assert_refused(capfd, call(*where), out, "holds a run already", "--resume")
    assert_refused(capfd, call(*where, "--resume"), out, "net.ladder_stride = 4, not 8")
    assert [path.name for path in out.iterdir()] == ["settings.json"]


def test_there_is_nothing_to_evaluate(data_dir, tmp_path, capfd):
    out = tmp_path / "run"
    code = call("--data-dir", data_dir, "--out", out, "--stage", "evaluate")
    assert_refused(capfd, code, out, "holds no model.json")


@pytest.mark.parametrize(
    "words", ["--net.depth 19", "--evaluation.intervals 0", "--train.num-steps 0"]
)
def test_options_that_make_no_sense(capfd, words):
    with pytest.raises(SystemExit) as caught:
        camvid.main(words.split())
    assert caught.value.code == 2
    assert "must be" in capfd.readouterr().err
