"""From an H.264 file to the dense 8x8 motion grid of every frame, against mv-extractor.

Counted is reading a whole file, opening it included, in milliseconds a frame; the file
was just written and is in the system's cache.  It shows a textured ground that pans and
an object that crosses it, has one reference and no B-frames.  No pixels are converted.
Peers:

- mv-extractor: vectors and frames, which it converts to BGR, as it does by default; its
  vectors are painted onto the grid by our own function.
- mv-extractor, vectors alone: the same without frames, which version 2.0 offers.
- decoding alone: PyAV without vectors, one frame at a time, as vectors need it.
- decoding alone, frame threads: the same with several frames at once.

Before timing, grids are compared for equality with mv-extractor's.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from tqdm import tqdm

from benchmarks.comparison import TimeFn, comparison
from benchmarks.inputs import moving_scene
from benchmarks.peers import find
from experiments.timing import time_in_turn


class Case(NamedTuple):
    """A video's size, pixels, and number of frames."""

    height: int
    width: int
    num_frames: int


CASES = (Case(360, 480, 150), Case(1080, 1920, 150))

Grids: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Motion `[h, w, 2]` and inter `[h, w]` of a frame."""

BLOCK = ("source", "w", "h", "src_x", "src_y", "dst_x", "dst_y")
VECTOR = ("motion_x", "motion_y", "motion_scale")
ROW = np.dtype([(name, np.int32) for name in (*BLOCK, *VECTOR)])
"""A row of mv-extractor's array, by FFmpeg's names."""


def measure(
    *, cases: Sequence[Case] = CASES, time_fn: TimeFn = time_in_turn
) -> list[dict[str, Any]]:
    """Time the reading of motion from files.

    Args:
        cases: The files.
        time_fn: Does the timing.

    Returns:
        A row for each file and peer; none without av.
    """
    if find("av") is None:
        return []
    extractor = find("mvextractor.videocap")
    rows = []
    for case in tqdm(cases, desc="motion", unit="file", disable=None):
        with TemporaryDirectory() as folder:
            rows += _measure_case(case, Path(folder) / "scene.mp4", extractor, time_fn)
    return rows


def _measure_case(case: Case, path: Path, extractor: Any, time_fn: TimeFn) -> list[dict[str, Any]]:
    from benchmarks.decoding import decode
    from jaxseg import codec

    codec.encode(moving_scene(*case[:2], num_frames=case.num_frames), path)
    peers: dict[str, Callable[[], Iterator[Any]]] = {
        "decoding alone": lambda: decode(path),
        "decoding alone, frame threads": lambda: decode(path, threads="AUTO"),
    }
    if extractor is not None:

        def extract(*, decode_frames: bool) -> Iterator[Grids]:
            return extracted_grids(extractor.VideoCap(), path, decode_frames=decode_frames)

        ours = ((frame.motion, frame.inter) for frame in codec.read_frames(path))
        require_same_grids(ours, extract(decode_frames=False))
        peers["mv-extractor"] = lambda: extract(decode_frames=True)
        peers["mv-extractor, vectors alone"] = lambda: extract(decode_frames=False)

    def exhaust(read: Callable[[], Iterator[Any]]) -> Callable[[], None]:
        def turn() -> None:
            for _ in read():
                pass

        return turn

    readers = [lambda: codec.read_frames(path), *peers.values()]
    ours_ms, *peers_ms = (ms / case.num_frames for ms in time_fn(*map(exhaust, readers)))
    return [
        comparison(
            benchmark="motion",
            case=f"{case.width}x{case.height}, {case.num_frames} frames",
            what="read_frames",
            peer=peer,
            ours_ms=ours_ms,
            peer_ms=peer_ms,
        )
        | {"ours_fps": 1000 / ours_ms, "peer_fps": 1000 / peer_ms}
        for peer, peer_ms in zip(peers, peers_ms, strict=True)
    ]


def extracted_grids(capture: Any, path: Path, *, decode_frames: bool) -> Iterator[Grids]:
    """Read a file by mv-extractor.

    Args:
        capture: Its `VideoCap`.
        path: The file.
        decode_frames: Whether it converts the pixels, too.

    Yields:
        Motion and inter of each frame.

    Raises:
        ValueError: If it cannot open the file.
    """
    from jaxseg import codec

    if not capture.open(str(path)):
        raise ValueError(f"{path.name}: mv-extractor cannot open it")
    capture.set_decode_frames(decode_frames)
    size = codec.probe(path)
    while True:
        success, _, vectors, _ = capture.read()
        if not success:
            break
        vectors = vectors.view(ROW)[:, 0] if len(vectors) else None
        yield codec.rasterize_motion(vectors, height=size.height, width=size.width)
    capture.release()


def require_same_grids(ours: Iterable[Grids], theirs: Iterable[Grids]) -> None:
    """Refuse to time readers that read different things.

    Args:
        ours: Of each frame.
        theirs: Of each frame, mv-extractor's.

    Raises:
        ValueError: If a frame differs, or their number.
    """
    for index, (our, their) in enumerate(itertools.zip_longest(ours, theirs)):
        if our is None or their is None or not all(map(np.array_equal, our, their)):
            raise ValueError(f"ours and mv-extractor's motion differ at frame {index}")
