"""What is compared in each of TapLab's tables, and the schemes it is made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from experiments.taplab.flows import NamedFlow
from jaxseg.arrays import MACROBLOCK
from jaxseg.nets import Net
from jaxseg.regions import ACCUMULATED, Correction, scaled_region
from jaxseg.schemes import (
    Scheme,
    along_flow,
    along_vectors,
    carry_features,
    carry_projected,
    carry_scores,
    itp,
    per_frame,
    taplab,
)
from jaxseg.warping import fill, look_up, rest, warp

Table: TypeAlias = Literal[
    "baselines", "propagation", "regions", "modules", "gops", "alpha", "pictures"
]

TABLES: tuple[Table, ...] = get_args(Table)
"""Tables 2, 3, 4, 5 with 8, and 6; Figure 11; Figures 6, 9, 10 and 12."""

SCHEMES = ("per-frame", "ffw", "ffw+rgc", "ffw+rgfs", "ffw+rgc+rgfs")
"""Of Tables 5 and 8."""

ALPHA = 0.6

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of Figure 11."""

CODEC = "codec"
"""The motion that the codec's vectors give."""

FILLINGS = {"fill": fill, "rest": rest}
CUTS = {"scores": carry_scores, "projected": carry_projected, "features": carry_features}
SCORES = {
    "above": Correction(),
    "remembered": Correction(memory=1.0),
    "accumulated": ACCUMULATED,
}
WARPS = {"bilinear": warp, "nearest": look_up}


class Unit(NamedTuple):
    """What is measured at once.

    Attributes:
        scheme: "per-frame", "itp", or "ffw" with or without "+rgc" and "+rgfs".
        gop: Frames of a GOP.
        motion: `CODEC`, or the name of an optical flow.
        sampling: Of the warp, "bilinear" or "nearest".
        stride: From one region of RGC to the next, pixels; None without it.
        region_height: Pixels, likewise.
        region_width: Pixels, likewise.
        alpha: Weight of what RGC adds, likewise.
    """

    scheme: str
    gop: int
    motion: str = CODEC
    sampling: str = "bilinear"
    stride: int | None = None
    region_height: int | None = None
    region_width: int | None = None
    alpha: float | None = None

    @property
    def method(self) -> str:
        """Its name in Table 3."""
        if self.motion != CODEC:
            return self.motion
        return f"{self.scheme} (nearest)" if self.sampling == "nearest" else self.scheme


class Carrying(NamedTuple):
    """How maps are carried and corrected, the same in all that is compared.

    Attributes:
        carried: What is warped: "scores", as in the published code, "projected" or
            "features".
        intra: How blocks without motion move: "fill", as what is around them, or "rest",
            not at all, as in the paper.
        score: By what RGC chooses regions: "above", the pixels with much residual, as in
            the paper; "remembered", those of all frames since a region was last labelled;
            or "accumulated", the residual since then, as in the published code.
        margin: Pixels around a region that RGC lets the net see, too; none in the paper.
    """

    carried: Literal["scores", "projected", "features"] = "scores"
    intra: Literal["fill", "rest"] = "fill"
    score: Literal["above", "remembered", "accumulated"] = "above"
    margin: int = 0


def units_of(
    table: Table,
    net: Net,
    *,
    height: int,
    width: int,
    gops: Sequence[int],
    flows: Iterable[str] = (),
) -> list[Unit]:
    """List what a table is made of.

    Args:
        table: One of `TABLES`.
        net: The net, which regions must fit.
        height: Of the frames, pixels.
        width: Of the frames, pixels.
        gops: Lengths of GOPs of Table 6, frames; the last is that of the other tables.
        flows: Names of optical flows that the codec's motion is compared with.

    Returns:
        The units, in the order of the table's lines.
    """
    gop = gops[-1]
    side, half = scaled_region(height, width, multiple=max(MACROBLOCK, net.stride))

    def unit(scheme: str, gop: int = gop, motion: str = CODEC, **others: Any) -> Unit:
        default = {"stride": half, "region_height": side, "region_width": side, "alpha": ALPHA}
        return Unit(scheme, gop, motion, **(default if "rgc" in scheme else {}) | others)

    if table == "baselines":
        return [unit("per-frame")]
    if table == "propagation":
        carried = [unit("itp"), unit("ffw", sampling="nearest"), unit("ffw")]
        return carried + [unit("ffw", motion=flow) for flow in flows]
    if table == "regions":
        shapes = ((half, half, half), (half, half, side), (side, side, side), (half, side, side))
        regions = [
            unit("ffw+rgc", stride=stride, region_height=rows, region_width=columns)
            for stride, rows, columns in dict.fromkeys(shapes)
        ]
        return [unit("per-frame"), unit("ffw"), *regions]
    if table == "modules":
        modules = [unit(scheme) for scheme in SCHEMES]
        return modules + [unit(scheme, motion=flow) for flow in flows for scheme in SCHEMES[1:]]
    if table == "pictures":
        modules = [unit(scheme) for scheme in SCHEMES]
        return modules + [unit("ffw", motion=flow) for flow in flows]
    if table == "gops":
        pair = (SCHEMES[1], SCHEMES[-1])
        return [unit("per-frame"), *(unit(scheme, gop) for gop in gops for scheme in pair)]
    return [unit("ffw+rgc", alpha=alpha) for alpha in ALPHAS]


def correction_of(unit: Unit, carrying: Carrying) -> Correction | None:
    """Say how a unit corrects regions.

    Args:
        unit: What is measured.
        carrying: How regions are chosen.

    Returns:
        The correction; None without RGC.
    """
    if unit.stride is None:
        return None
    assert unit.region_height is not None
    assert unit.region_width is not None
    assert unit.alpha is not None
    return SCORES[carrying.score]._replace(
        size=(unit.region_height, unit.region_width),
        stride=(unit.stride, unit.stride),
        alpha=unit.alpha,
        margin=carrying.margin,
    )


def scheme_of(
    unit: Unit,
    net: Net,
    *,
    carrying: Carrying,
    flows: Mapping[str, NamedFlow],
    threshold: float | None = None,
) -> Scheme:
    """Make the scheme of a unit.

    Args:
        unit: What is measured.
        net: The net.
        carrying: How maps are carried.
        flows: Optical flows by name.
        threshold: Of RGFS, where the unit has it.

    Returns:
        The scheme.
    """
    if unit.scheme in ("per-frame", "itp"):
        return {"per-frame": per_frame, "itp": itp}[unit.scheme](net)
    along_codec = along_vectors(fill_fn=FILLINGS[carrying.intra])
    source = along_codec if unit.motion == CODEC else along_flow(flows[unit.motion].flow)
    return taplab(
        net,
        correction=correction_of(unit, carrying),
        threshold=threshold,
        motion_source=source,
        warp_fn=WARPS[unit.sampling],
        cut_fn=CUTS[carrying.carried],
    )
