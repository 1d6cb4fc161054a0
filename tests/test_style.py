"""Walks the whole package and checks the house style itself."""

import ast
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

# In the order in which data walks through the house: a room imports only from rooms above
# it, and those on one line may import each other.
ROOMS = """
errors arrays
classes files
geometry
codec
sampling variant
nets
flows
warping
fusion drift
adaptive
regions
schedules
intervals
schemes
runner latency
metrics
losses train checkpoints convert
pretrained exporting
calibration
draw
cli
"""
FLOORS = {room: floor for floor, line in enumerate(ROOMS.split("\n")) for room in line.split()}

FOLDERS = ("jaxseg", "docs", "data", "experiments", "benchmarks", "tests", ".ci")
REPOSITORY_ONLY = {
    "data",
    "experiments",
    "benchmarks",
    "tests",
    "tensorflow",
    "tensorflow_datasets",
}
PRIVATE_PATH = re.compile(r"(?<![\w.])/(root|home|Users|work|mnt)/\w")
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Source|Example|Note)s?:", re.M)
VERB_LINE = re.compile(r"(?!(A|An|The|This)\b)[A-Z][a-z]+(?<![^s]s)\b.*[.:]$")


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PACKAGE = sorted((ROOT / "jaxseg").rglob("*.py"))
MODULES = [_module_name(path) for path in PACKAGE]
TEXTS = [
    path
    for path in (
        *ROOT.iterdir(),
        *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*")),
    )
    if path.is_file()
    and path.suffix in {"", ".cff", ".html", ".json", ".md", ".py", ".toml", ".txt"}
]


def _public_functions(module: ModuleType) -> Iterator[tuple[str, Callable]]:
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.isclass(value):
            continue
        function = inspect.unwrap(value) if callable(value) else value
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            yield name, function


def _sections(docstring: str) -> dict[str, str]:
    """Split a docstring; the summary has the empty name."""
    parts = SECTION.split(docstring)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


def _documented(arguments: str) -> set[str]:
    """List the names an `Args:` section describes."""
    heads = re.findall(r"^ {4}([*\w][*\w, ]*?)(?: \(.*?\))?:", arguments, re.M)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def _raises(function: Callable) -> bool:
    """Tell whether the function itself raises, not one it defines."""
    nodes = list(ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if not isinstance(node, ast.FunctionDef):
            nodes.extend(ast.iter_child_nodes(node))
    return False


def complaints(name: str, function: Callable) -> list[str]:
    """List where a public function leaves the house style."""
    sections = _sections(inspect.getdoc(function) or "")
    summary = sections[""].split("\n")[0]
    signature = inspect.signature(function)
    parameters = signature.parameters
    described = _documented(sections.get("Args", ""))
    found = []
    if not VERB_LINE.match(summary):
        found.append(f"begins with {summary!r}, not with a line such as 'Warp features.'")
    if described != set(parameters):
        found.append(f"'Args:' describes {described}, but the parameters are {list(parameters)}")
    returns = signature.return_annotation not in (None, signature.empty)
    if returns and not sections.keys() & {"Returns", "Yields"}:
        found.append("returns something, but has no 'Returns:' or 'Yields:'")
    if _raises(function) and "Raises" not in sections:
        found.append("raises, but has no 'Raises:'")
    for parameter in parameters.values():
        is_option = parameter.default is not parameter.empty and parameter.name != "argv"
        if is_option and parameter.kind is not parameter.KEYWORD_ONLY:
            found.append(f"option {parameter.name!r} is not keyword-only")
        if parameter.name in {"rng", "prng", "prng_key", "rng_key"}:
            found.append(f"randomness is called 'key' here, not {parameter.name!r}")
    return [f"{name}: {text}" for text in found]


def _imports(path: Path) -> Iterator[str]:
    """List the absolute names of what a file imports, in functions too."""
    package = _module_name(path) if path.stem == "__init__" else _module_name(path.parent)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            source = importlib.util.resolve_name(source, package) if node.level else source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _flawed(frames, scale=1.0, *, rng) -> int:
    """The number of frames.

    Args:
        frames, scale: What to count.
    """
    if not len(frames):
        raise ValueError(rng)
    return len(frames) * scale


def _flawless(frames: list, *, scale: float = 1.0) -> Callable[[], float]:
    """Count frames.

    Args:
        frames, scale: What to count.

    Returns:
        A function that counts.
    """

    def count() -> float:
        if not frames:
            raise ValueError(frames)
        return len(frames) * scale

    return count


def test_checker_sees_each_flaw():
    flaws = ["begins with", "'Args:' describes", "'Returns:'", "'Raises:'", "'scale'", "'rng'"]
    found = complaints("flawed", _flawed)
    assert len(found) == len(flaws)
    assert all(flaw in text for flaw, text in zip(flaws, found, strict=True))
    assert not complaints("flawless", _flawless)


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_keep_the_style(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    found = [text for item in _public_functions(module) for text in complaints(*item)]
    assert not found, "\n".join(found)


def test_flat_api_is_complete_and_documented():
    jaxseg = importlib.import_module("jaxseg")
    names = getattr(jaxseg, "__all__", [])
    assert sorted(set(names)) == sorted(names)
    missing = [name for name in names if not hasattr(jaxseg, name)]
    assert not missing
    assert not [name for name in names if callable(it := getattr(jaxseg, name)) and not it.__doc__]


@pytest.mark.parametrize("path", PACKAGE, ids=MODULES)
def test_rooms_import_only_from_rooms_above(path):
    room = ".".join(_module_name(path).split(".")[1:2])
    assert room in FLOORS or not room, f"{room} is a new room: give it a place in ROOMS"
    for name in _imports(path):
        top, _, rest = name.partition(".")
        assert top not in REPOSITORY_ONLY, f"{path.name} imports {name}, which is not installed"
        assert top != "flax" or room == "nets", f"{path.name} imports {name}, but only nets may"
        if top == "jaxseg" and room:
            source = rest.split(".")[0]
            # What is no room is a name of the flat API, which is above nobody but the command.
            floor = FLOORS.get(source, FLOORS["cli"])
            assert source == room or floor <= FLOORS[room], f"{path.name} imports {name} from below"


def test_import_is_light():
    heavy = ["av", "cv2", "matplotlib", "tensorflow", "tensorflow_datasets", "torch"]
    code = (
        f"import sys, jaxseg; jaxseg.warp; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stdout + done.stderr


def test_test_files_are_short():
    lengths = {p.name: len(p.read_text().splitlines()) for p in (ROOT / "tests").rglob("*.py")}
    assert not {name: length for name, length in lengths.items() if length >= 250}


def test_no_private_paths():
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in TEXTS
        for match in PRIVATE_PATH.finditer(path.read_text(errors="ignore"))
    ]
    assert not found, "\n".join(found)
