"""Make one HTML page of what segment wrote.

The page holds everything it shows: pictures of the input and of the labels over it, the
keyframes, the time per stage and the area of each class.  It opens without a network.
"""

import argparse
from pathlib import Path

from jaxseg.errors import InputError


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.add_argument(
        "folder",
        type=Path,
        metavar="RUN",
        help="the folder that `jaxseg segment` wrote for a video; for one that holds several, "
        "each gets its page",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the page to write (default: report.html in the video's folder)",
    )


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.

    Raises:
        InputError: If one page is asked for, but there are several videos.
    """
    from jaxseg.draw import find_runs, write_report

    folders = find_runs(options.folder)
    if options.output is not None and len(folders) > 1:
        raise InputError(
            f"{options.folder}: holds {len(folders)} videos, but {options.output} is one page; "
            f"give one of the folders, such as {folders[0]}, or leave out -o"
        )
    for folder in folders:
        page = options.output or folder / "report.html"
        write_report(folder, page)
        print(page)
    return 0
