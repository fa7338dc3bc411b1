"""``python -m evolve_core COMMAND``: how the server starts runners, in this very interpreter."""

from evolve_core.cli.main import main

main()
