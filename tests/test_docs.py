"""The documentation builds without a warning, its pages run, and it names the whole library."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxseg
from jaxseg.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
RUN_NOTHING = ("nb_execution_mode=off", "suppress_warnings=myst-nb.lexer")


def build(folder: Path, *settings: str) -> Path:
    """Build the pages with warnings as errors, as `make docs` does."""
    given = [word for setting in settings for word in ("-D", setting)]
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", *given, "docs", folder]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The built documentation, without what its pages compute."""
    return build(tmp_path_factory.mktemp("docs") / "html", *RUN_NOTHING)


def test_the_reference_has_every_flat_name(pages):
    text = (pages / "api.html").read_text()
    assert not [name for name in jaxseg.__all__ if f'id="jaxseg.{name}"' not in text]


def test_the_command_page_has_every_command_and_its_options(pages):
    text = (pages / "commands.html").read_text()
    assert not [name for name in COMMANDS if f'id="jaxseg-{name}"' not in text]
    assert 'id="jaxseg-segment---interval"' in text


def test_nothing_is_fetched_from_elsewhere(pages):
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+")
    found = {page.name: loads.findall(page.read_text()) for page in pages.rglob("*.html")}
    assert found
    assert not {name: urls for name, urls in found.items() if urls}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_page_runs(tmp_path):
    out = build(tmp_path / "html")
    text = (out / "how-it-works.html").read_text()
    assert len(re.findall(r'<img[^>]+src="_images/', text)) >= 5
    assert "of the pixels right" in text
