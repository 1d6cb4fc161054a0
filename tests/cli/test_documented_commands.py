"""Every command in the README and in the documentation is one that works.

`jaxseg` commands are run, page by page and in their order, on short films, with a tiny net in
the place of the one that ships; those on a camera or an address are parsed.  `python -m`
commands take minutes to days, so that they are parsed, by their own parser.  `make` targets
are looked up.  `pip install .` is left to the Makefile, whose every target begins with it.
Python blocks are run.  A command of any other kind fails, as nothing here would notice when it
ceases to work.
"""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

import jaxseg.checkpoints
import jaxseg.pretrained
from experiments.readme import ROOT, list_pages
from jaxseg import calibration
from jaxseg.cli import COMMANDS, main, parser
from tests.films import draw_frames, encode_as

PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in list_pages()}
BLOCK = re.compile(r"^```(sh|bash|console|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
MENTIONED = re.compile(r"(?<!`)`((?:jaxseg|make|python|pip) [^`\n]+)`")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
OPERATORS = {"|", "||", "&", "&&", ";", "<", ">", ">>"}


def read_commands(page: str) -> list[list[str]]:
    """List the words of each command in a page's blocks."""
    found = []
    for language, block in BLOCK.findall(page):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "console" and not line.startswith("$ "):
                continue  # What a command prints.
            if words := shlex.split(line.removeprefix("$ "), comments=True):
                found.append(words)
    return found


def kind(words: list[str]) -> str:
    """Say how a command is checked; fail if it is not."""
    assert not OPERATORS & set(words), f"{words}: nothing here runs a shell"
    if words[0] == "jaxseg":
        is_remote = any("://" in word or word.startswith("/dev/") for word in words)
        return "parsed" if is_remote else "run"
    if words[:2] == ["python", "-m"]:
        return "module"
    if words[0] == "make" or words == ["pip", "install", "."]:
        return words[0]
    raise AssertionError(f"{shlex.join(words)}: is of no kind that is checked here; teach it")


def run_jaxseg(words: list[str]) -> int:
    """Run a command and give its exit code."""
    if words[1] == "export":  # In this process jaxseg's type checks would refuse its symbols.
        python_path = {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "jaxseg.cli", *words[1:]]
        return subprocess.run(command, env=os.environ | python_path).returncode
    try:
        return main(words[1:])
    except SystemExit as end:  # of what the parser does itself
        return int(end.code or 0)


class _Parsed(Exception):
    """The words were understood; the work, which takes hours, is left out."""


def parse_module(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a module's words to its own parser."""
    name = words[2]
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.__main__")
    cli = tyro.cli

    def stop(*args, **options):
        cli(*args, **options)
        raise _Parsed

    with monkeypatch.context() as patch:
        patch.setattr(tyro, "cli", stop)
        with pytest.raises(_Parsed):
            module.main(words[3:])


@pytest.fixture
def desk(place, checkpoint, low_latency_run, monkeypatch):
    """A folder that holds the files which the commands name, and nets of random weights."""
    encode_as("libx264", place / "clip.mp4", draw_frames(12), bf="0", refs="1")
    encode_as("libx265", place / "phone.mov", draw_frames(8), **{"x265-params": "log-level=none"})
    (place / "runs").mkdir()
    for name in ("camvid", "demo"):
        (place / "runs" / name).symlink_to(checkpoint)
    (place / "runs" / "lowlatency").symlink_to(low_latency_run)

    def load(name_or_path):
        name = checkpoint if name_or_path == "camvid-light" else name_or_path
        return jaxseg.checkpoints.load_model(Path(name))

    # First the name that is looked up when it is asked for, or it would be looked up too late.
    monkeypatch.setattr(jaxseg, "load", load)
    monkeypatch.setattr(jaxseg.pretrained, "load", load)
    monkeypatch.setattr(calibration, "INTERVALS", (2, 4))  # each scheme at each is compiled
    monkeypatch.chdir(place)
    return place


COMMANDS_OF = {name: read_commands(text) for name, text in PAGES.items()}


def pages_with(*kinds: str) -> list[str]:
    return [name for name, found in COMMANDS_OF.items() if any(kind(it) in kinds for it in found)]


def test_commands_are_found():
    assert ["pip", "install", "."] in COMMANDS_OF["README.md"]
    assert ["jaxseg", "segment", "clip.mp4"] in COMMANDS_OF["README.md"]
    assert "docs/faq.md" in pages_with("run")
    assert "docs/data/cityscapes.md" in pages_with("module")


@pytest.mark.parametrize(
    "line", ["rm -rf x", "jaxseg env | less", "pip install jax", "python x.py"]
)
def test_a_command_of_another_kind_fails(line):
    (words,) = read_commands(f"```sh\n{line}\n```")
    with pytest.raises(AssertionError):
        kind(words)


@pytest.mark.parametrize("name", pages_with("run", "parsed"))
def test_jaxseg_commands_run(name, desk):
    for words in COMMANDS_OF[name]:
        if kind(words) == "run":
            assert run_jaxseg(words) == 0, shlex.join(words)
        elif kind(words) == "parsed":
            parser().parse_args(words[1:])


@pytest.mark.parametrize("name", pages_with("module"))
def test_modules_understand_their_words(name, monkeypatch):
    for words in COMMANDS_OF[name]:
        if kind(words) == "module":
            parse_module(words, monkeypatch)


def test_a_wrong_word_is_refused(monkeypatch):
    with pytest.raises(SystemExit):
        parse_module(["python", "-m", "experiments.camvid", "--no-such"], monkeypatch)


@pytest.mark.parametrize("name", pages_with("make"))
def test_make_targets_exist(name):
    assert {it[1] for it in COMMANDS_OF[name] if it[0] == "make"} <= TARGETS


@pytest.mark.parametrize("name", PAGES)
def test_what_is_mentioned_exists(name):
    for mention in MENTIONED.findall(BLOCK.sub("", PAGES[name])):
        words = mention.split()
        if words[0] == "jaxseg":
            assert words[1] in {*COMMANDS, "COMMAND"}, mention
        elif words[0] == "make":
            assert words[1] in TARGETS, mention
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), mention


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if PYTHON.search(text)])
def test_python_blocks_run(name, desk):
    for block in PYTHON.findall(PAGES[name]):
        exec(compile(block, name, "exec"), {"__name__": "__main__"})
