"""The tables of Jain & Gonzalez 2018: what they published, and how rows are laid out."""

import numpy as np
import pytest

from experiments.paper import (
    MEASURED,
    counterpart_of,
    fusion_table,
    interval_table,
    name_of,
    write_tables,
)
from experiments.published import published_rows
from experiments.results import provenance


def test_published_tables_are_whole():
    rows = published_rows()
    by_source: dict[str, list[dict]] = {}
    for row in rows:
        by_source.setdefault(row["source"].split(", ")[1], []).append(row)
    assert [len(by_source[f"Table {number}"]) for number in (1, 2, 3)] == [30, 20, 30]
    for number, sums in ((1, [678.6, 678.4, 702.7]), (3, [656.8, 656.6, 680.8])):
        table = {(r["scheme"], r["interval"]): r for r in by_source[f"Table {number}"]}
        for scheme, total in zip(("prop-flow", "prop-mv", "interp-mv"), sums, strict=True):
            curve = [table[scheme, interval] for interval in range(1, 11)]
            assert sum(100 * row["miou"] for row in curve) == pytest.approx(total)
            assert all(row["miou_min"] <= row["miou"] for row in curve)
            assert np.all(np.diff([row["throughput_fps"] for row in curve]) > 0)
        assert all(
            table["interp-mv", n]["miou"] >= table["prop-mv", n]["miou"] for n in range(2, 9)
        )
    table = {(r["fusion"], r["distance"]): r["miou"] for r in by_source["Table 2"]}
    for fusion in ("forward", "backward", "max", "average", "conv"):
        assert np.all(np.diff([table[fusion, distance] for distance in (1, 2, 3, 4)]) < 0)
    for distance in (1, 2, 3, 4):
        assert table["average", distance] > table["forward", distance] > table["backward", distance]
    assert (table["conv", 3], table["backward", 4]) == (0.664, 0.573)


def test_table_1_has_a_line_a_metric_and_scheme_and_a_column_an_interval():
    rows = [
        {"source": MEASURED, "scheme": "per-frame", "interval": 1, "miou": 0.5, "speedup": 1.0},
        {"source": MEASURED, "scheme": "prop-flow", "flow": "dis", "interval": 5, "miou": 0.25},
        {"source": "theirs", "scheme": "prop-flow", "interval": 5, "miou": 0.3, "delay_ms": 41.7},
    ]
    assert interval_table(rows).splitlines() == [
        "| metric | scheme | source | 1 | 5 |",
        "| --- | --- | --- | ---: | ---: |",
        "| mIoU, average (%) | per-frame | measured | 50.0 | - |",
        "| mIoU, average (%) | prop-flow (dis) | measured | - | 25.0 |",
        "| mIoU, average (%) | prop-flow | theirs | - | 30.0 |",
        "| speedup over per-frame | per-frame | measured | 1.00x | - |",
        "| delay (ms) | prop-flow | theirs | - | 42 |",
    ]
    assert name_of({"scheme": "interp-mv", "fusion": "by-distance"}) == "interp-mv"
    assert name_of({"scheme": "interp-mv", "fusion": "conv"}) == "interp-mv (conv)"


def test_table_2_has_a_line_a_distance_and_a_column_a_fusion():
    rows = [
        {"source": source, "fusion": fusion, "distance": distance, "miou": miou}
        for source, fusion, distance, miou in [
            (MEASURED, "max", 2, 0.5),
            (MEASURED, "forward", 1, 0.4),
            ("theirs", "forward", 1, 0.6),
        ]
    ]
    assert fusion_table(rows).splitlines()[2:] == [
        "| 1 | measured | 40.0 | - |",
        "| 1 | theirs | 60.0 | - |",
        "| 2 | measured | - | 50.0 |",
    ]


def test_the_counterpart_is_the_table_of_the_same_data_set(tmp_path):
    ours = {"source": MEASURED, "table": "accuracy", "scheme": "prop-mv", "interval": 2}
    for data_set, number in (("Cityscapes val", 1), ("CamVid val, 15 Hz", 3), ("a street", 3)):
        rows = [ours | {"data_set": data_set, "miou": 0.5}, *published_rows()]
        assert counterpart_of(rows) == f"Jain & Gonzalez 2018, Table {number}"
        write_tables(tmp_path / "tables.md", rows, provenance=provenance(["make", "it"]))
        text = (tmp_path / "tables.md").read_text()
        assert text.count(f"2018, Table {number} |") == 9
        assert text.count("2018, Table 2 |") == 4
        assert f"Table {4 - number} |" not in text
        assert text.count("| measured |") == 1
        assert text.endswith("    make it\n")
