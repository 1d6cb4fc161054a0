"""The settings file: what calibrate writes is what segment reads, and nothing else is."""

import argparse
import json

import pytest

from jaxseg.cli.settings import (
    Settings,
    add_settings,
    frame_size,
    read_settings,
    settings_of,
    write_settings,
)
from jaxseg.errors import InputError

CHOSEN = Settings("nets/mine.safetensors", "prop-mv", 8, (640, 360))


def parse(*words: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return settings_of(parser.parse_args(words))


@pytest.mark.parametrize("settings", [CHOSEN, Settings()])
def test_what_was_written_comes_back(settings, tmp_path):
    write_settings(tmp_path / "s.json", settings)
    assert read_settings(tmp_path / "s.json") == settings
    assert parse("--settings", str(tmp_path / "s.json")) == settings


def test_an_option_counts_more_than_the_file(tmp_path):
    write_settings(tmp_path / "s.json", CHOSEN)
    found = parse("--settings", str(tmp_path / "s.json"), "--interval", "3", "--size", "64x48")
    assert found == Settings(CHOSEN.checkpoint, "prop-mv", 3, (64, 48))
    assert parse() == Settings()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        b"{}",
        json.dumps({"checkpoint": "a", "scheme": "prop-mv", "interval": "many"}).encode(),
        json.dumps({"checkpoint": "a", "scheme": "prop-mv", "interval": 2, "size": [1]}).encode(),
    ],
)
def test_what_is_no_settings_file(content, tmp_path):
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(InputError, match="is no settings file") as failure:
        read_settings(tmp_path / "s.json")
    assert str(failure.value).startswith(str(tmp_path / "s.json"))
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(("key", "value"), [("scheme", "guess"), ("interval", 0)])
def test_settings_that_there_are_not(key, value, tmp_path):
    content = {"checkpoint": "a", "scheme": "prop-mv", "interval": 2, key: value}
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"{value}.*per-frame, copy-last"):
        read_settings(tmp_path / "s.json")


def test_where_there_is_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_settings(tmp_path / "absent.json")
    with pytest.raises(InputError, match="is no settings file"):
        read_settings(tmp_path)


@pytest.mark.parametrize("word", ["640", "640x", "15x16", "0x0", "axb", "640X360", "-16x16"])
def test_what_is_no_size(word):
    with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
        frame_size(word)
    assert frame_size("16x9999") == (16, 9999)
