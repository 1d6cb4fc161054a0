"""The Cityscapes experiment on a miniature in the published layout, up to the official score."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data.cityscapes import find_snippets
from data.cityscapes.reading import LABEL_IDS, read_labels
from data.examples import DataError
from experiments import cityscapes
from experiments.results import read_results
from experiments.settings import EvaluationConfig, save_settings
from jaxseg import codec
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.checkpoints import Model
from jaxseg.classes import CITYSCAPES
from jaxseg.metrics import confusion_matrix, mean_iou
from jaxseg.nets import Net, NetConfig
from tests.snippets import HEIGHT, WIDTH, labels_of, picture, write_cityscapes, write_snippet

ROOT = Path(__file__).resolve().parents[2]
TINY = """
    --recipe small --net.ladder-stride 8 --net.ladder-channels 16 --batch-size 2
    --augment.crop 64 64 --train.num-steps 6 --train.evaluate-every 3 --train.warmup-steps 2
    --evaluation.intervals 10 --evaluation.overlay-interval 10 --submit prop-mv 10
"""
PROVENANCE = {
    "date": "2024-05-06T07:08:09+00:00",
    "commit": "0123456789abcdef",
    "is_dirty": False,
    "machine": {"cpu": "A CPU", "num_cores": 2, "memory_bytes": 8, "devices": ["cpu"]},
    "versions": {"python": "3.11", "jax": "0.10"},
    "command": "python -m experiments.cityscapes",
}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory) -> Path:
    """Two cities and four snippets a split."""
    return write_cityscapes(tmp_path_factory.mktemp("cityscapes"))


@pytest.fixture
def data_dir(miniature, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(miniature, tmp_path / "cityscapes")


def colour_model() -> Model:
    """Make a net that knows which colour `tests.snippets` gives each class."""
    ids = np.array(LABEL_IDS)
    colours = jnp.array(np.stack([ids * 7, 250 - ids * 7, ids % 5 * 60], axis=-1), jnp.float32)

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        cells = frames.astype(jnp.float32).reshape(*batch, height // 8, 8, width // 8, 8, 3)
        return cells.mean(axis=(-4, -2))

    def classify(params, cells):
        known = jnp.broadcast_to(colours, (*cells.shape[:-1], *colours.shape))
        return -jnp.square(cells[..., None, :] - known).sum(axis=-1)

    net = Net(None, features, lambda params, it: it, classify, None, 8, len(LABEL_IDS))
    return Model(net, {}, NetConfig(len(LABEL_IDS)), CITYSCAPES)


def score(folder: Path, data_dir: Path) -> float:
    """Score a submission by our own metric."""
    total = np.zeros((19, 19), np.int64)
    for snippet in find_snippets(data_dir, "val"):
        (path,) = folder.glob(f"{snippet.name}*.png")
        total += confusion_matrix(read_labels(snippet.labels), read_labels(path), num_classes=19)
    return float(mean_iou(total))


def official_score(official: ModuleType, folder: Path, data_dir: Path) -> float:
    """Score a submission as the benchmark's own evaluation does, from the files it finds."""
    args = official.args
    args.predictionPath, args.predictionWalk = str(folder), None
    # Scores of instances need their own files, and a NumPy older than ours.
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    truth = sorted(map(str, data_dir.glob("gtFine/val/*/*_gtFine_labelIds.png")))
    found = [official.getPrediction(args, path) for path in truth]
    return official.evaluateImgLists(found, truth, args)["averageScoreClasses"]


def assert_measured(out: Path, data_dir: Path, intervals: list[int], submitted: str) -> None:
    """Check what the command promises to write."""
    rows = {
        (row["scheme"], row["interval"]): row for row in read_results(out / "results.json").rows
    }
    expected = {(name, n) for name in ("prop-mv", "interp-mv") for n in intervals}
    assert rows.keys() == {("per-frame", 1), *expected}
    assert all(0 <= row["miou"] <= 1 and row["throughput_fps"] > 0 for row in rows.values())
    assert all(0 <= row["miou_min"] <= 1 for row in rows.values())
    assert {(row["height"], row["width"]) for row in rows.values()} == {(HEIGHT, WIDTH)}
    assert (out / "results.md").read_text().count("| interp-mv |") == len(intervals)
    with Image.open(out / "accuracy_throughput.png") as plot:
        plot.load()
    facts = codec.probe(out / "overlay.mp4")
    assert (facts.num_frames, facts.rate, facts.width) == (30, 17, WIDTH)
    names = sorted(f"{snippet.name}_labelIds.png" for snippet in find_snippets(data_dir, "val"))
    submissions = {path.name: path for path in (out / "submission").iterdir()}
    assert submissions.keys() == {"per-frame", submitted}
    for folder in submissions.values():
        assert sorted(path.name for path in folder.iterdir()) == names
        for path in folder.iterdir():
            with Image.open(path) as opened:
                assert (opened.size, opened.mode) == ((WIDTH, HEIGHT), "L")
    assert score(submissions["per-frame"], data_dir) == rows["per-frame", 1]["miou"]


@pytest.fixture(scope="module")
def evaluated(miniature, tmp_path_factory) -> tuple[Path, list[dict]]:
    """What the evaluation of a net that sees colours wrote, and its rows."""
    out = tmp_path_factory.mktemp("runs") / "evaluated"
    config = EvaluationConfig(intervals=(1, 4), quality=10, overlay_interval=4)
    read = functools.partial(cityscapes.read_clip, folder=out / "sequences", config=config)
    rows = cityscapes.evaluate(
        colour_model(),
        map(read, find_snippets(miniature, "val")),
        config=config,
        submit=("interp-mv", 4),
        out=out,
        provenance=PROVENANCE,
        title="miniature",
    )
    return out, rows


def test_every_scheme_is_measured(evaluated, miniature):
    out, rows = evaluated
    assert_measured(out, miniature, [1, 4], "interp-mv_4")
    by_setting = {(row["scheme"], row["interval"]): row for row in rows}
    for name in ("prop-mv", "interp-mv"):
        assert by_setting[name, 1]["miou"] == by_setting["per-frame", 1]["miou"]
    # Far above chance, 1/19, though cells on the blocks' edges see two colours.
    assert by_setting["per-frame", 1]["miou"] > by_setting["interp-mv", 4]["miou"] > 0.25
    assert (
        score(out / "submission" / "interp-mv_4", miniature) == by_setting["interp-mv", 4]["miou"]
    )


def test_submissions_score_as_officially(evaluated, miniature):
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    out, rows = evaluated
    miou = {(row["scheme"], row["interval"]): row["miou"] for row in rows}
    for name, setting in (("per-frame", ("per-frame", 1)), ("interp-mv_4", ("interp-mv", 4))):
        found = official_score(official, out / "submission" / name, miniature)
        assert found == pytest.approx(miou[setting], abs=1e-9)
        assert found == pytest.approx(score(out / "submission" / name, miniature), abs=1e-9)


def test_a_snippet_is_encoded_once(miniature, tmp_path):
    snippet = find_snippets(miniature, "val")[2]
    config = EvaluationConfig(quality=10)
    first = cityscapes.read_clip(snippet, tmp_path, config)
    assert (first.name, first.labelled) == ("munster_000000_000011", 11)
    (video,) = tmp_path.iterdir()
    facts = codec.probe(video)
    assert (facts.codec, facts.rate, facts.num_frames) == ("h264", 17, 22)
    labelled = (first.example.labels != IGNORE_LABEL).any(axis=(1, 2))
    assert np.flatnonzero(labelled).tolist() == [11]
    assert np.median(first.example.motion[1:][first.example.inter[1:]], axis=0).tolist() == [-2, 0]
    # No picture is read again.
    absent = snippet._replace(frames=tuple(Path("absent") for _ in snippet.frames))
    second = cityscapes.read_clip(absent, tmp_path, config)
    np.testing.assert_array_equal(first.example.frames, second.example.frames)
    with pytest.raises(DataError, match="remove the video"):
        cityscapes.read_clip(snippet._replace(frames=snippet.frames[1:]), tmp_path, config)


def test_odd_sizes_are_cut_to_those_of_the_labels(tmp_path):
    write_snippet(tmp_path, "val", "ulm", labelled=2, numbers=range(4))
    for number in range(4):
        path = picture(tmp_path, "val", "ulm", 0, number)
        with Image.open(path) as opened:
            opened.crop((0, 0, 93, 47)).save(path)
    path = labels_of(tmp_path, "val", "ulm", 0, 2)
    with Image.open(path) as opened:
        opened.crop((0, 0, 93, 47)).save(path)
    (snippet,) = find_snippets(tmp_path, "val")
    clip = cityscapes.read_clip(snippet, tmp_path / "sequences", EvaluationConfig())
    assert clip.example.frames.shape == (4, 47, 93, 3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_trains_measures_and_submits(miniature, tmp_path):
    out = tmp_path / "run"
    words = [*TINY.split(), "--data-dir", str(miniature), "--out", str(out)]
    line = [sys.executable, "-m", "experiments.cityscapes", *words]
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_measured(out, miniature, [10], "prop-mv_10")
    for name in ("results.json", "results.md", "accuracy_throughput.png", "submission"):
        assert f"wrote {out / name}" in done.stdout
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    rows = read_results(out / "results.json").rows
    found = official_score(official, out / "submission" / "per-frame", miniature)
    assert found == pytest.approx(rows[0]["miou"], abs=1e-9)


def assert_refused(capfd, code: int, *words: object) -> None:
    printed = capfd.readouterr()
    assert code == 2
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert all(str(word) in printed.err for word in words), printed.err


def test_what_is_missing_is_said_before_training(data_dir, tmp_path, capfd):
    where = ["--recipe", "small", "--out", str(tmp_path / "run")]
    assert_refused(capfd, cityscapes.main(where), "--data-dir", "www.cityscapes-dataset.com")
    where += ["--data-dir", str(data_dir)]
    picture(data_dir, "val", "munster", 3, 70).unlink()
    assert_refused(capfd, cityscapes.main(where), "munster_000003_000070_leftImg8bit.png")
    shutil.rmtree(data_dir / "gtFine" / "val")
    assert_refused(capfd, cityscapes.main(where), "gtFine/val/", "gtFine_trainvaltest.zip")
    assert not (tmp_path / "run").exists()


def test_a_run_is_neither_overwritten_nor_missed(miniature, tmp_path, capfd):
    where = ["--recipe", "small", "--data-dir", str(miniature), "--out", str(tmp_path)]
    code = cityscapes.main([*where, "--stage", "evaluate"])
    assert_refused(capfd, code, tmp_path, "holds no model.json")
    save_settings(tmp_path / "settings.json", cityscapes.RECIPES["paper"], provenance={})
    assert_refused(capfd, cityscapes.main(where), "holds a run already", "--resume")
    assert_refused(capfd, cityscapes.main([*where, "--resume"]), "net.depth = 101, not 18")
