"""What the classes of a data set are called, and how they are coloured."""

from dataclasses import dataclass
from typing import TypeAlias

Palette: TypeAlias = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Classes:
    """The classes of a data set; the label of a class is its position.

    Attributes:
        names: One name a class.
        palette: One colour a class, RGB, 0..255.
    """

    names: tuple[str, ...]
    palette: Palette

    def __post_init__(self) -> None:
        """Refuse names without colours, and colours without names."""
        if len(self.names) != len(self.palette):
            raise ValueError(
                f"{len(self.names)} names but {len(self.palette)} colours; give one of each a class"
            )


CAMVID = Classes(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
"""CamVid's eleven classes and colours, as SegNet set them."""

CITYSCAPES = Classes(
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
)
"""Cityscapes' nineteen evaluated classes and colours, in the order of their train ids."""
