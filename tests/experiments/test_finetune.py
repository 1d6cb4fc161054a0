"""What is learned on video: the fusion alone changes, and the run that comes out is whole."""

from contextlib import closing

import jax
import numpy as np
import pytest

from data.examples import Sequence, still
from experiments import camvid, finetune
from experiments.command import DataSet
from jaxseg.arrays import IGNORE_LABEL
from jaxseg.checkpoints import Checkpoints, load_model, write_model_card
from jaxseg.classes import Classes
from jaxseg.nets import NetConfig, segmenter

CLASSES = Classes(("dark", "bright"), ((0, 0, 0), (255, 255, 255)))
CONFIG = NetConfig(2, depth=18, output_stride=32, ladder_stride=8, ladder_channels=16)
WORDS = (
    *("--augment.crop", "64", "64", "--batch-size", "2", "--max-interval", "3"),
    *("--train.num-steps", "2", "--train.evaluate-every", "1"),
    *("--camera.num-frames", "5", "--camera.forward", "0.5", "2"),
)


def draw_still(seed: int):
    """Draw blocks whose classes are their brightness."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 2, (5, 6), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    frame = rng.integers(0, 20, (*blocks.shape, 3), dtype=np.uint8) + 180 * blocks[..., None]
    return still(frame, blocks)


@pytest.fixture
def folder(tmp_path, monkeypatch, draw_variables):
    """Make a run of a net that nobody trained, and four stills."""
    monkeypatch.setattr(
        camvid,
        "data_set",
        lambda data_dir: DataSet("stills", CLASSES, lambda: [*map(draw_still, range(4))], list),
    )
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    params = draw_variables(jax.eval_shape(segmenter(CONFIG).init, jax.random.key(0), frame))
    write_model_card(tmp_path / "net", CONFIG, CLASSES)
    with closing(Checkpoints(tmp_path / "net" / "checkpoints")) as checkpoints:
        checkpoints.save(1, params, {"step": np.ones(())}, metrics={"miou": 0.0})
    return tmp_path


def finetune_in(folder, *words: str) -> int:
    paths = ("--checkpoint", str(folder / "net"), "--out", str(folder / "learned"))
    with jax.numpy_dtype_promotion("standard"):  # Optax counts steps in integers.
        return finetune.main([*paths, *WORDS, *words])


def test_a_fusion_is_learned_and_all_else_stays(folder, capsys):
    assert finetune_in(folder) == 0
    assert "held-out mIoU before training: 0." in capsys.readouterr().out
    before, after = load_model(folder / "net"), load_model(folder / "learned")
    assert after.extras == {"fusion": "conv"}
    learned = dict(after.params["params"])
    kernel = np.asarray(learned.pop("fusion")["kernel"])
    own = np.asarray(before.params["params"]["project"]["conv"]["kernel"])[0, 0]
    assert kernel.shape == (2 * own.shape[0], own.shape[1])
    assert 0 < np.abs(kernel - np.concatenate([own, own])).max() < 0.01
    jax.tree.map(np.testing.assert_array_equal, learned, dict(before.params["params"]))
    stats = (after.params["batch_stats"], before.params["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, *stats)

    clips = sorted((folder / "clips").iterdir())
    assert len(clips) == 4
    assert finetune_in(folder) == 2
    assert "holds a run already; continue it with --resume" in capsys.readouterr().err
    assert finetune_in(folder, "--resume", "--rest", "0.1") == 2
    assert "was begun with rest = 0.0, not 0.1" in capsys.readouterr().err
    assert finetune_in(folder, "--resume") == 0
    assert sorted((folder / "clips").iterdir()) == clips


def test_clips_of_real_neighbours_keep_their_one_labelled_frame(tmp_path):
    example = draw_still(0)
    labels = np.full((3, *example.labels.shape[1:]), IGNORE_LABEL, np.uint8)
    labels[1] = example.labels
    frames = np.stack([np.roll(example.frames[0], shift, axis=1) for shift in range(3)])
    taken = []

    def sequences():
        for number in range(2):
            taken.append(number)
            yield Sequence(f"drive_{number}", 15.0, frames, labels)

    clips = finetune.stored_clips(sequences(), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(clips) == len(files) == len(taken) == 2
    np.testing.assert_array_equal(clips[1].labels, labels)
    assert np.abs(clips[1].frames.astype(int) - frames).mean() < 12
    assert list(clips[1].picture_types) == [1, 2, 2]
    assert len(finetune.stored_clips(sequences(), tmp_path)) == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
