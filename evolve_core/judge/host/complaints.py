"""What the user is told where a task cannot be opened as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .errors import NO_ENTRY, Place, StepError
from .opened import OpenTask, TaskText
from .outcomes import SWARMED
from .packages import lacking

_PLACEHOLDERS = re.compile(r"fill in|guessed|to be filled in", re.IGNORECASE)


def blamed_on_placeholders(error: StepError, text: TaskText) -> StepError:
    """A kernel that fails on inputs which nobody has filled in yet is not what has to be mended."""
    lines = [number for number, line in enumerate(text.task_text.splitlines(), 1) if _PLACEHOLDERS.search(line)]
    if error.kind != "task-error" or not lines:
        return error
    where = f"{Path(text.task_file).name}, line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:6]))}"
    hint = f"{error.message.rstrip('. ')}. Look at the inputs first: some are still the skeleton's guesses ({where})."
    return StepError(error.kind, hint, error.file, error.line)


_ENTRY = re.compile(r"\s*entry\s*(:[^=]*)?=(?!=)")
_START_AGAIN = "then start again."
_MEND = f"Mend it there, {_START_AGAIN}"
_NEXT_OF_TASK = {
    "timeout": "Mend the loop that does not end, or make its work smaller, then start again.",
    "crash": "A task is imported and must go on: mend what ends the process (os._exit, a library), then start again.",
    "out-of-memory": "Yield smaller workloads, then start again.",
}
_NEXT_OF_KERNEL = {
    "timeout": "Mend the loop that does not end, or give the task smaller workloads (domain(rng)), then start again.",
    "crash": "Call it on such inputs on your own {how} and mend what fails, then start again.",
    "out-of-bounds": "Mask that access, or hand it a tensor that is large enough, then start again.",
    "out-of-memory": "Give the task smaller workloads, then start again.",
}

_FEWER = "Start fewer processes, Pool(8) say, then start again."


def task_failed(failure: dict[str, Any], text: TaskText) -> StepError:
    """A child that ran the task module ended without its answer. ``failure`` is what outcomes.py made of that."""
    place, said = Place(Path(text.task_file), failure["line"]), _without_line(failure)
    return place.error(f"the task {_clause(said)}. {_NEXT_OF_TASK.get(failure['kind'], _MEND)}")


def own_failed(what: str, failure: dict[str, Any], text: TaskText) -> StepError:
    """The user's own kernel failed; ``what`` says in doing what. Nothing can be judged then."""
    if failure["kind"] == NO_ENTRY:
        return _entry_place(text).error(f"{failure['message']}, {_START_AGAIN}")
    how = "on this GPU (CUDA_LAUNCH_BLOCKING=1)" if text.mode == "gpu" else "with TRITON_INTERPRET=1"
    place = Place(_known(failure.get("file"), text), failure["line"])
    said = _without_line(failure)
    if said.endswith(_START_AGAIN):
        return StepError("task-error", said, str(place.file), place.line)
    kind = "out-of-memory" if "out of memory" in said else failure["kind"]
    package = lacking(said)
    step = package or (_FEWER if said == SWARMED else _NEXT_OF_KERNEL.get(kind, _MEND).format(how=how))
    message = f"{what}: {said.removeprefix(str(place)).strip('. ')}. {step}"
    return place.error(message, "missing-package" if package else "task-error")


def _entry_place(text: TaskText) -> Place:
    """Where the task names its entry."""
    lines = enumerate(text.task_text.splitlines(), 1)
    return Place(Path(text.task_file), next((number for number, line in lines if _ENTRY.match(line)), None))


def _known(file: str | None, text: TaskText) -> Path:
    """The user's own file where a failure names the copy of it that a child imported."""
    own = {Path(one).name: Path(one) for one in (text.task_file, text.source_file)}
    return own.get(Path(file).name, Path(file)) if file else Path(text.source_file)


def _without_line(failure: dict[str, Any]) -> str:
    message: str = failure["message"]
    return message.removeprefix(f"line {failure['line']}: ")


def _clause(said: str) -> str:
    return said.removeprefix("it ").rstrip(". ")


def nothing_to_check(task: OpenTask) -> str:
    """Where correctness can only be checked on small workloads, and there is none."""
    return (
        "no workload is small enough for Triton's interpreter and none could be shrunk: "
        f"add domain(rng) with small sizes to {Path(task.text.task_file).name}"
    )


def none_left(refused: list[StepError], disagreements: list[str], text: TaskText) -> StepError:
    """Where the user's own kernel ran on no workload, or agreed with the oracle on none."""
    if not disagreements:
        return refused[0]
    message = (
        f"your kernel disagrees with reference() {disagreements[0]}. Mend the one that is wrong, then start again."
    )
    return StepError("task-error", message, text.source_file)
