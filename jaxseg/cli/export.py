"""Write the compiled functions as StableHLO, to be run without jaxseg.

OUT is a folder with two programs for frames of any size, on CPU, CUDA and TPU
(init.stablehlo, step.stablehlo), the variables that they take (params.safetensors),
what goes in and out (manifest.json), and an example that needs jax, flatbuffers and
safetensors alone (run.py).  The programs scale nothing: a --size is only noted there.
They take no residual, so that schemes with +rgc or +rgfs are not exported, nor are afp-mv and
prop-mv+aks, whatever follows.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from jaxseg.cli.env import version
from jaxseg.cli.settings import LOW_LATENCY, RGC, RGFS, add_settings, maker_of, settings_of
from jaxseg.errors import InputError


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the command's words.

    Args:
        parser: Its own.
    """
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write; a new one")
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Do the work.

    Args:
        options: What was parsed.

    Returns:
        The exit code.

    Raises:
        InputError: If the model or the folder cannot be used, or the scheme is not exported.
    """
    import jax.numpy as jnp

    from jaxseg.exporting import export_model
    from jaxseg.nets import default_dtype
    from jaxseg.pretrained import load

    settings = settings_of(options)
    name = settings.scheme.partition("+")[0]
    if settings.scheme in (*RGC, *RGFS, *LOW_LATENCY) and name != "afp":
        other = name.replace("afp-mv", "afp")
        raise InputError(
            f"{settings.scheme}: reads the residual, which programs are not given; export {other}, "
            "or another --scheme"
        )
    model = load(settings.checkpoint)
    about = {
        "jaxseg": version("jaxseg"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": Path(settings.checkpoint).name,
        "scheme": settings.scheme,
        "size": settings.size,
        "dtype": str(jnp.dtype(default_dtype())),
    }
    export_model(
        options.out,
        model,
        make_scheme=maker_of(
            settings.scheme, model, max_changed=settings.max_changed, delay=settings.delay
        ),
        interval=settings.interval,
        about=about,
    )
    print(f"wrote {options.out}; try it: {Path(sys.executable).name} {options.out / 'run.py'}")
    return 0
