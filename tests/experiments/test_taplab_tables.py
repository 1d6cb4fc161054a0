"""The tables of TapLab: what the paper published, and how rows are laid out beside it."""

import pytest

from experiments.paper import MEASURED
from experiments.results import provenance
from experiments.taplab.published import PAPER, baseline_of, published_rows
from experiments.taplab.tables import LAYOUTS, side_by_side, write_tables
from jaxseg.nets import IcnetConfig, MobileNetConfig, NetConfig, PspnetConfig

ROWS = published_rows()
MODULES = ("ffw", "ffw+rgc", "ffw+rgfs", "ffw+rgc+rgfs")


def of_table(number: int) -> list[dict]:
    return [row for row in ROWS if row["source"] == f"{PAPER}, Table {number}"]


def total(number: int, key: str) -> float:
    rows = [row for row in of_table(number) if key in row]
    # What Table 2 lends to Tables 5 and 6 is not counted twice.
    return sum(row[key] for row in rows if number == 8 or row.get("scheme") != "per-frame")


@pytest.mark.parametrize(
    ("number", "count", "miou", "throughput_fps"),
    [
        (2, 3, 218.2, 69.7),
        (3, 14, 813.0, 0),
        (4, 8, 519.7 - 67.3, 945.0 - 33.2),
        (5, 16 + 3, 1074.3, 1369.4),
        (6, 8 + 1, 558.6, 834.6),
        (8, 5, 353.1, 1438.8),
    ],
)
def test_published_tables_are_whole(number, count, miou, throughput_fps):
    assert len(of_table(number)) == count
    assert 100 * total(number, "miou") == pytest.approx(miou)
    assert total(number, "throughput_fps") == pytest.approx(throughput_fps)


def test_published_times_add_up():
    for row in of_table(3):
        assert row.get("flow_ms", 0) + row["warp_ms"] == pytest.approx(row["total_ms"])
        assert ("flow_ms" in row) == (row["method"] not in ("itp", "ffw"))
    assert total(3, "flow_ms") == 313


def test_published_gains_are_the_differences_and_grow_with_the_gop():
    table = {(row["gop"], row["scheme"]): row for row in of_table(6)}
    gains = [table[gop, MODULES[-1]]["gain_miou"] for gop in (3, 6, 9, 12)]
    for gop, gain in zip((3, 6, 9, 12), gains, strict=True):
        difference = table[gop, MODULES[-1]]["miou"] - table[gop, "ffw"]["miou"]
        assert gain == pytest.approx(difference, abs=1e-6)
        assert "gain_miou" not in table[gop, "ffw"]
    assert gains == sorted(gains)


@pytest.mark.parametrize("net", ["BL1", "BL2", "BL3"])
def test_what_the_paper_says_twice_is_the_same(net):
    keys = ("miou", "throughput_fps")
    modules = {(row["motion"], row["scheme"]): row for row in of_table(5) if row["net"] == net}
    (reference,) = (row for row in of_table(2) if row["net"] == net)
    (carried,) = (row for row in of_table(3) if (row["net"], row["method"]) == (net, "ffw"))
    assert carried["miou"] == modules["codec", "ffw"]["miou"]
    default = [
        row
        for row in of_table(4)
        if row["net"] == net
        and (row.get("stride"), row.get("region_height"), row.get("region_width"))
        == (256, 512, 512)
    ]
    others = [row for row in of_table(6) if net == "BL2" and row["gop"] == 12]
    for row in (*default, *others):
        same = modules["codec", row["scheme"]]
        assert [row[key] for key in keys] == [same[key] for key in keys]
        assert row["speedup"] == same["speedup"]
    assert len(default) == 1
    for scheme in MODULES:
        row = modules["codec", scheme]
        assert row["miou"] < reference["miou"]
        assert row["speedup"] == row["throughput_fps"] / reference["throughput_fps"] > 1
    assert modules["codec", "per-frame"]["speedup"] == 1


@pytest.mark.parametrize(("number", "net"), [(5, "BL1"), (5, "BL2"), (5, "BL3"), (8, "BL2")])
def test_published_modules_cost_speed_and_give_accuracy(number, net):
    table = {
        row["scheme"]: row
        for row in of_table(number)
        if (row["net"], row["motion"]) == (net, "codec")
    }
    for less, more in (("ffw", "ffw+rgc"), ("ffw", "ffw+rgfs"), ("ffw+rgfs", "ffw+rgc+rgfs")):
        assert table[less]["miou"] < table[more]["miou"]
        assert table[less]["throughput_fps"] > table[more]["throughput_fps"]
    assert {row["data_set"] for row in table.values()} == {
        "CamVid" if number == 8 else "Cityscapes"
    }


def test_our_nets_are_told_from_the_papers():
    configs = (IcnetConfig, MobileNetConfig, PspnetConfig)
    names = [config(num_classes=11).name for config in configs]
    assert [baseline_of(name) for name in names] == ["BL1", "BL2", "BL3"]
    assert baseline_of("mobilenet-16") == baseline_of("BL2") == "BL2"
    assert baseline_of(NetConfig(num_classes=11).name) == NetConfig(num_classes=11).name


def measured(table: str, **values: object) -> dict:
    shared = {"source": MEASURED, "table": table, "data_set": "CamVid", "codec": "mpeg4"}
    return shared | {"height": 360, "width": 480, "net": "mobilenet", "gop": 12} | values


def test_sources_stand_side_by_side_in_the_order_of_the_paper():
    rows = [
        {"source": f"{PAPER}, Table 3", "net": "BL2", "method": "pwc-net", "flow_ms": 19.0},
        {"source": f"{PAPER}, Table 3", "net": "BL2", "method": "ffw", "miou": 0.644},
        measured("propagation", method="ffw", miou=0.5, flow_ms=None),
        measured("propagation", method="itp", miou=0.25),
        measured("propagation", method="ffw", miou=0.75),
    ]
    assert side_by_side(rows, LAYOUTS["propagation"]).splitlines() == [
        "| net | method | flow (ms) | Table 3 | mIoU (%) | Table 3 |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| BL2 | itp | - | - | 25.0 | - |",
        "| BL2 | ffw | - | - | 50.0 | 64.4 |",
        "| BL2 | ffw | - | - | 75.0 | - |",
        "| BL2 | pwc-net | - | 19.0 | - | - |",
    ]


def test_regions_meet_by_their_share_of_the_frame():
    ours = measured("regions", scheme="ffw+rgc", stride=80, region_height=80, region_width=160)
    table = side_by_side([ours | {"miou": 0.5}, *of_table(4)], LAYOUTS["regions"]).splitlines()
    (line,) = (line for line in table if "50.0" in line)
    assert line.startswith("| BL2 | ffw+rgc | 0.5 x 1, by 0.5 | 80 x 160, by 80 | - |")
    (line,) = (line for line in table if "143.2" in line)
    assert line.startswith("| BL1 | ffw+rgc | 1 x 1, by 1 | - | 512 x 512, by 512 |")


def test_a_page_has_a_section_for_each_table_that_was_measured(tmp_path):
    rows = [
        measured("modules", scheme="per-frame", motion="codec", miou=0.6),
        measured("modules", scheme="ffw+rgfs", motion="codec", miou=0.57, key_share=0.125),
        measured("alpha", alpha=0.6, miou=0.5),
        measured("gops", scheme="ffw", motion="codec", miou=0.5, net="resnet18"),
    ]
    write_tables(tmp_path / "tables.md", [*rows, *ROWS], provenance=provenance(["x"]))
    text = (tmp_path / "tables.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Modules (Tables 5 and 8)",
        "## Length of a GOP (Table 6, Figure 8)",
        "## Weight of what RGC adds (Figure 11)",
    ]
    assert text.startswith("Measured on CamVid, 480x360, mpeg4; BL2 is mobilenet, resnet18.\n")
    (line,) = (
        line for line in text.splitlines() if line.startswith("| BL2 | codec | 12 | ffw+rgfs")
    )
    assert "| 57.0 | 69.4 | 70.4 | -3.0 | -4.2 | -3.1 |" in line
    assert line.endswith("| 12.5 |")
    assert "| BL2 | - | - | per-frame | 60.0 | 73.6 | 73.5 |" in text
    assert "BL1" not in text, "a net that was not measured"
    assert "| resnet18 | 12 | ffw | 50.0 | - |" in text
    assert "| BL2 | 12 | ffw+rgc+rgfs | - | 70.6 | - | +6.2 |" in text, "no net is the paper's"


def test_what_is_counted_depends_on_the_labels(tmp_path):
    for row, expected in (
        ({"is_dense": True, "num_phases": 4}, "every frame at up to 4 distances"),
        ({"is_dense": False, "num_phases": 4}, "each at a random distance"),
    ):
        rows = [measured("baselines", miou=0.5, **row)]
        write_tables(tmp_path / "tables.md", rows, provenance=provenance(["x"]))
        assert expected in (tmp_path / "tables.md").read_text()


def test_thresholds_say_how_well_they_do():
    row = {"division": "turns", "part": 1, "threshold": 14.25, "share_wanted": 0.1}
    row |= {"share_calibrated": 0.1, "share": 0.114, "num_frames": 44}
    table = side_by_side([measured("calibration", **row)], LAYOUTS["calibration"])
    assert table.splitlines()[-1] == "| 12 | turns | 1 | 14.25 | 10.0 | 10.0 | 11.4 | 44 |"
