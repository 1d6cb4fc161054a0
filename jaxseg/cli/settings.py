"""How a video is labelled: the options that several commands share, and their file.

`jaxseg calibrate` writes the file, `jaxseg segment --settings` reads it.
"""

import argparse
import dataclasses
import json
import math
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

RGC = ("ffw+rgc", "ffw+rgc+rgfs")
"""The schemes that label the worst regions of each frame anew."""

RGFS = ("ffw+rgfs", "ffw+rgc+rgfs")
"""The schemes that make keyframes of frames that are hard to warp."""

LOW_LATENCY = (
    *("afp", "afp+aks", "afp+aks+lls"),
    *("afp-mv", "afp-mv+aks", "afp-mv+aks+lls"),
    *("prop-mv+aks", "prop-mv+aks+lls"),
)
"""As in `jaxseg.schemes.low_latency`, which would load JAX."""

AKS = tuple(name for name in LOW_LATENCY if "+aks" in name)
"""Those that choose keyframes by how many labels have changed; they have no interval."""

LLS = tuple(name for name in LOW_LATENCY if "+lls" in name)
"""Those that label keyframes before the net is through with them."""

SCHEMES = (
    *("per-frame", "copy-last", "prop-mv", "interp-mv"),
    *("itp", "ffw", "ffw+rgc", "ffw+rgfs", "ffw+rgc+rgfs"),
    *LOW_LATENCY,
)

PAPER_THRESHOLD = 3.6e7 / (1024 * 2048)
"""As in `jaxseg.schedules`, which would load JAX."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a video is labelled.

    Attributes:
        checkpoint: Shipped weights by name, a `.safetensors` file, or a run's folder.
        scheme: One of `SCHEMES`.
        interval: Frames from one keyframe to the next; 1, the fewest, for `AKS`.
        size: Width and height, pixels, to scale the video to first; None for its own.
        threshold: |residual|, grey levels a pixel, above which a frame becomes a keyframe;
            for `RGFS`.
        num_regions: Regions of a frame that are labelled anew; for `RGC`.
        max_changed: Share of the labels, as estimated, that may differ from the last
            keyframe's; a frame with more becomes a keyframe; for `AKS`.
        delay: Frames after which the net is through with a keyframe; for `LLS`.
    """

    checkpoint: str = "camvid-light"
    scheme: str = "interp-mv"
    interval: int = 5
    size: tuple[int, int] | None = None
    threshold: float = PAPER_THRESHOLD
    num_regions: int = 1
    max_changed: float = 0.2
    delay: int = 3


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
        help=f"frames from one keyframe to the next (default: {default.interval}); +aks has none",
    )
    parser.add_argument(
        "--threshold",
        type=threshold_of,
        metavar="NUMBER",
        help="with +rgfs, the |residual| a pixel, in grey levels, above which a frame becomes a "
        f"keyframe, too; `jaxseg calibrate --key-share` finds it (default: "
        f"{default.threshold:.1f}); with +aks, the share of labels that may differ from the last "
        f"keyframe's, 0..1 (default: {default.max_changed})",
    )
    parser.add_argument(
        "--regions",
        dest="num_regions",
        type=positive,
        metavar="N",
        help="with +rgc, regions of a frame that are labelled anew "
        f"(default: {default.num_regions})",
    )
    parser.add_argument(
        "--delay",
        type=positive,
        metavar="N",
        help="with +lls, frames after which the net is through with a keyframe, whose map then "
        f"takes the place of what was carried (default: {default.delay})",
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
        InputError: If the file cannot be read or holds something else, or an option is
            given that the scheme does not know.
    """
    settings = Settings() if options.settings is None else read_settings(options.settings)
    names = [field.name for field in dataclasses.fields(Settings) if field.name != "max_changed"]
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    scheme = given.get("scheme", settings.scheme)
    for name, word, schemes in (
        ("threshold", "--threshold", (*RGFS, *AKS)),
        ("num_regions", "--regions", RGC),
        ("delay", "--delay", LLS),
    ):
        if name in given and scheme not in schemes:
            raise InputError(
                f"{word} {given[name]}: has no meaning for scheme {scheme}; give "
                f"--scheme {' or '.join(schemes)}"
            )
    if scheme in AKS:
        if "interval" in given:
            raise InputError(
                f"--interval {given['interval']}: has no meaning for scheme {scheme}, which "
                "chooses keyframes itself; give --threshold"
            )
        given["interval"] = 1  # Any frame may be a keyframe.
        if "threshold" in given:
            given["max_changed"] = given.pop("threshold")
            if given["max_changed"] > 1:
                raise InputError(
                    f"--threshold {given['max_changed']}: is no share of the labels; for scheme "
                    f"{scheme} give a number in 0..1, such as {Settings.max_changed}"
                )
    return dataclasses.replace(settings, **given)


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
            # Files of earlier versions lack these.
            threshold=float(content.get("threshold", Settings.threshold)),
            num_regions=int(content.get("num_regions", Settings.num_regions)),
            max_changed=float(content.get("max_changed", Settings.max_changed)),
            delay=int(content.get("delay", Settings.delay)),
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
    if not 0 <= settings.threshold < math.inf or settings.num_regions < 1:
        raise InputError(
            f"{path}: asks for a threshold of {settings.threshold} and {settings.num_regions} "
            "regions, but they must be at least 0 and 1"
        )
    if not 0 <= settings.max_changed <= 1 or settings.delay < 1:
        raise InputError(
            f"{path}: asks for {settings.max_changed} of the labels and a delay of "
            f"{settings.delay} frames, but they must be in 0..1 and at least 1"
        )
    return settings


def write_settings(path: str | Path, settings: Settings) -> None:
    """Write a settings file.

    Args:
        path: The file.
        settings: The settings.
    """
    write_text(path, json.dumps(dataclasses.asdict(settings), indent=1) + "\n")


def maker_of(
    scheme: str,
    model: "Model",
    *,
    threshold: float = PAPER_THRESHOLD,
    num_regions: int = 1,
    max_changed: float = 0.2,
    delay: int = 3,
) -> "Callable[[Net], Scheme]":
    """Choose a scheme's constructor, with what the model has learned for it.

    Args:
        scheme: One of `SCHEMES`.
        model: The model.
        threshold: As in `Settings`.
        num_regions: As in `Settings`.
        max_changed: As in `Settings`.
        delay: As in `Settings`.

    Returns:
        Makes the scheme of a net.

    Raises:
        InputError: If the scheme must be learned, and the model has not learned it.
    """
    from jaxseg import schemes
    from jaxseg.fusion import LEARNED
    from jaxseg.regions import Correction
    from jaxseg.schemes.afp import afp
    from jaxseg.schemes.low_latency import learned_parts

    if scheme in LOW_LATENCY:
        parts = learned_parts(scheme, model.net, model.config, model.extras)
        return partial(
            afp,
            **parts._asdict(),
            threshold=max_changed if scheme in AKS else math.inf,
            delay=delay if scheme in LLS else 0,
        )
    if scheme in (*RGC, *RGFS):
        return partial(
            schemes.taplab,
            correction=Correction(num_regions=num_regions) if scheme in RGC else None,
            threshold=threshold if scheme in RGFS else None,
        )
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


def threshold_of(word: str) -> float:
    """Read a threshold: a residual, or a share of the labels.

    Args:
        word: From the command line.

    Returns:
        A number, 0 or more.

    Raises:
        ArgumentTypeError: If it is none.
    """
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(
            f"{word!r} is no number of grey levels, 0 or more, and no share, 0..1"
        )
    return number


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
