"""What Jain & Gonzalez 2018 published: the numbers of the paper, transcribed once.

Their net is Deformable DeepLab on ResNet-101 at 1/16, on Tesla K80s; frames are of
2048x1024 pixels (Cityscapes) and 960x720 (CamVid).
"""

from typing import Any

PAPER = "Jain & Gonzalez 2018"
METRICS = ("miou", "miou_min", "throughput_fps")
SCHEMES = ("prop-flow", "prop-mv", "interp-mv")
FUSIONS = ("forward", "backward", "max", "average", "conv")

TABLE_1 = """
75.2 73.8 72.0 70.2 68.7 67.3 65.0 63.4 62.4 60.6
75.2 73.1 71.3 69.4 68.2 67.3 65.0 64.0 63.2 61.7
75.2 73.9 72.5 71.2 70.5 69.9 68.5 67.5 66.9 66.6
75.2 72.4 68.9 65.6 62.4 59.1 56.3 54.4 52.5 50.5
75.2 71.3 67.7 64.8 62.4 60.1 58.5 56.9 55.0 53.7
75.2 72.5 71.5 68.0 67.2 66.2 65.4 64.6 63.5 62.9
1.3 2.3 3.0 3.5 4.0 4.3 4.6 4.9 5.1 5.3
1.3 2.5 3.4 4.3 5.0 5.6 6.2 6.7 7.1 7.6
1.3 2.4 3.4 4.2 4.9 5.4 6.0 6.4 6.9 7.2
"""
"""Cityscapes; lines are metric by metric the schemes, columns the intervals 1 to 10."""

TABLE_2 = """
71.8 69.9 72.6 72.8 72.6
67.8 62.4 68.2 68.5 68.2
64.9 59.8 66.3 66.7 66.4
62.4 57.3 64.5 65.0 64.7
"""
"""Cityscapes; lines are the distances 1 to 4 to both keyframes, columns the fusions."""

TABLE_3 = """
68.6 67.8 67.4 66.3 66.0 65.8 64.2 63.6 64.0 63.1
68.6 67.8 67.3 66.2 65.9 65.7 64.2 63.7 63.8 63.4
68.6 68.7 68.7 68.4 68.4 68.2 68.0 67.5 67.0 67.3
68.5 67.0 66.2 64.9 63.6 62.7 61.3 60.5 59.7 58.7
68.5 67.0 65.9 64.7 63.4 62.7 61.4 60.8 60.0 59.3
68.5 68.6 68.4 68.2 67.9 67.4 67.0 66.4 66.1 65.7
3.6 6.2 8.0 9.4 10.5 11.0 11.7 12.0 13.3 13.7
3.6 6.7 9.3 11.6 13.6 15.3 17.0 18.2 20.2 21.3
3.6 6.6 9.1 11.3 13.1 14.7 16.2 17.3 19.1 20.1
"""
"""CamVid; laid out as Table 1."""

PARTS_MS = {"flow": 62.0, "warp + task net": 54.0, "compressing": 2.78}
"""Milliseconds a frame, section 3.4 and Figure 2; Cityscapes."""


def published_rows() -> list[dict[str, Any]]:
    """List the paper's numbers as rows of a results file.

    Returns:
        A row for each scheme and interval of Tables 1 and 3, each fusion and distance
        of Table 2, and each part of Figure 2; `source` names where it stands.
    """
    return [
        *_accuracy_rows(TABLE_1, source=f"{PAPER}, Table 1", data_set="Cityscapes"),
        *_fusion_rows(),
        *_accuracy_rows(TABLE_3, source=f"{PAPER}, Table 3", data_set="CamVid"),
        *(
            _row(f"{PAPER}, section 3.4", "Cityscapes", "runtime", part=part, time_ms=time_ms)
            for part, time_ms in PARTS_MS.items()
        ),
    ]


def _accuracy_rows(table: str, *, source: str, data_set: str) -> list[dict[str, Any]]:
    lines = _numbers(table)
    blocks = [lines[start : start + len(SCHEMES)] for start in range(0, len(lines), len(SCHEMES))]
    return [
        _row(source, data_set, "accuracy", scheme=scheme, interval=interval, is_dense=False)
        | {"miou": _share(miou), "miou_min": _share(miou_min), "throughput_fps": fps}
        for scheme, *rows in zip(SCHEMES, *blocks, strict=True)
        for interval, (miou, miou_min, fps) in enumerate(zip(*rows, strict=True), start=1)
    ]


def _fusion_rows() -> list[dict[str, Any]]:
    return [
        _row(f"{PAPER}, Table 2", "Cityscapes", "fusion", fusion=fusion, distance=distance)
        | {"is_dense": False, "miou": _share(miou)}
        for distance, line in enumerate(_numbers(TABLE_2), start=1)
        for fusion, miou in zip(FUSIONS, line, strict=True)
    ]


def _row(source: str, data_set: str, table: str, **values: Any) -> dict[str, Any]:
    return {"source": source, "data_set": data_set, "table": table, "net": "resnet101", **values}


def _numbers(table: str) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in table.split("\n") if line]


def _share(percent: float) -> float:
    return round(percent / 100, 3)
