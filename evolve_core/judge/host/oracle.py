"""The oracle's steps: they execute the task module and never see a candidate's code, only bytes that it left.

``describe`` lists workloads and chooses small ones to check, ``draw`` makes inputs, ``compare`` computes statistics.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from . import heldout, tasks
from .buffers import describe as describe_entries
from .buffers import dtype_name, dtype_named, read_values, write_values
from .compare import Expectation, does_nothing, is_numeric, same_bits
from .distributions import AS_DRAWN, EVERYWHERE, ONCE, OTHERWISE, VARIED, expected_on, is_sound, measure_on, vary
from .errors import Place, StepError
from .operators import RecordedOperators
from .precision import STRICT, allowed, rounded_inputs
from .stub_driver import answer_questions
from .tasks import TaskModule, load_task
from .truths import Named, matched, reference_truth, refuse_unsteady

SMALL_ELEMENTS = 1 << 15
"""Total input elements of a checked workload: Triton's interpreter needs about 1.4 ms a program (hints: measured
on Triton 3.9 on a CPU), so this keeps one run of a common kernel under about a second."""
ONCE_ELEMENTS = 1 << 10
"""What is tried once without a GPU is tried on so few: as many rows as there are special values, and statistics."""
DOMAIN_ELEMENTS = 1 << 16
GPU_DOMAIN_ELEMENTS = 1 << 26
MAX_LISTED_CHECKED = 4
INTEGER_BYTES = 256 << 20


def loaded(payload: dict[str, Any], folder: Path) -> TaskModule:
    """The task of a step's ``payload``; ``folder`` is the step's own."""
    torch.set_num_threads(1)
    # Kernel libraries ask which device there is while they are imported, and refuse where there is none.
    answer_questions(payload["target"])
    return load_task(payload["task_text"], Path(payload["task_file"]), folder)


def describe(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Listed workloads with their shapes (timed), and small ones to check, each with the recipe to draw it."""
    task = loaded(payload, folder)
    timed: list[dict[str, Any]] = []
    checked: list[dict[str, Any]] = []
    for index, workload in tasks.listed(task):
        recipe = {"origin": "listed", "index": index}
        timed.append(_describe(task, workload, recipe, payload["seed"], folder, f"w{index}"))
        if payload["small"] and len(checked) < MAX_LISTED_CHECKED:
            checked.extend(_shrunk(task, workload, timed[-1], payload["seed"]))
    if not timed:
        message = "workloads() yields nothing; yield at least one workload"
        raise task.where("workloads").error(message, "no-workloads")
    if task.precision != STRICT and not task.has_reference:
        raise task.where("workloads").error(
            f"precision = {task.precision!r} is measured by reference() on rounded inputs, and there is none; add "
            "reference(), or take the line out"
        )
    drawn = _domain_draws(task, payload["seed"])
    if payload["small"]:
        numbered = _numbered([*heldout.by_size(drawn, DOMAIN_ELEMENTS), *checked])
    else:
        sizes = heldout.by_size(drawn, GPU_DOMAIN_ELEMENTS)
        numbered = _numbered([*sizes, *heldout.otherwise_divided(drawn, GPU_DOMAIN_ELEMENTS, [*sizes, *timed])])
    _look_at_reference(task, [*numbered, *timed])
    varied = _varied(numbered, VARIED if task.has_reference else EVERYWHERE) if payload["small"] else []
    has = {"has_reference": task.has_reference, "has_library": task.has_library, "precision": task.precision}
    return {"timed": timed, "checked": [*numbered, *varied], **has}


def _look_at_reference(task: TaskModule, described: list[dict[str, Any]]) -> None:
    """Whether it is a function of its inputs, on the smallest workload that there is, where that is a small one."""
    smallest = min(described, key=_elements)
    if not task.has_reference or smallest["elements"] > DOMAIN_ELEMENTS:
        return
    try:
        inputs = tasks.draw(task, smallest["recipe"], smallest.get("seed", 0), "cpu")
    except StepError:
        return  # Whoever draws it where it is judged says so, if it cannot be drawn there.
    refuse_unsteady(task, inputs)


def _describe(
    task: TaskModule, workload: tasks.Workload, recipe: dict[str, Any], seed: int, folder: Path, name: str
) -> dict[str, Any]:
    inputs = _shapes(task, workload, seed)
    described = _workload(task.place_of(workload), recipe, inputs)
    described["id"] = name
    described["seed"] = seed
    tensors = [(key, value) for key, value in inputs.items() if isinstance(value, torch.Tensor)]
    empty = [key for key, value in tensors if value.numel() == 0]
    if empty:
        raise task.place_of(workload).error(
            f"workload {described['label']} has no elements in {empty[0]!r}; "
            "give every listed workload at least one element"
        )
    integers = [key for key, value in tensors if not value.dtype.is_floating_point and not value.is_complex()]
    if integers and sum(value.nbytes for key, value in tensors if key in integers) <= INTEGER_BYTES:
        # Indices steer addresses, so the work profile needs real ones; floating point contents do not matter there.
        real = tasks.draw_from(task, workload, seed, "cpu")
        file = folder / f"integers-{name}.bin"
        header = write_values([(key, real[key]) for key in integers], file)
        described["integers"] = {"file": str(file), "header": header}
    return described


def _shapes(task: TaskModule, workload: tasks.Workload, seed: int) -> dict[str, Any]:
    """Inputs without contents where the task's code allows that, else real ones."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    try:
        with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
            warnings.simplefilter("ignore")
            return tasks.draw_from(task, workload, seed, "cpu")
    except StepError:
        return tasks.draw_from(task, workload, seed, "cpu")


def _workload(place: Place, recipe: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    try:
        entries = [[name, _shape_entry(name, value)] for name, value in inputs.items()]
    except StepError as error:
        raise place.error(error.message, error.kind) from None
    return {
        "recipe": recipe,
        "entries": entries,
        "inputs": describe_entries(entries),
        "label": _label(entries),
        "elements": sum(value.numel() for value in inputs.values() if isinstance(value, torch.Tensor)),
    }


def _shape_entry(name: str, value: Any) -> dict[str, Any]:
    from .buffers import _entry, _Storages  # shapes only: the storages are dropped

    if isinstance(value, torch.Tensor):
        return {
            "kind": "tensor",
            "dtype": dtype_name(value.dtype),
            "shape": list(value.shape),
            "stride": list(value.stride()),
            "offset": int(value.storage_offset()),
            "storage": 0,
        }
    return _entry(name, value, _Storages())


def _label(entries: list[list[Any]]) -> str:
    parts = []
    for name, entry in entries:
        if entry["kind"] == "tensor":
            parts.append(f"{name}={entry['dtype']}[{','.join(map(str, entry['shape']))}]")
        elif entry["kind"] == "value":
            parts.append(f"{name}={entry['value']!r}")
    return " ".join(parts)


def _shrunk(task: TaskModule, workload: tasks.Workload, full: dict[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """The listed workload itself where it is small, else its first shrunk version that is."""
    if full["elements"] <= SMALL_ELEMENTS:
        yield {**full, "origin": "listed"}
        return
    for sizes in tasks.shrink_steps(tasks.sizes_of(workload)):
        recipe = {**full["recipe"], "sizes": sizes}
        try:
            inputs = _shapes(task, tasks.with_sizes(workload, sizes), seed)
            small = _workload(task.place_of(workload), recipe, inputs)
        except StepError:
            return  # The parameters do not shrink independently; the domain's draws remain.
        if 0 < small["elements"] <= SMALL_ELEMENTS:
            yield {**small, "origin": "derived"}
            return


def _domain_draws(task: TaskModule, seed: int) -> list[dict[str, Any]]:
    """Workloads of the task's domain; none where it has none."""
    drawn = []
    for number in range(heldout.DRAWS if task.has_domain else 0):
        recipe = {"origin": "domain", "domain_seed": seed + number}
        workload = tasks.find(task, recipe)
        described = _workload(task.place_of(workload), recipe, _shapes(task, workload, seed))
        drawn.append({**described, "origin": "domain"})
    return drawn


def _numbered(checked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    distinct = list({one["label"]: one for one in reversed(checked)}.values())[::-1]
    distinct.sort(key=_elements)
    return [{**one, "id": f"c{number}"} for number, one in enumerate(distinct)]


def _varied(checked: list[dict[str, Any]], distributions: Sequence[str]) -> list[dict[str, Any]]:
    """A workload of middling size once more with other distributions of values, and with those that are tried once a
    smaller one, where it has enough elements; none where no input has any.
    """
    able = [one for one in checked if any(_can_vary(entry) for _, entry in one["entries"])]
    middle = checked[len(checked) // 2 :][:1]
    if not able or middle[0] not in able:
        return []
    small = next((one for one in able if one["elements"] >= ONCE_ELEMENTS), middle[0])
    places = {name: min(small, middle[0], key=_elements) if name in ONCE else middle[0] for name in distributions}
    return [
        {
            **one,
            "id": f"v{number}",
            "label": f"{one['label']} with {distribution}",
            "recipe": {**one["recipe"], "distribution": distribution},
        }
        for number, (distribution, one) in enumerate(places.items())
    ]


def _elements(workload: dict[str, Any]) -> int:
    return int(workload["elements"])


def _can_vary(entry: dict[str, Any]) -> bool:
    if entry["kind"] != "tensor" or 0 in entry["stride"]:
        return False
    return dtype_named(entry["dtype"]).is_floating_point and math.prod(entry["shape"]) > 1


def draw(payload: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Draw inputs by recipe and seed into one file each. Their hashes go back, so nobody can swap them later."""
    task = loaded(payload, folder)
    drawn = {}
    for item in payload["items"]:
        recipe = item["recipe"]
        inputs = vary(tasks.draw(task, recipe, item["seed"], "cpu"), recipe.get("distribution", AS_DRAWN))
        file = folder / f"inputs-{item['id']}.bin"
        header = write_values(list(inputs.items()), file)
        drawn[item["id"]] = {"file": str(file), "header": header, "inputs": describe_entries(header["entries"])}
    return drawn


def compare(payload: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Statistics of every run: outputs against truth, and against what the user's own kernel gave."""
    task = loaded(payload, folder)
    return [_compare_item(task, item) for item in payload["items"]]


def _compare_item(task: TaskModule, item: dict[str, Any]) -> dict[str, Any]:
    inputs = dict(read_values(Path(item["inputs"]["file"]), item["inputs"]["header"], trusted=True))
    native = Run(item["native"], inputs)
    if item["distribution"] and not _stands(task, item, inputs, native):
        return {"id": item["id"], "checks": [], "poisons_agree": True, "sound": False}
    with RecordedOperators() as library:
        truth = truth_of(task, item, inputs, native)
    try:
        runs = [Run(run, inputs) for run in item["runs"]]
        idle = Run(item["idle"], inputs) if item["idle"] else None
    except (StepError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, OSError) as e:
        # No step of ours writes such a file: whoever ran the candidate wrote it.
        return {"id": item["id"], "checks": [], "poisons_agree": True, "sound": True, "unreadable": str(e)}
    names = native.result_names()
    expected = _expected(task, item, inputs, native, truth)
    checks = []
    for run in runs:
        outputs = expected.compare(run.results(names), quantiles=True)
        for output in outputs:
            output["aliases_input"] = run.aliases(output["name"]) and not native.aliases(output["name"])
            output["type_ok"] = output["type_ok"] and run.is_plain(output["name"])
        changed = sorted(run.changed() - native.changed())
        checks.append({"poison": run.poison, "inputs_changed": changed, "outputs": outputs})
    stable = all(same_bits(runs[0].results(names), other.results(names)) for other in runs[1:])
    return {
        "id": item["id"],
        "checks": checks,
        "poisons_agree": stable,
        "sound": True,
        "idle_equal": does_nothing(idle.results(names), runs[0].results(names), inputs.values()) if idle else None,
        "reference_operators": library.elements if task.has_reference else {},
        "input_elements": sum(value.numel() for value in inputs.values() if isinstance(value, torch.Tensor)),
    }


def _stands(task: TaskModule, item: dict[str, Any], inputs: dict[str, Any], native: Run) -> bool:
    """Whether reference() and the user's own kernel can do with values that the task never promised."""
    if not (task.has_reference or (item.get("truth") and item["distribution"] not in ONCE)):
        return False
    try:
        truth = truth_of(task, item, inputs, native)
        own = native.results(native.result_names())
        otherwise = truth_otherwise(task, item["distribution"], inputs, own)
    except StepError:
        return False
    others = None if otherwise is None else _tensors(otherwise)
    return is_sound(_tensors(own), _tensors(truth), item["distribution"], others)


def _expected(task: TaskModule, item: dict[str, Any], inputs: dict[str, Any], native: Run, truth: Named) -> Expectation:
    measure = measure_of(task, item, inputs, native, truth)
    otherwise = truth_otherwise(task, item["distribution"], inputs, measure)
    return expected_on(item["distribution"], measure, truth, otherwise)


def truth_otherwise(task: TaskModule, distribution: str, inputs: dict[str, Any], like: Named) -> Named | None:
    """reference() on the other inputs that ``distribution`` asks for (distributions.OTHERWISE), under the names of
    ``like``, which is what the user's own kernel gave; None where it asks for none.
    """
    if distribution not in OTHERWISE or not task.has_reference:
        return None
    found = reference_truth(task, OTHERWISE[distribution](inputs), [name for name, _ in like])
    return matched(found, like, task.where("reference"))


def _tensors(named: Named) -> Named:
    """Numbers as tensors; what is no number as it is."""
    return [(name, torch.as_tensor(value) if is_numeric(value) else value) for name, value in named]


class Run:
    """One exported run: returned outputs, inputs after the call, and what the child said about types and aliases."""

    def __init__(self, run: dict[str, Any], inputs: dict[str, Any]) -> None:
        values = read_values(Path(run["file"]), run["header"], trusted=False)
        self.poison = str(run.get("poison", ""))
        self.returned = [(name[4:], value) for name, value in values if name.startswith("out:")]
        self.after = {name[3:]: value for name, value in values if name.startswith("in:")}
        self._said = run
        self._inputs = inputs

    def changed(self) -> set[str]:
        before = {name: value for name, value in self._inputs.items() if isinstance(value, torch.Tensor)}
        return {
            name for name, value in before.items() if not same_bits([(name, value)], [(name, self.after.get(name))])
        }

    def result_names(self) -> list[str] | None:
        """None: the returned values. A list: the entry returns nothing and these inputs are its outputs."""
        return None if self.returned else sorted(self.changed())

    def results(self, names: list[str] | None) -> list[tuple[str, Any]]:
        return self.returned if names is None else [(name, self.after.get(name)) for name in names]

    def aliases(self, name: str) -> bool:
        return name in self._said.get("aliases", ())

    def is_plain(self, name: str) -> bool:
        return name not in self._said.get("odd_types", ())


def truth_of(task: TaskModule, item: dict[str, Any], inputs: dict[str, Any], native: Run) -> Named:
    names = native.result_names()
    wanted = native.results(names)
    if item.get("truth"):
        truth = Run(item["truth"], inputs).results(names)
    elif task.has_reference:
        truth = reference_truth(task, inputs, names)
    else:
        truth = wanted
    return matched(truth, wanted, task.where("reference"))


def measure_of(task: TaskModule, item: dict[str, Any], inputs: dict[str, Any], native: Run, truth: Named) -> Named:
    """What the user's own kernel gave, or what the task's policy or the inputs' last bits (distributions.py) let a
    kernel give, whichever is farther off.
    """
    names = native.result_names()
    own = native.results(names)
    if item.get("truth") or not task.has_reference:
        return allowed(own, truth, [Run(run, inputs).results(names) for run in item.get("coarse", ())])
    changed = [reference_truth(task, one, names) for one in rounded_inputs(task.precision, inputs)]
    measure = allowed(own, truth, [matched(one, own, task.where("reference")) for one in changed])
    return measure_on(item["distribution"], measure, truth, truth_otherwise(task, item["distribution"], inputs, own))
