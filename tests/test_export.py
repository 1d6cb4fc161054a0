"""Exported programs: the labels of jaxseg, at every size, where there is no jaxseg."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.arrays import Gop
from jaxseg.checkpoints import Model
from jaxseg.classes import Classes
from jaxseg.cli.settings import maker_of
from jaxseg.fusion import CONV, init_fusion
from jaxseg.nets import NetConfig, segmenter
from jaxseg.pretrained import load, save_weights
from jaxseg.runner import compile_scheme, label_gops
from tests import reference
from tests.algorithms import LONGEST, gops_of

ROOT = Path(__file__).resolve().parents[1]
CONFIG = NetConfig(3, output_stride=32, ladder_stride=8, ladder_channels=16, width=8)
DEFORMABLE = NetConfig(3, output_stride=16, deformable_groups=2, width=8)
CLASSES = Classes(("sky", "road", "car"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
SIZES = {(48, 64): 14, (45, 83): 8}
"""Frames of a video, by their size: of whole blocks, and of none."""

# In this process jaxseg's type checks would refuse sizes that are symbols.
COMMAND = [sys.executable, "-m", "jaxseg.cli", "export"]
WITHOUT_JAXSEG = """
import runpy, sys
import numpy as np

sys.modules["jaxseg"] = None
example = runpy.run_path(sys.argv[1])
model = example["load"](example["FOLDER"])
for path in sys.argv[2:]:
    np.save(path + ".npy", example["label"](model, dict(np.load(path))))
"""


def make_model(config, draw_variables, *, is_fused: bool = False) -> Model:
    """Draw a net, each of whose classes has a share of the labels."""
    net = segmenter(config)
    frame = reference.draw_video(1, height=48, width=64)[0][0]
    params = draw_variables(jax.eval_shape(net.init, jax.random.key(0), frame))

    @jax.jit
    def score(params):
        return net.classify(params, net.project(params, net.features(params, frame)))

    layer = params["params"]["classify"]["conv"]
    layer["bias"] = layer["bias"] - np.asarray(score(params)).mean((0, 1))
    if not is_fused:
        return Model(net, params, config, CLASSES)
    params = init_fusion(net, params, CONV)
    return Model(net, params, config, CLASSES, {"fusion": "conv"})


def export(folder: Path, model: Model, scheme: str) -> Path:
    save_weights(folder / "net.safetensors", model)
    out = folder / "out"
    words = ["--checkpoint", folder / "net.safetensors", "--scheme", scheme]
    subprocess.run([*COMMAND, out, *words, "--interval", str(LONGEST)], cwd=ROOT, check=True)
    return out


def draw_intervals(scheme) -> list[list[Gop]]:
    """Cut a video of each size into intervals, some of them short, one before another scene."""
    videos = (reference.draw_video(14, height=h, width=w) for h, w in SIZES)
    return [
        gops_of(scheme, *video)[:num]
        for video, num in zip(videos, (5, 2), strict=True)
    ]


def labels_without_jaxseg(out: Path, intervals: list[list[Gop]]) -> list[np.ndarray]:
    """Run the example that comes with the programs, alone."""
    paths = []
    for number, gops in enumerate(intervals):
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
        paths.append(str(out / f"{number}.npz"))
        np.savez(paths[-1], **stacked._asdict())
    command = [sys.executable, "-I", "-c", WITHOUT_JAXSEG, str(out / "run.py"), *paths]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    subprocess.run(command, cwd=out, env=environment, check=True)
    return [np.load(path + ".npy") for path in paths]


def check(folder: Path, model: Model, name: str) -> None:
    """Compare the labels of every size with those of jaxseg itself."""
    model = load(export(folder, model, name).parent / "net.safetensors")
    scheme = maker_of(name, model)(model.net)
    intervals = draw_intervals(scheme)
    found = labels_without_jaxseg(folder / "out", intervals)
    for gops, labels, (height, width) in zip(intervals, found, SIZES, strict=True):
        labeller = compile_scheme(model.net, scheme, height=height, width=width)
        expected = list(label_gops(labeller, model.params, gops))
        assert labels.shape == (len(gops), LONGEST, height, width)
        assert labels.dtype == np.uint8
        real = [one[: int(gop.length)] for one, gop in zip(labels, gops, strict=True)]
        is_same = np.concatenate(real) == np.concatenate(expected)
        print(is_same.mean())
        assert is_same.mean() >= 0.9999
        assert len(np.unique(np.concatenate(expected))) == 3


def test_the_labels_are_jaxsegs_own(tmp_path, draw_variables):
    check(tmp_path, make_model(CONFIG, draw_variables), "interp-mv")
