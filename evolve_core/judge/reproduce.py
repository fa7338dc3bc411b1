"""A script that shows a rejection on its own: it holds all three texts, and needs the user's python, nothing of ours.

What task and kernel import from beside them is found where their files lay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evolve_core.judge.client import OpenedTask
from evolve_core.judge.observation import Check, SeenFailure
from evolve_core.task.model import TaskKind

VARIATIONS = Path(__file__).with_name("host") / "variations.py"
"""Needs nothing of ours either."""
DRAWN = '''def drawn(seed):
    """The values that the judge made of a workload's own: DISTRIBUTION says which, "" leaves them alone."""
    inputs = find(task)(torch.Generator(device=DEVICE).manual_seed(seed), DEVICE)
    if DISTRIBUTION:
        names = {"__name__": "variations"}
        exec(VARIATIONS, names)
        for name, values in names["changed_values"](inputs, DISTRIBUTION).items():
            inputs[name].copy_(values)
    return inputs
'''

_SCRIPT = '''"""Shows why a candidate for {entry} was rejected: run it with the python that has torch and triton."""
import functools, importlib.util, os, random, sys, tempfile, types

GPU = {gpu}
if not GPU:
    os.environ["TRITON_INTERPRET"] = "1"
import torch

TASK, SOURCE, ENTRY = {task!r}, {source_file!r}, {entry!r}
RECIPE, SEED, DEVICE = {recipe!r}, {seed}, "cuda" if GPU else "cpu"
DISTRIBUTION, SEED_BEFORE = {distribution!r}, {before}
TASK_TEXT = {task_text!r}
SOURCE_TEXT = {source!r}
CANDIDATE = {candidate!r}
VARIATIONS = {variations!r}


def load(text, original):
    """``text`` in the place of ``original``: in its package, with what lies beside it. Each in a folder of its own:
    Triton reads a kernel's text when it is called."""
    file = os.path.join(tempfile.mkdtemp(dir=FOLDER), os.path.basename(original))
    with open(file, "w") as out:
        out.write(text)
    folder, name = os.path.split(os.path.splitext(original)[0])
    name = name.replace(".", "_")
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = f"{{package}}.{{name}}"
    sys.path.insert(0, folder)
    if "." in name:
        importlib.import_module(name.rpartition(".")[0])
    spec = importlib.util.spec_from_file_location(name, file)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    module.__file__ = original
    spec.loader.exec_module(module)
    return module


def entry_of(module):
    return functools.reduce(getattr, ENTRY.split("."), module)


def resized(workload, sizes):
    """The workload's function with some of the integers that it carries replaced."""
    def new(name, value):
        if isinstance(value, tuple):
            return tuple(sizes.get(f"{{name}}[{{i}}]", item) for i, item in enumerate(value))
        return sizes.get(name, value)
    code, defaults = workload.__code__, workload.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults):]
    cells = tuple(types.CellType(new(n, c.cell_contents)) for n, c in zip(code.co_freevars, workload.__closure__ or ()))
    copy = types.FunctionType(code, workload.__globals__, workload.__name__,
                              tuple(new(n, v) for n, v in zip(names, defaults)), cells)
    copy.__kwdefaults__ = {{n: new(n, v) for n, v in (workload.__kwdefaults__ or {{}}).items()}}
    return copy


def find(task):
    if RECIPE["origin"] == "domain":
        return task.domain(random.Random(RECIPE["domain_seed"]))
    for index, workload in enumerate(task.workloads()):
        if index == RECIPE["index"]:
            return resized(workload, RECIPE["sizes"]) if RECIPE.get("sizes") else workload


{drawn}


def flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, (tuple, list)) else [value]


def outputs(function, inputs):
    result = function(**inputs)
    return flat(inputs) if result is None else flat(result)


def copied(wide=None):
    return {{k: (v.to(wide) if wide and v.is_floating_point() else v.clone()) if isinstance(v, torch.Tensor) else v
            for k, v in INPUTS.items()}}


with tempfile.TemporaryDirectory() as FOLDER:
    task = load(TASK_TEXT, TASK)
    INPUTS = drawn(SEED)
    own, candidate = entry_of(load(SOURCE_TEXT, SOURCE)), entry_of(load(CANDIDATE, SOURCE))
    if SEED_BEFORE is not None:  # The judge, too, called them with other inputs first.
        candidate(**drawn(SEED_BEFORE)), own(**drawn(SEED_BEFORE))
    got, yours = outputs(candidate, copied()), outputs(own, copied())
    try:
        truth = outputs(task.reference, copied(torch.float64))
    except Exception:
        truth = outputs(getattr(task, "reference", own), copied())
    for number, (a, b, t) in enumerate(zip(got, yours, truth)):
        if isinstance(t, torch.Tensor) and isinstance(a, torch.Tensor) and a.shape == t.shape:
            error = (a.double() - t.double()).abs()
            print(f"output {{number}}: candidate max error {{error.max().item():.6g}}, "
                  f"your kernel {{(b.double() - t.double()).abs().max().item():.6g}}, "
                  f"worst at {{tuple(int(i) for i in torch.unravel_index(error.argmax(), error.shape))}}")
        else:
            print(f"output {{number}}: candidate {{getattr(a, 'shape', a)}}, expected {{getattr(t, 'shape', t)}}")
'''


def reproduction(opened: OpenedTask, check: Check, source: str) -> str:
    """The script for one check, or "" where its workload cannot be drawn again, and for CUDA kernels.

    An out-of-bounds access shows as garbage or as a crash there, because only the judge checks bounds.
    """
    workload = opened.workload(check.workload)
    recipe = check.recipe or (workload.recipe if workload else {})
    return _script(opened, recipe, check.seed, source, distribution=check.distribution, before=check.before)


def reproduction_of_failure(opened: OpenedTask, failure: SeenFailure, source: str) -> str:
    """The same for a failure on a workload; "" where it happened on none, as when a kernel does not compile."""
    workload = opened.workload(failure.workload or "")
    if workload is None or failure.seed is None:
        return ""
    distribution = str(workload.recipe.get("distribution", ""))
    return _script(opened, workload.recipe, failure.seed, source, distribution=distribution)


def _script(
    opened: OpenedTask,
    recipe: Mapping[str, Any],
    seed: int,
    source: str,
    *,
    distribution: str = "",
    before: int | None = None,
) -> str:
    if not recipe or opened.task.kind is TaskKind.LAUNCHES:
        return ""
    return _SCRIPT.format(
        gpu=opened.mode == "gpu",
        task=str(opened.task.task_file.absolute()),
        source_file=str(opened.task.source_file.absolute()),
        entry=opened.task.entry,
        recipe=dict(recipe),
        seed=seed,
        distribution=distribution,
        before=before,
        drawn=DRAWN,
        variations=VARIATIONS.read_text(encoding="utf-8") if distribution else "",
        task_text=opened.task_text,
        source=opened.source,
        candidate=source,
    )
