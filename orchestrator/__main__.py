"""Be the command `tagsweep` where only our packages have travelled to, not their command."""

from orchestrator.cli import main

main()
