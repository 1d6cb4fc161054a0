"""Figures 6, 9, 10 and 12 of TapLab: what its modules make of one GOP."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32, UInt8
from PIL import Image

from data.examples import DataError
from experiments.taplab.accuracy import Labellers, gops_of
from experiments.taplab.figures import (
    correction_sheet,
    modules_sheet,
    motion_sheet,
    residual_sheet,
)
from experiments.taplab.flows import NamedFlow, with_flow
from experiments.taplab.units import CODEC, Carrying, Unit, correction_of
from experiments.taplab.video import TURNS, Film
from jaxseg.arrays import IGNORE_LABEL, MACROBLOCK, Array, Clip, PictureType
from jaxseg.checkpoints import Model
from jaxseg.files import replacing
from jaxseg.geometry import pad_frames
from jaxseg.nets import Net
from jaxseg.regions import Correction, choose_regions, region_corners
from jaxseg.runner import label_gops


class Scene(NamedTuple):
    """One GOP, to be drawn.

    Attributes:
        clip: Its frames, the I-frame first.
        truth: `[t, H, W]`.
        part: The part of the video whose threshold it gets.
        shown: Which of its frames are drawn.
    """

    clip: Clip
    truth: UInt8[np.ndarray, "t H W"]
    part: int
    shown: tuple[int, ...]


def hardest_scene(film: Film, *, gop: int) -> Scene:
    """Choose the whole GOP of a film with the most pixels that motion does not explain.

    Args:
        film: Where it is chosen from.
        gop: Frames of a whole GOP.

    Returns:
        The GOP.  Drawn are the frames after a third, two thirds and all of it, and a
        labelled one where none of these is.

    Raises:
        DataError: If the film holds no whole GOP.
    """
    clip, truth = film.read_fn()
    assert clip.residual is not None
    begins = (clip.picture_types == PictureType.INTRA) | clip.is_cut
    starts = [
        start
        for start in np.flatnonzero(begins)
        if start + gop <= len(begins) and not begins[start + 1 : start + gop].any()
    ]
    if not starts:
        raise DataError(f"{film.name}: has no whole GOP of {gop} frames to draw; give longer video")
    residual = clip.residual[..., 1].sum(axis=(1, 2))
    start = int(max(starts, key=lambda it: residual[it + 1 : it + gop].sum()))
    chosen = slice(start, start + gop)
    labelled = np.flatnonzero((truth[chosen] != IGNORE_LABEL).any(axis=(1, 2)))
    shown = {gop // 3, 2 * gop // 3, gop - 1}
    if not shown & set(labelled.tolist()):
        shown |= set(labelled[-1:].tolist())
    return Scene(
        clip=jax.tree.map(lambda leaf: leaf[chosen], clip),
        truth=truth[chosen],
        part=int(film.divisions[TURNS][start]),
        shown=tuple(sorted(shown)),
    )


def regions_of(
    correction: Correction,
    net: Net,
    residual: Float[Array, "t _h _w 2"],
    *,
    height: int,
    width: int,
) -> list[Int32[np.ndarray, "_k 2"]]:
    """Tell which regions RGC labels anew in the frames of a GOP.

    Args:
        correction: With size and stride.
        net: The net.
        residual: `[t, H16, W16, 2]`, the I-frame's first.
        height: Of the frames, pixels.
        width: Of the frames, pixels.

    Returns:
        For each frame `[k, 2]`, top and left, pixels; none in the I-frame, nor where motion
        explains everything.
    """
    assert correction.size is not None
    assert correction.stride is not None
    corners = region_corners(height, width, size=correction.size, stride=correction.stride)
    # As in the scheme, regions lie on whole cells.
    multiple = max(MACROBLOCK, net.stride)
    found = [np.zeros((0, 2), np.int32)]
    cells: Array = jnp.zeros(residual.shape[1:3])
    for frame in residual[1:]:
        chosen, scores, cells = choose_regions(
            correction.memory * cells + correction.score_fn(jnp.asarray(frame)),
            corners // multiple * multiple,
            size=correction.size,
            num_regions=correction.num_regions,
        )
        found.append(np.asarray(chosen)[np.asarray(scores) > 0])
    return found


def write_pictures(
    out: Path,
    model: Model,
    scene: Scene,
    labellers: Labellers,
    *,
    carrying: Carrying,
    flows: Mapping[str, NamedFlow],
) -> list[Path]:
    """Draw what the modules make of a scene.

    Args:
        out: Gets `figure6.png` (residuals), `figure9.png` (motion), `figure10.png`
            (corrected regions) and `figure12.png` (all modules).
        model: The net's variables and classes.
        scene: From `hardest_scene`.
        labellers: Of the modules, along the codec's motion and along each flow.
        carrying: How maps are carried and corrected.
        flows: Optical flows by name, with variables.

    Returns:
        The files.
    """
    clip, truth, _, shown = scene
    assert clip.frames is not None
    assert clip.residual is not None
    height, width = truth.shape[1:]
    labels = {unit: _labels_of(unit, labellers, model, scene, flows) for unit in labellers}
    by_scheme = {unit.scheme: it for unit, it in labels.items() if unit.motion == CODEC}
    picked, names = list(shown), [f"T = {offset}" for offset in shown]
    last = shown[-1]

    motion: dict[str, Array] = {CODEC: clip.motion[last]}
    pair = pad_frames(clip.frames[last - 1 : last + 1])
    for name, flow in flows.items():
        params = with_flow(model.params, flow)
        motion[name] = np.asarray(jax.jit(flow.flow.estimate)(params, pair[0], pair[1]))
    moved = {
        unit.motion: it[last]
        for unit, it in labels.items()
        if unit.scheme == "ffw" and unit.motion in motion
    }

    corrected = next(unit for unit in labels if unit.scheme == "ffw+rgc")
    correction = correction_of(corrected, carrying)
    assert correction is not None
    assert correction.size is not None
    corners = regions_of(correction, model.net, clip.residual, height=height, width=width)
    columns = [0, *picked]
    sheets = {
        6: residual_sheet(
            clip.frames[picked],
            by_scheme["ffw"][picked],
            clip.residual[picked, ..., 0],
            truth[picked],
            names=names,
            classes=model.classes,
        ),
        9: motion_sheet(clip.frames[last], truth[last], motion, moved, classes=model.classes),
        10: correction_sheet(
            by_scheme["ffw"][columns],
            by_scheme["ffw+rgc"][columns],
            truth[columns],
            [corners[offset] for offset in columns],
            size=correction.size,
            names=["T = 0", *names],
            classes=model.classes,
        ),
        12: modules_sheet(
            clip.frames[picked],
            {scheme: it[picked] for scheme, it in by_scheme.items()} | {"truth": truth[picked]},
            names=names,
            classes=model.classes,
        ),
    }
    paths = [out / f"figure{number}.png" for number in sheets]
    for path, sheet in zip(paths, sheets.values(), strict=True):
        with replacing(path) as hidden:
            Image.fromarray(sheet).save(hidden)
    return paths


def _labels_of(
    unit: Unit,
    labellers: Labellers,
    model: Model,
    scene: Scene,
    flows: Mapping[str, NamedFlow],
) -> UInt8[np.ndarray, "t H W"]:
    labeller = labellers[unit][scene.part]
    params = with_flow(model.params, flows.get(unit.motion))
    gops = gops_of(scene.clip, labeller, gop=unit.gop)
    return np.concatenate(list(label_gops(labeller, params, gops)))
