"""Run every benchmark and write its table: `python -m benchmarks`."""

import sys
from pathlib import Path

from benchmarks import schemes
from experiments.results import markdown_table, provenance, write_results

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run the benchmarks one after another.

    Returns:
        The exit code.
    """
    origin = provenance(["python", "-m", "benchmarks"])
    rows = schemes.measure()
    write_results(RESULTS / "schemes.json", rows, provenance=origin)
    print(markdown_table(rows, schemes.COLUMNS))
    print(f"wrote {(RESULTS / 'schemes.json').relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
