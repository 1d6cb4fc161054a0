"""Ways to label a video, one file each; every one returns a `Scheme(init, step)`."""

from jaxseg.schemes.copy_last import copy_last
from jaxseg.schemes.interp_mv import interp_mv
from jaxseg.schemes.per_frame import per_frame
from jaxseg.schemes.prop_flow import prop_flow
from jaxseg.schemes.prop_mv import prop_mv
from jaxseg.schemes.scheme import Scheme

__all__ = ["Scheme", "copy_last", "interp_mv", "per_frame", "prop_flow", "prop_mv"]
