"""Which drawn workloads are checked beside the listed ones."""

from __future__ import annotations

from typing import Any

from evolve_core.judge.host.heldout import MOST_OTHERWISE, by_size, otherwise_divided


def workload(rows: int, cols: int, *, offset: int = 0, axis: int = 0) -> dict[str, Any]:
    tensor = {"kind": "tensor", "dtype": "float32", "shape": [rows, cols], "stride": [cols, 1], "offset": offset}
    entries = [["x", tensor], ["axis", {"kind": "value", "value": axis}]]
    return {"elements": rows * cols, "entries": entries}


def test_smallest_middle_and_largest_that_fit() -> None:
    drawn = [workload(size, 1) for size in (50, 0, 20, 999, 10, 30, 40)]
    assert [one["elements"] for one in by_size(drawn, 100)] == [10, 30, 50]
    assert [one["elements"] for one in by_size(drawn[:1], 100)] == [50]
    assert by_size(drawn[:2], 10) == []


def test_what_divides_by_16_like_something_known_is_not_needed() -> None:
    known = [workload(32, 64)]
    assert otherwise_divided([workload(48, 160), workload(16, 16)], 1 << 20, known) == []


def test_sizes_addresses_and_numbers_that_divide_otherwise_are() -> None:
    known = [workload(32, 64)]
    odd, late, turned = workload(33, 64), workload(32, 64, offset=1), workload(64, 64, axis=1)
    assert otherwise_divided([turned, odd, late], 1 << 20, known) == [late, odd, turned]
    assert otherwise_divided([workload(32, 64, offset=4)], 1 << 20, known) == []


def test_a_few_of_them_and_none_too_large() -> None:
    drawn = [workload(3 + 16 * number, 16 - 1, offset=number) for number in range(8)]
    drawn += [workload(1 << number, 5, axis=number) for number in range(4, 9)]
    found = otherwise_divided(drawn, 1 << 20, [])
    assert len(found) == MOST_OTHERWISE
    assert otherwise_divided([workload(1 << 12, 1 << 12)], 1 << 20, []) == []
