"""Plots: what is written, and what they say."""

import builtins
import re

import numpy as np
import pytest
from PIL import Image

from jaxseg import draw
from jaxseg.draw.plots import plot_calibration

ROWS = [
    {"scheme": scheme, "interval": interval, "net": net, "miou": 0.7 - 0.01 * interval}
    | {"miou_min": 0.7 - 0.02 * interval, "throughput_fps": 20.0 * interval}
    for net in ("resnet18", "resnet50")
    for scheme, intervals in (("per-frame", [1]), ("prop-mv", [2, 5]), ("interp-mv", [2, 5]))
    for interval in intervals
]
BARS = {"keyframe": {"feature net": 50.0, "task net": 4.0}, "prop-mv": {"task net": 4.0}}


def texts_of(path) -> set[str]:
    """Read what a drawing says; matplotlib names each text in a comment."""
    return set(re.findall(r"<!-- (.*?) -->", path.read_text()))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_is_written_whole(tmp_path, suffix):
    path = tmp_path / "figures" / f"plot.{suffix}"
    draw.plot_accuracy_throughput(ROWS, path, title="CamVid")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    if suffix == "png":
        assert np.asarray(Image.open(path)).std() > 0
    else:
        assert path.read_text().rstrip().endswith("</svg>")


def test_a_plot_takes_rows_without_throughput_or_interval(tmp_path):
    rows = [{"scheme": "afp+aks", "interval": None, "net": "resnet18", "miou": 0.6}]
    draw.plot_accuracy_throughput([*ROWS, *rows], tmp_path / "plot.png")
    with pytest.raises(ValueError, match="0 rows"):
        draw.plot_accuracy_throughput([rows[0] | {"miou": None}], tmp_path / "plot.png")


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    import_module = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return import_module(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    panels = [draw.Panel("ours", ROWS)]
    for plot in (
        lambda path: draw.plot_accuracy_throughput(ROWS, path),
        lambda path: draw.plot_curves(panels, path, y_key="miou"),
        lambda path: draw.plot_breakdown(BARS, path),
        lambda path: draw.plot_sweep(ROWS, path, x_key="interval", x_label="interval"),
    ):
        with pytest.raises(ImportError, match=r"pip install jaxseg\[plot\]"):
            plot(tmp_path / "plot.png")


@pytest.mark.parametrize(("y_key", "label"), [("miou", "average"), ("miou_min", "minimum")])
def test_curves_name_schemes_panels_and_last_intervals(tmp_path, y_key, label):
    ours = [row for row in ROWS if row["net"] == "resnet18"]
    theirs = [row | {"interval": 7, "scheme": "prop-flow"} for row in ours[1:2]]
    path = tmp_path / "curves.svg"
    panels = [draw.Panel("ours", ours), draw.Panel("theirs", theirs, is_quoted=True)]
    draw.plot_curves(panels, path, y_key=y_key)
    texts = texts_of(path)
    assert {"ours", "theirs", "per-frame", "prop-mv", "interp-mv", "prop-flow"} <= texts
    assert {"n = 5", "n = 7"} <= texts
    assert "n = 1" not in texts, "the baseline is no curve"
    assert any(label in text for text in texts)
    assert "throughput (frames per second)" in texts


def test_curves_leave_out_what_was_not_measured(tmp_path):
    rows = [ROWS[1], ROWS[2] | {"throughput_fps": None}]
    draw.plot_curves([draw.Panel("ours", rows)], tmp_path / "curves.svg", y_key="miou")
    assert "n = 2" in texts_of(tmp_path / "curves.svg")
    with pytest.raises(ValueError, match="0 rows of 'ours' have miou"):
        draw.plot_curves([draw.Panel("ours", rows[1:])], tmp_path / "none.svg", y_key="miou")
    assert not (tmp_path / "none.svg").exists()


def test_curves_number_each_point_where_intervals_have_a_name(tmp_path):
    path = tmp_path / "curves.svg"
    draw.plot_curves([draw.Panel("ours", ROWS)], path, y_key="miou", numbers="GOPs")
    texts = texts_of(path)
    assert {"2", "5", "throughput (frames per second; the numbers are GOPs)"} <= texts
    assert "n = 5" not in texts


def test_a_sweep_marks_the_best_of_each_net(tmp_path):
    rows = [
        {"net": net, "alpha": alpha, "miou": miou}
        for net, curve in (("a", (0.5, 0.625, 0.25)), ("b", (0.1, 0.2, 0.375)))
        for alpha, miou in zip((0.0, 0.5, 1.0), curve, strict=True)
    ]
    path = tmp_path / "sweep.svg"
    draw.plot_sweep(rows, path, x_key="alpha", x_label="weight", title="CamVid")
    said = {"a", "b", "62.5 at 0.5", "37.5 at 1", "weight", "mIoU (%)", "CamVid"}
    assert said <= texts_of(path)
    with pytest.raises(ValueError, match="0 rows with alpha"):
        draw.plot_sweep([], path, x_key="alpha", x_label="weight")


def test_a_breakdown_says_each_sum_and_its_parts(tmp_path):
    path = tmp_path / "bars.svg"
    draw.plot_breakdown(BARS, path, title="a frame", note="on a machine")
    texts = texts_of(path)
    assert {"keyframe", "prop-mv", "feature net", "task net", "a frame", "on a machine"} <= texts
    assert {"54 = 50 + 4", "4", "milliseconds a frame"} <= texts
    with pytest.raises(ValueError, match="0 bars"):
        draw.plot_breakdown({}, path)


def test_a_calibration_marks_what_was_chosen_and_cuts_off_what_loses_much(tmp_path):
    rows = [
        {"scheme": "per-frame", "interval": 1, "throughput_fps": 10.0, "miou_drop": 0.0},
        {"scheme": "prop-mv", "interval": 7, "throughput_fps": 60.0, "miou_drop": 0.01}
        | {"miou_drop_error": float("nan")},
        {"scheme": "copy-last", "interval": 13, "throughput_fps": 61.0, "miou_drop": 0.5},
    ]
    path = tmp_path / "plot.svg"
    plot_calibration(rows, path, max_drop=0.02, chosen=rows[1], title="a film")
    said = texts_of(path)
    assert {"a film", "chosen", "loss allowed: 2", "1", "7"} <= said
    assert not {"13", "true, by labels"} & said
    true = [row | {"miou_drop_true": 0.02} for row in rows]
    plot_calibration(true, path, max_drop=0.6)
    said = texts_of(path)
    assert {"13", "true, by labels"} <= said
    assert not {"chosen", "loss allowed: 60"} & said


def test_a_calibration_without_settings_is_refused(tmp_path):
    with pytest.raises(ValueError, match="0 settings to plot"):
        plot_calibration([], tmp_path / "plot.png", max_drop=0.02)
    assert not list(tmp_path.iterdir())
