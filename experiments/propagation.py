"""Which way to carry features is best: chained or composed, negated or inverted, holes filled.

    python -m experiments.propagation --checkpoint runs/camvid --data-dir CAMVID

Measures prop-mv and interp-mv with each combination on a trained net: accuracy over
all frames and over those farthest from keyframes, for every grid of keyframes, and
the time that a frame takes besides the feature net, in turn.  Without a folder of
CamVid it runs on the embedded clip.  Minutes on 2 cores.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from tqdm import tqdm

from experiments.camvid import data_set
from experiments.command import explain
from experiments.evaluation import (
    FILLINGS,
    PROPAGATIONS,
    REVERSALS,
    clip_of,
    encode_sequence,
    measure_accuracy,
)
from experiments.results import markdown_table, provenance, write_results
from experiments.settings import EvaluationConfig
from experiments.timing import prepare_step, time_in_turn, without_heavy_part
from jaxseg.checkpoints import load_model
from jaxseg.metrics import mean_iou
from jaxseg.nets import Net
from jaxseg.runner import compile_scheme, keep_compilations
from jaxseg.schemes import Scheme, interp_mv, prop_mv

COLUMNS = (
    "scheme",
    "interval",
    "propagation",
    "reversal",
    "intra",
    "unseen",
    "miou",
    "miou_min",
    "temporal_consistency",
    "intermediate_ms",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What is compared, on what.

    Attributes:
        checkpoint: Folder of a trained run.
        data_dir: Folder of CamVid; without one, the embedded clip is used.
        out: The results file.
        intervals: Keyframe intervals, frames.
    """

    checkpoint: Path
    data_dir: Path | None = None
    out: Path = Path("runs/propagation.json")
    intervals: tuple[int, ...] = (5, 10)


class Way(NamedTuple):
    """A scheme, and how it carries features; each as a row names it."""

    scheme: str
    propagation: str
    reversal: str | None
    intra: str
    unseen: str | None


def ways() -> dict[Way, Callable[[Net], Scheme]]:
    """List every scheme with every way to carry features.

    Returns:
        Its constructor, by way.
    """
    found: dict[Way, Callable[[Net], Scheme]] = {}
    for ((name, unseen), propagation), (intra, fill_fn) in product(
        PROPAGATIONS.items(), FILLINGS.items()
    ):
        shared: dict[str, Any] = {"propagation": propagation, "fill_fn": fill_fn}
        found[Way("prop-mv", name, None, intra, None)] = partial(prop_mv, **shared)
        if (name, unseen) == ("chain", "other"):  # It forgets where things came from.
            continue
        for reversal, reverse_fn in REVERSALS.items():
            found[Way("interp-mv", name, reversal, intra, unseen)] = partial(
                interp_mv, reverse_fn=reverse_fn, **shared
            )
    return found


def measure(options: Options) -> list[dict[str, Any]]:
    """Measure every way at every interval.

    Args:
        options: What is compared.

    Returns:
        A row each.

    Raises:
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
    """
    model = load_model(options.checkpoint)
    config = EvaluationConfig()
    sequences = data_set(options.data_dir).read_sequences()
    folder = options.checkpoint / "sequences"
    examples = [encode_sequence(one, folder, config) for one in sequences]
    clip = clip_of(examples[0])
    height, width = examples[0].labels.shape[1:]
    cheap, cheap_params = without_heavy_part(model.net, model.params, height=height, width=width)
    rows = []
    with tqdm(total=len(options.intervals) * len(ways()), unit="setting", disable=None) as bar:
        for interval in options.intervals:
            steps = [
                prepare_step(
                    compile_scheme(cheap, make_scheme(cheap), height=height, width=width),
                    cheap_params,
                    clip,
                    interval=interval,
                )
                for make_scheme in ways().values()
            ]
            times = time_in_turn(*steps)
            for (way, make_scheme), time_ms in zip(ways().items(), times, strict=True):
                measured = measure_accuracy(
                    compile_scheme(model.net, make_scheme(model.net), height=height, width=width),
                    model,
                    examples,
                    name=way.scheme,
                    interval=interval,
                    num_phases=interval,
                )
                rows.append(
                    {
                        **way._asdict(),
                        "interval": interval,
                        "net": model.config.name,
                        "miou": float(mean_iou(measured.total)),
                        "miou_min": float(mean_iou(measured.farthest)),
                        "temporal_consistency": measured.consistency,
                        "intermediate_ms": time_ms / interval,
                    }
                )
                bar.update()
    return rows


def run(options: Options, *, argv: Sequence[str]) -> None:
    """Measure, and write what came out.

    Args:
        options: What is compared.
        argv: The command as typed, for the results' provenance.

    Raises:
        CheckpointError: If there is no trained net.
        DataError: If the data set is unusable.
        CodecError: If a video cannot be written or read.
    """
    keep_compilations()
    origin = provenance(argv)
    rows = measure(options)
    write_results(options.out, rows, provenance=origin)
    print(markdown_table(rows, COLUMNS))
    print(f"wrote {options.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its words after the name; None for those it was called with.

    Returns:
        The exit code: 0, 2 for bad input, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    options = tyro.cli(Options, args=words, description=__doc__)
    argv = ["python", "-m", "experiments.propagation", *words]
    return explain(partial(run, options, argv=argv))


if __name__ == "__main__":
    sys.exit(main())
