"""Time jaxseg against its peers, side by side, and write one table.

    python -m benchmarks
    python -m benchmarks --only warping motion --out warping.json

A row is a ratio measured in one run: `speedup` is the peer's time over ours.  What is
counted stands at the top of each benchmark's file.  A peer that is not installed is left
out; `make bench` installs all.  On a CPU, schemes and end-to-end take far longer than the rest.
"""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import tyro
from tqdm import tqdm

from benchmarks import end_to_end, motion, nets, peers, schemes, upsampling, variant, warping
from experiments.results import Row, markdown_table, provenance, write_results
from experiments.timing import time_in_turn

Name = Literal["warping", "variant", "motion", "upsampling", "nets", "schemes", "end-to-end"]

RESULTS = Path(__file__).parent / "results"
QUICK_INTERVALS = (2,)
MODULES: dict[Name, Any] = {
    "warping": warping,
    "variant": variant,
    "motion": motion,
    "upsampling": upsampling,
    "nets": nets,
    "schemes": schemes,
    "end-to-end": end_to_end,
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        only: The benchmarks to run.
        out: The file to write; without one, benchmarks/results/cpu.json or gpu.json.
        intervals: Frames from one keyframe to the next, of schemes and end-to-end;
            without any, each case's own.
        quick: Time the smallest case of each once, to see that all works.
    """

    only: tuple[Name, ...] = get_args(Name)
    out: Path | None = None
    intervals: tuple[int, ...] = ()
    quick: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks one after another.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(Options, args=words, description=__doc__)
    if min(options.intervals, default=1) < 1:
        print(f"an interval is {min(options.intervals)}; give 1 or more frames", file=sys.stderr)
        return 2
    origin = provenance(["python", "-m", "benchmarks", *words])
    origin["versions"] |= peers.versions()
    out = options.out or RESULTS / f"{jax.default_backend()}.json"
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(options.only):
        measured = MODULES[name].measure(**arguments(name, options))
        rows += measured
        if measured:
            tqdm.write(markdown_table(measured, columns_of(measured)))
            # Now rather than at the end: what was measured survives an interruption.
            write_results(out, rows, provenance=origin)
    if not rows:
        print("nothing was measured: what it takes is not installed", file=sys.stderr)
        return 1
    print(f"wrote {out}")
    return 0


def arguments(name: Name, options: Options) -> dict[str, Any]:
    """Choose what a benchmark is run with.

    Args:
        name: The benchmark.
        options: What is measured.

    Returns:
        The arguments of its `measure`, its own defaults left out.
    """
    chosen: dict[str, Any] = {}
    intervals = options.intervals or (QUICK_INTERVALS if options.quick else ())
    if intervals and name in ("schemes", "end-to-end"):
        chosen["intervals"] = intervals
    if options.quick:
        chosen["cases"] = MODULES[name].CASES[:1]
        chosen["time_fn"] = partial(time_in_turn, min_repeats=1, max_repeats=1)
    return chosen


def columns_of(rows: Sequence[Row]) -> list[str]:
    """List the columns of rows in their order.

    Args:
        rows: Of one benchmark.

    Returns:
        Every key that a row has.
    """
    return list(dict.fromkeys(key for row in rows for key in row))


if __name__ == "__main__":
    sys.exit(main())
