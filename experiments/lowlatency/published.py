"""What Li, Shi & Lin 2018 published: the numbers of the paper, transcribed once.

Cityscapes `val`, 1024x2048 pixels; CamVid for Table 4.  The paper does not name its machine.
"""

from typing import Any

PAPER = "Li et al. 2018"

TABLE_1 = """
clockwork             67.7  141 360
prop-flow             70.1  273 654
per-frame             80.2  360 360
afp                   75.26 151 360
afp+aks               76.84 171 380
afp+aks+lls           75.89 119 119
"""
"""Scheme, mIoU (%), mean and maximum of a frame's time in milliseconds."""

TABLE_2 = """
clockwork     56.53
flow          69.2
unified       58.73
image         60.12
adaptive      68.41
adaptive+fuse 75.26
"""
"""Way of propagation, mIoU (%), with a keyframe every 5 frames."""

TABLE_3 = """
lower part        61
upper part        299
whole net         360
keyframe decision 20
propagation       38
other frame       119
"""
"""Part, milliseconds; the paper's "propagation" includes AdaptNet and the fusion."""

TABLE_4 = """
afp+aks+lls 94.6 82.9
"""
"""Scheme, pixel accuracy and class accuracy (%), on CamVid."""


def published_rows() -> list[dict[str, Any]]:
    """List the paper's numbers as rows of a results file.

    Returns:
        A row for each line of Tables 1 to 4; `source` names the table.
    """
    tables = (
        (1, "schemes", TABLE_1, ("scheme", "miou", "mean_ms", "max_ms")),
        (2, "propagation", TABLE_2, ("way", "miou")),
        (3, "modules", TABLE_3, ("part", "time_ms")),
        (4, "accuracy", TABLE_4, ("scheme", "pixel_accuracy", "class_accuracy")),
    )
    rows = []
    for number, table, text, keys in tables:
        for line in text.strip().split("\n"):
            name, *numbers = line.rsplit(maxsplit=len(keys) - 1)
            row: dict[str, Any] = {
                "source": f"{PAPER}, Table {number}",
                "table": table,
                "data_set": "CamVid" if number == 4 else "Cityscapes",
                keys[0]: name.strip(),
            }
            for key, word in zip(keys[1:], numbers, strict=True):
                row[key] = float(word) if key.endswith("_ms") else round(float(word) / 100, 4)
            rows.append(row)
    return rows
