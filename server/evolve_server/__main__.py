"""The ``kernel-evolve`` command: ``lsp`` starts the server, everything else belongs to the engine."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Dispatch without importing the other side: neither pays for the other's imports."""
    if sys.argv[1:2] == ["lsp"]:
        from evolve_server.server import serve

        serve(sys.argv[2:])
    else:
        from evolve_core.cli.main import main as engine_main

        engine_main()


def _forget_working_folder() -> None:
    """``python -m`` looks for modules in the working folder first: the user's, with any ``json.py`` in it."""
    here = os.getcwd()  # noqa: PTH109  # pathlib is not loaded yet, and need not be
    if sys.path[:1] in ([here], [""]) and not __file__.startswith(os.path.join(here, "")):  # noqa: PTH118
        del sys.path[0]


if __name__ == "__main__":
    _forget_working_folder()
    main()
