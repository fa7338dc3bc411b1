"""What is decided of mutants' figures, how it is said, kept and read back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from evolve_core.judge.observation import OutputCheck
from evolve_core.judge.teeth import (
    NEXT_STEP,
    Figure,
    SeenTeeth,
    State,
    Teeth,
    Tooth,
    check_on,
    decide,
    refusal,
    warnings,
)
from evolve_core.judge.teeth_record import as_record, contradiction, from_record, keep, kept, key_of

RIGHT = OutputCheck(
    "out", True, True, True, True, False, True, exact=False, n=1000,
    max_abs_truth=3.0, rms_truth=1.0, max_error=1e-7, rms_error=5e-8, mean_error=0.0, signed_error=0.0,
    native_max=1e-7, native_rms=5e-8, native_mean=0.0, native_signed=0.0, ulp=2.4e-7,
)  # fmt: skip
"""An fp32 output with the user's own kernel's errors."""
BF16 = replace(RIGHT, ulp=2.0**-6, native_max=4e-3, native_rms=1e-3, max_error=4e-3, rms_error=1e-3, n=1)
OFF = replace(RIGHT, max_error=0.5, rms_error=0.1)


def figure(name: str, output: OutputCheck = RIGHT, moved: float = 0.0) -> Figure:
    return Figure(name, moved, check_on({"id": "c0", "label": "x=float32[10,100]", "seed": 5, "recipe": {}}, (output,)))


def seen(*mutants: Figure, honest=(), inputs=None, hidden=None, why_not="") -> SeenTeeth:
    honest = (figure("your kernel"), *honest)
    return SeenTeeth(mutants, honest, inputs or {}, hidden or {}, False, why_not)


def states(teeth: Teeth) -> dict[str, State]:
    return {tooth.mutant: tooth.state for tooth in teeth.teeth}


def test_one_workload_that_catches_a_mutant_is_enough():
    teeth = decide(seen(figure("zeros", RIGHT, 1.0), figure("zeros", OFF, 1.0)))
    assert states(teeth)["zeros"] is State.CAUGHT and not teeth.missed and refusal(teeth) == ""


def test_a_mutant_that_passes_is_named_with_the_next_step():
    teeth = decide(seen(figure("times 1.005", BF16, 0.005)))
    assert states(teeth)["times 1.005"] is State.MISSED
    said = refusal(teeth)
    assert said.startswith("unverified: this tolerance has no teeth.")
    assert "(times 1.005 in out)" in said and NEXT_STEP["times 1.005"] in said and "off by 0.004" in said


def test_all_mutants_that_pass_are_named():
    teeth = decide(seen(figure("times 1.005", BF16, 0.005), figure("zeros", BF16, 1.0)))
    assert "(times 1.005 in out, as would zeros)" in refusal(teeth)


@pytest.mark.parametrize("moved", [0.0, 2.0**-10])
def test_what_coincides_or_is_finer_than_the_type_is_no_mutant(moved):
    teeth = decide(seen(figure("two rows swapped", BF16, moved)))
    assert states(teeth)["two rows swapped"] is State.LEFT_OUT and not teeth.missed


def test_what_only_the_drawn_values_hide_is_missed():
    alike = figure("two rows swapped")
    teeth = decide(seen(alike, hidden={("two rows swapped", "out"): 0.2}))
    assert states(teeth)["two rows swapped"] is State.MISSED
    assert "right on every workload, and wrong on other values" in refusal(teeth)
    of_another_output = decide(seen(alike, hidden={("two rows swapped", "out[1]"): 0.2}))
    assert not of_another_output.missed


def test_a_precision_that_the_users_own_kernel_has_may_be_had():
    coarse = replace(RIGHT, native_max=1e-3, native_rms=3e-4, max_error=2e-3, rms_error=5e-4)
    assert states(decide(seen(figure("inputs in tf32", coarse, 1e-3))))["inputs in tf32"] is State.LEFT_OUT
    assert states(decide(seen(figure("last 1 % dropped", coarse, 1e-3))))["last 1 % dropped"] is State.MISSED


def test_mutants_that_could_not_be_made_are_left_out_with_the_reason():
    left = {tooth.mutant: tooth.reason for tooth in decide(seen(figure("zeros", OFF, 1.0))).teeth}
    assert left["eps dropped"] == "no eps can be told in the task"
    assert left["inputs in tf32"] == "no input is fp32"


def test_outputs_are_told_apart():
    second = figure("zeros", replace(OFF, name="out[1]"), 1.0)
    teeth = decide(seen(figure("zeros", BF16, 1.0), second))
    assert [(tooth.output, tooth.state) for tooth in teeth.teeth if tooth.mutant == "zeros"] == [
        ("out", State.MISSED), ("out[1]", State.CAUGHT),
    ]  # fmt: skip


def test_warnings():
    poor = figure("reference() in fp32", OFF)
    teeth = decide(seen(honest=(poor,), inputs={"x": 0.3, "bias": 0.0, "mode": None}, why_not="it crashed"))
    ignored, doubted, unseen = warnings(teeth)
    assert ignored.startswith("input bias never moves reference(), so that a candidate could ignore it")
    assert doubted.startswith("reference() in fp32 would be rejected on x=float32[10,100]: max error of out 0.5")
    assert "could not be looked at in full: it crashed" in unseen
    assert warnings(decide(seen(inputs={"x": 0.3}))) == ()


SOME = decide(seen(figure("zeros", OFF, 1.0), inputs={"bias": 0.0}))


def test_a_record_is_read_back_whole():
    again = from_record(json.loads(json.dumps(as_record(SOME))))
    assert again == SOME and contradiction(again) == ""


def test_a_record_that_contradicts_its_figures_is_noticed():
    forged = Teeth((Tooth("zeros", "out", State.CAUGHT, "max error", figure("zeros").check),))
    assert "'zeros' was not caught" in contradiction(forged)
    assert contradiction(Teeth((Tooth("zeros", "out", State.CAUGHT, "max error"),)))


def test_what_was_found_is_kept_and_a_refusal_is_not(tmp_path):
    keep(tmp_path, "a", SOME)
    assert kept(tmp_path, "a") == SOME and kept(tmp_path, "b") is None
    keep(tmp_path, "b", decide(seen(figure("zeros", BF16, 1.0))))
    keep(tmp_path, "b", decide(seen(why_not="it crashed")))
    assert kept(tmp_path, "b") is None
    (tmp_path / "a.json").write_text('{"mutants": [{}]}')
    assert kept(tmp_path, "a") is None


def test_a_key_tells_its_parts_apart():
    assert len({key_of(parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("ab", "c", "")]}) == 4
