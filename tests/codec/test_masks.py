"""Labels as a video: the same bits come back."""

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.classes import CAMVID

RNG = np.random.default_rng(0)


def write(path, masks, times=None, **options):
    height, width = masks[0].shape
    with codec.open_mask_writer(path, width=width, height=height, **options) as writer:
        for mask, time in zip(masks, times or [None] * len(masks), strict=True):
            writer.write(mask, time=time)


@pytest.mark.parametrize("size", [(48, 64), (37, 53), (16, 17), (75, 16)])
def test_every_label_comes_back(tmp_path, size):
    masks = [RNG.integers(0, 256, size, dtype=np.uint8) for _ in range(5)]
    masks += [np.full(size, label, np.uint8) for label in (0, 255)]
    masks += [np.asfortranarray(masks[0]), np.tile(masks[1], (1, 2))[:, ::2]]
    write(tmp_path / "m.mkv", masks)
    np.testing.assert_array_equal(list(codec.read_masks(tmp_path / "m.mkv")), masks)
    assert [path.name for path in tmp_path.iterdir()] == ["m.mkv"]


def test_label_maps_take_little_room(tmp_path):
    y, x = np.indices((180, 240))
    masks = [((x + i) // 60 + y // 60 * 4).astype(np.uint8) for i in range(10)]
    write(tmp_path / "m.mkv", masks)
    assert (tmp_path / "m.mkv").stat().st_size < 0.03 * sum(mask.size for mask in masks)


def test_times_and_classes_are_in_the_file(tmp_path):
    masks = [np.full((16, 16), label, np.uint8) for label in range(4)]
    write(tmp_path / "m.mkv", masks, [0, 0.1, 0.5, 0.6], classes=CAMVID)
    with av.open(tmp_path / "m.mkv") as container:
        assert [picture.time for picture in container.decode(video=0)] == [0, 0.1, 0.5, 0.6]
        assert container.duration == 700_000
        assert container.metadata["CLASSES"].startswith("0 sky #808080, 1 building #800000, ")


def test_the_same_labels_give_the_same_bytes(tmp_path):
    masks = [RNG.integers(0, 11, (64, 64), dtype=np.uint8) for _ in range(5)]
    for name in ("a.mkv", "b.mkv"):
        write(tmp_path / name, masks)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_what_is_no_mask(tmp_path):
    mask = np.zeros((16, 16), np.uint8)
    with pytest.raises(codec.CodecError, match=r"the suffix '.mp4' .* use one of .mkv"):
        write(tmp_path / "m.mp4", [mask])
    with pytest.raises(codec.CodecError, match=r"\(8, 16\) uint8, .* \(16, 16\) uint8"):
        write(tmp_path / "m.mkv", [mask, mask[:8]])
    with (
        pytest.raises(codec.CodecError, match="there are no frames"),
        codec.open_mask_writer(tmp_path / "m.mkv", width=16, height=16),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    codec.encode([np.zeros((16, 16, 3), np.uint8)], tmp_path / "v.mkv")
    with pytest.raises(codec.CodecError, match="yuv420p pictures, not of labels"):
        next(codec.read_masks(tmp_path / "v.mkv"))
