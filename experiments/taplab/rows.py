"""What was measured of TapLab as rows of results, table by table."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from experiments.taplab.calibration import Calibration, share_of
from experiments.taplab.units import SCHEMES, Unit

Row: TypeAlias = dict[str, Any]


def rows_of(
    table: str,
    units: Sequence[Unit],
    miou: Mapping[Unit, float],
    frame_ms: Mapping[Unit, float],
    calibrations: Mapping[int, Sequence[Calibration]],
    parts_ms: Mapping[str, tuple[float | None, float]],
) -> list[Row]:
    """Join what was measured of the units of a table.

    Args:
        table: One of `TABLES`.
        units: Of the table.
        miou: Of each unit.
        frame_ms: Milliseconds a frame, of each unit that was timed.
        calibrations: Of the parts of the video, by GOP.
        parts_ms: Milliseconds of the flow and the warp by method, of Table 3.

    Returns:
        A row a unit; in Table 3 a row for each flow that was only timed, too.
    """
    reference = next((ms for unit, ms in frame_ms.items() if unit.scheme == "per-frame"), None)
    rows = []
    for unit in units:
        row: Row = {"table": table, **unit._asdict(), "miou": miou[unit]}
        if unit in frame_ms:
            row["throughput_fps"] = 1000 / frame_ms[unit]
            if reference is not None:
                row["speedup"] = reference / frame_ms[unit]
        if "rgfs" in unit.scheme:
            found = calibrations[unit.gop]
            row["key_share"] = share_of(found)
            row["threshold"] = sum(it.threshold for it in found) / len(found)
        if table == "gops" and unit.scheme == SCHEMES[-1]:
            row["gain_miou"] = miou[unit] - miou[Unit("ffw", unit.gop)]
        if table == "propagation":
            row["method"] = unit.method
        rows.append(row)
    if table != "propagation":
        return rows
    known = {row["method"]: row for row in rows}
    for method, (flow_ms, warp_ms) in parts_ms.items():
        only_timed = Unit("ffw", units[0].gop, motion=method)
        row = known.get(method) or {"table": table, **only_timed._asdict(), "method": method}
        total_ms = warp_ms + (flow_ms or 0.0)
        known[method] = row | {"flow_ms": flow_ms, "warp_ms": warp_ms, "total_ms": total_ms}
    return list(known.values())


def calibration_rows(
    calibrations: Mapping[int, Mapping[str, Sequence[Calibration]]], *, share: float
) -> list[Row]:
    """Say in rows how well the thresholds of RGFS do.

    Args:
        calibrations: By GOP, from `calibrate`.
        share: That was wanted.

    Returns:
        A row for each GOP and each part of each division.
    """
    return [
        {
            "table": "calibration",
            "gop": gop,
            "division": division,
            "part": part,
            "share_wanted": share,
            **calibration._asdict(),
        }
        for gop, by_division in calibrations.items()
        for division, parts in by_division.items()
        for part, calibration in enumerate(parts)
    ]
