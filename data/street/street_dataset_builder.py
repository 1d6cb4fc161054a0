"""The rendered street as a TensorFlow data set: stills to train on, and one long drive."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float

from data.cache import encode_record, pack_motion
from data.pipelines import record_features
from data.street import Street, render
from jaxseg.arrays import MOTION_BLOCK
from jaxseg.geometry import motion_grid_size

STILL_RATE = 1.0
"""Stills of one street are this many a second apart."""


@dataclasses.dataclass(eq=False)
class StreetConfig(tfds.core.BuilderConfig):
    """What is rendered.

    Attributes:
        height: Pixels.
        width: Pixels.
        train_seeds: Streets to train on.
        num_stills: Stills of each of them.
        val_seed: Another street.
        num_frames: Frames of its drive.
        rate: Frames a second of its drive.
    """

    height: int = 240
    width: int = 320
    train_seeds: tuple[int, ...] = tuple(range(1, 25))
    num_stills: int = 12
    val_seed: int = 0
    num_frames: int = 90
    rate: float = 15.0


class Builder(tfds.core.GeneratorBasedBuilder):
    """Renders streets; `data.pipelines.prepare` runs it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version: H.264, GOP 12, crf 18."}
    BUILDER_CONFIGS: ClassVar = [
        StreetConfig(name="default", description="24 streets, 240 rows."),
        StreetConfig(
            name="tiny",
            description="Two small streets, for a try.",
            height=48,
            width=72,
            train_seeds=(1,),
            num_stills=2,
            num_frames=5,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        records = record_features()
        exact = {f"exact_{name}": records[name] for name in ("motion", "inter")}
        return self.dataset_info_from_configs(
            features=record_features(**exact), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        return {split: self._generate_examples(split) for split in ("train", "val")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        size = {"height": config.height, "width": config.width}
        if split == "val":
            seed = config.val_seed
            street = render(seed=seed, num_frames=config.num_frames, rate=config.rate, **size)
            yield 0, _record(street, name=f"street_{seed}", rate=config.rate)
            return
        for number, seed in enumerate(config.train_seeds):
            street = render(seed=seed, num_frames=config.num_stills, rate=STILL_RATE, **size)
            for index in range(config.num_stills):
                part = Street(*(array[index : index + 1] for array in street))
                still = part._replace(motion=np.zeros_like(part.motion), is_new=part.is_new | True)
                name = f"street_{seed}_{index:03d}"
                yield number * config.num_stills + index, _record(still, name=name, rate=0.0)


def exact_blocks(
    street: Street,
) -> tuple[Float[np.ndarray, "t h w 2"], Bool[np.ndarray, "t h w"]]:
    """Bring the renderer's motion to the codec's 8x8 grid.

    Args:
        street: With an axis `t`.

    Returns:
        Motion `[t, h, w, 2]`, pixels, the mean of each block, and inter `[t, h, w]`,
        False where most of a block was not to be seen in the frame before; motion is
        zero there.
    """
    inter = _block_means(street.is_new[..., None])[..., 0] < 0.5
    motion = _block_means(street.motion) * inter[..., None]
    return motion.astype(np.float32), inter


def _block_means(values: np.ndarray) -> np.ndarray:
    frames, height, width, channels = values.shape
    rows, columns = motion_grid_size(height, width)
    below, beside = rows * MOTION_BLOCK - height, columns * MOTION_BLOCK - width
    values = np.pad(values, ((0, 0), (0, below), (0, beside), (0, 0)), mode="edge")
    blocks = values.reshape(frames, rows, MOTION_BLOCK, columns, MOTION_BLOCK, channels)
    return blocks.mean(axis=(2, 4))


def _record(street: Street, *, name: str, rate: float) -> dict[str, Any]:
    motion, inter = exact_blocks(street)
    record = encode_record(street.frames, street.labels, rate=rate)
    return {
        "name": name,
        "exact_motion": pack_motion(motion),
        "exact_inter": inter,
        **record,
    }
