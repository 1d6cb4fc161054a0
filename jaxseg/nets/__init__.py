"""Networks, cut where features can be carried: the only room that imports flax."""

from jaxseg.nets.deeplab import NetConfig, deformable_deeplab
from jaxseg.nets.deformable import deformable_convolve
from jaxseg.nets.flownet import Flow, flownet_s
from jaxseg.nets.mobilenet import MobileNetConfig
from jaxseg.nets.segmenter import NET_CONFIGS, AnyNetConfig, Net, default_dtype, segmenter
from jaxseg.nets.upsampling import predict_labels, upsample_scores

__all__ = [
    "NET_CONFIGS",
    "AnyNetConfig",
    "Flow",
    "MobileNetConfig",
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
