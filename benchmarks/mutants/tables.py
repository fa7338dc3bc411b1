"""What is printed of the verdicts: counts by family, and every wrong one by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table

from benchmarks.mutants.study import HONEST, MUTANT, NATIVE, TOOTH, Row


def _of(rows: Iterable[Row], *kinds: str) -> list[Row]:
    return [row for row in rows if row.kind in kinds]


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.1%})" if whole else "–"


def _cells(rows: Sequence[Row]) -> list[str]:
    honest, mutants, teeth = _of(rows, HONEST), _of(rows, MUTANT), _of(rows, TOOTH)
    wrong = _of(rows, MUTANT, TOOTH)
    return [
        str(len({row.operator for row in rows})),
        str(len(honest)),
        _share(sum(not row.accepted for row in honest), len(honest)),
        str(len(mutants)),
        _share(sum(row.accepted for row in mutants), len(mutants)),
        str(len(teeth)),
        _share(sum(row.accepted for row in teeth), len(teeth)),
        _share(sum(row.loose for row in wrong), len(wrong)),
        _share(sum(row.loose_varied for row in wrong), len(wrong)),
        _share(sum(not row.loose_varied for row in honest), len(honest)),
    ]


def family_table(rows: Sequence[Row]) -> Table:
    """``teeth`` are the coarse mutants that every operator gets, counted apart; allclose: of all mutants."""
    table = Table(
        "family", "operators", "honest", "rejected", "mutants", "accepted", "teeth", "accepted",
        "allclose 1e-2 accepts", "… all values", "… rejects honest", box=None,
    )  # fmt: skip
    for family in dict.fromkeys(row.family for row in rows):
        table.add_row(family, *_cells([row for row in rows if row.family == family]))
    table.add_section()
    table.add_row("all", *_cells(rows), style="bold")
    return table


def listings(rows: Sequence[Row]) -> Iterator[str]:
    """Every wrong verdict, and every mutant that is none."""
    for row in _of(rows, NATIVE):
        if not row.accepted:
            yield f"native not accepted: {row.operator} (seed {row.seed}): {row.where}: {row.reason}"
    for row in _of(rows, HONEST):
        if not row.accepted:
            kind = "rejected" if row.proven else "unproven"
            yield f"honest {kind}: {row.operator}: {row.name} (seed {row.seed}): {row.where}: {row.reason}"
    for row in _of(rows, MUTANT, TOOTH):
        if row.accepted:
            note = ", the native one's bits throughout" if row.same else ""
            yield f"{row.kind} accepted: {row.operator}: {row.name} (seed {row.seed}){note}"


def summary(rows: Sequence[Row]) -> dict[str, object]:
    """Counts of judgements, as in the table's last line; the two percentages are of all mutants and all variants."""
    honest, wrong = _of(rows, HONEST), _of(rows, MUTANT, TOOTH)
    own, natives = _of(rows, MUTANT), _of(rows, NATIVE)
    rejected, accepted = sum(not row.accepted for row in honest), sum(row.accepted for row in wrong)
    return {
        "operators": len({row.operator for row in rows}),
        "natives_judged": len(natives),
        "natives_not_accepted": sum(not row.accepted for row in natives),
        "honest": len(honest),
        "honest_rejected": rejected,
        "honest_rejected_percent": round(100 * rejected / max(1, len(honest)), 2),
        "mutants": len(wrong),
        "mutants_accepted": accepted,
        "mutants_accepted_percent": round(100 * accepted / max(1, len(wrong)), 2),
        "mutants_without_teeth": len(own),
        "mutants_without_teeth_accepted": sum(row.accepted for row in own),
        "allclose_accepts_mutants": sum(row.loose for row in wrong),
        "allclose_on_all_values_accepts_mutants": sum(row.loose_varied for row in wrong),
        "allclose_on_all_values_rejects_honest": sum(not row.loose_varied for row in honest),
    }
