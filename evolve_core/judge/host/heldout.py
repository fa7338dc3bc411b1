"""Which of a dozen workloads drawn from a task's domain are checked.

Listed workloads seldom show the smallest sizes, nor odd ones. Triton compiles one kernel for arguments that divide by
16, another for those that do not, and one for 1; so on a GPU, where a check costs little, some of what is drawn is
checked for that alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .buffers import dtype_named

DRAWS = 12
MOST_OTHERWISE = 3
"""Checked workloads that are there for how Triton specialises alone."""
_SPECIALISED = 16


def by_size(drawn: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The smallest, the middle and the largest of those with at most ``most`` elements, and at least one."""
    fitting = sorted((one for one in drawn if 0 < one["elements"] <= most), key=lambda one: int(one["elements"]))
    last = len(fitting) - 1
    return [fitting[i] for i in sorted({0, last // 2, last})] if fitting else []


def otherwise_divided(
    drawn: Sequence[dict[str, Any]], most: int, known: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The smallest of those whose sizes, strides or addresses Triton specialises in another way than any of
    ``known``.
    """
    seen = {specialised(one) for one in known}
    found: list[dict[str, Any]] = []
    for one in sorted(drawn, key=lambda one: int(one["elements"])):
        if len(found) < MOST_OTHERWISE and 0 < one["elements"] <= most and specialised(one) not in seen:
            seen.add(specialised(one))
            found.append(one)
    return found


def specialised(workload: dict[str, Any]) -> tuple[int, ...]:
    """Of each number that a launch may be given, in order: 16 where it divides by that, 1 where it is that, else 0."""
    numbers = [number for _, entry in workload["entries"] for number in _numbers(entry)]
    return tuple(_SPECIALISED if number % _SPECIALISED == 0 else int(number == 1) for number in numbers)


def _numbers(entry: dict[str, Any]) -> Iterator[int]:
    if entry["kind"] == "tensor":
        yield from (*entry["shape"], *entry["stride"])
        yield entry["offset"] * dtype_named(entry["dtype"]).itemsize
    elif entry["kind"] == "value" and type(entry["value"]) is int:
        yield entry["value"]
