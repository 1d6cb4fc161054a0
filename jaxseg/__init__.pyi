from .arrays import Clip, CodedFrame, Gop, PictureType
from .latency import track
from .nets import Net, NetConfig, segmenter
from .pretrained import load
from .runner import label_clip, segment, stream
from .schemes import (
    Scheme,
    afp,
    copy_last,
    ffw,
    interp_mv,
    itp,
    per_frame,
    prop_flow,
    prop_mv,
    taplab,
    tracker,
)
from .variant import convolve_variant
from .warping import compose, fill, invert, look_up, propagate, warp

__all__ = [
    "Clip",
    "CodedFrame",
    "Gop",
    "Net",
    "NetConfig",
    "PictureType",
    "Scheme",
    "afp",
    "compose",
    "convolve_variant",
    "copy_last",
    "ffw",
    "fill",
    "interp_mv",
    "invert",
    "itp",
    "label_clip",
    "load",
    "look_up",
    "per_frame",
    "prop_flow",
    "prop_mv",
    "propagate",
    "segment",
    "segmenter",
    "stream",
    "taplab",
    "track",
    "tracker",
    "warp",
]
