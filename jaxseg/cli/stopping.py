"""Ctrl-C: the first asks to finish, the second aborts."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_gently() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C, or a request to end, into a wish that others look at.

    The second one raises KeyboardInterrupt; a third one kills the process.

    Returns:
        A context manager that gives what is set once the user wants an end.
    """
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            for it in SIGNALS:
                signal.signal(it, signal.SIG_DFL)
            raise KeyboardInterrupt
        stop.set()
        if sys.stderr.isatty():
            # Past Python's buffer, which may be in use at this very moment.
            os.write(2, b"\nfinishing the frames that were read; Ctrl-C again aborts\n")

    before = {it: signal.signal(it, ask) for it in SIGNALS}
    try:
        yield stop
    finally:
        for it, handler in before.items():
            signal.signal(it, handler)
