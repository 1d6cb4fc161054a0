"""The tables and figures of Li, Shi & Lin 2018: what is written, and what is quoted."""

import numpy as np
from PIL import Image

from experiments.lowlatency.published import published_rows
from experiments.lowlatency.tables import write_figures, write_tables
from experiments.paper import MEASURED


def test_measured_and_published_stand_side_by_side(tmp_path):
    shared = {"source": MEASURED, "data_set": "CamVid val", "net": "pspnet18-44", "width": 480}
    shared |= {"height": 360, "after": "layer2_1", "channels": 48}
    times = {"mean_ms": 20.0, "max_ms": 30.0, "p95_ms": 25.0, "p99_ms": 29.0}
    rows = [
        {"table": "schemes", "scheme": "afp", "miou": 0.5, "share_keys": 0.2, **times},
        {"table": "overview", "scheme": "interp-mv", "miou": 0.6, "delay_ms": 300.0, **times},
        {"table": "schedules", "deviation": None, "share_keys": 0.2, "miou": 0.5},
        {"table": "schedules", "deviation": "learned", "share_keys": 0.2, "miou": 0.51}
        | {"gain": 0.01, "deviation_of_gain": 0.002, "num_thresholds": 7},
    ]
    rows = [shared | row for row in rows] + published_rows()
    origin = {"date": "2026-01-02", "commit": "0" * 40, "is_dirty": False, "command": "python"}
    origin |= {"machine": {"cpu": "one", "num_cores": 2, "devices": ["cpu"]}}
    write_tables(tmp_path / "tables.md", rows, provenance=origin | {"versions": {"jax": "0"}})
    text = (tmp_path / "tables.md").read_text()
    assert "| afp | 50.00 | 75.26 | 20 | 20.0 | 151.0 | 30.0 | 360.0 | 25.0 | 29.0 |" in text
    assert "| 20.0 | fixed interval | 50.00 | - | - | - |" in text
    assert "| 20.0 | learned | 51.00 | +1.00 | 0.20 | 7 |" in text
    assert "| interp-mv | 60.00 | 20.0 | 30.0 | 300 |" in text
    assert "Table 2" not in text  # Of which nothing was measured.
    for path in write_figures(tmp_path, rows):
        with Image.open(path) as picture:
            assert len(np.unique(np.asarray(picture))) > 10
    assert {it.name for it in tmp_path.iterdir()} == {"tables.md", "figure1.png", "figure5.png"}


def test_what_the_paper_published_is_complete():
    rows = published_rows()
    sizes = {row["table"]: 0 for row in rows}
    for row in rows:
        sizes[row["table"]] += 1
    assert sizes == {"schemes": 6, "propagation": 6, "modules": 6, "accuracy": 1}
    (last,) = (row for row in rows if row.get("scheme") == "afp+aks+lls" and "max_ms" in row)
    assert (last["miou"], last["mean_ms"], last["max_ms"]) == (0.7589, 119, 119)
