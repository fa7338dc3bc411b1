"""Whose a line of a traceback is."""

from __future__ import annotations

from pathlib import Path

import pytest

from evolve_core.judge.host import loading

OURS = Path(loading.__file__).resolve().parent


def raised_in(file: Path) -> BaseException:
    with pytest.raises(ValueError, match="x") as caught:
        exec(compile("raise ValueError('x')", str(file), "exec"))
    return caught.value


def test_a_folder_that_is_only_called_like_ours_is_the_users() -> None:
    file = OURS.with_name(f"{OURS.name}2") / "helper.py"
    place = loading.raised_at(raised_in(file))
    assert place is not None and place.file == file


def test_our_own_lines_are_not_the_users() -> None:
    # The frame around it is this test's, which is a user's.
    place = loading.raised_at(raised_in(OURS / "loading.py"))
    assert place is not None and place.file == Path(__file__)
