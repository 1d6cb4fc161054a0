"""Cityscapes as a TensorFlow data set, from a copy that the user has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data.cache import encode_record
from data.cityscapes.reading import LABELS, RATE, find_snippets, read_snippet, read_stills
from data.pipelines import record_features

SPLITS = ("train", "val", "test")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Writes Cityscapes' stills or snippets; `data.pipelines.prepare` runs it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version: H.264, GOP 12, crf 18."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="stills", description="The labelled frames."),
        tfds.core.BuilderConfig(
            name="snippets", description="Up to 30 frames around each labelled one."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    From www.cityscapes-dataset.com, unpacked in one folder: gtFine_trainvaltest.zip, and
    leftImg8bit_sequence_trainvaltest.zip (324 GB) or, for stills, leftImg8bit_trainvaltest.zip.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        # The order is that of the names; batches are shuffled when they are made.
        return self.dataset_info_from_configs(features=record_features(), disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        folder = Path(dl_manager.manual_dir)
        # With no folder at all, reading one says what is missing.
        splits = [split for split in SPLITS if (folder / LABELS / split).is_dir()] or SPLITS[:1]
        return {split: self._generate_examples(folder, split) for split in splits}

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[int, dict]]:
        if self.builder_config.name == "stills":
            for index, example in enumerate(read_stills(folder, split)):
                record = encode_record(example.frames, example.labels, rate=RATE)
                yield index, {"name": f"{split}_{index:05}", **record}
            return
        for index, snippet in enumerate(find_snippets(folder, split)):
            sequence = read_snippet(snippet)
            record = encode_record(sequence.frames, sequence.labels, rate=sequence.rate)
            yield index, {"name": sequence.name, **record}
