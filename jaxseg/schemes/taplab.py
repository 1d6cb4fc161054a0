"""TapLab: carry what a net says from frame to frame, and correct it where the residual is large.

Three modules that can be had alone and together: FFW carries a map along the motion of
each step, RGC labels the worst region anew, RGFS makes keyframes of frames that are hard
to warp.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.arrays import MACROBLOCK, Array, Features, Frames, Gop, Inter, Motion, Params, Scores
from jaxseg.geometry import change_stride, motion_to_cells, pad_frames, padded_size
from jaxseg.nets import Flow, Net
from jaxseg.regions import (
    Correction,
    blend,
    choose_regions,
    region_corners,
    scaled_region,
)
from jaxseg.schedules import PAPER_THRESHOLD, Limit, Tracking, residual_per_pixel, track
from jaxseg.schemes.scheme import Scheme, Seam, carry_scores, map_frames
from jaxseg.warping import FillFn, fill, warp


class Step(NamedTuple):
    """What leads from one frame of an interval to the next.

    Attributes:
        frames: `[2, H, W, 3]`, the frame before and the frame; None where neither is read.
        motion: `[h, w, 2]`, pixels, on the 8x8 grid.
        inter: `[h, w]`.
        residual: `[H16, W16, 2]`; None where it is not read.
        is_real: Whether the frame is one of the video, not of an interval's padding.
    """

    frames: Frames | None
    motion: Motion
    inter: Inter
    residual: Array | None
    is_real: Array


class _Carry(NamedTuple):
    """What goes from frame to frame: the map, the regions' scores, RGFS's threshold."""

    carried: Features
    cells: Array
    limit: Limit


class MotionSource(NamedTuple):
    """Where the motion comes from along which maps are carried.

    Attributes:
        motion_fn: `(params, step, stride) -> motion [h, w, 2]` in cells of that many pixels.
        reads_all_frames: Whether it reads the frames' pixels.
    """

    motion_fn: Callable[[Params, Step, int], Motion]
    reads_all_frames: bool = False


def along_vectors(*, fill_fn: FillFn = fill) -> MotionSource:
    """Carry maps along the codec's own vectors.

    Args:
        fill_fn: How blocks that were coded without motion move; `rest` is the paper's.

    Returns:
        The source.
    """
    return MotionSource(
        lambda params, step, stride: motion_to_cells(
            fill_fn(step.motion, step.inter), stride=stride
        )
    )


def along_flow(flow: Flow) -> MotionSource:
    """Carry maps along the optical flow from each frame to the one before it.

    Args:
        flow: How it is estimated; its variables are at `params["params"]["flow"]`.

    Returns:
        The source.

    Source:
        TapLab (Feng et al. 2020), section 4.2.2.
    """

    def motion_fn(params: Params, step: Step, stride: int) -> Motion:
        assert step.frames is not None
        motion = flow.estimate(params, step.frames[0], step.frames[1])
        return change_stride(motion, stride=flow.stride, new_stride=stride) / stride

    return MotionSource(motion_fn, reads_all_frames=True)


def taplab(
    net: Net,
    *,
    correction: Correction | None = Correction(),  # noqa: B008 (it is immutable)
    threshold: float | None = PAPER_THRESHOLD,
    tracking: Tracking | None = None,
    motion_source: MotionSource = along_vectors(),  # noqa: B008
    warp_fn: Callable[[Features, Motion], Features] = warp,
    cut_fn: Callable[[Net], Seam] = carry_scores,
) -> Scheme:
    """Run a net on keyframes, carry what it says, and correct that by the residual.

    All three modules, FFW+RGC+RGFS; without a correction and without a threshold it is
    FFW alone.

    Args:
        net: The net.
        correction: How the worst regions of each frame are labelled anew (RGC); None for
            not at all.
        threshold: |residual| of a frame, grey levels a pixel as `residual_per_pixel` counts
            them, above which it is labelled as a keyframe is (RGFS); None for never.
        tracking: How the threshold follows the video, to which it was not fitted; None for
            the paper's, which stays.
        motion_source: Where motion comes from; `along_vectors()` is the paper's.
        warp_fn: Carries a map one step; `look_up` is the paper's equation 1.
        cut_fn: What is carried: class scores as in the published code, or by
            `carry_projected` or `carry_features` what comes before them.

    Returns:
        The scheme, whose state is the `Limit`.  It reads residuals, and all frames' pixels,
        only where a module does.

    Raises:
        ValueError: When it runs, if regions do not fit the net or the frames.

    Source:
        TapLab (Feng et al. 2020), Algorithm 1.
    """
    seam = cut_fn(net)
    reads_residual = correction is not None or threshold is not None
    reads_all_frames = reads_residual or motion_source.reads_all_frames

    def init(params: Params, gop: Gop) -> Limit:
        del params, gop
        first = jnp.asarray(math.inf if threshold is None else threshold, jnp.float32)
        return Limit(first, jnp.zeros_like(first))

    def label(params: Params, limit: Limit, keyframe: Features, gop: Gop) -> tuple[Limit, Scores]:
        height, width = gop.frames.shape[-3:-1]
        correct = None if correction is None else _corrector(seam, net, correction, height, width)

        def advance(carry: _Carry, step: Step) -> tuple[_Carry, Features]:
            carried, cells, limit = carry

            def follow() -> tuple[Features, Array]:
                moved = warp_fn(carried, motion_source.motion_fn(params, step, net.stride))
                return (moved, cells) if correct is None else correct(params, moved, step, cells)

            def renew() -> tuple[Features, Array]:
                assert step.frames is not None
                return seam.heavy(params, step.frames[1]), jnp.zeros_like(cells)

            if threshold is None:
                carried, cells = follow()
            else:
                assert step.residual is not None
                score = residual_per_pixel(step.residual, height=height, width=width)
                is_above = (score > limit.threshold) & step.is_real
                carried, cells = jax.lax.cond(is_above, renew, follow)
                if tracking is not None:
                    tracked = track(limit, is_above, tracking)
                    limit = jax.tree.map(partial(jnp.where, step.is_real), tracked, limit)
            return _Carry(carried, cells, limit), carried

        steps = _steps_of(gop, has_frames=reads_all_frames)
        cells = jnp.zeros(() if gop.residual is None else gop.residual.shape[-3:-1])
        last, others = jax.lax.scan(advance, _Carry(keyframe, cells, limit), steps)
        carried = jnp.concatenate([keyframe[None], others])
        return last.limit, map_frames(partial(seam.light, params), carried)

    def step(params: Params, state: Limit, gop: Gop) -> tuple[Limit, Scores]:
        return label(params, state, seam.heavy(params, gop.frames[0]), gop)

    def steps(params: Params, state: Limit, gops: Gop) -> tuple[Limit, Scores]:
        # Side by side, both branches of RGFS would be computed for every frame.
        keyframes = seam.heavy(params, gops.frames[:, 0])
        return jax.lax.scan(
            lambda limit, pair: label(params, limit, *pair), state, (keyframes, gops)
        )

    return Scheme(
        init=init,
        step=step,
        steps=steps,
        reads_all_frames=reads_all_frames,
        reads_residual=reads_residual,
    )


def ffw(
    net: Net,
    *,
    motion_source: MotionSource = along_vectors(),  # noqa: B008
    warp_fn: Callable[[Features, Motion], Features] = warp,
    cut_fn: Callable[[Net], Seam] = carry_scores,
) -> Scheme:
    """Run a net on keyframes and carry what it says, a warp a step: FFW alone.

    Args:
        net: The net.
        motion_source: As in `taplab`.
        warp_fn: As in `taplab`.
        cut_fn: As in `taplab`.

    Returns:
        The scheme; along the codec's vectors it reads no pixels but the keyframes'.

    Source:
        TapLab (Feng et al. 2020), section 3.2.2.
    """
    return taplab(
        net,
        correction=None,
        threshold=None,
        motion_source=motion_source,
        warp_fn=warp_fn,
        cut_fn=cut_fn,
    )


def _steps_of(gop: Gop, *, has_frames: bool) -> Step:
    """Take the steps within an interval, `[t - 1, ...]`."""
    frames = jnp.asarray(gop.frames)
    return Step(
        frames=jnp.stack([frames[:-1], frames[1:]], axis=1) if has_frames else None,
        motion=gop.motion[:-1],
        inter=gop.inter[:-1],
        residual=None if gop.residual is None else gop.residual[:-1],
        is_real=jnp.arange(1, len(gop.motion)) < gop.length,
    )


def _corrector(
    seam: Seam, net: Net, correction: Correction, height: int, width: int
) -> Callable[[Params, Features, Step, Array], tuple[Features, Array]]:
    """Make the function that labels the worst regions of a frame anew."""
    multiple = max(MACROBLOCK, net.stride)
    side, half = scaled_region(height, width, multiple=multiple)
    size = correction.size or (side, side)
    stride = correction.stride or ((half, half) if correction.size is None else _half(size))
    margin = correction.margin
    if any(length % net.stride for length in (*size, *stride, margin)):
        raise ValueError(
            f"regions of {size[0]}x{size[1]} pixels every {stride[0]}x{stride[1]}, with a margin "
            f"of {margin}, do not fit a net of stride {net.stride}; give multiples of {multiple}"
        )
    padded = padded_size(height, width)
    seen = min(size[0] + 2 * margin, padded[0]), min(size[1] + 2 * margin, padded[1])
    last = jnp.array(padded, jnp.int32) - jnp.array(seen, jnp.int32)
    cells_of_region = size[0] // net.stride, size[1] // net.stride
    corners = region_corners(height, width, size=size, stride=stride) // multiple * multiple

    def correct(
        params: Params, moved: Features, step: Step, cells: Array
    ) -> tuple[Features, Array]:
        assert step.frames is not None
        assert step.residual is not None
        frame = pad_frames(step.frames[1])
        cells = correction.memory * cells + correction.score_fn(step.residual)
        chosen, scores, rest = choose_regions(
            cells, corners, size=size, num_regions=correction.num_regions
        )

        def correct_one(carried: Features, region: tuple[Array, Array]) -> tuple[Features, None]:
            corner, score = region

            def renew() -> Features:
                start = jnp.clip(corner - margin, 0, last)
                own = seam.heavy(params, _cut(frame, start, seen))
                own = _cut(own, (corner - start) // net.stride, cells_of_region)
                return blend(carried, own, corner // net.stride, alpha=correction.alpha)

            # What motion explains wholly is right as it is.
            is_wrong = (score > 0) & step.is_real
            return jax.lax.cond(is_wrong, renew, lambda: carried), None

        return jax.lax.scan(correct_one, moved, (chosen, scores))[0], rest

    return correct


def _cut(maps: Array, corner: Array, size: tuple[int, int]) -> Array:
    start = (corner[0], corner[1], jnp.zeros_like(corner[0]))
    return jax.lax.dynamic_slice(maps, start, (*size, maps.shape[-1]))


def _half(size: tuple[int, int]) -> tuple[int, int]:
    down, across = (max(MACROBLOCK, side // 2 // MACROBLOCK * MACROBLOCK) for side in size)
    return down, across
