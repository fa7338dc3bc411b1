"""Entry of the judge host: ``PYTHON …/judge/host/__main__.py`` in the user's interpreter.

The folder is loaded as a package under a private name, so the user's environment needs nothing of ours installed, and
no module of ours can shadow one of theirs: Python puts a script's folder first on ``sys.path``, and it is taken off.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGE = "_kernel_evolve_host"


def load_package() -> None:
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"the judge host's files are incomplete in {folder}; reinstall kernel-evolve")
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def main(arguments: list[str]) -> int:
    load_package()
    if arguments[:1] == ["--zygote"]:
        return int(importlib.import_module(f"{PACKAGE}.zygote").main(*arguments[1:]))
    if arguments[:1] == ["--sanitized"]:
        return int(importlib.import_module(f"{PACKAGE}.gpu.sanitized").main(*arguments[1:]))
    return int(importlib.import_module(f"{PACKAGE}.server").main())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
