"""What the bench handed over for a case, read, compared and put into the protocol's words.

It comes from a process that may have run foreign code: layouts are validated, and whatever is unreadable is a failure.
"""

from __future__ import annotations

from typing import Any

import torch

from ..compare import observable_strides, same_bits
from .cases import Case, Checked
from .inputs import PLAIN, same_bytes
from .job import Named
from .link import BenchLink
from .phases import Phase, Phases
from .slots import BadLayout, Slot

_UNREADABLE = (BadLayout, KeyError, TypeError)


class Answers:
    """Reads one bench's answers."""

    def __init__(self, link: BenchLink, from_bench: Slot, device: str, phases: Phases) -> None:
        self._link, self._from, self._device, self._phases = link, from_bench, device, phases

    def outputs(self, answer: dict[str, Any], case: Case) -> Named:
        """The results of a call. Raises BenchFailed where there are none to be read."""
        with self._phases.phase(Phase.CHECK):
            try:
                said = answer["outputs"]
                layouts = [entry["layout"] for entry in said if "value" not in entry]
                tensors = iter(self._from.read(layouts, self._device))
                named = [(str(entry["name"]), _plain(entry) if "value" in entry else next(tensors)) for entry in said]
                return case.effects.results(named)
            except _UNREADABLE as broken:
                message = f"the bench answered with an unreadable result: {broken}"
                raise self._link.failed("cheating", message) from broken

    def compared(self, outputs: Named, answer: dict[str, Any], case: Case, *, quantiles: bool) -> dict[str, Any]:
        """The check of a call whose results were read."""
        with self._phases.phase(Phase.CHECK):
            known = _checked(outputs, case, quantiles)
            ratio = {} if quantiles else {"quantile_ratio": None, "row_ratio": None}
            rows = [{**row, **ratio} for row in known.rows]
            said = {str(entry["name"]): entry for entry in answer["outputs"]}
            for row in rows:
                claim = said.get(row["name"], {})
                row["type_ok"] = row["type_ok"] and bool(claim.get("type_ok"))
                row["aliases_input"] = bool(claim.get("aliases_input")) and row["name"] not in case.effects.aliased
            seen = {"workload": case.workload, "seed": case.seed, "repeated": _is_repeated(known, case)}
            return {**seen, "outcome": "compared", "message": "", "outputs": rows, "out_of_bounds": []}

    def changed(self, answer: dict[str, Any], case: Case) -> list[str]:
        """Names of the inputs that the call altered though the user's own kernel, on the same inputs, does not."""
        names = [name for name, value in case.inputs.items() if isinstance(value, torch.Tensor)]
        with self._phases.phase(Phase.CHECK):
            try:
                after = self._from.read(answer["inputs_after"], self._device)
            except _UNREADABLE as broken:
                message = f"the bench answered with unreadable inputs: {broken}"
                raise self._link.failed("cheating", message) from broken
            if len(after) != len(names):
                raise self._link.failed("cheating", "the bench did not hand every input back")
            pairs = zip(names, after, strict=True)
            differing = {name for name, left in pairs if not same_bytes(left, case.inputs[name])}
        return sorted(differing - case.effects.changed)


def _checked(outputs: Named, case: Case, quantiles: bool) -> Checked:
    """Compared with what is expected, unless the very same was: then nothing else can come of it."""
    known = next((one for one in reversed(case.checked) if _is_same(one, outputs, quantiles)), None)
    if known is None:
        known = Checked(outputs, case.expectation.compare(outputs, quantiles), quantiles)
        case.checked.append(known)
    return known


def _is_repeated(known: Checked, case: Case) -> bool | None:
    """Whether the candidate gave these bits on these inputs before; None where it was not called with them."""
    if not case.first:
        case.first.append(known)
        return None
    return known is case.first[0] or same_bits(known.outputs, case.first[0].outputs)


def _is_same(known: Checked, outputs: Named, quantiles: bool) -> bool:
    """Bit by bit, and in its strides, which are part of the contract."""
    if quantiles and not known.quantiles:
        return False
    return _strides(known.outputs) == _strides(outputs) and same_bits(known.outputs, outputs)


def _strides(outputs: Named) -> list[list[int]]:
    return [observable_strides(value) for _, value in outputs if isinstance(value, torch.Tensor)]


def _plain(entry: dict[str, Any]) -> Any:
    """A value that is no tensor, in the bench's own words: JSON, of which only what compares as it is counts."""
    if not isinstance(entry["value"], PLAIN):
        raise TypeError(f"{entry['name']} is neither a tensor nor a plain value")
    return entry["value"]


def counted(said: Any) -> dict[str, int]:
    """The bench's record of operators as far as it is one; a hostile process may say anything."""
    pairs = said.items() if isinstance(said, dict) else ()
    return {name[:200]: count for name, count in pairs if isinstance(count, int)}
