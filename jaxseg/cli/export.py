"""Write the compiled functions as StableHLO, to be run without jaxseg."""

import argparse


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    del parser


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.
    """
    raise NotImplementedError
