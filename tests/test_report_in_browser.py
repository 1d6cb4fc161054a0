"""A report opened in a headless Chromium: it plays, seeks and asks nobody for anything."""

import re
import shutil
import subprocess

import pytest

from jaxseg.draw import write_report
from tests.drawn_runs import make_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of 23 frames with 5 keyframes and 2 I-frames."""
    folder = tmp_path_factory.mktemp("runs")
    run = make_run(folder, name="d'rive \"<b>&é")
    write_report(run, run / "report.html")
    return run / "report.html"


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Open an address in a browser; gives the document after its scripts have run."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is on the path")

    def open_page(page, hash="", script=""):
        if script:
            acting = page.with_name("acting.html")
            acting.write_text(page.read_text().replace("</body>", f"<script>{script}</script>"))
            page = acting
        done = subprocess.run(
            [
                browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
                *("--v=0", "--virtual-time-budget=5000", "--dump-dom"),
                f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
                page.as_uri() + hash,
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not complaints
        assert "Uncaught" not in done.stderr
        assert 'data-ready="true"' in done.stdout, done.stderr
        return done.stdout

    return open_page


def attribute(document, name):
    (value,) = re.findall(rf'\b{name}="([^"]*)"', document)
    return value


def test_video_loads_and_keyframes_are_marked(page, browse):
    document = browse(page)
    assert float(attribute(document, "data-duration")) == pytest.approx(23 / 25, abs=0.01)
    assert attribute(document, "data-drawn") == "0"
    assert document.count('class="key"') == 5
    assert document.count('class="intra"') == 2
    assert document.count("<canvas") == 2
    assert "<title>d'rive \"&lt;b&gt;&amp;é · jaxseg report</title>" in document
    assert "Never seen: car." in document


def test_link_opens_a_frame(page, browse):
    document = browse(page, "#frame=7")
    assert attribute(document, "data-drawn") == attribute(document, "aria-valuenow") == "7"
    lefts = [float(left) for left in re.findall(r'class="cursor" style="left: ([\d.]+)%', document)]
    assert lefts == pytest.approx([100 * 7.5 / 23] * 2, abs=0.01)
    assert "Frame 7 · 0:00.28 · P · in between" in document
    assert [*re.findall(r"<b>([\d.]+ %)</b>", document)] == ["69.6 %", "30.4 %"]


def test_keys_step_and_stop_at_the_end(page, browse):
    press = """
    const keys = ["ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End", "ArrowRight"];
    document.body.dataset.places = keys.map((key) => {
      document.dispatchEvent(new KeyboardEvent("keydown", { key }));
      return $("timeline").getAttribute("aria-valuenow");
    });
    """
    document = browse(page, "#frame=7", press)
    assert attribute(document, "data-places") == "8,9,8,0,22,22"
    assert attribute(document, "data-drawn") == "22"


def test_pointer_reads_the_areas(page, browse):
    point = """
    const box = $("areas").getBoundingClientRect();
    const [clientX, clientY] = [box.left + 0.75 * box.width, box.top + 0.9 * box.height];
    $("areas").dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
    """
    document = browse(page, "", point)
    # Frame 17 of 23; the larger class lies at the bottom.
    (tip,) = re.findall(r'<div class="tip"[^>]*>.*?</i>(.*?)</div>', document)
    assert tip == "sky 26.1 % at 0:00.68"
    assert 'class="pointed"' in document


def test_page_plays_without_its_pictures(page, browse, tmp_path):
    run = make_run(tmp_path, num_frames=4)
    (tmp_path / "drive.mp4").unlink()
    (run / "overlay.mp4").unlink()
    write_report(run, run / "report.html")
    document = browse(run / "report.html", "#frame=2")
    assert "data-duration" not in document
    assert attribute(document, "aria-valuenow") == "2"
    assert document.count('class="note"') == 2


def test_page_asks_nobody(page):
    addresses = set(re.findall(r"\w+://[^\"'\s]*", page.read_text()))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}
    assert not re.search(r"\b(fetch|import|XMLHttpRequest|WebSocket)\b *\(", page.read_text())
