"""How a video is labelled: the options that several commands share, and their file.

`jaxseg calibrate` writes the file, `jaxseg segment --settings` reads it.
"""

import argparse
import dataclasses
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxseg.errors import InputError
from jaxseg.files import write_text

if TYPE_CHECKING:
    from jaxseg.checkpoints import Model
    from jaxseg.nets import Net
    from jaxseg.schemes import Scheme

SCHEMES = ("per-frame", "copy-last", "prop-mv", "interp-mv")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a video is labelled.

    Attributes:
        checkpoint: Shipped weights by name, a `.safetensors` file, or a run's folder.
        scheme: One of `SCHEMES`.
        interval: Frames from one keyframe to the next.
        size: Width and height, pixels, to scale the video to first; None for its own.
    """

    checkpoint: str = "camvid-light"
    scheme: str = "interp-mv"
    interval: int = 5
    size: tuple[int, int] | None = None


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that make `Settings`.

    Args:
        parser: Of a subcommand.
    """
    default = Settings()
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="what `jaxseg calibrate` chose"
    )
    add_model(parser)
    parser.add_argument("--scheme", choices=SCHEMES, help=f"default: {default.scheme}")
    parser.add_argument(
        "--interval",
        type=positive,
        metavar="N",
        help=f"frames from one keyframe to the next (default: {default.interval})",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options for the net and for what it sees.

    Args:
        parser: Of a subcommand.
    """
    parser.add_argument(
        "--checkpoint",
        metavar="MODEL",
        help="shipped weights by name, a .safetensors file, or the folder that training wrote "
        f"(default: {Settings().checkpoint})",
    )
    parser.add_argument(
        "--size",
        type=frame_size,
        metavar="WxH",
        help="scale the video to this first, such as 640x360; labels and overlay have it, too "
        "(default: the video's own)",
    )


def settings_of(options: argparse.Namespace) -> Settings:
    """Collect the settings: those of the file, changed by the options that were given.

    Args:
        options: Of a parser that `add_settings` went through.

    Returns:
        The settings.

    Raises:
        InputError: If the file cannot be read or holds something else.
    """
    settings = Settings() if options.settings is None else read_settings(options.settings)
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    return dataclasses.replace(settings, **{k: v for k, v in given.items() if v is not None})


def read_settings(path: str | Path) -> Settings:
    """Read a settings file.

    Args:
        path: What `write_settings` wrote.

    Returns:
        The settings.

    Raises:
        InputError: If it cannot be read or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        size = content.get("size")
        settings = Settings(
            checkpoint=str(content["checkpoint"]),
            scheme=content["scheme"],
            interval=int(content["interval"]),
            size=None if size is None else (int(size[0]), int(size[1])),
        )
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; `jaxseg calibrate` writes one") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{path}: is no settings file ({error}); let `jaxseg calibrate` write one"
        ) from error
    if settings.scheme not in SCHEMES or settings.interval < 1:
        raise InputError(
            f"{path}: asks for scheme {settings.scheme!r} at interval {settings.interval}, but "
            f"there are {', '.join(SCHEMES)}, at 1 or more"
        )
    return settings


def write_settings(path: str | Path, settings: Settings) -> None:
    """Write a settings file.

    Args:
        path: The file.
        settings: The settings.
    """
    write_text(path, json.dumps(dataclasses.asdict(settings), indent=1) + "\n")


def maker_of(scheme: str, model: "Model") -> "Callable[[Net], Scheme]":
    """Choose a scheme's constructor, with the fusion that the model has learned for it.

    Args:
        scheme: One of `SCHEMES`.
        model: The model.

    Returns:
        Makes the scheme of a net.
    """
    from jaxseg import schemes
    from jaxseg.fusion import LEARNED

    if scheme == "interp-mv" and "fusion" in model.extras:
        return partial(schemes.interp_mv, fusion=LEARNED[model.extras["fusion"]])
    return getattr(schemes, scheme.replace("-", "_"))


def positive(word: str) -> int:
    """Read a number of at least 1.

    Args:
        word: From the command line.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: If it is none.
    """
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number of 1 or more")
    return int(word)


def frame_size(word: str) -> tuple[int, int]:
    """Read a size such as 640x360.

    Args:
        word: From the command line.

    Returns:
        Width and height, pixels.

    Raises:
        ArgumentTypeError: If it is none, or smaller than 16x16.
    """
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", word)
    if found is None or min(map(int, found.groups())) < 16:
        raise argparse.ArgumentTypeError(
            f"{word!r} is no size; give width and height of 16 pixels or more, such as 640x360"
        )
    return int(found[1]), int(found[2])
