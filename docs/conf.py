"""How the documentation is built: `make docs`."""

import os
import re
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# Pages are run: they find the checkout's rooms, and the pages' own helpers in here.
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nothing of a user's own IPython changes them; a kernel's only warning is that it is local.
IPYTHON = tempfile.TemporaryDirectory()
os.environ["IPYTHONDIR"] = IPYTHON.name
(Path(IPYTHON.name) / "profile_default").mkdir()
(Path(IPYTHON.name) / "profile_default" / "ipython_kernel_config.py").write_text(
    "get_config().IPKernelApp.log_level = 40\n"
)

project = "jaxseg"
author = "The jaxseg authors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
html_title = f"jaxseg {release}"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_copyright = False
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_argparse_cli"]
source_suffix = {".md": "myst-nb"}
highlight_language = "none"
pygments_style, pygments_dark_style = "default", "monokai"

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables, too
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
default_role = "literal"
napoleon_custom_sections = [("Source", "notes_style")]
napoleon_attr_annotations = False  # they are jaxtyping's: the text says the shapes better
napoleon_use_ivar = True
nitpicky = True
nitpick_ignore_regex = [("py:exc", ".*")]  # Python's own, and those of other pages


def _translate(
    app: Any, what: str, name: str, thing: object, options: Any, lines: list[str]
) -> None:
    """Bring a docstring into the form that napoleon and reStructuredText expect.

    `|x|` is an absolute value here, not a substitution; and what stands before a colon in
    `Returns:` is no type, which an empty one in front says.
    """
    lines[:] = ["".join(_plain_bars(line)) for line in lines]
    for number, line in enumerate(lines[:-1], 1):
        if line in ("Returns:", "Yields:"):
            lines[number] = re.sub(r"^( *)", r"\1: ", lines[number])


def _plain_bars(line: str) -> list[str]:
    parts = re.split(r"(`+[^`]*`+)", line)
    return [part if part.startswith("`") else part.replace("|", r"\|") for part in parts]


def setup(app: Any) -> None:
    """Connect the hook.

    Args:
        app: Sphinx.
    """
    app.connect("autodoc-process-docstring", _translate, priority=400)  # before napoleon
