"""tf.data pipelines: from the builders' files, or from memory, to clips and augmented batches.

TensorFlow never takes a GPU here: those are JAX's.
"""

import atexit
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from jaxtyping import UInt8

from data.augment import AugmentConfig, augment
from data.batches import batch_indices
from data.cache import decode_record
from data.examples import Example

tf.config.set_visible_devices([], "GPU")


def record_features(**more: Any) -> tfds.features.FeaturesDict:
    """Describe what `data.cache.encode_record` makes, as TFDS wants it.

    Args:
        **more: Further features of a data set.

    Returns:
        The features: a clip or still of any length and size, with a name.
    """

    def packed(*shape: int | None, dtype: Any) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")

    return tfds.features.FeaturesDict(
        {
            "name": tfds.features.Text(),
            "rate": np.float32,
            "file": tfds.features.Tensor(shape=(), dtype=np.object_),
            "labels": packed(None, None, None, dtype=np.uint8),
            "motion": packed(None, None, None, 2, dtype=np.int16),
            "inter": packed(None, None, None, dtype=np.bool_),
            "picture_types": packed(None, dtype=np.uint8),
            "is_cut": packed(None, dtype=np.bool_),
            **more,
        }
    )


def prepare(builder: tfds.core.DatasetBuilder, *, data_dir: Path | None = None) -> None:
    """Write a builder's files, unless they are there already.

    Args:
        builder: `data.camvid.camvid_dataset_builder.Builder(data_dir=...)`, for
            example, where `data_dir` is the folder to write to.
        data_dir: The folder to read the source from; None for generated data.
    """
    config = tfds.download.DownloadConfig(manual_dir=data_dir)
    builder.download_and_prepare(download_config=config)


def clips(
    builder: tfds.core.DatasetBuilder,
    split: str,
    *,
    motion: Literal["codec", "exact"] = "codec",
) -> Iterator[Example]:
    """Read the examples of a split, one after another.

    Args:
        builder: After `prepare`.
        split: Of the builder, such as "val" or "train[:10]".
        motion: Whose vectors: the codec's, or those of the renderer, where there are.

    Yields:
        Clips and stills, decoded, in the order of the source.
    """
    dataset = builder.as_dataset(split=split, shuffle_files=False).prefetch(2)
    for record in tfds.as_numpy(dataset):
        if motion == "exact":
            exact = {"motion": record["exact_motion"], "inter": record["exact_inter"]}
            record = {**record, **exact}
        yield decode_record(record)


def augmented_batches(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
) -> Iterator[Example]:
    """Augment frames, labels and motion together, in batches without end.

    Each example is a function of seed, step and place in the batch alone, so that
    any number of threads gives the same batches, and a run can go on at any step.

    Args:
        examples: All of the same number of frames; any sizes.
        config: How to augment.
        batch_size: Examples a batch.
        seed: Of the order and of the augmentation.
        start: The first batch.

    Returns:
        An iterator of `Example`s with an axis `b` in front.

    Raises:
        ValueError: If the examples differ in their number of frames.
    """
    lengths = sorted({len(example.frames) for example in examples})
    if len(lengths) != 1:
        raise ValueError(
            f"the examples of a batch must have the same number of frames, but they have {lengths}"
        )

    def make(place: np.int64) -> list[np.ndarray]:
        step, position = divmod(int(place), batch_size)
        index = batch_indices(len(examples), batch_size, seed=seed, step=step)[position]
        generator = np.random.default_rng((seed, 1, step, position))
        made = augment(examples[index], config, generator=generator)
        return [np.ascontiguousarray(part) for part in made]

    @tf.autograph.experimental.do_not_convert
    def make_tensors(place: tf.Tensor) -> Example:
        types = [part.dtype for part in examples[0]]
        return Example(*tf.numpy_function(make, [place], types, stateful=False))

    def batches() -> Iterator[Example]:
        dataset = tf.data.Dataset.counter(start * batch_size)
        dataset = dataset.map(make_tensors, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        yield from dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

    made = batches()
    # TensorFlow's threads call Python: one that did so after Python's end would never return.
    atexit.register(_close, weakref.ref(made))
    return made


def training_batches(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
) -> Iterator[tuple[UInt8[np.ndarray, "b H W 3"], UInt8[np.ndarray, "b H W"]]]:
    """Make the batches of `data.batches.training_batches`, the same ones, by tf.data.

    Args:
        examples: Stills, such as `list(clips(builder, "train"))`.
        config: How to augment.
        batch_size: Examples a batch.
        seed: Of the order and of the augmentation.
        start: The first batch.

    Yields:
        Frames `[b, H, W, 3]` and labels `[b, H, W]`.
    """
    for batch in augmented_batches(examples, config, batch_size=batch_size, seed=seed, start=start):
        yield batch.frames[:, 0], batch.labels[:, 0]


def _close(reference: weakref.ref) -> None:
    batches = reference()
    if batches is not None:
        batches.close()
