"""Video files -> frames and what the codec knows about them, and back (needs PyAV)."""

from jaxseg.arrays import CodedFrame
from jaxseg.codec.errors import CodecError
from jaxseg.codec.inspection import (
    Container,
    MotionStatistics,
    measure_motion,
    merge_statistics,
    picture_types,
    probe_container,
)
from jaxseg.codec.masks import MaskWriter, open_mask_writer, read_masks
from jaxseg.codec.motion import rasterize_motion
from jaxseg.codec.probing import Probe, probe
from jaxseg.codec.reading import load, read, read_frames
from jaxseg.codec.residual import motion_compensate, residual_statistics
from jaxseg.codec.sources import Source, open_source
from jaxseg.codec.transcoding import transcode
from jaxseg.codec.writing import Writer, encode, open_writer

__all__ = [
    "CodecError",
    "CodedFrame",
    "Container",
    "MaskWriter",
    "MotionStatistics",
    "Probe",
    "Source",
    "Writer",
    "encode",
    "load",
    "measure_motion",
    "merge_statistics",
    "motion_compensate",
    "open_mask_writer",
    "open_source",
    "open_writer",
    "picture_types",
    "probe",
    "probe_container",
    "rasterize_motion",
    "read",
    "read_frames",
    "read_masks",
    "residual_statistics",
    "transcode",
]
