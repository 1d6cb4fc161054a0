"""OpenCV's flow: units and sign against pictures that are panned, and no deadlock."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.flows import dis_flow
from jaxseg.schemes import prop_flow
from tests import reference


def pan(dx: int, dy: int, *, height: int = 96, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Cut a frame and its reference out of a smooth picture; what is shown moves by (dx, dy)."""
    rng = np.random.default_rng(0)
    coarse, fine = (rng.uniform(0, 127, (size, size, 3)).astype(np.float32) for size in (15, 60))
    layers = [jax.image.resize(it, (240, 240, 3), "cubic") for it in (coarse, fine)]
    picture = np.sum(layers, axis=0).clip(0, 255)
    reference = picture[40 : 40 + height, 40 : 40 + width]
    frame = picture[40 - dy : 40 - dy + height, 40 - dx : 40 - dx + width]
    return reference.astype(np.uint8), frame.astype(np.uint8)


@pytest.fixture
def flow():
    pytest.importorskip("cv2", reason="OpenCV is not installed")
    return dis_flow()


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (6, 0), (0, -5), (-9, 4)])
def test_a_pan_is_found_with_its_sign(flow, dx, dy):
    motion = flow.estimate({}, *pan(dx, dy))
    assert (flow.stride, motion.shape, motion.dtype) == (8, (12, 16, 2), jnp.float32)
    inside = np.asarray(motion)[2:-2, 2:-2]
    # Backward: a picture that moves to the right has come from the left.
    np.testing.assert_allclose(np.median(inside, axis=(0, 1)), [-dx, -dy], atol=0.1)
    np.testing.assert_allclose(inside, np.broadcast_to([-dx, -dy], inside.shape), atol=0.3)


def test_presets_differ(flow):
    pair = pan(3, 2)
    fast = dis_flow(preset="ultrafast").estimate({}, *pair)
    assert not np.array_equal(fast, flow.estimate({}, *pair))
    np.testing.assert_allclose(np.median(fast, axis=(0, 1)), [-3, -2], atol=0.3)


@pytest.mark.parametrize(("height", "width"), [(72, 88), (20, 33)])
def test_batches_and_transformations_agree(flow, height, width):
    pairs = [pan(dx, 1, height=height, width=width) for dx in (2, -3)]
    keys, frames = (np.stack(it) for it in zip(*pairs, strict=True))
    one_by_one = np.stack([flow.estimate({}, *pair) for pair in pairs])
    assert one_by_one.shape == (2, -(-height // 16) * 2, -(-width // 16) * 2, 2)
    assert np.abs(one_by_one[0] - one_by_one[1]).max() > 1

    def estimate(key, frame):
        return flow.estimate({}, key, frame)

    for way in (estimate, jax.jit(estimate), jax.vmap(estimate), jax.jit(jax.vmap(estimate))):
        np.testing.assert_allclose(way(keys, frames), one_by_one, atol=1e-5)
    mapped = jax.jit(lambda *pair: jax.lax.map(lambda it: estimate(*it), pair))(keys, frames)
    np.testing.assert_allclose(mapped, one_by_one, atol=1e-5)
    nested = estimate(keys[:, None], frames[:, None])
    np.testing.assert_allclose(nested[:, 0], one_by_one, atol=1e-5)


def test_a_scheme_propagates_along_it(flow):
    """A panned picture's features follow it, and its gradient is that of the rest."""
    net = reference.toy_net(stride=8)
    params = reference.toy_params(net)
    frames = np.stack([pan(8 * i, 0)[1] for i in range(3)])
    gop = reference.build_gop(
        frames, np.zeros((3, 12, 16, 2), np.float32), 0, 3, longest=3, every_frame=True
    )
    scheme = prop_flow(net, flow)
    scores = jax.jit(scheme.step)(params, (), gop)[1]
    for i in range(3):
        moved = scores[i, 2:-2, 2 + i : -2]
        np.testing.assert_allclose(moved, scores[0, 2:-2, 2 : 14 - i], atol=0.2)
    assert np.abs(scores[2] - scores[0]).mean() > 0.2

    @jax.jit
    def loss(weights):
        return jnp.mean(scheme.step({**params, "classify": weights}, (), gop)[1] ** 2)

    gradient = jax.grad(loss)(params["classify"])
    assert all(np.isfinite(it).all() and np.abs(it).max() > 0 for it in gradient)


def test_it_ends_on_one_processor(flow):
    """Large frames, many calls in a row, and no second thread that could help."""
    program = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import jax, numpy as np
        from jaxseg.flows import dis_flow
        frames = np.random.default_rng(0).integers(256, size=(5, 360, 480, 3), dtype=np.uint8)
        flow = dis_flow(preset="ultrafast")
        scan = jax.jit(lambda frames: jax.lax.map(
            lambda frame: flow.estimate({}, frames[0], frame).mean(), frames))
        pending = [scan(frames) for _ in range(6)]
        print(np.isfinite(pending).all())
    """
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind a process to one processor")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.strip() == "True", done.stderr


def test_a_missing_opencv_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"OpenCV's, .*pip install 'jaxseg\[bench\]'"):
        dis_flow()
