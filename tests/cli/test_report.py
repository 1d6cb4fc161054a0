"""The command `jaxseg report`: a page a video, or one line and no trace."""

import json

import pytest

from jaxseg.cli import main
from tests.drawn_runs import make_run


@pytest.fixture
def out(tmp_path):
    """What segment wrote for two videos."""
    for name in ("one", "two"):
        make_run(tmp_path, name=name, num_frames=3)
    return tmp_path / "out"


def test_page_lies_in_the_run(out, capsys):
    before = set((out / "one").iterdir())
    assert main(["report", str(out / "one")]) == 0
    page = out / "one" / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert set((out / "one").iterdir()) == before | {page}
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_each_video_has_its_page(out, capsys):
    assert main(["report", str(out)]) == 0
    pages = [out / name / "report.html" for name in ("one", "two")]
    assert capsys.readouterr().out == "".join(f"{page}\n" for page in pages)
    assert all(page.is_file() for page in pages)


def test_page_goes_where_asked(out, place):
    page = place / "new" / "page.html"
    assert main(["report", str(out / "two"), "-o", str(page)]) == 0
    assert page.is_file()
    assert not (out / "two" / "report.html").exists()


@pytest.mark.parametrize(
    ("run", "options", "words"),
    [
        ("nowhere", [], ["no such folder", "jaxseg segment"]),
        ("one/overlay.mp4", [], ["is a file", "jaxseg segment"]),
        ("..", [], ["holds no summary.json", "jaxseg segment"]),
        ("", ["-o", "page.html"], ["holds 2 videos", "page.html", "leave out -o"]),
        ("one", ["-o", "page.pdf"], ["page.pdf", ".html"]),
        ("one", ["-o", "one/overlay.mp4"], ["overlay.mp4", ".html"]),
    ],
)
def test_refusals(out, capsys, monkeypatch, run, options, words):
    monkeypatch.chdir(out)
    before = sorted(out.rglob("*"))
    assert main(["report", str(out / run), *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("jaxseg: error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert all(word in printed.err for word in words), printed.err
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize(
    "summary",
    [
        "{",
        json.dumps({"input": {}}),
        json.dumps({"input": {"path": 1}, "num_frames": 2, "classes": {"names": []}}),
        json.dumps({"input": {"path": "a"}, "num_frames": "two", "classes": {"names": []}}),
    ],
)
def test_damaged_summary_is_refused(out, capsys, summary):
    run = out / "one"
    (run / "summary.json").write_text(summary)
    assert main(["report", str(run)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"jaxseg: error: {run / 'summary.json'}: is ")
    assert "write it anew" in printed.err
    assert not (run / "report.html").exists()
