"""Reading what models write."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve_core.propose.model.answer import Candidate, read_answer
from evolve_core.propose.model.blocks import Edit, Problem, apply_edits, find_edits
from evolve_core.source.model import Language

EXAMPLES = Path(__file__).parents[3] / "examples"
SOFTMAX = (EXAMPLES / "softmax.py").read_text()
SAXPY = (EXAMPLES / "saxpy.cu").read_text()
OLD = "    numerator = tl.exp(x)"
NEW = "    numerator = tl.exp2(x * 1.4426950408889634)"
EXPECTED = SOFTMAX.replace(OLD, NEW)


def read(text: str, source: str = SOFTMAX) -> Candidate | Problem:
    return read_answer(text, source, Language.TRITON, ("softmax_kernel",))


def edit(old: str = OLD, new: str = NEW) -> str:
    return f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"


@pytest.mark.parametrize(
    "text",
    [
        f"SUMMARY: exp2 instead of exp\n{edit()}",
        f"**Summary:** exp2 instead of exp\n\n```python\n{edit()}\n```\nThat is all.",
        f"SUMMARY: `exp2` instead of exp\r\n{edit()}".replace("\n", "\r\n"),
        f"SUMMARY: exp2 instead of exp\n{edit().replace('<<<<<<<', '<<<<<').replace('>>>>>>> REPLACE', '>>>>>>>>>')}",
        f"# exp2 instead of exp\n{edit(OLD.strip(), NEW.strip())}",
        f"SUMMARY: exp2 instead of exp\n{edit(OLD + '   ', NEW)}",
        f"SUMMARY: exp2 instead of exp\n{edit(chr(10) + OLD + chr(10), chr(10) + NEW + chr(10))}",
        f"SUMMARY: exp2 instead of exp\n{edit('tl.exp(x)', 'tl.exp2(x * 1.4426950408889634)')}",
        f"exp2 instead of exp\n```python\n{EXPECTED}```",
        f"exp2 instead of exp\n~~~\n{EXPECTED}~~~\n",
    ],
)
def test_one_change_in_many_forms(text: str) -> None:
    found = read(text)
    assert isinstance(found, Candidate), found
    assert found.source.rstrip() == EXPECTED.rstrip()
    assert found.summary == "exp2 instead of exp"


def test_a_function_replaces_the_one_of_its_name_and_brings_its_helpers() -> None:
    kernel = EXPECTED[EXPECTED.index("@triton.jit") : EXPECTED.index("\n\n\ndef softmax(")]
    helper = "@triton.jit\ndef scaled(x):\n    return x * 1.4426950408889634"
    kernel = kernel.replace("x * 1.4426950408889634", "scaled(x)")
    found = read(f"A helper.\n```python\n{helper}\n\n\n{kernel}\n```\n")
    assert isinstance(found, Candidate)
    names = [n.name for n in ast.parse(found.source).body if isinstance(n, ast.FunctionDef)]
    assert names == ["scaled", "softmax_kernel", "softmax"]
    assert "tl.exp2(scaled(x))" in found.source
    assert found.source.startswith(SOFTMAX[: SOFTMAX.index("@triton.jit")])
    assert found.source.count("@triton.jit") == 2


def test_several_edits_are_applied_in_order() -> None:
    launch = "    softmax_kernel[(n_rows,)](x, out, x.stride(0), out.stride(0), n_cols, BLOCK=BLOCK)"
    found = read(f"{edit()}\n{edit(launch, launch.replace('BLOCK=BLOCK', 'BLOCK=BLOCK, num_warps=8'))}")
    assert isinstance(found, Candidate)
    assert "exp2" in found.source and "num_warps=8" in found.source


def test_a_method_shown_without_its_indentation_is_put_back_in_place() -> None:
    source = "class A:\n    def f(self):\n        a = 1\n        return a\n"
    changed = apply_edits(source, [Edit("def f(self):\n    a = 1", "def f(self):\n    a = 2\n    b = 3")])
    assert changed == "class A:\n    def f(self):\n        a = 2\n        b = 3\n        return a\n"


def test_indentation_that_differs_from_line_to_line_is_not_guessed() -> None:
    changed = apply_edits("if a:\n    b()\nc()\n", [Edit("if a:\n    b()\n    c()", "d()")])
    assert isinstance(changed, Problem)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("I would use exp2.", "neither SEARCH/REPLACE edits nor a code block"),
        ("", "neither SEARCH/REPLACE edits nor a code block"),
        (edit("    nothing = here"), r"edit 1: its SEARCH part is not in the source.*nothing = here"),
        (f"{edit()}\n{edit()}", "edit 2: its SEARCH part is not in the source"),
        (edit("    n_rows, n_cols = x.shape\n    n_rows = 2"), "no such lines at 'n_rows = 2'"),
        (edit(""), "SEARCH part is empty"),
        (edit(OLD, OLD), "changes nothing"),
        (edit(OLD, "    numerator = tl.exp2(("), "no longer parses"),
        (edit("def softmax_kernel(", "def other_kernel("), "the kernel softmax_kernel is gone"),
        (edit()[:-20], "never ends: its >>>>>>> REPLACE line is missing"),
        ("<<<<<<< SEARCH\nx", "never ends: its ======= line is missing"),
        ("```python\ndef f(:\n```", "the code block does not parse"),
        ("```python\ndef unknown():\n    pass\n```", "none of the file's functions"),
    ],
)
def test_a_problem_says_what_is_wrong(text: str, complaint: str) -> None:
    found = read(text)
    assert isinstance(found, Problem)
    import re

    assert re.search(complaint, found.message), found.message


def test_an_edit_that_fits_twice_is_refused() -> None:
    found = apply_edits("a = 1\nb = 2\na = 1\n", [Edit("a = 1", "a = 2")])
    assert found == Problem("edit 1: its SEARCH part occurs 2 times, first at 'a = 1'; add lines")


def test_cuda_takes_edits_and_whole_files() -> None:
    line = "        out[i] = a * x[i] + y[i];"
    changed = SAXPY.replace(line, "        out[i] = fmaf(a, x[i], y[i]);")
    for text in (edit(line, "        out[i] = fmaf(a, x[i], y[i]);"), f"```cuda\n{changed}```"):
        found = read_answer(text, SAXPY, Language.CUDA, ("saxpy",))
        assert isinstance(found, Candidate)
        assert found.source == changed
    part = read_answer("```cuda\nout[i] = 1;\n```", SAXPY, Language.CUDA, ("saxpy",))
    assert isinstance(part, Problem)


def test_a_summary_is_one_short_line() -> None:
    found = read(f"SUMMARY: {'very ' * 60}fast\n{edit()}")
    assert isinstance(found, Candidate)
    assert len(found.summary) == 100 and found.summary.endswith("…")


@given(st.text(alphabet=st.sampled_from("<>=` \nabSEARCHREPLACE"), max_size=300))
def test_no_text_is_too_strange(text: str) -> None:
    assert isinstance(read(text), Candidate | Problem)


LINES = st.lists(st.text(alphabet="ab ()=", max_size=6), min_size=1, max_size=12)


@given(LINES, st.data())
def test_an_edit_changes_its_lines_and_no_others(lines: list[str], data: st.DataObject) -> None:
    numbered = [f"{n}:{line}" for n, line in enumerate(lines)]
    start = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(start + 1, len(lines)))
    edits = find_edits(edit("\n".join(numbered[start:end]), "new"))
    assert isinstance(edits, list)
    assert apply_edits("\n".join(numbered), edits) == "\n".join([*numbered[:start], "new", *numbered[end:]])
