"""Exported programs: the labels of jaxseg, at every size, where there is no jaxseg."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export as jax_export
from safetensors.numpy import load_file

from jaxseg.arrays import Gop
from jaxseg.checkpoints import Model, flatten
from jaxseg.classes import Classes
from jaxseg.cli.settings import maker_of
from jaxseg.fusion import CONV, init_fusion
from jaxseg.nets import NetConfig, segmenter
from jaxseg.pretrained import load, save_weights
from jaxseg.runner import compile_scheme, label_gops
from jaxseg.schemes import interp_mv
from tests import reference
from tests.algorithms import LONGEST, gops_of

ROOT = Path(__file__).resolve().parents[1]
CONFIG = NetConfig(3, output_stride=32, ladder_stride=8, ladder_channels=16, width=8)
DEFORMABLE = NetConfig(3, output_stride=16, deformable_groups=2, width=8)
CLASSES = Classes(("sky", "road", "car"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
SIZES = (48, 64), (45, 83)
"""Of whole blocks, and of none."""

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


@pytest.fixture(scope="module", autouse=True)
def compiling_fast():
    """Do without optimizations, here and in other processes: each program runs once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, draw_variables):
    """Export a net by its file, once."""
    return export(tmp_path_factory.mktemp("interp"), make_model(CONFIG, draw_variables))


def make_model(config, draw_variables) -> Model:
    """Draw a net, each of whose classes has a share of the labels."""
    net = segmenter(config)
    frame = reference.draw_video(1, height=48, width=64)[0][0]
    params = draw_variables(jax.eval_shape(net.init, jax.random.key(0), frame))

    @jax.jit
    def score(params):
        return net.classify(params, net.project(params, net.features(params, frame)))

    layer = params["params"]["classify"]["conv"]
    layer["bias"] = layer["bias"] - np.asarray(score(params)).mean((0, 1))
    return Model(net, params, config, CLASSES)


def export(folder: Path, model: Model, *, scheme: str = "interp-mv") -> Path:
    """Write a model and then, in another process, its programs."""
    save_weights(folder / "net.safetensors", model)
    words = ["--checkpoint", folder / "net.safetensors", "--scheme", scheme]
    command = [*COMMAND, folder / "out", *words, "--interval", str(LONGEST)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / "out"


READ = [name for name in Gop._fields if name != "residual"]
"""What the exported schemes are given: none that reads the residual is exported."""


def labels_without_jaxseg(out: Path, intervals: list[list[Gop]]) -> list[np.ndarray]:
    """Run the example that comes with the programs, alone."""
    paths = []
    for number, gops in enumerate(intervals):
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
        paths.append(str(out.parent / f"{number}.npz"))
        np.savez(paths[-1], **{name: getattr(stacked, name) for name in READ})
    command = [sys.executable, "-I", "-c", WITHOUT_JAXSEG, str(out / "run.py"), *paths]
    subprocess.run(command, cwd=out, check=True)
    return [np.load(path + ".npy") for path in paths]


def check(out: Path, scheme: str) -> None:
    """Compare the labels of either size with those of jaxseg itself."""
    model = load(out.parent / "net.safetensors")
    made = maker_of(scheme, model)(model.net)
    # Some intervals are short, and one ends before another scene.
    videos = [reference.draw_video(14, height=height, width=width) for height, width in SIZES]
    intervals = [gops_of(made, *videos[0]), gops_of(made, *videos[1])[:2]]
    found = labels_without_jaxseg(out, intervals)
    for gops, labels, (height, width) in zip(intervals, found, SIZES, strict=True):
        labeller = compile_scheme(model.net, made, height=height, width=width)
        expected = np.concatenate(list(label_gops(labeller, model.params, gops)))
        assert labels.shape == (len(gops), LONGEST, height, width)
        assert labels.dtype == np.uint8
        real = [one[: int(gop.length)] for one, gop in zip(labels, gops, strict=True)]
        assert (np.concatenate(real) == expected).mean() >= 0.9999
        assert len(np.unique(expected)) == 3


def test_the_labels_are_jaxsegs_own(exported):
    check(exported, "interp-mv")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["per-frame", "copy-last", "prop-mv", "ffw"])
def test_other_schemes(tmp_path, draw_variables, scheme):
    check(export(tmp_path, make_model(CONFIG, draw_variables), scheme=scheme), scheme)


@pytest.mark.slow
def test_a_learned_fusion_of_a_deformable_net(tmp_path, draw_variables):
    model = make_model(DEFORMABLE, draw_variables)
    fused = init_fusion(model.net, model.params, CONV)
    check(export(tmp_path, model._replace(params=fused, extras={"fusion": "conv"})), "interp-mv")


def test_the_manifest_says_what_goes_in_and_out(exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert (manifest["scheme"], manifest["interval"]) == ("interp-mv", LONGEST)
    assert manifest["classes"]["names"] == ["sky", "road", "car"]
    assert manifest["platforms"] == ["cpu", "cuda", "tpu"]
    assert manifest["versions"]["jax"] == jax.__version__
    video = reference.draw_video(14, height=45, width=83)
    (gop, *_), sizes = gops_of(interp_mv(segmenter(CONFIG)), *video), {"g": 7, "H": 45, "W": 83}
    sizes |= {"t": LONGEST, "f": 1, "h": 6, "w": 12}
    params, state, *inputs = manifest["programs"]["step"]["inputs"]
    assert (params["name"], state["name"]) == ("params", "state")
    assert [it["name"] for it in inputs] == READ
    for it in inputs:
        field = getattr(gop, it["name"])
        shape = [sizes.get(size) or int(size) for size in it["shape"]]
        assert shape == [7, *field.shape], it["name"]
        assert it["dtype"] == str(field.dtype)
        assert it["meaning"]
    variables = load_file(exported / "params.safetensors")
    assert variables.keys() == flatten(load(exported.parent / "net.safetensors").params).keys()


def test_the_programs_are_called_as_the_manifest_says(exported):
    manifest = json.loads((exported / "manifest.json").read_text())["programs"]
    for name, described in manifest.items():
        program = jax_export.deserialize(bytearray((exported / described["file"]).read_bytes()))
        assert program.platforms == ("cpu", "cuda", "tpu")
        assert name in program.fun_name
        (params, *inputs), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
        assert len(inputs) == len(described["inputs"]) - 1
        assert list(params) == sorted(load_file(exported / "params.safetensors"))
        # The order that the manifest names is that of a flat list, too: nothing is left out.
        assert program.module_kept_var_idx == tuple(range(len(program.in_avals)))
