"""Optical flow that is computed on the host, not learned."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

from jaxseg.arrays import MOTION_BLOCK, Frames, Motion, Params
from jaxseg.geometry import change_stride, pad_frames
from jaxseg.nets import Flow


def dis_flow(*, preset: Literal["ultrafast", "fast", "medium"] = "medium") -> Flow:
    """Estimate motion by OpenCV's dense inverse search.

    It may be called inside compiled functions, which wait for it.

    Args:
        preset: OpenCV's own trade of speed for accuracy.

    Returns:
        The flow, averaged over the cells of the codec's 8x8 grid.  It has no variables.

    Raises:
        ImportError: If OpenCV is not installed.

    Source:
        Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search".
    """
    try:
        import cv2  # Large, and needed for nothing else.
    except ImportError as error:
        raise ImportError(
            "this flow is OpenCV's, which is not installed: pip install 'jaxseg[bench]'"
        ) from error
    cv2_preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset.upper()}")

    def search(reference: Any, frames: Any) -> np.ndarray:
        reference, frames = np.asarray(reference), np.asarray(frames)
        # Its own one, because calls may come from several threads at once.
        estimator = cv2.DISOpticalFlow_create(cv2_preset)
        motion = np.empty((*frames.shape[:-1], 2), np.float32)
        for index in np.ndindex(frames.shape[:-3]):
            grey = [cv2.cvtColor(it[index], cv2.COLOR_RGB2GRAY) for it in (frames, reference)]
            motion[index] = estimator.calc(*grey, None)
        return motion

    def fill(_: Any, motion: Any, reference: Any, frames: Any) -> None:
        np.asarray(motion)[...] = search(reference, frames)

    def estimate(params: Params, reference: Frames, frames: Frames) -> Motion:
        del params
        frames = jnp.asarray(pad_frames(frames))
        shape = jax.ShapeDtypeStruct((*frames.shape[:-1], 2), jnp.float32)
        # On a CPU `pure_callback` copies large arguments in a thread that may be the very
        # one that waits for them: for ever.  A buffer is not copied.
        motion = jax.lax.platform_dependent(
            jnp.asarray(pad_frames(reference)),
            frames,
            cpu=buffer_callback(fill, shape, vmap_method="broadcast_all"),
            default=lambda *pair: jax.pure_callback(
                search, shape, *pair, vmap_method="broadcast_all"
            ),
        )
        return change_stride(motion, stride=1, new_stride=MOTION_BLOCK)

    return Flow(init=lambda key, frames: {}, estimate=estimate, stride=MOTION_BLOCK)
