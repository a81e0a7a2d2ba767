"""Be the command `tagsweep` where only our packages have travelled to, not their command."""

import sys
from pathlib import Path

# `python -m` looks into the current directory first, whatever folders lie there.
sys.path[0] = str(Path(__file__).parent.parent)

from orchestrator.cli import main  # noqa: E402

main()
