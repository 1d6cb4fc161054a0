"""Networks, cut where features can be carried: the only room that imports flax."""

from jaxseg.nets.segmenter import Net, NetConfig, default_dtype, segmenter
from jaxseg.nets.upsampling import predict_labels, upsample_scores

__all__ = [
    "Net",
    "NetConfig",
    "default_dtype",
    "predict_labels",
    "segmenter",
    "upsample_scores",
]
