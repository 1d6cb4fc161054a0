"""Fast semantic segmentation of compressed video.

A heavy net runs on keyframes only; the codec's motion vectors carry its features
to the frames between.  `jaxseg.codec` (video files) needs PyAV and is imported
only where it is used.
"""

from jaxseg.arrays import Clip, CodedFrame, Gop, PictureType
from jaxseg.checkpoints import load_model
from jaxseg.nets import Net, NetConfig, segmenter
from jaxseg.runner import label_clip, segment, stream
from jaxseg.schemes import Scheme, copy_last, interp_mv, per_frame, prop_flow, prop_mv
from jaxseg.warping import compose, fill, invert, propagate, warp

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
    "load_model",
    "per_frame",
    "prop_flow",
    "prop_mv",
    "propagate",
    "segment",
    "segmenter",
    "stream",
    "warp",
]
