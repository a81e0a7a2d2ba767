import subprocess
import sys


def test_the_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; import orchestrator.cli;"
        "sys.exit(bool({'optuna', 'pandas', 'tensorflow', 'torch', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
