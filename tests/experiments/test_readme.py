"""The numbers of the README and of the documentation are those of the files they name."""

import re

import pytest

from experiments.readme import BLOCK, ROOT, fill_tables, list_pages
from experiments.results import provenance, write_results

PAGES = {path.relative_to(ROOT).as_posix(): path for path in list_pages()}
LINK = re.compile(r"\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)|^\[\w+\]: (?!\w+:)(\S+)$", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def test_the_pages_that_must_have_tables_have_them():
    assert all(BLOCK.search(PAGES[it].read_text()) for it in ("README.md", "docs/accuracy.md"))


@pytest.mark.parametrize("name", PAGES)
def test_every_table_is_up_to_date(name):
    text = PAGES[name].read_text()
    assert fill_tables(text, folder=PAGES[name].parent) == text, "run make readme"


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    text = CODE.sub("", PAGES[name].read_text())
    targets = {one or other for one, other in LINK.findall(text)}
    missing = {it for it in targets if not (PAGES[name].parent / it).exists()}
    assert not missing


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
    deeper = fill_tables(page, root=tmp_path, folder=tmp_path / "docs" / "guide")
    assert "(../../results.json)" in deeper
