"""``python -m benchmarks.mutants.tolerances [--operators softmax,matmul] [--seed N] [--json FILE]``

Has the acceptance rule teeth on every operator of the study? The judge's own mutants, which it derives from a task's
reference and the user's own kernel (judge/host/mutants.py), on the study's inputs, and the judge's own decision.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.mutants.families import FAMILIES
from benchmarks.mutants.kit import Operator
from benchmarks.mutants.study import drawn, task_of
from evolve_core.judge.host.distributions import AS_DRAWN
from evolve_core.judge.host.probing import moved_by, mutants_on_other_values
from evolve_core.judge.host.teeth import figures_of, scene_of
from evolve_core.judge.teeth import State, Teeth, decide, parse_teeth, refusal, warnings
from evolve_core.judge.teeth_record import as_record


@click.command()
@click.option("--operators", default="", help="Only those whose name or family contains one of these words.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path), default=None)
def main(operators: str, seed: int, output: Path | None) -> None:
    torch.set_num_threads(1)
    words = [word.strip() for word in operators.split(",") if word.strip()]
    found = {
        operator.name: (family, looked_at(operator, seed))
        for family, members in FAMILIES.items()
        for operator in members
        if not words or any(word in operator.name or word in family for word in words)
    }
    console = Console(width=150)
    console.print(_table(found))
    for line in _lines(found):
        console.print(line, soft_wrap=True)
    if output:
        document = {name: as_record(teeth) for name, (_, teeth) in found.items()}
        output.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def looked_at(operator: Operator, seed: int) -> Teeth:
    """What the judge would say of a task with this operator's reference and native implementation."""
    task = task_of(operator)
    workloads, figures, inputs = [], [], {}
    hidden: dict[tuple[str, str], float] = {}
    for number, case in enumerate(drawn(operator, seed)):
        name = str(number)
        workloads.append({"id": name, "label": case.label, "seed": case.seed, "recipe": {}})
        scene = scene_of(task, None, case.inputs, None, case.truth, case.native)
        figures += [{**one, "workload": name} for one in figures_of(scene)]
        if case.distribution == AS_DRAWN and scene.ask is not None:
            for key in case.inputs:
                inputs[key] = inputs.get(key) or moved_by(scene, scene.ask, key)
            hidden = mutants_on_other_values(scene) or hidden
    answer = {
        "workloads": workloads,
        "figures": figures,
        "inputs": [{"name": name, "moved": moved} for name, moved in inputs.items()],
        "hidden": [{"name": name, "output": out, "moved": moved} for (name, out), moved in hidden.items()],
        "stand_in": False,
        "why_not": "",
    }
    return decide(parse_teeth(answer))


def _table(found: dict[str, tuple[str, Teeth]]) -> Table:
    """Mutants of every operator, by what became of them."""
    table = Table("family", "operator", *State, "ignored inputs", "fp32 as written")
    for name, (family, teeth) in found.items():
        counts = Counter(tooth.state for tooth in teeth.teeth)
        table.add_row(
            family,
            name,
            *(str(counts[state]) for state in State),
            ", ".join(teeth.ignored),
            "rejected" if teeth.doubted else "accepted",
        )
    return table


def _lines(found: dict[str, tuple[str, Teeth]]) -> Iterator[str]:
    for name, (_, teeth) in found.items():
        for said in (refusal(teeth), *warnings(teeth)):
            if said:
                yield f"{name}: {said}"
        for tooth in teeth.missed:
            yield f"{name}: missed {tooth.mutant} ({tooth.output}): {tooth.reason}"


if __name__ == "__main__":
    main()
