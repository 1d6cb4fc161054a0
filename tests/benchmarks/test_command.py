"""`python -m benchmarks`: what is run, printed and written, and what is explained."""

import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import end_to_end, machine, schemes, upsampling
from benchmarks.__main__ import MODULES, Options, arguments, main
from benchmarks.comparison import require_close, time_calls
from benchmarks.peers import to_numpy
from experiments.results import read_results

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def small_cases(monkeypatch):
    monkeypatch.setattr(upsampling, "CASES", (upsampling.Case(40, 60, 5, 8),))


def test_rows_are_printed_and_written(tmp_path, capsys):
    out = tmp_path / "cpu.json"
    assert main(["--only", "upsampling", "--quick", "--out", str(out)]) == 0
    results = read_results(out)
    assert {row["benchmark"] for row in results.rows} == {"upsampling"}
    assert results.provenance["command"].startswith("python -m benchmarks --only upsampling")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| benchmark | case | what | peer | ours_ms | peer_ms | speedup |")
    assert lines[-1] == f"wrote {out}"
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(results.rows)


def test_what_cannot_be_measured_is_explained(tmp_path, capsys, monkeypatch):
    out = tmp_path / "cpu.json"
    assert main(["--intervals", "5", "0", "--out", str(out)]) == 2
    assert "an interval is 0; give 1 or more frames" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["--only", "nets", "--out", str(out)]) == 1
    assert "nothing was measured" in capsys.readouterr().err
    assert not out.exists()


def test_options_reach_the_benchmarks():
    assert arguments("schemes", Options()) == {}
    assert arguments("end-to-end", Options(intervals=(3,))) == {"intervals": (3,)}
    assert arguments("warping", Options(intervals=(3,))) == {}
    quick = arguments("schemes", Options(quick=True))
    assert quick.pop("time_fn")(lambda: None) == pytest.approx([0], abs=1)
    assert quick == {"intervals": (2,), "cases": schemes.CASES[:1]}


def test_the_first_case_is_the_smallest():
    def num_pixels(case) -> int:
        return case.height * case.width * getattr(case, "channels", 1)

    for module in MODULES.values():
        assert num_pixels(module.CASES[0]) == min(map(num_pixels, module.CASES))
    assert end_to_end.CASES[0].name == schemes.CASES[0].name == "resnet18"


def test_the_machine_is_measured(time_once):
    assert machine.copy_bandwidth(time_fn=time_once) > 1e6
    assert machine.matmul_flops(jnp.float32, time_fn=time_once) > 1e8


def test_calls_are_timed_after_the_first():
    calls = []

    def time_fn(*turns):
        calls.append("begin")
        for turn in turns:
            turn()
        return [2.0] * len(turns)

    named = [lambda: calls.append("ours"), lambda: calls.append("theirs")]
    assert time_calls(named, time_fn=time_fn) == [2.0, 2.0]
    assert calls == ["ours", "theirs", "begin", "ours", "theirs"]


def test_difference_is_relative_to_large_values():
    require_close({"a": np.float32([1000])}, {"a": np.float32([1000.5])}, name="it", tolerance=1e-3)
    with pytest.raises(ValueError, match=r"ours and it differ by 0\.5"):
        require_close(np.float32([1]), np.float32([1.5]), name="it", tolerance=1e-3)
    with pytest.raises(ValueError, match="differ by nan"):
        require_close(np.float32([np.nan]), np.float32([1]), name="it", tolerance=1e-3)
    assert to_numpy(jnp.ones(2, jnp.bfloat16)).dtype == np.float32


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_everything_runs(tmp_path):
    out = tmp_path / "all.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = {row["benchmark"] for row in read_results(out).rows}
    assert measured >= {"warping", "variant", "motion", "upsampling", "schemes", "end-to-end"}
