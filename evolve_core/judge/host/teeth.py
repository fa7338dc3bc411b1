"""Figures of mutants, of honest evaluations and of perturbed inputs: from them the runner decides whether the
tolerance of a task has teeth.

Two oracle steps on a CPU; ``figures_of`` and ``probed`` also serve a process that has its inputs on a device. No
candidate is near. They execute reference() on inputs that the task never drew, so what it raises there is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .buffers import read_values, write_values
from .compare import compare_outputs
from .distributions import ONCE, is_sound, measure_on
from .errors import StepError
from .mutants import SAME, Ask, Named, Scene, far_from, mutants_of
from .oracle import Run, loaded, measure_of, truth_of, truth_otherwise
from .probing import moved_by, mutants_on_other_values
from .small_constants import EpsDropped, without_small_constants, without_small_inputs
from .tasks import TaskModule
from .truths import cloned, reference_on, reference_truth

OWN, OWN_REVERSED = "your kernel", "your kernel, from the other end"
SECOND, REVERSED = "reference() in fp32", "reference() in fp32, from the other end"
_LARGEST = 1e308
"""JSON knows no infinity."""


def teeth(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{"figures": [{kind, name, workload, moved, outputs}]}`` of every item.

    ``payload``: ``task_text``, ``task_file``, and ``items`` of ``{id, inputs, native, truth}`` as for ``compare``; with
    ``native`` None, reference() in fp32 stands in for the user's own kernel. Of the item ``reverse`` the answer's
    ``reversed`` has inputs on which the kernel computes the same from the other end, None where there are none.
    """
    bare = _without_constants(payload, folder)
    figures, backwards = [], None
    for item, scene, _ in _scenes(payload, folder, bare):
        figures += [{**one, "workload": item["id"]} for one in figures_of(scene)]
        if item["id"] == payload["reverse"] and (found := reversed_inputs(scene)):
            sizes, inputs = found
            file = folder / "reversed.bin"
            header = write_values(list(inputs.items()), file)
            backwards = {"sizes": sorted(sizes), "inputs": {"file": str(file), "header": header}}
    return {"figures": figures, "reversed": backwards}


def reordered(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figure of the user's own kernel on the ``reversed`` inputs of ``teeth``; ``payload`` as there, with the one
    item that they are of, and what the kernel gave as ``run``.
    """
    sizes, given = set(payload["reversed"]["sizes"]), payload["reversed"]["inputs"]
    ((item, scene, names),) = _scenes(payload, folder, None)
    run = Run(payload["run"], dict(read_values(Path(given["file"]), given["header"], trusted=True)))
    tried = {name for name, _ in scene.native}
    outputs = [(name, _flipped(value, sizes)) for name, value in run.results(names) if name in tried]
    return {**_figure("honest", OWN_REVERSED, outputs, scene), "moved": 0.0, "workload": item["id"]}


def probe(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """``{"inputs": [{name, moved}], "hidden": [{name, output, moved}]}`` over all items; payload as for ``teeth``."""
    bare = _without_constants(payload, folder)
    moved: dict[str, float | None] = {}
    hidden: dict[tuple[str, str], float] = {}
    for _, scene, names in _scenes(payload, folder, bare):
        _probe(scene, set(names or ()), moved)
        hidden = hidden or mutants_on_other_values(scene)
    return {
        "inputs": [{"name": name, "moved": _finite(far)} for name, far in moved.items()],
        "hidden": [{"name": n, "output": out, "moved": _finite(far)} for (n, out), far in hidden.items()],
    }


def _probe(scene: Scene, outputs: set[str], moved: dict[str, float | None]) -> None:
    """Try every input that has not moved the truth yet. What an entry only writes to need not move it."""
    if scene.ask is None:
        return
    for name in scene.inputs:
        if name in outputs or moved.get(name):
            continue
        far = moved_by(scene, scene.ask, name)
        moved[name] = far if far is not None else moved.get(name)


def figures_of(scene: Scene) -> Iterator[dict[str, Any]]:
    """What the comparison says of every mutant and of every honest evaluation on one workload."""
    for mutant in mutants_of(scene):
        yield {**_figure("mutant", mutant.name, mutant.outputs, scene), "moved": _finite(mutant.moved)}
    for name, outputs in _honest(scene):
        yield {**_figure("honest", name, outputs, scene), "moved": 0.0}


def _figure(kind: str, name: str, outputs: Named, scene: Scene) -> dict[str, Any]:
    named = {key for key, _ in outputs}
    truth = [pair for pair in scene.truth if pair[0] in named]
    native = [pair for pair in scene.native if pair[0] in named]
    # Values alone are tried: how an output lies in memory is another matter.
    rows = [{**row, "stride_ok": True} for row in compare_outputs(outputs, truth, native, True)]
    return {"kind": kind, "name": name, "outputs": rows}


# -- scenes ----------------------------------------------------------------------------------------------------------

_Staged = tuple[dict[str, Any], Scene, list[str] | None]


def _scenes(payload: dict[str, Any], folder: Path, bare: TaskModule | None) -> Iterator[_Staged]:
    task = loaded(payload, folder)
    for item in payload["items"]:
        if item["distribution"] in ONCE:
            continue  # The tolerance is tried on what the task drew, or nearly: these are for what a kernel does else.
        inputs = dict(read_values(Path(item["inputs"]["file"]), item["inputs"]["header"], trusted=True))
        if item["native"] is None:
            names: list[str] | None = None
            stood = _stand_in(task, item["distribution"], inputs)
            if stood is None:
                continue
            native, truth = stood
        else:
            run = Run(item["native"], inputs)
            names = run.result_names()
            truth = truth_of(task, item, inputs, run)
            native = measure_of(task, item, inputs, run, truth)
        yield item, scene_of(task, bare, inputs, names, truth, native), names


def _stand_in(task: TaskModule, distribution: str, inputs: dict[str, Any]) -> tuple[Named, Named] | None:
    """reference() in fp32 in the place of the user's own kernel, and the truth; None on values that it does not stand,
    where the task never promised them.
    """
    try:
        native, truth = in_fp32(task, inputs, None, None), reference_truth(task, inputs, None)
        otherwise = truth_otherwise(task, distribution, inputs, native)
    except StepError:
        if distribution:
            return None
        raise
    if distribution and not is_sound(native, truth, distribution, otherwise):
        return None
    return measure_on(distribution, native, truth, otherwise), truth


def scene_of(
    task: TaskModule,
    bare: TaskModule | None,
    inputs: dict[str, Any],
    names: list[str] | None,
    truth: Named,
    native: Named,
) -> Scene:
    """``bare`` is the task without small constants, None where it has none. ``names``: the inputs that the entry
    changes instead of returning anything, else None.
    """

    def tensors(found: Named) -> Named:
        return _tensors_of(found, native)

    if not task.has_reference:
        return Scene(inputs, tensors(truth), tensors(native))
    without_eps = _without_eps(task, bare, names)
    return Scene(
        inputs,
        tensors(truth),
        tensors(native),
        ask=lambda changed: tensors(reference_truth(task, changed, names)),
        ask_without_eps=lambda changed: tensors(without_eps(changed)),
        in_fp32=lambda changed: tensors(in_fp32(task, changed, names, native)),
    )


def _tensors_of(found: Named, native: Named) -> Named:
    """Those of ``found`` that are tensors of ``native``; None and strings are equal or not, without any tolerance."""
    if len(found) != len(native):
        raise StepError("task-error", "reference() gives another number of outputs for other inputs")
    return [(name, value) for (name, own), (_, value) in zip(native, found, strict=True) if _is_tensor(own)]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _without_constants(payload: dict[str, Any], folder: Path) -> TaskModule | None:
    text = without_small_constants(payload["task_text"])
    if text is None:
        return None
    place = folder / "without-constants"
    place.mkdir()
    return loaded({**payload, "task_text": text}, place)


def _without_eps(task: TaskModule, bare: TaskModule | None, names: list[str] | None) -> Ask:
    def ask(inputs: dict[str, Any]) -> Named:
        fewer = without_small_inputs(inputs)
        with EpsDropped() as dropped:
            found = reference_truth(bare or task, fewer or inputs, names)
        if bare is None and fewer is None and not dropped.found:
            raise StepError("task-error", f"no eps can be told in {task.file.name}")
        return found

    return ask


# -- honest evaluations ----------------------------------------------------------------------------------------------


def _honest(scene: Scene) -> Iterator[tuple[str, Named]]:
    yield OWN, scene.native
    if scene.in_fp32 is None:
        return
    try:
        yield SECOND, scene.in_fp32(scene.inputs)
        if backwards := reversed_inputs(scene):
            sizes, inputs = backwards
            yield REVERSED, [(name, _flipped(value, sizes)) for name, value in scene.in_fp32(inputs)]
    except StepError:
        return


def in_fp32(task: TaskModule, inputs: dict[str, Any], names: list[str] | None, native: Named | None) -> Named:
    """reference() in the precision that kernels compute in, rounded to the types of ``native``; None: to its own.

    fp64 inputs stay what they are.
    """
    found = reference_on(task, {name: _at_least_fp32(cloned(value)) for name, value in inputs.items()}, names)
    like = native
    if like is None:
        like = reference_on(task, {name: cloned(value) for name, value in inputs.items()}, names)
    return [
        (name, torch.as_tensor(value).to(own.dtype) if isinstance(own, torch.Tensor) else value)
        for (name, value), (_, own) in zip(found, like, strict=True)
    ]


def _at_least_fp32(value: Any) -> Any:
    narrow = isinstance(value, torch.Tensor) and value.dtype.is_floating_point and value.element_size() < 4
    return value.to(torch.float32) if narrow else value


def reversed_inputs(scene: Scene) -> tuple[set[int], dict[str, Any]] | None:
    """The inputs with axes reversed where that reverses the outputs' axes of the same lengths and does nothing else,
    and those lengths. All axes where that can be, else those of one length, rather one that the outputs lack.
    """
    if scene.ask is None:
        return None
    lengths = {n for value in scene.inputs.values() if isinstance(value, torch.Tensor) for n in value.shape if n > 1}
    kept = {n for _, value in scene.truth for n in torch.as_tensor(value).shape}
    for sizes in [lengths, *({n} for n in sorted(lengths, key=lambda n: (n in kept, n)))]:
        inputs = {name: _flipped(value, sizes) for name, value in scene.inputs.items()}
        try:
            found = [(name, _flipped(torch.as_tensor(value), sizes)) for name, value in scene.ask(inputs)]
        except StepError:
            continue
        if far_from(found, scene.truth) <= SAME:
            return sizes, inputs
    return None


def _flipped(value: Any, sizes: set[int]) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.flip([axis for axis, length in enumerate(value.shape) if length in sizes])


def _finite(number: float | None) -> float | None:
    return None if number is None else min(number, _LARGEST)
