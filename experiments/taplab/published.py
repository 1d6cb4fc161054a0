"""What Feng et al. 2020 (TapLab) published: the numbers of the paper, transcribed once.

Videos are MPEG-4 Part 2 with a GOP of 12, of 2048x1024 pixels (Cityscapes) or 960x720
(CamVid), on a GeForce GTX 1080 Ti.
"""

import re
from collections.abc import Mapping
from typing import Any

PAPER = "Feng et al. 2020"

BASELINES = {"icnet": "BL1", "mobilenet": "BL2", "pspnet": "BL3"}
"""What the paper calls the nets that are here known by the first word of their name."""

TABLE_2 = """
BL1 67.3 33.2
BL2 73.6 29.3
BL3 77.3 7.2
"""
"""Net, mIoU (%), frames a second."""

TABLE_3 = """
BL1 itp         -   20  20   36.1
BL1 flownet2    67  3.7 70.7 61.1
BL1 flownet2-c  32  3.7 35.7 60.2
BL1 flownet2-s  23  3.7 26.7 59.8
BL1 pwc-net     19  3.7 22.7 60.4
BL1 ffw         -   3.7 3.7  60.6
BL2 itp         -   20  20   42.1
BL2 flownet2    67  3.7 70.7 62.1
BL2 pwc-net     19  3.7 22.7 61.7
BL2 ffw         -   3.7 3.7  64.4
BL3 itp         -   20  20   43.1
BL3 flownet2    67  3.7 70.7 67.5
BL3 pwc-net     19  3.7 22.7 66.8
BL3 ffw         -   3.7 3.7  67.1
"""
"""Net, method, milliseconds of the flow, of the warp and of both, mIoU (%)."""

TABLE_4 = """
BL1 per-frame -   -   -   67.3 33.2
BL1 ffw       -   -   -   60.6 169.5
BL1 ffw+rgc   256 256 256 62.4 149.6
BL1 ffw+rgc   256 256 512 62.6 146.8
BL1 ffw+rgc   512 512 512 63.0 143.2
BL1 ffw+rgc   256 512 512 63.4 137.5
BL2 ffw+rgc   256 512 512 68.2 131.4
BL3 ffw+rgc   256 512 512 72.2 33.8
"""
"""Net, scheme, stride, height and width of a region in pixels, mIoU (%), frames a second."""

TABLE_5 = """
BL1 codec   ffw          60.6 169.5
BL1 codec   ffw+rgc      63.4 137.5
BL1 codec   ffw+rgfs     63.8 123.5
BL1 codec   ffw+rgc+rgfs 64.7 106.9
BL2 codec   ffw          64.4 160.4
BL2 codec   ffw+rgc      68.2 131.4
BL2 codec   ffw+rgfs     69.4 114.0
BL2 codec   ffw+rgc+rgfs 70.6 99.8
BL2 pwc-net ffw          61.7 42.3
BL2 pwc-net ffw+rgc      65.4 40.0
BL2 pwc-net ffw+rgfs     67.4 40.7
BL2 pwc-net ffw+rgc+rgfs 68.9 38.7
BL3 codec   ffw          67.1 67.2
BL3 codec   ffw+rgc      72.2 33.8
BL3 codec   ffw+rgfs     72.0 38.3
BL3 codec   ffw+rgc+rgfs 74.5 25.4
"""
"""Net, motion, scheme, mIoU (%), frames a second."""

TABLE_6 = """
BL2 3  ffw          71.9 -   72.2
BL2 3  ffw+rgc+rgfs 72.5 0.6 67.2
BL2 6  ffw          69.3 -   114.0
BL2 6  ffw+rgc+rgfs 71.5 2.2 86.3
BL2 9  ffw          67.4 -   141.2
BL2 9  ffw+rgc+rgfs 71.0 3.6 93.5
BL2 12 ffw          64.4 -   160.4
BL2 12 ffw+rgc+rgfs 70.6 6.2 99.8
"""
"""Net, GOP, scheme, mIoU (%), by how much it is above `ffw`, frames a second."""

TABLE_8 = """
BL2 codec per-frame    73.5 83.3
BL2 codec ffw          68.0 470.6
BL2 codec ffw+rgc      70.0 310.1
BL2 codec ffw+rgfs     70.4 327.9
BL2 codec ffw+rgc+rgfs 71.2 246.9
"""
"""CamVid; laid out as Table 5.  The FPS-norm of these lines is their FPS."""

_LAYOUTS = {
    "baselines": "net miou throughput_fps",
    "propagation": "net method flow_ms warp_ms total_ms miou",
    "regions": "net scheme stride region_height region_width miou throughput_fps",
    "modules": "net motion scheme miou throughput_fps",
    "gops": "net gop scheme miou gain_miou throughput_fps",
}
_TABLES = (
    (2, "baselines", "Cityscapes", TABLE_2),
    (3, "propagation", "Cityscapes", TABLE_3),
    (4, "regions", "Cityscapes", TABLE_4),
    (5, "modules", "Cityscapes", TABLE_5),
    (6, "gops", "Cityscapes", TABLE_6),
    (8, "modules", "CamVid", TABLE_8),
)
_SIZES = {"Cityscapes": (1024, 2048), "CamVid": (720, 960)}
_WORDS = frozenset({"net", "method", "scheme", "motion"})
_SHARES = frozenset({"miou", "gain_miou"})


def published_rows() -> list[dict[str, Any]]:
    """List the paper's numbers as rows of a results file.

    Returns:
        A row for each line of Tables 2 to 6 and 8, without the keys that have a dash
        there; `source` names the table.  `speedup` is a line's throughput over that of its
        net on every frame, in Table 2 or 8; that line is put before Tables 5 and 6, too.
    """
    tables = {number: _read(number, *table) for number, *table in _TABLES}
    per_frame = {row["net"]: row for row in tables[2]}
    # Tables 5 and 6 leave open what the nets do without any module; Table 2 says it.
    for number, kind, nets in ((5, "modules", per_frame), (6, "gops", ("BL2",))):
        scheme = _place(number, kind) | {"motion": "codec", "scheme": "per-frame"}
        tables[number] = [per_frame[net] | scheme for net in nets] + tables[number]
    references = {("Cityscapes", net): row for net, row in per_frame.items()}
    references["CamVid", "BL2"] = tables[8][0]
    return [
        row | _speedup(row, references[row["data_set"], row["net"]])
        for table in tables.values()
        for row in table
    ]


def baseline_of(net: str) -> str:
    """Say which of the paper's nets a net is.

    Args:
        net: A net's name, such as "mobilenet-16", or the paper's own, "BL2".

    Returns:
        "BL1", "BL2" or "BL3"; the name itself if it is none of them.
    """
    word = re.match(r"[a-z]*", net)
    return BASELINES.get(word[0] if word else "", net)


def _read(number: int, kind: str, data_set: str, table: str) -> list[dict[str, Any]]:
    """Turn a table's lines into rows."""
    height, width = _SIZES[data_set]
    shared = {"data_set": data_set, "height": height, "width": width, "codec": "mpeg4"}
    shared = (
        _place(number, kind) | shared | ({"motion": "codec"} if kind == "gops" else {"gop": 12})
    )
    keys = _LAYOUTS[kind].split()
    return [
        shared
        | {
            key: _value(key, word)
            for key, word in zip(keys, line.split(), strict=True)
            if word != "-"
        }
        for line in table.strip().split("\n")
    ]


def _place(number: int, kind: str) -> dict[str, str]:
    return {"source": f"{PAPER}, Table {number}", "table": kind}


def _value(key: str, word: str) -> Any:
    if key in _WORDS:
        return word
    if key in _SHARES:
        return round(float(word) / 100, 3)
    return float(word) if key.endswith(("_ms", "_fps")) else int(word)


def _speedup(row: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, float]:
    if row["table"] == "baselines" or "throughput_fps" not in row:
        return {}
    return {"speedup": row["throughput_fps"] / reference["throughput_fps"]}
