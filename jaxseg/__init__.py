"""Fast semantic segmentation of compressed video.

A heavy net runs on keyframes only; the codec's motion vectors carry its features
to the frames between.  `jaxseg.codec` (video files) needs PyAV and is imported
only where it is used.  So is every name here, which
`__init__.pyi` lists: `import jaxseg` itself imports nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
