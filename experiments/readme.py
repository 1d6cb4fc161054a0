"""Put measured tables into the README and the documentation: `python -m experiments.readme`.

A block `<!-- table: FILE | columns | keep -->` ... `<!-- end -->` gets the rows of
a results file, those whose columns have the given values, so that no number there
is written by hand.
"""

import os
import re
import sys
from pathlib import Path

from experiments.results import markdown_table, read_results

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"(?P<begin><!-- table: (?P<file>\S+) \| (?P<columns>[^|]+?) \| (?P<keep>[^|]*?) ?-->\n)"
    r".*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def list_pages() -> list[Path]:
    """List the pages for people: the README and the documentation's.

    Returns:
        Their paths.
    """
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fill_tables(text: str, *, folder: Path = ROOT, root: Path = ROOT) -> str:
    """Fill every block of a page from its results file.

    Args:
        text: The page.
        folder: Where the page lies, to which its links are relative.
        root: The folder to which the blocks' files are relative.

    Returns:
        The page with today's tables.
    """

    def fill(block: re.Match[str]) -> str:
        results = read_results(root / block["file"])
        wanted = dict(word.split("=") for word in block["keep"].split())
        rows = [
            row
            for row in results.rows
            if all(str(row.get(key)) in values.split(",") for key, values in wanted.items())
        ]
        origin = results.provenance
        link = Path(os.path.relpath(root / block["file"], folder)).as_posix()
        note = (
            f"\nFrom [{block['file']}]({link}): {origin['date'][:10]}, "
            f"commit {origin['commit'][:12]}, {origin['machine']['cpu']} "
            f"({origin['machine']['num_cores']} cores), `{origin['command']}`.\n"
        )
        table = markdown_table(rows, block["columns"].split())
        return f"{block['begin']}\n{table}{note}{block['end']}"

    return BLOCK.sub(fill, text)


def main() -> int:
    """Rewrite the pages.

    Returns:
        The exit code.
    """
    for path in list_pages():
        path.write_text(fill_tables(path.read_text(), folder=path.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
