"""Networks, cut where features can be carried: the only room that imports flax."""

from jaxseg.nets.correlation import correlate
from jaxseg.nets.deeplab import NetConfig, deformable_deeplab
from jaxseg.nets.deformable import deformable_convolve
from jaxseg.nets.flownet import Flow, flownet_s
from jaxseg.nets.flownet2 import flownet2, flownet2_s, flownet_c
from jaxseg.nets.icnet import IcnetConfig
from jaxseg.nets.mobilenet import MobileNetConfig
from jaxseg.nets.pspnet import PspnetConfig
from jaxseg.nets.pwcnet import pwc_net
from jaxseg.nets.segmenter import NET_CONFIGS, AnyNetConfig, Net, default_dtype, segmenter
from jaxseg.nets.split import Split, split_net
from jaxseg.nets.upsampling import predict_labels, upsample_scores

__all__ = [
    "NET_CONFIGS",
    "AnyNetConfig",
    "Flow",
    "IcnetConfig",
    "MobileNetConfig",
    "Net",
    "NetConfig",
    "PspnetConfig",
    "Split",
    "correlate",
    "default_dtype",
    "deformable_convolve",
    "deformable_deeplab",
    "flownet2",
    "flownet2_s",
    "flownet_c",
    "flownet_s",
    "predict_labels",
    "pwc_net",
    "segmenter",
    "split_net",
    "upsample_scores",
]
