"""Networks, cut where features can be carried: the only room that imports flax."""

from jaxseg.nets.deformable import deformable_convolve
from jaxseg.nets.flownet import Flow, flownet_s
from jaxseg.nets.segmenter import Net, NetConfig, default_dtype, deformable_deeplab, segmenter
from jaxseg.nets.upsampling import predict_labels, upsample_scores

__all__ = [
    "Flow",
    "Net",
    "NetConfig",
    "default_dtype",
    "deformable_convolve",
    "deformable_deeplab",
    "flownet_s",
    "predict_labels",
    "segmenter",
    "upsample_scores",
]
