"""What the log of compute-sanitizer says.

Its text is read rather than its XML: that is what NVIDIA's manual shows, for every tool (Compute Sanitizer User Manual,
"Understanding Memcheck Errors" and "Racecheck Tool"), and what has changed least from version to version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_MESSAGE_CHARACTERS = 500


class Tool(StrEnum):
    MEMCHECK = "memcheck"
    """Accesses outside of allocations, and misaligned ones."""
    RACECHECK = "racecheck"
    """Accesses to shared memory that nothing puts in order."""


@dataclass(frozen=True)
class Finding:
    """``access``: "read", "write" or "atomic"; "" for a race. ``address``: in global memory, where it is known.
    ``line`` counts from one, and is None without line information. ``says``: the tool's own words.
    """

    tool: Tool
    says: str
    kernel: str = ""
    access: str = ""
    line: int | None = None
    address: int | None = None
    is_misaligned: bool = False


@dataclass(frozen=True)
class Watched:
    """What a tool saw of one call. ``why_not``: why that says nothing; "" where it does."""

    findings: tuple[Finding, ...] = ()
    why_not: str = ""
    allocations: tuple[tuple[int, int, str], ...] = ()
    """(address, bytes, what is there) of each tensor."""


def judged(tool: Tool, log: str, report: dict[str, Any], output: str = "") -> Watched:
    """What comes of a tool's log, the watched process's report, and what both printed."""
    allocations = tuple((int(a), int(n), str(what)) for a, n, what in report.get("allocations", []))
    findings = tuple(parsed(tool, log))
    if findings:
        return Watched(findings, "", allocations)
    summary = re.search(r"SUMMARY: .*?(\d+) error", log)
    if report.get("finished") and summary and summary[1] == "0":
        return Watched((), "", allocations)
    said = str(report.get("failed") or "") or _last_words(log) or _last_words(output) or "it ended without a word"
    return Watched((), f"{tool}: {said}"[:_MESSAGE_CHARACTERS], allocations)


_RECORD = re.compile(r"^=========(.*)$", re.MULTILINE)
_INVALID = re.compile(r"Invalid __(global|shared|local)__ (read|write|atomic)\w* of size [\d,]+")
_RACE = re.compile(r"error: race reported between ", re.IGNORECASE)
_PLACES = (
    # "0x3c8 in /folder/file.cu:42:kernel(int*)", "0x150 in kernel(int*)": as versions before 2023 write it.
    re.compile(r"0x[0-9a-f]+ in (?:.+?):(?P<line>\d+):(?P<kernel>[^:].*)$"),
    re.compile(r"0x[0-9a-f]+ in (?P<kernel>.+)$"),
    # "kernel(int *)+0x50 in file.cu:41", "kernel():0x160 in file.cu:6", "kernel+0x50"
    re.compile(r"(?P<kernel>.+?)(?:\+|:)0x[0-9a-f]+(?: in .+:(?P<line>\d+))?$"),
)
_ADDRESS = re.compile(r"A(?:ddress|ccess (?:to|at)) (0x[0-9a-f]+) is ")
_HAZARDS = re.compile(r"\s*\[[\d,]+ hazards?\]$")


def parsed(tool: Tool, log: str) -> Iterator[Finding]:
    """The errors in the text of a log. Warnings are none, nor what is said of calls to the driver."""
    for head, details in _records(log):
        if invalid := _INVALID.match(head):
            yield _access(tool, head, invalid[2], details, is_global=invalid[1] == "global")
        elif _RACE.match(head):
            yield _race(tool, head, details)


def _records(log: str) -> Iterator[tuple[str, list[str]]]:
    """Each message with the indented lines below it."""
    head, details = "", list[str]()
    for text in _RECORD.findall(log):
        if text.startswith("   ") and head:
            details.append(text.strip())
        else:
            if head:
                yield head, details
            head, details = text.strip(), []
    if head:
        yield head, details


def _access(tool: Tool, head: str, access: str, details: list[str], *, is_global: bool) -> Finding:
    place = next((one.removeprefix("at ") for one in details if one.startswith("at ")), "")
    kernel, line = _place(place)
    address = next((found for one in details if (found := _ADDRESS.match(one))), None)
    return Finding(
        tool=tool,
        says="; ".join([head, *details])[:_MESSAGE_CHARACTERS],
        kernel=kernel,
        access=access,
        line=line,
        address=int(address[1], 16) if address and is_global else None,
        is_misaligned=any("misaligned" in one for one in details),
    )


def _race(tool: Tool, head: str, details: list[str]) -> Finding:
    kernel, line = _place(_HAZARDS.sub("", head.partition(" access at ")[2]))
    return Finding(tool, "; ".join([head, *details])[:_MESSAGE_CHARACTERS], kernel, line=line)


def _place(text: str) -> tuple[str, int | None]:
    """The kernel's name without its parameters, and the line where the log tells it."""
    for pattern in _PLACES:
        if found := pattern.match(text):
            line = found.groupdict().get("line")
            return found["kernel"].partition("(")[0].strip()[:200], int(line) if line else None
    return "", None


def _last_words(text: str) -> str:
    """The last line that says something."""
    lines = [line.removeprefix("=========").strip() for line in text.splitlines()]
    told = [line for line in lines if line and line != "COMPUTE-SANITIZER" and "SUMMARY" not in line]
    return told[-1] if told else ""
