"""What the command says of itself, before it does anything: at once, and to shells as well."""

import subprocess
import sys
import time

import pytest

from jaxseg.cli import COMMANDS, main

HEAVY = ("jax", "flax", "av", "matplotlib", "orbax", "optax")


def ask(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jaxseg.cli", *words], capture_output=True, text=True, check=True
    )


def test_help_comes_in_less_than_a_second():
    durations = []
    for _ in range(3):
        begin = time.perf_counter()
        printed = ask("--help").stdout
        durations.append(time.perf_counter() - begin)
    assert all(name in printed for name in COMMANDS)
    assert min(durations) < 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from jaxseg.cli import parser; parser().format_help(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: jaxseg {name}")
    assert "None" not in printed


def test_a_shell_can_complete_the_commands(tmp_path):
    script = tmp_path / "jaxseg.sh"
    script.write_text(ask("--print-completion", "bash").stdout)
    # The shell itself takes what was printed, and asks it for what begins with "ins".
    asked = (
        f"source {script}; COMP_WORDS=(jaxseg ins); COMP_CWORD=1; "
        "$(complete -p jaxseg | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["inspect"], done.stderr


@pytest.mark.parametrize(
    "words", [[], ["sing"], ["segment"], ["segment", "a.mp4", "--interval", "0"]]
)
def test_words_that_make_no_sense(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "jaxseg" in printed.err
