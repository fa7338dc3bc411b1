"""The command line of ``kernel-evolve lsp``: hardly any, as an editor starts it."""

from __future__ import annotations

import sys

from evolve_core import __version__

LEVELS = ("debug", "info", "warning", "error")
USAGE = f"""\
Usage: kernel-evolve lsp [--log-level {"|".join(LEVELS)}]

  The language server, on stdin and stdout; an editor starts it.

Options:
  --log-level LEVEL  What goes to stderr. Default: warning.
  --version          Show the version and exit.
  -h, --help         Show this message and exit.
"""


def read_options(arguments: list[str]) -> str:
    """The log level. Ends the process where something else was asked for, or what nobody knows (exit code 2)."""
    level = "warning"
    left = [part for argument in arguments for part in _halves(argument)]
    while left:
        match left:
            case ["-h" | "--help", *_]:
                sys.stdout.write(USAGE)
                sys.exit(0)
            case ["--version", *_]:
                sys.stdout.write(f"kernel-evolve, version {__version__}\n")
                sys.exit(0)
            case ["--log-level", value, *rest] if value.lower() in LEVELS:
                level, left = value.lower(), rest
            case ["--stdio", *rest]:
                # Many clients add it to whatever they start; there is no other transport.
                left = rest
            case _:
                sys.stderr.write(f"{USAGE}\nError: `{' '.join(left)}` is not understood.\n")
                sys.exit(2)
    return level


def _halves(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--") else [argument]
