"""Import source text as if it were the user's file: same package, same sys.path, lines that tracebacks can show."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import NO_ENTRY, Place, StepError
from .packages import lacking


def load_source(text: str, original: Path, folder: Path, kind: str) -> ModuleType:
    """Execute ``text`` in place of the module in ``original``. ``folder`` receives the copy that linecache reads.

    Raises StepError of ``kind`` with the line where it went wrong, for a syntax error as for an exception; one that
    the mode raises under which it is imported passes through.
    """
    name, root = module_name(original)
    copy = folder / _file_name(original)
    copy.write_text(text, encoding="utf-8")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    parent = name.rpartition(".")[0]
    try:
        if parent:
            importlib.import_module(parent)
        module = ModuleType(name)
        module.__package__ = parent
        module.__spec__ = importlib.util.spec_from_file_location(name, copy)
        # Data files beside the original are found from __file__; source lines come from the code object's own name.
        module.__file__ = str(original)
        sys.modules[name] = module
        exec(compile(text, str(copy), "exec"), module.__dict__)
    except StepError:
        raise
    except SystemExit as error:
        if kind != "task-error":
            raise
        raise located_error(error, kind, copy, original, "does not import") from None
    except Exception as error:  # noqa: BLE001 - whatever the user's module raises at import is a value here
        raise located_error(error, kind, copy, original, "does not import") from None
    return module


def located_error(error: BaseException, kind: str, copy: Path, shown: Path, what: str) -> StepError:
    """An exception of somebody's code, with the innermost line inside their own file (counted from one).

    ``shown`` is the file that they know ``copy`` as. Of a task, the message says what to do, too.
    """
    line = line_in(error, copy)
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    if isinstance(error, SyntaxError) and error.filename == str(copy):
        line = error.lineno
        text = f"{type(error).__name__}: {error.msg}"
    elif isinstance(error, SystemExit):
        text = f"it calls sys.exit({error.code!r})"
    message = f"{Place(shown, line)} {what}: {text[-2000:]}{_elsewhere(error, copy)}"
    if kind == "task-error":
        step = lacking(text)
        kind = "missing-package" if step else kind
        step = step or (_MEND_EXIT if isinstance(error, SystemExit) else _MEND)
        message = f"{message.rstrip('.')}. {step}"
    return StepError(kind, message, str(shown), line)


_MEND = "Mend it there, then start again."
_MEND_EXIT = 'A task is imported: put what ends the program under `if __name__ == "__main__":`, then start again.'


def _elsewhere(error: BaseException, copy: Path) -> str:
    """Where else in the user's own files it was raised: a helper that their file imports or calls."""
    place = raised_at(error)
    return f" (raised at {place})" if place is not None and place.file != copy else ""


def raised_at(error: BaseException) -> Place | None:
    """The innermost line of the user's (or a candidate's) own files: outside every library and outside us."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((Place(Path(one.filename), one.lineno) for one in frames if not _is_library(one.filename)), None)


def _is_library(file: str) -> bool:
    """Whether a frame's file is no user's: this package, an installed one, Python's own, or no file at all."""
    return file.startswith((_OURS, "<", *_STANDARD)) or any(part in file for part in _INSTALLED)


# With the separator at their ends: a folder that is only called alike is the user's.
_OURS = f"{Path(__file__).resolve().parent}{os.sep}"
_STANDARD = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib"))
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def line_in(error: BaseException, file: Path) -> int | None:
    """The innermost line of ``file`` in an exception's traceback, causes included."""
    name = str(file)
    seen: BaseException | None = error
    found: int | None = None
    while seen is not None and found is None:
        frames = traceback.extract_tb(seen.__traceback__)
        found = next((frame.lineno for frame in reversed(frames) if frame.filename == name), None)
        seen = seen.__cause__ or seen.__context__
    return found


def module_name(file: Path) -> tuple[str, Path]:
    """The dotted name under which Python would import ``file``, and the folder that must be on sys.path for it."""
    parts = [_identifier(file.stem)]
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder


def entry_of(module: ModuleType, entry: str, file: Path) -> Callable[..., Any]:
    """The entry function, through dots for a method of a class. Raises StepError where it does not exist."""
    found: Any = module
    for part in entry.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        message = f"{file.name} has no function {entry!r}; set `entry` to one that launches the kernels"
        raise StepError(NO_ENTRY, message)
    function: Callable[..., Any] = found
    return function


def _identifier(text: str) -> str:
    cleaned = re.sub(r"\W", "_", text)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"_{cleaned}"


def _file_name(original: Path) -> str:
    return original.name if original.suffix == ".py" else f"{original.name}.py"
