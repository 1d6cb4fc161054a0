"""Ways to label a video, one file each; every one returns a `Scheme(init, step)`."""

from jaxseg.schemes.afp import Tracker, afp, tracker
from jaxseg.schemes.copy_last import copy_last
from jaxseg.schemes.interp_mv import interp_mv
from jaxseg.schemes.itp import itp
from jaxseg.schemes.per_frame import per_frame
from jaxseg.schemes.prop_flow import prop_flow
from jaxseg.schemes.prop_mv import prop_mv
from jaxseg.schemes.scheme import Scheme, Seam, carry_features, carry_projected, carry_scores
from jaxseg.schemes.taplab import MotionSource, along_flow, along_vectors, ffw, taplab

__all__ = [
    "MotionSource",
    "Scheme",
    "Seam",
    "Tracker",
    "afp",
    "along_flow",
    "along_vectors",
    "carry_features",
    "carry_projected",
    "carry_scores",
    "copy_last",
    "ffw",
    "interp_mv",
    "itp",
    "per_frame",
    "prop_flow",
    "prop_mv",
    "taplab",
    "tracker",
]
