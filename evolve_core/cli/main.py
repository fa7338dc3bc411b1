"""The ``kernel-evolve`` command. Each subcommand lives in its own file and is imported only when it is used."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from evolve_core import __version__
from evolve_core.errors import KernelEvolveError

FINE, FOUND, COULD_NOT_RUN = 0, 1, 2
"""Exit codes of every command."""

_COMMANDS = {
    "kernels": "What kernels are here.",
    "task": "Show, check or write the task of a kernel.",
    "judge": "The verdict on one candidate.",
    "run": "Search for a faster, still correct version of a kernel.",
    "runs": "The runs of this workspace.",
    "show": "One run and its candidates.",
    "report": "Write a run's HTML report.",
    "pause": "Pause a run.",
    "resume": "Go on with a paused run.",
    "cancel": "Stop a run.",
    "apply": "Write a run's winner into its source file.",
    "kb": "The knowledge base.",
    "doctor": "Interpreters, GPUs, compilers, keys: what works, what does not, why.",
    "lsp": "The language server on stdio.",
}


class LazyGroup(click.Group):
    """Lists all commands, imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name == "lsp":
            return _lsp
        command: click.Command = import_module(f"evolve_core.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(name="lsp", help=_COMMANDS["lsp"])
def _lsp() -> None:
    # The server's own package answers `kernel-evolve lsp` before this one is imported.
    raise click.UsageError("start the language server with the installed command: kernel-evolve lsp")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kernel-evolve")
def _group() -> None:
    """Evolve Triton and CUDA kernels: search for faster versions, judged and timed by a judge you can trust."""


def main() -> None:
    """Run the command line. An error of ours is one message on stderr and exit code 2."""
    try:
        _group(prog_name="kernel-evolve")
    except KernelEvolveError as error:
        click.echo(f"kernel-evolve: {error}", err=True)
        sys.exit(COULD_NOT_RUN)
