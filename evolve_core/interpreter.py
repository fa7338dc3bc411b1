"""Which Python is the user's: the one with their torch and Triton, where the judge host runs.

Every step of the resolution is kept, so that ``doctor`` and the run's log can show why this one was taken.
Nothing is executed here.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evolve_core.errors import RunError

SETTING = "setting"
"""``--python`` on the command line, ``kernelEvolve.python`` in an editor."""
NAMED_BY = "--python, or the setting kernelEvolve.python in an editor"
"""How messages name that setting: whoever reads one may have come by either way."""


@dataclass(frozen=True, slots=True)
class ResolutionStep:
    """One place that was looked at. ``python`` is None where it names none, ``why_not`` why it was passed over."""

    place: str
    python: Path | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The interpreter taken, and every step up to it (the last one is the one taken)."""

    python: Path
    steps: tuple[ResolutionStep, ...]


def resolve(
    workspace: Path,
    environ: Mapping[str, str],
    *,
    explicit: str = "",
    editor_choice: str = "",
    beside: Path | None = None,
) -> Resolution:
    """Find the user's interpreter: setting → pyproject.toml → editor's choice → active environment → .venv → python3.

    ``beside`` is the source file; the nearest ``.venv`` is looked for from its folder upwards, else from the
    workspace's.
    Raises RunError where no step names an interpreter that exists, or the explicit setting names something else.
    """
    steps: list[ResolutionStep] = []
    for place, value in _places(workspace, environ, explicit, editor_choice, beside or workspace):
        step = _look(place, value)
        steps.append(step)
        if place == SETTING and value and step.why_not:
            # Whoever names one wants no other: judged by another torch, every number would be about something else.
            raise RunError(
                f"The interpreter that was asked for cannot be used: {step.why_not}. Name another with {NAMED_BY}, "
                "or leave it out and one is looked for (kernel-evolve doctor shows where)."
            )
        if step.python is not None and not step.why_not:
            return Resolution(step.python, tuple(steps))
    looked = "; ".join(f"{step.place}: {step.why_not}" for step in steps)
    raise RunError(
        f"No Python interpreter was found to judge kernels with ({looked}). "
        "Name one with --python, the setting kernelEvolve.python, or [tool.kernel-evolve] python in pyproject.toml."
    )


def _places(
    workspace: Path, environ: Mapping[str, str], explicit: str, editor_choice: str, beside: Path
) -> Iterator[tuple[str, str]]:
    yield SETTING, explicit
    yield "pyproject.toml", str(project_settings(workspace).get("python", ""))
    yield "the editor's interpreter", editor_choice
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = environ.get(variable, "")
        yield variable, f"{prefix}/bin/python" if prefix else ""
    yield "nearest .venv", _nearest_venv(beside)
    yield "python3 on PATH", shutil.which("python3", path=environ.get("PATH")) or ""


def _look(place: str, value: str) -> ResolutionStep:
    if not value:
        return ResolutionStep(place, None, "not set")
    path = Path(value).expanduser()
    if not path.is_absolute():
        found = shutil.which(value)
        path = Path(found) if found else path
    if path.is_dir():
        inside = next((p for p in (path / "bin" / "python", path / ".venv" / "bin" / "python") if p.is_file()), None)
        return ResolutionStep(place, path, f"{path} is a folder" + (f"; say {inside}" if inside else ""))
    if not path.is_file():
        return ResolutionStep(place, path, f"{path} does not exist")
    if not os.access(path, os.X_OK):
        return ResolutionStep(place, path, f"{path} is not executable")
    # Not resolved: the path of a virtual environment's python is what makes it one.
    return ResolutionStep(place, path.absolute())


def _nearest_venv(beside: Path) -> str:
    for folder in (beside.absolute(), *beside.absolute().parents):
        python = folder / ".venv" / "bin" / "python"
        if python.is_file():
            return str(python)
    return ""


def project_settings(workspace: Path) -> dict[str, object]:
    """The table ``[tool.kernel-evolve]`` of the workspace's pyproject.toml; empty where there is none.

    Raises RunError where the file is not TOML.
    """
    path = workspace / "pyproject.toml"
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not valid TOML ({error}). Mend it, then start again.") from None
    settings = content.get("tool", {}).get("kernel-evolve", {})
    return settings if isinstance(settings, dict) else {}
