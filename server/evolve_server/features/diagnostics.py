"""``textDocument/publishDiagnostics``: what stands between a kernel and its verdict, where the user is looking.

Quiet by design: a missing task is a hint, a broken one a warning; syntax errors are Python's and clangd's business and
are mentioned only because our lenses are then older than the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lsprotocol import types

from evolve_core.task.model import TaskProblem, TaskProblemKind
from evolve_server.positions import client_column, client_length
from evolve_server.protocol import DIAGNOSTIC_SOURCE, DOCUMENTATION

if TYPE_CHECKING:
    from evolve_core.source.model import Span, SyntaxProblem
    from evolve_server.app import App
    from evolve_server.documents import Document
    from evolve_server.view import KernelView

Severity = types.DiagnosticSeverity


def diagnostics_of(app: App, document: Document) -> list[types.Diagnostic]:
    """Everything to be said in a source file."""
    found = _syntax(app, document)
    views = app.view.kernels(document)
    if views and (problem := views[0].journal_problem):
        # Once a file, where its first kernel is: it is about all of them.
        where = _name_range(app, document, views[0])
        found.append(_diagnostic(where, Severity.Warning, "journal-unreadable", problem))
    for view in views:
        found += _about_kernel(app, document, view)
    return found


def task_file_diagnostics(app: App) -> dict[str, list[types.Diagnostic]]:
    """Task file's URI → what is wrong in it, gathered from every open source file that uses it."""
    gathered: dict[str, list[types.Diagnostic]] = {}
    problems = {p for tasks in app.view.tasks.values() for p in tasks.values() if isinstance(p, TaskProblem)}
    problems |= {p for lone in app.lone_task_problems.values() for p in lone}
    for problem in sorted(problems, key=lambda p: (str(p.file), p.line, p.kind)):
        if problem.kind is not TaskProblemKind.MISSING:
            uri = app.uri_of(problem.file)
            gathered.setdefault(uri, []).append(_in_task_file(app, uri, problem.line, problem.kind, problem.message))
    for document in app.view.documents.values():
        for view in app.view.kernels(document):
            found = _raised_in_task_file(app, view)
            if found is not None and found[1] not in gathered.get(found[0], ()):
                gathered.setdefault(found[0], []).append(found[1])
    return gathered


def _about_kernel(app: App, document: Document, view: KernelView) -> list[types.Diagnostic]:
    where = _name_range(app, document, view)
    found = []
    if isinstance(view.task, TaskProblem):
        missing = view.task.kind is TaskProblemKind.MISSING
        severity = Severity.Hint if missing else Severity.Warning
        found.append(_diagnostic(where, severity, view.task.kind.value, view.task.message, kernel=view.name))
    if view.start_failure is not None:
        found.append(_diagnostic(where, Severity.Warning, "run-failed", view.start_failure.message, kernel=view.name))
    elif (message := view.failure) and view.run is not None:
        # Not beside a later start that failed: of two reasons only the newer one counts.
        run_id = view.run.record.run_id
        found.append(_diagnostic(where, Severity.Warning, "run-failed", message, kernel=view.name, run=run_id))
    weak = view.task_warnings
    found += [_diagnostic(where, Severity.Warning, "task-weak", message, kernel=view.name) for message in weak]
    if (message := view.interruption) and view.run is not None:
        run_id = view.run.record.run_id
        found.append(_diagnostic(where, Severity.Information, "run-interrupted", message, kernel=view.name, run=run_id))
    return found


def _raised_in_task_file(app: App, view: KernelView) -> tuple[str, types.Diagnostic] | None:
    """The failure of a run again, in the task file, where its message names a line of it."""
    message = view.failure
    if not message or view.run is None:
        return None
    task_file = view.run.record.spec.task_file
    name = task_file.rpartition("/")[2]
    # `NAME.evolve.py:7: …` and `NAME.evolve.py workloads() raised: line 7: …`
    place = re.search(rf"{re.escape(name)}(?::|[^\n]{{0,80}}?\bline )(\d+)", message)
    if place is None:
        return None
    uri = app.uri_of(view.path.with_name(name))
    return uri, _in_task_file(app, uri, int(place[1]) - 1, "task-raised", message)


def _in_task_file(app: App, uri: str, line: int, code: str, message: str) -> types.Diagnostic:
    document = app.document(uri)
    length = 0
    if document is not None and line < len(document.lines):
        length = client_length(document.lines[line].rstrip("\r"), app.encoding)
    # Where the text is not known, the line alone is; clients clamp to its end.
    where = types.Range(types.Position(line, 0), types.Position(line, length or 1))
    return _diagnostic(where, Severity.Warning, code, message)


def _syntax(app: App, document: Document) -> list[types.Diagnostic]:
    parsed = document.parsed
    if parsed is None or not parsed.problems:
        return []
    problem = parsed.problems[0]
    unreadable = problem.span.end_byte == 0
    hidden = any(not a.parsed or not a.kernel.complete for a in document.anchored)
    if unreadable:
        message = problem.message
    elif hidden:
        message = f"kernels are shown as of the last text that parsed: {problem.message}"
    elif not document.anchored and ("triton" in document.text or "__global__" in document.text):
        message = f"kernels cannot be found in text that does not parse: {problem.message}"
    else:
        return []
    return [_diagnostic(_problem_range(app, document, problem), Severity.Information, "syntax", message)]


def _problem_range(app: App, document: Document, problem: SyntaxProblem) -> types.Range:
    return range_of(app, document, problem.span)


def _name_range(app: App, document: Document, view: KernelView) -> types.Range:
    span, line = view.kernel.name_span, view.anchored.name_line
    text = document.lines[line] if line < len(document.lines) else ""
    start = client_column(text, span.start_column, app.encoding)
    end = client_column(text, span.end_column, app.encoding)
    return types.Range(types.Position(line, start), types.Position(line, end))


def range_of(app: App, document: Document, span: Span) -> types.Range:
    """A span of the document in the client's columns."""
    return types.Range(
        _position(app, document, span.start_line, span.start_column),
        _position(app, document, span.end_line, span.end_column),
    )


def _position(app: App, document: Document, line: int, column: int) -> types.Position:
    text = document.lines[line] if line < len(document.lines) else ""
    return types.Position(line, client_column(text, column, app.encoding))


def _diagnostic(
    where: types.Range, severity: types.DiagnosticSeverity, code: str, message: str, **data: str
) -> types.Diagnostic:
    return types.Diagnostic(
        range=where,
        message=message,
        severity=severity,
        code=code,
        code_description=types.CodeDescription(href=DOCUMENTATION),
        source=DIAGNOSTIC_SOURCE,
        data=data or None,
    )
