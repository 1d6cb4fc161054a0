"""Video files -> frames and what the codec knows about them, and back (needs PyAV)."""

from jaxseg.arrays import CodedFrame
from jaxseg.codec.errors import CodecError
from jaxseg.codec.motion import rasterize_motion
from jaxseg.codec.probing import Probe, probe
from jaxseg.codec.reading import load, read, read_frames
from jaxseg.codec.residual import motion_compensate, residual_statistics
from jaxseg.codec.writing import Writer, encode, open_writer, transcode

__all__ = [
    "CodecError",
    "CodedFrame",
    "Probe",
    "Writer",
    "encode",
    "load",
    "motion_compensate",
    "open_writer",
    "probe",
    "rasterize_motion",
    "read",
    "read_frames",
    "residual_statistics",
    "transcode",
]
