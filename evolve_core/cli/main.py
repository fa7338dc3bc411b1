"""The ``kernel-evolve`` command. Each subcommand lives in its own file and is imported only when it is used."""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
from importlib import import_module

import click

from evolve_core import __version__
from evolve_core.errors import KernelEvolveError
from evolve_core.files import explain

FINE, FOUND, COULD_NOT_RUN = 0, 1, 2
"""Exit codes of every command."""

_COMMANDS = {
    "kernels": ("kernels:command", "What kernels are here."),
    "task": ("task:command", "Show, check or write the task of a kernel."),
    "judge": ("judge:command", "The verdict on one candidate."),
    "run": ("run:command", "Search for a faster, still correct version of a kernel."),
    "runs": ("runs:command", "The runs of this workspace."),
    "show": ("show:command", "One run and its candidates."),
    "report": ("report:command", "Write a run's HTML report."),
    "pause": ("control:pause", "Pause a run."),
    "resume": ("control:resume", "Go on with a paused run."),
    "cancel": ("control:cancel", "Stop a run."),
    "apply": ("apply:command", "Write a run's winner into its source file."),
    "verify": ("verify:command", "Replay the proof behind a verdict on this machine."),
    "kb": ("kb:command", "The knowledge base."),
    "calibrate": ("calibrate:command", "Measure this GPU: peaks, launch floor, noise."),
    "doctor": ("doctor:command", "What works here, what does not, and why."),
    "lsp": ("main:lsp", "The language server on stdio."),
}
"""Name → where the command is defined below this package, and its line in the help."""


class LazyGroup(click.Group):
    """Lists all commands, imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"evolve_core.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command(name="lsp")
def lsp() -> None:
    """The language server on stdio."""
    # The server's own package answers `kernel-evolve lsp` before this one is imported.
    raise click.UsageError("start the language server with the installed command: kernel-evolve lsp")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kernel-evolve")
def root() -> None:
    """Evolve Triton and CUDA kernels: search for faster versions, judged and timed by a judge you can trust."""


def _complain(message: str) -> None:
    # Into a log on a full disk nothing can be said; the exit code still can.
    with contextlib.suppress(OSError):
        click.echo(f"kernel-evolve: {message}", err=True)


def main() -> None:
    """Run the command line. An error of ours is one message on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or a pipe that knows no "×" gets "?" for it, not a traceback.
            stream.reconfigure(errors="replace")
    try:
        ended = root(prog_name="kernel-evolve", standalone_mode=False)
        sys.exit(ended if isinstance(ended, int) else FINE)
    except click.ClickException as error:
        error.show()
        sys.exit(COULD_NOT_RUN)
    except (click.Abort, KeyboardInterrupt):
        _complain("Stopped before it was done. Give the command again to start it anew.")
        sys.exit(COULD_NOT_RUN)
    except KernelEvolveError as error:
        _complain(str(error))
        sys.exit(COULD_NOT_RUN)
    except OSError as error:
        _complain(explain(error))
        sys.exit(COULD_NOT_RUN)
    except Exception as error:  # noqa: BLE001 - the boundary of this process
        traceback.print_exc()
        _complain(
            f"A fault of ours: {type(error).__name__}: {error}. Nothing journaled is lost; "
            "please report it with the traceback above."
        )
        sys.exit(COULD_NOT_RUN)
