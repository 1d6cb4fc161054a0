from .arrays import Clip, CodedFrame, Gop, PictureType
from .nets import Net, NetConfig, segmenter
from .pretrained import load
from .runner import label_clip, segment, stream
from .schemes import Scheme, copy_last, interp_mv, per_frame, prop_flow, prop_mv
from .warping import compose, fill, invert, propagate, warp

__all__ = [
    "Clip",
    "CodedFrame",
    "Gop",
    "Net",
    "NetConfig",
    "PictureType",
    "Scheme",
    "compose",
    "copy_last",
    "fill",
    "interp_mv",
    "invert",
    "label_clip",
    "load",
    "per_frame",
    "prop_flow",
    "prop_mv",
    "propagate",
    "segment",
    "segmenter",
    "stream",
    "warp",
]
