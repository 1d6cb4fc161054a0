"""`jaxseg env` and `jaxseg --version`: what a bug report needs."""

import json
import platform

import jax
import numpy as np
import pytest

from jaxseg.cli import main
from jaxseg.cli.env import version


def test_versions_and_devices_are_printed(capsys):
    assert main(["env"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["python"].startswith(platform.python_version())
    assert f"jax {jax.__version__}" in lines["packages"].split(", ")
    assert f"numpy {np.__version__}" in lines["packages"].split(", ")
    assert "libavcodec " in lines["libraries"]
    assert lines["devices"].count("cpu") >= len(jax.devices())
    assert lines["dtype"] == "float32"


def test_the_same_as_json(capsys):
    assert main(["env", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["jax"] == jax.__version__
    assert len(found["devices"]) == len(jax.devices())
    assert found["jaxseg"] == version("jaxseg")


def test_the_version_alone(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"jaxseg {version('jaxseg')}\n"
    assert version("no such package") == "unknown"
