"""Write labels as the Cityscapes evaluation takes them."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.cityscapes.reading import LABEL_IDS
from jaxseg.files import replacing


def write_submission(labels: UInt8[np.ndarray, "H W"], folder: Path, name: str) -> Path:
    """Write the labels of a frame as a picture of the data set's own ids.

    Args:
        labels: `[H, W]` uint8, classes 0..18, of the frame's full size.
        folder: Of one submission; the evaluation wants one file a frame in it.
        name: City, sequence and number of the frame, as `Snippet.name`.

    Returns:
        The file, `{name}_labelIds.png`.

    Raises:
        ValueError: If a label is no class.
    """
    if labels.max(initial=0) >= len(LABEL_IDS):
        raise ValueError(
            f"{name}: holds the label {labels.max()}, but every pixel needs one of the classes "
            f"0..{len(LABEL_IDS) - 1}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_labelIds.png"
    with replacing(path) as hidden:
        Image.fromarray(np.array(LABEL_IDS, np.uint8)[labels]).save(hidden)
    return path
