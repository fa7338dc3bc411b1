"""Edits of whole lines, and a candidate's change carried over to what the user has typed since."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve_core.source.edit import OverlappingEdits, apply_edits, line_edits, rebase, unified_diff
from evolve_core.source.model import TextEdit

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "d\x0c\u2028e\n", "f\r\n"]), max_size=12)
TEXTS = st.builds(lambda lines, tail: "".join(lines) + tail, LINES, st.sampled_from(["", "z"]))


@given(TEXTS, TEXTS)
def test_edits_turn_one_text_into_the_other(old: str, new: str) -> None:
    assert apply_edits(old, line_edits(old, new)) == new


@given(TEXTS, TEXTS)
def test_on_the_base_the_candidate_comes_out_exactly(base: str, candidate: str) -> None:
    edits = rebase(base, candidate, base)
    assert edits is not None
    assert apply_edits(base, edits) == candidate


@given(TEXTS, TEXTS)
def test_a_change_made_already_is_not_made_again(base: str, candidate: str) -> None:
    assert rebase(base, candidate, candidate) == ()


@given(LINES, LINES, LINES, LINES, LINES)
def test_changes_apart_merge(
    head: list[str], new_head: list[str], tail: list[str], new_tail: list[str], gap: list[str]
) -> None:
    # Unique lines between the two changes keep them apart whatever the rest looks like.
    fence = [f"fence {i}\n" for i in range(3)]
    middle = [*fence, *gap, "more\n", *fence]

    def text(first: list[str], last: list[str]) -> str:
        return "".join(["top\n", *first, "x\n", *middle, "y\n", *last, "end\n"])

    edits = rebase(text(head, tail), text(head, new_tail), text(new_head, tail))
    assert edits is not None
    assert apply_edits(text(new_head, tail), edits) == text(new_head, new_tail)


@given(TEXTS, TEXTS, TEXTS)
def test_a_merge_never_loses_a_line_of_the_user(base: str, candidate: str, current: str) -> None:
    edits = rebase(base, candidate, current)
    if edits is None:
        return
    # Applied once more from the candidate's side, the user's own edits are all still there.
    result = apply_edits(current, edits)
    back = rebase(base, current, candidate)
    assert back is not None
    assert apply_edits(candidate, back) == result


@pytest.mark.parametrize(
    ("candidate", "current"),
    [
        ("a\nB\nc\n", "a\nX\nc\n"),
        ("a\nB\nc\n", "a\nb\nC\n"),
        ("a\nb\nnew\nc\n", "a\nb\nother\nc\n"),
        ("a\nc\n", "a\nb2\nc\n"),
        ("A\nB\nC\n", "a\nb\nc\nd\n"),
    ],
)
def test_overlapping_changes_conflict(candidate: str, current: str) -> None:
    assert rebase("a\nb\nc\n", candidate, current) is None


def test_lines_move_with_what_the_user_typed_above() -> None:
    edits = rebase("a\nb\nc\nd\n", "a\nb\nc\nD\n", "new\na\nb\nc\nd\n")
    assert edits == (TextEdit(4, 5, "D\n"),)


def test_overlapping_edits_are_refused() -> None:
    with pytest.raises(OverlappingEdits, match="line 2"):
        apply_edits("a\nb\nc\n", [TextEdit(0, 2, "x\n"), TextEdit(1, 3, "y\n")])


@pytest.mark.parametrize(
    ("base", "candidate"),
    [
        ("a\nb\nc\n", "a\nB\nc\n"),
        ("a\nb", "a\nb\n"),
        ("a\nb\n", "a\nB"),
        ("", "a\n"),
        ("a\n", ""),
        ("a\r\nb\r\n", "a\r\nc\r\n"),
    ],
)
def test_a_diff_is_one_that_patch_takes(base: str, candidate: str, tmp_path: Path) -> None:
    patch = shutil.which("git")
    assert patch is not None
    (tmp_path / "k.py").write_bytes(base.encode())
    (tmp_path / "k.diff").write_bytes(unified_diff(base, candidate, "k.py").encode())
    subprocess.run([patch, "apply", "--unsafe-paths", "k.diff"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "k.py").read_bytes() == candidate.encode()


def test_no_change_is_no_diff() -> None:
    assert unified_diff("a\n", "a\n", "k.py") == ""


def test_a_small_change_in_a_long_file_is_a_small_edit() -> None:
    lines = [f"line {i}\n" for i in range(50_000)]
    changed = lines.copy()
    changed[30_000] = "other\n"
    assert line_edits("".join(lines), "".join(changed)) == (TextEdit(30_000, 30_001, "other\n"),)
