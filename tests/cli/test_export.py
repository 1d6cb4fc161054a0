"""The command `jaxseg export`: one line for what it refuses, and nothing left behind.

What it writes is tested in tests/test_export.py.
"""

import json

import pytest

from jaxseg import exporting
from jaxseg.cli import main


def assert_refused(capfd, words: list, *expected: str) -> None:
    assert main(["export", *map(str, words)]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("jaxseg: error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert all(word in printed.err for word in expected), printed.err


def test_what_is_there_is_kept(checkpoint, place, capfd):
    (place / "mine.txt").write_text("mine")
    words = [place, "--checkpoint", checkpoint]
    assert_refused(capfd, words, f"{place}: is there already; give a new name")
    assert_refused(capfd, [place / "mine.txt", *words[1:]], "mine.txt: is there already")
    assert [path.name for path in place.iterdir()] == ["mine.txt"]
    assert (place / "mine.txt").read_text() == "mine"


def test_bad_input_is_told_in_a_line(checkpoint, place, tmp_path, capfd):
    out = place / "out"
    assert_refused(capfd, [out, "--checkpoint", "camvid-heavy"], "camvid-heavy: is no model")
    assert_refused(capfd, [out, "--settings", tmp_path / "no.json"], "no.json: no such file")
    assert_refused(capfd, [".", "--checkpoint", checkpoint], ".: has no name of its own")
    assert list(place.iterdir()) == []


def test_an_interruption_leaves_nothing(checkpoint, place, capfd, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "export_programs", interrupt)
    assert main(["export", str(place / "out"), "--checkpoint", str(checkpoint)]) == 130
    assert capfd.readouterr().err.startswith("jaxseg: interrupted")
    assert list(place.iterdir()) == []


@pytest.fixture
def written(monkeypatch):
    """Keep what the command asks for, instead of doing it."""
    calls = []
    monkeypatch.setattr(exporting, "export_model", lambda *args, **options: calls.append(options))
    return calls


def test_settings_are_used(checkpoint, place, tmp_path, written, capfd):
    chosen = {"checkpoint": str(checkpoint), "scheme": "prop-mv", "interval": 7, "size": [64, 48]}
    (tmp_path / "settings.json").write_text(json.dumps(chosen))
    words = ["--settings", str(tmp_path / "settings.json"), "--interval", "3"]
    assert main(["export", str(place / "out"), *words]) == 0
    (options,) = written
    assert options["interval"] == 3
    assert options["make_scheme"].__name__ == "prop_mv"
    assert options["about"]["scheme"] == "prop-mv"
    assert options["about"]["size"] == (64, 48)
    assert options["about"]["checkpoint"] == checkpoint.name
    assert f"wrote {place / 'out'}; try it: " in capfd.readouterr().out
