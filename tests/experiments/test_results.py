"""Results files: what is written is read, and what is unclear is refused."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import results

ROWS = [
    {"scheme": "per-frame", "interval": 1, "net": "resnet18", "miou": 0.6789},
    {
        "scheme": "prop-mv",
        "interval": 5,
        "net": "resnet18",
        "miou": 0.65,
        "latency_ms": 12.345,
        "throughput_fps": 81.04,
        "memory_bytes": 1234567,
        "speedup": 7.26,
    },
]
PROVENANCE = {
    "date": "2024-05-06T07:08:09+00:00",
    "commit": "0123456789abcdef",
    "is_dirty": True,
    "machine": {"cpu": "A CPU", "num_cores": 2, "memory_bytes": 8, "devices": ["cpu"]},
    "versions": {"python": "3.11", "jax": "0.10"},
    "command": "python -m experiments.camvid",
}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "camvid" / "results.json"
    results.write_results(path, ROWS, provenance=PROVENANCE)
    assert results.read_results(path) == results.Results(PROVENANCE, ROWS)
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert list(json.loads(path.read_text())) == ["provenance", "rows"]
    assert list(results.read_results(path).rows[1]) == list(ROWS[1])


def test_arrays_and_their_numbers_become_json(tmp_path):
    row = {
        "scheme": "prop-mv",
        "miou": np.float64(0.5),
        "interval": np.int64(5),
        "iou": np.array([0.25, np.nan]),
        "residual": jnp.asarray(2.0),
        "lost": float("nan"),
    }
    results.write_results(tmp_path / "r.json", [row], provenance=PROVENANCE)
    assert results.read_results(tmp_path / "r.json").rows == [
        {
            "scheme": "prop-mv",
            "miou": 0.5,
            "interval": 5,
            "iou": [0.25, None],
            "residual": 2.0,
            "lost": None,
        }
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "0 rows"),
        ([{"speedup": float("inf")}], "'speedup' is inf"),
        ([{"iou": np.array([1.0, -np.inf])}], "'iou' is -inf"),
        ([{"latency": 3.0}], "'latency' has no unit"),
        ([{"throughput_mean": 3.0}], "'throughput_mean' has no unit"),
    ],
)
def test_a_refused_file_leaves_the_old_one(tmp_path, rows, message):
    path = tmp_path / "results.json"
    results.write_results(path, ROWS, provenance=PROVENANCE)
    with pytest.raises(ValueError, match=message):
        results.write_results(path, rows, provenance=PROVENANCE)
    assert results.read_results(path).rows == ROWS


def test_ratios_need_no_unit(tmp_path):
    results.write_results(tmp_path / "r.json", [{"speedup_latency": 2.0}], provenance=PROVENANCE)


def test_a_table_formats_each_key_its_own_way():
    columns = ["scheme", "interval", "miou", "latency_ms", "throughput_fps", "memory_bytes"]
    assert results.markdown_table(ROWS, [*columns, "speedup"]).splitlines() == [
        "| scheme | interval | miou | latency_ms | throughput_fps | memory_bytes | speedup |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| per-frame | 1 | 67.9% | - | - | - | - |",
        "| prop-mv | 5 | 65.0% | 12.35 | 81.0 | 1,234,567 | 7.26x |",
    ]


def test_a_misspelt_column_is_refused():
    with pytest.raises(ValueError, match=r"'mIoU'; there are scheme, interval, net, miou"):
        results.markdown_table(ROWS, ["scheme", "mIoU"])


def test_a_written_table_says_how_it_was_measured(tmp_path):
    path = tmp_path / "tables" / "camvid.md"
    results.write_markdown(path, ROWS, columns=["scheme", "miou"], provenance=PROVENANCE)
    text = path.read_text()
    assert text.startswith(results.markdown_table(ROWS, ["scheme", "miou"]))
    for part in (
        "2024-05-06",
        "0123456789ab with uncommitted changes",
        "A CPU (2 cores; JAX on cpu)",
        "    python -m experiments.camvid\n",
    ):
        assert part in text


def test_provenance_says_when_on_what_and_with_what():
    before = datetime.now(UTC).replace(microsecond=0)
    found = results.provenance(["python", "-m", "experiments.camvid"])
    assert before <= datetime.fromisoformat(found["date"]) <= datetime.now(UTC)
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["machine"]["num_cores"] == os.cpu_count()
    assert found["machine"]["memory_bytes"] > 2**28
    assert len(found["machine"]["devices"]) >= 1
    assert found["machine"]["cpu"]
    assert json.loads(json.dumps(found)) == found


def test_the_command_holds_no_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = Path("/elsewhere/data/camvid")
    command = ["/usr/bin/python3", "-m", "experiments.camvid", "--data-dir", str(elsewhere)]
    command += [f"--out={tmp_path / 'out' / 'a'}", "--title=two words", "--rate=1/2"]
    assert results.provenance(command)["command"] == (
        "python3 -m experiments.camvid --data-dir camvid --out=out/a '--title=two words' --rate=1/2"
    )


def test_the_commit_is_that_of_the_checkout(tmp_path, monkeypatch):
    room = tmp_path / "experiments"
    (room / "results").mkdir(parents=True)
    monkeypatch.setattr(results, "__file__", str(room / "results.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert _commit_of(results) == ("unknown", None)
    (room / "code.py").write_text("a = 1\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.strip()
    (room / "results" / "results.json").write_text("{}")
    assert _commit_of(results) == (head, False)
    (room / "code.py").write_text("a = 2\n")
    assert _commit_of(results) == (head, True)


def _commit_of(module) -> tuple[str, bool | None]:
    found = module.provenance(["python"])
    return found["commit"], found["is_dirty"]
