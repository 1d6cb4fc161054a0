"""CamVid (Brostow et al. 2009): 701 labelled frames of four drives, 11 classes."""

from data.camvid.reading import read_sequences, read_stills

__all__ = ["read_sequences", "read_stills"]
