import os
import re
import subprocess
import sys
from importlib.metadata import version

import pexpect
import pytest

TAGSWEEP = [sys.executable, "-m", "orchestrator"]


def test_the_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; import orchestrator.cli;"
        "sys.exit(bool({'optuna', 'pandas', 'tensorflow', 'torch', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told(option: str) -> None:
    shown = subprocess.run([*TAGSWEEP, option], capture_output=True, text=True, check=True).stdout
    assert shown == f"tagsweep {version('tagsweep')}\n"


def test_a_shell_completes_commands_and_options() -> None:
    for typed, completed in (("st", "stop status studies"), ("status --wa", "--watch")):
        words = f"tagsweep {typed}"
        asked = {"_TAGSWEEP_COMPLETE": "complete_bash", "COMP_WORDS": words}
        asked["COMP_CWORD"] = str(len(words.split()) - 1)
        code = "import sys; from orchestrator.cli import main; sys.argv[0] = 'tagsweep'; main()"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | asked,
        )
        assert done.stdout.split() == completed.split()


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_and_ctrl_d_at_a_prompt_stop_the_command_and_are_no_bug(key: str) -> None:
    code = (
        "import typer; from orchestrator.terminal.console import exit_codes\n"
        "def ask():\n"
        "    with exit_codes(): typer.confirm('Delete?')\n"
        "typer.run(ask)"
    )
    asked = pexpect.spawn(sys.executable, ["-c", code], encoding="utf-8")
    asked.expect(re.escape("Delete? [y/N]:"))
    asked.send(key)
    assert "Stopped. Run the same command again to go on." in asked.read()
    asked.close()
    assert asked.exitstatus == 3
