"""Motion, schemes and the whole way, in small, on a net that costs nothing."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import end_to_end, motion, schemes
from benchmarks.decoding import average_over_blocks, dis_flow, flow_frames
from benchmarks.inputs import NetCase, moving_scene
from jaxseg import codec
from jaxseg.nets import NetConfig
from jaxseg.runner import Labeller

SCHEMES = ["copy-last", "prop-mv", "interp-mv"]
CONFIG = NetConfig(3)
PEERS = {"cv2": "opencv-python", "mvextractor.videocap": "motion-vector-extractor"}


@pytest.fixture(params=["installed", "missing"])
def peers(request, monkeypatch, capsys):
    """The peers that may be missing, there or not."""
    if request.param == "installed":
        for name in PEERS:
            pytest.importorskip(name, reason=f"{name} is not installed")
    else:
        for name in PEERS:
            monkeypatch.setitem(sys.modules, name, None)
    return request.param == "installed"


def test_readers_of_motion_are_compared(peers, time_once, check_rows, capsys):
    rows = motion.measure(cases=[motion.Case(48, 96, 6)], time_fn=time_once)
    check_rows(rows)
    extractors = ["mv-extractor", "mv-extractor, vectors alone"]
    assert [row["peer"] for row in rows] == [
        "decoding alone",
        "decoding alone, frame threads",
        *(extractors if peers else []),
    ]
    assert ("pip install 'motion-vector-extractor'" in capsys.readouterr().err) != peers
    for row in rows:
        assert row["ours_fps"] == pytest.approx(1000 / row["ours_ms"])


def test_readers_that_differ_are_not_timed():
    grids = [(np.full((2, 2, 2), index), np.ones((2, 2), bool)) for index in range(3)]
    motion.require_same_grids(iter(grids), iter(grids))
    with pytest.raises(ValueError, match="differ at frame 2"):
        motion.require_same_grids(grids, [*grids[:2], grids[0]])
    with pytest.raises(ValueError, match="differ at frame 2"):
        motion.require_same_grids(grids, grids[:2])


def test_schemes_are_compared(make_net, time_once, check_rows):
    case = NetCase("tiny", CONFIG, 40, 60)
    rows = schemes.measure(cases=[case], intervals=(1, 3), make_net=make_net, time_fn=time_once)
    check_rows(rows)
    assert [(row["scheme"], row["interval"]) for row in rows] == [(it, 3) for it in SCHEMES]
    map_bytes, motion_bytes, labels = 6 * 8 * 3 * 4, 6 * 8 * 2 * 4, 40 * 60
    assert [row["must_move_bytes"] - labels for row in rows] == [
        0,
        map_bytes + motion_bytes,
        2 * map_bytes + motion_bytes,
    ]
    for row in rows:
        assert row["speedup"] == pytest.approx(row["keyframe_ms"] * row["throughput_fps"] / 1000)
        assert row["share_of_bandwidth"] == pytest.approx(row["bound_ms"] / row["intermediate_ms"])


def test_the_whole_way_is_compared(peers, make_net, time_once, check_rows, monkeypatch, capsys):
    monkeypatch.setattr(end_to_end, "TURN_SECONDS", 0)
    monkeypatch.setattr(end_to_end, "FILE_FRAMES", 5)
    case = end_to_end.Case("tiny", CONFIG, 48, 64, intervals=(2, 3))
    rows = end_to_end.measure(cases=[case], make_net=make_net, time_fn=time_once)
    check_rows(rows)
    names = ["copy-last", *(["flow"] if peers else []), "prop-mv", "interp-mv"]
    assert [(row["scheme"], row["interval"]) for row in rows] == [
        ("per-frame", 1),
        *((name, interval) for name in names for interval in (2, 3)),
    ]
    assert {row["peer"] for row in rows} == {"per-frame"}
    assert ("pip install 'opencv-python'" in capsys.readouterr().err) != peers
    for row in rows:
        shares = {key: value for key, value in row.items() if key.startswith("share_")}
        share_of_network = row["throughput_fps"] / row["network_fps"]
        assert shares.pop("share_of_network") == pytest.approx(share_of_network)
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) >= 0
        if row["scheme"] in ("per-frame", "copy-last"):
            assert shares["share_motion"] == 0


def test_a_state_is_made_once():
    begun = []
    labeller = Labeller(
        init=lambda params, gop: begun.append(gop) or 0,
        step=lambda params, state, gop: (state + gop, state),
        steps=None,
        reads_all_frames=False,
    )
    again = end_to_end.resuming(labeller)
    assert again.init(None, 5) == 0
    assert again.step(None, 0, 5) == (5, 0)
    assert again.init(None, 7) == 5
    assert begun == [5]


def test_flow_and_codec_see_the_same_motion(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    path = tmp_path / "scene.mp4"
    codec.encode(moving_scene(128, 192, num_frames=4), path)
    readers = (codec.read_frames(path), flow_frames(path, flow_fn=dis_flow(cv2)))
    for frames in readers:
        *_, last = frames
        # The window moves right and down, so what it shows came from there.
        np.testing.assert_allclose(np.median(last.motion, axis=(0, 1)), [3, 2], atol=0.5)
        assert last.motion.shape == (16, 24, 2)


def test_flow_is_averaged_over_blocks():
    flow = np.arange(20 * 30 * 2, dtype=np.float32).reshape(20, 30, 2)
    averaged = average_over_blocks(flow)
    assert averaged.shape == (4, 4, 2)
    np.testing.assert_allclose(averaged[1, 2], flow[8:16, 16:24].mean(axis=(0, 1)), rtol=1e-6)
    np.testing.assert_allclose(averaged[3, 0], flow[19, :8].mean(axis=0), rtol=1e-6)


def test_the_scene_moves():
    frames = list(moving_scene(48, 64, num_frames=3))
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    np.testing.assert_array_equal(frames[1][:13, :60], frames[0][2:15, 3:63])
    np.testing.assert_array_equal(frames[1][16:32, 5:21], frames[0][16:32, :16])
    assert jnp.asarray(frames[0]).std() > 10
