"""Native task files, ``NAME.evolve.py`` and ``NAME.*.evolve.py`` beside ``NAME.py`` or ``NAME.cu``; nothing runs.

Everything here is static: the module is parsed with ``ast`` and only its names and plain string assignments count.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolve_core.source.encoding import NotText, text_of
from evolve_core.source.model import Kernel, Language, ParsedSource
from evolve_core.task.model import Task, TaskKind, TaskProblem, TaskProblemKind
from evolve_core.task.reach import CallGraph

TASK_SUFFIX = ".evolve.py"
MAX_NAMED = 6
"""How many kernels, functions or task files a message lists."""


def is_task_file(path: Path) -> bool:
    return path.name.endswith(TASK_SUFFIX)


def task_files(source_file: Path, unsaved: Mapping[Path, str] | None = None) -> tuple[Path, ...]:
    """The task files beside a source file: ``NAME.evolve.py`` first, then ``NAME.*.evolve.py`` by name.

    ``unsaved`` holds the text of open task files; one that is not on disk yet counts too.
    """
    folder, stem = source_file.parent, source_file.stem
    try:
        names = {path.name for path in folder.iterdir() if path.name.endswith(TASK_SUFFIX)}
    except OSError:
        names = set()
    names |= {path.name for path in unsaved or () if path.parent == folder}
    plain = stem + TASK_SUFFIX
    matching = {n for n in names if n == plain or (n.startswith(f"{stem}.") and n.endswith(TASK_SUFFIX))}
    return tuple(folder / name for name in sorted(matching, key=lambda n: (n != plain, n)))


def default_task_file(source_file: Path) -> Path:
    """Where the skeleton of a source file's first task goes."""
    return source_file.with_name(source_file.stem + TASK_SUFFIX)


def new_task_file(source_file: Path, kernel: Kernel) -> Path:
    """Where a task file for this kernel goes without touching one that exists."""
    plain = default_task_file(source_file)
    if not plain.exists():
        return plain
    return source_file.with_name(f"{source_file.stem}.{kernel.name}.evolve.py")


def source_file_of(task_file: Path) -> Path | None:
    """The source file that a task file belongs to; None where there is none beside it."""
    stem = task_file.name.removesuffix(TASK_SUFFIX)
    while stem:
        for suffix in (".py", ".cu", ".cuh"):
            candidate = task_file.with_name(stem + suffix)
            if candidate.is_file():
                return candidate
        stem = stem.rpartition(".")[0]
    return None


def load(
    task_file: Path,
    source_file: Path,
    parsed: ParsedSource,
    task_text: str | None = None,
) -> Task | TaskProblem:
    """The task that a task file states about ``source_file``, or what is wrong with it.

    ``task_text`` stands in for a file that is open and not saved.
    """
    return _load(task_file, source_file, CallGraph(parsed), task_text)


def _load(task_file: Path, source_file: Path, graph: CallGraph, task_text: str | None) -> Task | TaskProblem:
    parsed = graph.parsed
    module = _module(task_file, task_text)
    if isinstance(module, TaskProblem):
        return module
    names = _definitions(module)
    if "workloads" not in names:
        return TaskProblem(
            TaskProblemKind.NO_WORKLOADS,
            f"{task_file.name} defines no workloads(); add a generator that yields `lambda gen, device: {{…}}` "
            "with the inputs of one call each",
            task_file,
        )
    by_launches = parsed.language is Language.CUDA or ("entry" not in names and "launches" in names)
    entry = None if by_launches else _entry(module, names, task_file)
    if isinstance(entry, TaskProblem):
        return entry
    if entry is None:
        if "launches" not in names:
            return _no_entry(task_file, source_file, graph)
        kernels = _named_in_launches(names["launches"], parsed)
        kind, entry_name = TaskKind.LAUNCHES, ""
        if not kernels:
            return TaskProblem(
                TaskProblemKind.ENTRY_LAUNCHES_NOTHING,
                f"launches() in {task_file.name} names no kernel of {source_file.name}; {_kernels_here(parsed)}",
                task_file,
                names["launches"].lineno - 1,
            )
    else:
        entry_name, line = entry
        found = _kernels_of_entry(entry_name, line, task_file, source_file, graph)
        if isinstance(found, TaskProblem):
            return found
        kind, kernels = TaskKind.ENTRY, found
    return Task(
        task_file=task_file,
        source_file=source_file,
        kind=kind,
        entry=entry_name,
        kernels=kernels,
        has_reference="reference" in names,
        has_domain="domain" in names,
    )


def task_for(
    kernel: Kernel,
    source_file: Path,
    parsed: ParsedSource,
    unsaved: Mapping[Path, str] | None = None,
) -> Task | TaskProblem:
    """The first task beside ``source_file`` that covers ``kernel``; otherwise the most telling reason why none does."""
    return _tasks_beside(source_file, parsed, unsaved).covering(kernel)


def tasks_for(
    source_file: Path, parsed: ParsedSource, unsaved: Mapping[Path, str] | None = None
) -> dict[str, Task | TaskProblem]:
    """``task_for`` of every kernel of a file, by qualified name. Each task file is read once, not once a kernel."""
    beside = _tasks_beside(source_file, parsed, unsaved)
    return {kernel.qualified_name: beside.covering(kernel) for kernel in parsed.kernels}


@dataclass(frozen=True, slots=True)
class _TasksBeside:
    """What the task files of one source file say. ``by_kernel`` holds the first task that covers each kernel."""

    source_file: Path
    by_kernel: dict[str, Task]
    first_problem: TaskProblem | None
    named: tuple[str, ...]
    """The usable task files, as a message names them."""

    def covering(self, kernel: Kernel) -> Task | TaskProblem:
        found = self.by_kernel.get(kernel.qualified_name)
        # A broken task file may be the one that was meant for this kernel: it is named before "there is none".
        return found or self.first_problem or _missing(kernel, self.source_file, self.named)


def _tasks_beside(source_file: Path, parsed: ParsedSource, unsaved: Mapping[Path, str] | None) -> _TasksBeside:
    texts = unsaved or {}
    graph = CallGraph(parsed)
    found = [_load(file, source_file, graph, texts.get(file)) for file in task_files(source_file, unsaved)]
    tasks = [task for task in found if isinstance(task, Task)]
    by_kernel: dict[str, Task] = {}
    for task in tasks:
        for name in task.kernels:
            by_kernel.setdefault(name, task)
    problem = next((problem for problem in found if isinstance(problem, TaskProblem)), None)
    named = tuple(f"{task.task_file.name} (for {_few(task.kernels)})" for task in tasks[: MAX_NAMED + 1])
    return _TasksBeside(source_file, by_kernel, problem, named)


def _missing(kernel: Kernel, source_file: Path, others: tuple[str, ...]) -> TaskProblem:
    wanted = default_task_file(source_file).name if not others else f"{source_file.stem}.{kernel.name}{TASK_SUFFIX}"
    existing = f"; there is {_few(others, ' and ')}" if others else ""
    return TaskProblem(
        TaskProblemKind.MISSING,
        f"no task covers {kernel.qualified_name}{existing}. Write {wanted} beside {source_file.name} with its entry "
        "and workloads, or let `kernel-evolve task new` (a code action here) write a first version",
        source_file,
        kernel.name_span.start_line,
    )


def _module(task_file: Path, text: str | None) -> ast.Module | TaskProblem:
    if text is None:
        try:
            text = text_of(task_file.read_bytes(), task_file.name)
        except OSError as error:
            return TaskProblem(
                TaskProblemKind.MISSING, f"cannot read {task_file}: {error.strerror}; check the path", task_file
            )
        except NotText as error:
            return TaskProblem(TaskProblemKind.SYNTAX, str(error), task_file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        line = max((error.lineno or 1) - 1, 0)
        where = f"{task_file.name} line {line + 1}"
        return TaskProblem(
            TaskProblemKind.SYNTAX, f"{where} does not parse: {error.msg}; correct it there", task_file, line
        )
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "it is nested too deeply"
        return TaskProblem(
            TaskProblemKind.SYNTAX,
            f"{task_file.name} does not parse: {reason}; correct it there or write it anew",
            task_file,
        )


def _definitions(module: ast.Module) -> dict[str, ast.stmt]:
    """What the module defines or assigns at its top level, also under ``if`` and ``try``: name → statement."""
    names: dict[str, ast.stmt] = {}
    pending: list[ast.stmt] = list(reversed(module.body))
    while pending:
        statement = pending.pop()
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[statement.name] = statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names.update((t.id, statement) for t in targets if isinstance(t, ast.Name))
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names.update(((alias.asname or alias.name).split(".", 1)[0], statement) for alias in statement.names)
        elif isinstance(statement, ast.If | ast.Try):
            handlers = [s for h in statement.handlers for s in h.body] if isinstance(statement, ast.Try) else []
            pending.extend(reversed([*statement.body, *handlers, *statement.orelse]))
    return names


def _entry(module: ast.Module, names: dict[str, ast.stmt], task_file: Path) -> tuple[str, int] | TaskProblem | None:
    """(name, zero-based line) of ``entry = "name"``; None where the module has no ``entry``."""
    statement = names.get("entry")
    if statement is None:
        return None
    line = statement.lineno - 1
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value, line
    return TaskProblem(
        TaskProblemKind.NO_ENTRY,
        f'entry in {task_file.name} is not a plain string; write `entry = "NAME"` with the function that '
        "launches the kernels",
        task_file,
        line,
    )


def _no_entry(task_file: Path, source_file: Path, graph: CallGraph) -> TaskProblem:
    if graph.parsed.language is Language.CUDA:
        message = (
            f"{task_file.name} defines no launches(), which a CUDA file needs in place of an entry; add a generator "
            f"that yields the launches of {source_file.name} and returns the output"
        )
    else:
        usable = _usable_entries(graph)
        hint = f'`entry = "{usable[0]}"`' if usable else '`entry = "NAME"`'
        message = (
            f"{task_file.name} defines no entry; add {hint}, "
            f"the function in {source_file.name} that launches the kernels"
        )
    return TaskProblem(TaskProblemKind.NO_ENTRY, message, task_file)


def _kernels_of_entry(
    entry: str, line: int, task_file: Path, source_file: Path, graph: CallGraph
) -> tuple[str, ...] | TaskProblem:
    if entry not in graph.entries:
        return TaskProblem(
            TaskProblemKind.ENTRY_NOT_FOUND,
            f'entry = "{entry}" names no function of {source_file.name}; {_instead_of(entry, graph)}',
            task_file,
            line,
        )
    kernels = graph.kernels_from(entry)
    if not kernels or entry in graph.kernels:
        usable = _usable_entries(graph)
        hint = (
            f"its kernels are run by {', '.join(usable[:MAX_NAMED])}" if usable else "nothing in this file launches one"
        )
        return TaskProblem(
            TaskProblemKind.ENTRY_LAUNCHES_NOTHING,
            f'entry = "{entry}" {_is_or_launches(entry, graph)} of {source_file.name}: {hint}; '
            "name the function that does",
            task_file,
            line,
        )
    return kernels


def _is_or_launches(entry: str, graph: CallGraph) -> str:
    return "is itself a kernel" if entry in graph.kernels else "launches no kernel"


def _instead_of(entry: str, graph: CallGraph) -> str:
    if graph.parsed.problems:
        line = graph.parsed.problems[0].span.start_line + 1
        return f"that file does not parse at line {line}, so the function may be hidden: correct it there"
    close = difflib.get_close_matches(entry, sorted(graph.entries), n=2)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"functions that run its kernels: {', '.join(_usable_entries(graph)[:MAX_NAMED]) or 'none'}"


def _usable_entries(graph: CallGraph) -> list[str]:
    """Names that would do as an entry; those that launch a kernel themselves come first."""
    hosts = {host for kernel in graph.parsed.kernels for host in kernel.hosts}
    usable = (graph.reaching(graph.kernels) & graph.entries) - graph.kernels.keys()
    return sorted(usable, key=lambda name: (name not in hosts, name))


def _named_in_launches(definition: ast.stmt, parsed: ParsedSource) -> tuple[str, ...]:
    strings = {n.value for n in ast.walk(definition) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    bare = {text.replace("::", ".").split("<", 1)[0].strip() for text in strings}
    return tuple(dict.fromkeys(k.qualified_name for k in parsed.kernels if k.qualified_name in bare or k.name in bare))


def _kernels_here(parsed: ParsedSource) -> str:
    names = [k.qualified_name for k in parsed.kernels]
    if not names:
        return "that file has no kernels"
    return f"its kernels are {_few(names)}"


def _few(names: Sequence[str], between: str = ", ") -> str:
    """Names in a message, which stays short for a file of thousands of kernels."""
    return between.join(names[:MAX_NAMED]) + (" …" if len(names) > MAX_NAMED else "")
