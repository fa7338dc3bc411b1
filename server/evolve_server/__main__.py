"""The ``kernel-evolve`` command: ``lsp`` starts the server, everything else belongs to the engine."""

from __future__ import annotations

import sys


def main() -> None:
    """Dispatch without importing the other side: neither pays for the other's imports."""
    if sys.argv[1:2] == ["lsp"]:
        from evolve_server.server import serve

        serve(sys.argv[2:])
    else:
        from evolve_core.cli.main import main as engine_main

        engine_main()


if __name__ == "__main__":
    main()
