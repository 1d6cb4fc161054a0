"""The embedded clip: a drawn drive down a street, with exact labels and motion.

It needs nothing but numpy and pillow, and has no end: `render_frames` draws
frame after frame of the street that `seed` names, `render` the first few.
"""

from data.street.drawing import Street, render, render_frames

__all__ = ["Street", "render", "render_frames"]
