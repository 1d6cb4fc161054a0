"""The `jaxseg` command: one file a subcommand, each with `add_to` (its words) and `run`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

import shtab

from jaxseg.cli.env import version
from jaxseg.errors import InputError

COMMANDS = ("segment", "inspect", "calibrate", "transcode", "export", "report", "env")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    options = parser().parse_args(words)
    options.command_line = ["jaxseg", *words]
    try:
        return options.run(options)
    except (InputError, OSError) as error:
        print(f"jaxseg: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxseg: interrupted; nothing half-written is left", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Make the parser of all subcommands; no room of the library is imported for it.

    Returns:
        The parser; `options.run(options)` of what it parses does the work.
    """
    top = argparse.ArgumentParser(
        prog="jaxseg", description="Fast semantic segmentation of compressed video."
    )
    top.add_argument("--version", action="version", version=f"jaxseg {version('jaxseg')}")
    shtab.add_argument_to(top, "--print-completion", help="print what completes these commands")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = importlib.import_module(f"jaxseg.cli.{name}")
        text = command.__doc__ or ""
        summary = text.split("\n")[0].rstrip(".")
        words = commands.add_parser(
            name,
            help=summary[:1].lower() + summary[1:],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_to(words)
        words.set_defaults(run=command.run)
    return top
