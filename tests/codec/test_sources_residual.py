"""The residual of a source: of what is shown, and the motion that is given with it."""

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.codec import reading
from tests.films import draw_pan, film

KINDS = {
    "exact": ({}, None),
    "mpeg4": ({"encoder": "mpeg4"}, None),
    "b-frames": ({"b_frames": 2}, None),
    "turned": ({"rotation": 90}, None),
    "scaled": ({}, (70, 42)),
    "odd": ({"pix_fmt": "yuv444p", "references": 2}, (71, 43)),
}


def compensate(before, motion):
    """Fetch each pixel of a prediction by itself."""
    height, width = before.shape[:2]
    y, x = np.indices((height, width))
    moved = np.rint(motion).astype(int)[y // 8, x // 8]
    there_y, there_x = y + moved[..., 1], x + moved[..., 0]
    return before[there_y.clip(0, height - 1), there_x.clip(0, width - 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_residual_is_of_what_is_shown(kind, tmp_path):
    options, size = KINDS[kind]
    path = film(tmp_path / "v.mp4", draw_pan(8), **options)
    with codec.open_source(path, size=size, residual_threshold=12) as source:
        assert bool(source.why) == (kind not in ("exact", "mpeg4"))
        before, total = None, 0.0
        for frame in source.frames:
            shown = frame.rgb().copy()
            expected = np.zeros_like(frame.residual)
            if before is not None:
                size_of = np.abs(shown.astype(int) - compensate(before, frame.motion))
                for y, x in np.ndindex(*expected.shape[:2]):
                    cell = size_of[16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
                    expected[y, x] = cell.sum(), (cell.max(axis=-1) > 12).sum()
            np.testing.assert_array_equal(frame.residual, expected)
            assert frame.residual.dtype == np.float32
            before, total = shown, total + float(expected[..., 1].sum())
        assert total > 0


@pytest.mark.parametrize("options", [{}, {"b_frames": 2}])
def test_it_costs_nothing_where_nobody_asks(options, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("nobody asked for this")

    for name in ("motion_compensate", "residual_statistics"):
        monkeypatch.setattr(reading, name, refuse)
    monkeypatch.setattr(reading._Pixels, "rgb", refuse)
    with codec.open_source(film(tmp_path / "v.mp4", draw_pan(4), **options)) as source:
        assert [frame.residual for frame in source.frames] == [None] * 4
