"""The settings of an experiment, all frozen, all of them options of its command."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from data.augment import AugmentConfig
from jaxseg.files import write_text
from jaxseg.nets import AnyNetConfig, NetConfig
from jaxseg.train import TrainConfig


class SettingsError(ValueError):
    """Settings that contradict each other or an earlier run; the message says how."""


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What is measured.

    Attributes:
        intervals: Keyframe intervals, frames.
        codec: How sequences without a video file are encoded: "h264" or "mpeg4".
        gop: Frames from one of the codec's I-frames to the next.
        quality: Constant rate factor (h264) or quantiser (mpeg4); lower is better.
        propagation: How maps are carried over several steps: "composed", one warp by
            the whole displacement; or "chain", a warp a step, as in the paper.
        reversal: How motion is turned to lead forward in time: "invert", each block's
            vector at the place where it came from; or "negate", at the same place, as
            in the paper.
        intra: How blocks that were coded without motion move: "fill", as what is around
            them; or "rest", not at all, as in the paper.
        unseen: What stands for what lay outside a keyframe when its map is fused: "other",
            the other keyframe's map; or "border", its own border repeated, as in the
            paper, and with "chain" in any case.
        num_phases: Shifted grids of keyframes to average over, at most; as many as
            the interval is long give every frame every distance.
        overlay_interval: Keyframe interval of the overlay video.
    """

    intervals: tuple[int, ...] = tuple(range(1, 11))
    codec: Literal["h264", "mpeg4"] = "h264"
    gop: int = 250
    quality: int = 18
    propagation: Literal["composed", "chain"] = "composed"
    reversal: Literal["invert", "negate"] = "invert"
    intra: Literal["fill", "rest"] = "fill"
    unseen: Literal["other", "border"] = "other"
    num_phases: int = 10
    overlay_interval: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for interval in (*self.intervals, self.overlay_interval):
            if interval < 1:
                raise ValueError(f"a keyframe interval is {interval}, but must be at least 1")
        if self.num_phases < 1:
            raise ValueError(f"num_phases is {self.num_phases}, but must be at least 1")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A whole experiment.

    Attributes:
        net: What the net is made of.
        train: How it is trained.
        augment: How training pictures are varied.
        evaluation: What is measured.
        batch_size: Pictures a step.
        seed: Of initial weights, order and augmentation.
        weights: What to begin with: a published ResNet (.pth or .safetensors); the name of
            weights that ship with the package; or the folder of a run.  A net of the same
            make gives all, its classifier where the number of classes agrees, one of
            another kind its backbone.  None for random weights.
        balance_classes: Whether pixels of rare classes weigh more in the loss.
        dtype: Type in which the net computes; variables and optimizer stay float32.
        pipeline: What makes the batches; both make the same ones.
    """

    net: AnyNetConfig
    train: TrainConfig
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    batch_size: int = 8
    seed: int = 0
    weights: Path | None = None
    balance_classes: bool = True
    dtype: Literal["float32", "bfloat16"] = "float32"
    pipeline: Literal["numpy", "tf.data"] = "numpy"

    def __post_init__(self) -> None:
        """Refuse an empty batch."""
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, but must be at least 1")


def check_begins(experiment: Experiment) -> None:
    """Refuse to train a net that cannot learn from where it begins.

    Args:
        experiment: The settings.

    Raises:
        SettingsError: If normalisation is frozen, but there are no weights.
    """
    if experiment.net.freeze_batch_norm and experiment.weights is None:
        raise SettingsError(
            "the net's batch normalisation is frozen, so it cannot learn from random "
            "weights: give trained ones by --weights, or --net.no-freeze-batch-norm"
        )


def save_settings(path: Path, experiment: Experiment, *, provenance: dict[str, Any]) -> None:
    """Write the settings of a run beside its results.

    Args:
        path: A JSON file.
        experiment: The settings.
        provenance: When, from which code and on what the run began.
    """
    content = {"experiment": _plain(experiment), "provenance": provenance}
    write_text(path, json.dumps(content, indent=1) + "\n")


def check_same_training(path: Path, experiment: Experiment) -> None:
    """Refuse to continue a run with settings that would change its training.

    Args:
        path: What `save_settings` wrote.
        experiment: The settings now.

    Raises:
        SettingsError: If anything but the evaluation differs; names the first difference.
    """
    # What a run of an earlier version does not name was as it is by default; the first
    # versions knew one kind of net.
    default = Experiment(
        type(experiment.net)(experiment.net.num_classes), TrainConfig(experiment.train.num_steps)
    )
    before = (
        _plain(default)
        | {"net.type": NetConfig.__name__}
        | json.loads(path.read_text())["experiment"]
    )
    now = _plain(experiment)
    for key, new in now.items():
        old = before[key]
        if key not in ("evaluation", "pipeline") and old != new:
            raise SettingsError(
                f"{path.parent}: was begun with {key} = {old}, not {new}; "
                "resume with the same settings, or give another --out"
            )


def _plain(experiment: Experiment) -> dict[str, Any]:
    """Turn settings into what JSON gives back, the nested ones joined by dots."""
    content = json.loads(json.dumps(dataclasses.asdict(experiment), default=str))
    content["net"] = {"type": type(experiment.net).__name__, **content["net"]}
    flat = {"evaluation": content.pop("evaluation")}
    for name, value in content.items():
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{name}.{key}".rstrip("."): one for key, one in inner.items()}
    return flat
