"""Kernels and nets against their peers, in small; wrong functions are refused."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import nets, upsampling, variant, warping
from benchmarks.inputs import NetCase
from jaxseg.nets import NetConfig

COPIES = ["copy", "copyto"]


@pytest.fixture(params=["with torch", "without torch"])
def torch_peer(request, monkeypatch, capsys):
    """The peers that torch is, where it is installed and where it is not."""
    if request.param == "with torch":
        pytest.importorskip("torch", reason="torch is not installed")
        yield ["torch"]
    else:
        monkeypatch.setitem(sys.modules, "torch", None)
        yield []
        assert "torch is left out; it is not installed: pip install 'torch'" in (
            capsys.readouterr().err
        )


def test_warps_are_compared(torch_peer, time_once, check_rows):
    rows = warping.measure(cases=[warping.Case(6, 8, 4)], time_fn=time_once)
    check_rows(rows)
    peers = ["map_coordinates", *torch_peer, *COPIES]
    assert [(row["what"], row["peer"]) for row in rows] == [
        (f"warp, {what}", peer) for what in ("forward", "gradient") for peer in peers
    ]
    map_bytes, motion_bytes = 6 * 8 * 4 * 4, 6 * 8 * 2 * 4
    assert {(row["what"], row["must_move_bytes"]) for row in rows} == {
        ("warp, forward", 2 * map_bytes + motion_bytes),
        ("warp, gradient", 3 * map_bytes + 2 * motion_bytes),
    }
    for row in rows:
        assert row["share_of_bandwidth"] == pytest.approx(row["bound_ms"] / row["ours_ms"])


@pytest.mark.parametrize("wrong", [lambda f, m: f, lambda f, m: jnp.roll(f, 1, axis=0)])
def test_wrong_warps_are_not_timed(wrong, monkeypatch, time_once):
    monkeypatch.setattr(warping, "warp", wrong)
    with pytest.raises(ValueError, match="map_coordinates's forward differ by "):
        warping.measure(cases=[warping.Case(6, 8, 4)], time_fn=time_once)


def test_variant_convolutions_are_compared(torch_peer, time_once, check_rows):
    rows = variant.measure(cases=[variant.Case(10, 12, 4)], time_fn=time_once)
    check_rows(rows)
    assert [(row["what"], row["peer"]) for row in rows] == [
        (f"convolve_variant, {what}", peer)
        for what in ("forward", "gradient")
        for peer in ("gather", "taps", *torch_peer)
    ]
    for row in rows:
        assert row["volume_bytes"] == 10 * 12 * 4 * 81 * 4
        assert (row["peer_temp_bytes"] is None) == (row["peer"] == "torch")
        if row["peer"] == "gather":
            assert row["peer_temp_bytes"] >= row["volume_bytes"]


def test_wrong_variant_convolutions_are_not_timed(monkeypatch, time_once):
    turned = variant.convolve_variant
    monkeypatch.setattr(variant, "convolve_variant", lambda f, k: turned(f, k[..., ::-1]))
    with pytest.raises(ValueError, match="gather's forward differ by "):
        variant.measure(cases=[variant.Case(10, 12, 4)], time_fn=time_once)


def test_labels_are_compared(torch_peer, time_once, check_rows):
    rows = upsampling.measure(cases=[upsampling.Case(40, 60, 5, 8)], time_fn=time_once)
    check_rows(rows)
    assert [row["peer"] for row in rows] == ["dense", "dense, two steps", *torch_peer]
    for row in rows:
        # The volume covers the padded frame: whole cells.
        assert row["dense_bytes"] == 40 * 60 * 5 * 4
        assert row["must_move_bytes"] == 5 * 8 * 5 * 4 + 40 * 60
        assert (row["peer_temp_bytes"] is None) == (row["peer"] == "torch")
    assert rows[1]["peer_temp_bytes"] >= rows[1]["dense_bytes"]


def test_wrong_labels_are_not_timed(monkeypatch, time_once):
    def zeros(scores, *, stride, height, width):
        return jnp.zeros((height, width), jnp.uint8)

    monkeypatch.setattr(upsampling, "predict_labels", zeros)
    with pytest.raises(ValueError, match=r"differ in \d+% of the pixels"):
        upsampling.measure(cases=[upsampling.Case(40, 60, 5, 8)], time_fn=time_once)


@pytest.mark.parametrize(
    ("depth", "output_stride"),
    [
        (18, 16),
        pytest.param(18, 32, marks=pytest.mark.slow),
        pytest.param(50, 8, marks=pytest.mark.slow),
    ],
)
def test_nets_are_those_of_torch(depth, output_stride, time_once, check_rows):
    pytest.importorskip("torch", reason="torch is not installed")
    config = NetConfig(3, depth, output_stride)
    rows = nets.measure(cases=[NetCase("net", config, 48, 64)], time_fn=time_once)
    check_rows(rows)
    assert [row["peer"] for row in rows] == ["torch", "torch, channels last"]
    for row in rows:
        ratio = row["peer_share_of_peak"] / row["share_of_peak"]
        assert ratio == pytest.approx(1 / row["speedup"])
        assert row["gflop"] > 0.1


def test_nets_need_torch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert nets.measure() == []
    assert "pip install 'torch', or make bench" in capsys.readouterr().err


def test_motion_keeps_away_from_whole_cells():
    motion = np.asarray(warping.draw_inputs(warping.Case(20, 30, 1)).motion)
    share = motion - np.floor(motion)
    assert share.min() > 0.09
    assert share.max() < 0.91
    assert np.abs(motion).max() > 5
