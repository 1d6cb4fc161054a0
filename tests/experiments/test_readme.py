"""The README's numbers are those of the files it names."""

import re
from pathlib import Path

import pytest

from experiments.readme import BLOCK, fill_tables
from experiments.results import provenance, write_results

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_every_table_is_up_to_date():
    assert BLOCK.search(README)
    assert fill_tables(README) == README


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([\w./-]+\.\w+)\)", README))))
def test_every_link_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_a_block_gets_the_rows_that_it_wants(tmp_path):
    rows = [
        {"scheme": scheme, "interval": interval, "miou": 0.5 + interval / 100}
        for scheme in ("a", "b")
        for interval in (1, 2, 10)
    ]
    write_results(tmp_path / "results.json", rows, provenance=provenance(["make", "it"]))
    page = "<!-- table: results.json | scheme miou | interval=1,10 scheme=b -->\nold\n<!-- end -->"
    filled = fill_tables(f"before\n{page}\nafter", root=tmp_path)
    lines = [line for line in filled.splitlines() if line.startswith("|")]
    assert lines[2:] == ["| b | 51.0% |", "| b | 60.0% |"]
    assert "old" not in filled
    assert "`make it`" in filled
    assert filled.startswith("before\n")
    assert filled.endswith("\nafter")
    assert fill_tables(filled, root=tmp_path) == filled
