"""Each mutant of judge/host/mutants.py is what its name says, and the honest evaluations are honest."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch

from evolve_core.judge.host.mutants import (
    CONSTANT_MEAN,
    FP16,
    NO_EPS,
    PASSED_THROUGH,
    ROWS_SWAPPED,
    SAME,
    SCALED,
    TAIL_DROPPED,
    TF32,
    ZEROS,
    Mutant,
    Scene,
    distance,
    mutants_of,
)
from evolve_core.judge.host.probing import moved_by, mutants_on_other_values, perturbed
from evolve_core.judge.host.small_constants import EpsDropped, without_small_constants, without_small_inputs
from evolve_core.judge.host.tasks import TaskModule
from evolve_core.judge.host.teeth import figures_of, in_fp32, scene_of
from evolve_core.judge.host.truths import reference_truth


def task_with(reference) -> TaskModule:
    module = types.ModuleType("made")
    module.__dict__["reference"] = reference
    return TaskModule(Path("made.evolve.py"), Path("made"), module)


def scene_with(reference, inputs, native=None, bare=None) -> Scene:
    task = task_with(reference)
    truth = reference_truth(task, inputs, None)
    own = native if native is not None else in_fp32(task, inputs, None, None)
    return scene_of(task, task_with(bare) if bare else None, inputs, None, truth, own)


def made(scene: Scene) -> dict[str, Mutant]:
    return {mutant.name: mutant for mutant in mutants_of(scene)}


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def softmax(x):
    return torch.softmax(x, -1)


def test_mutants_made_of_the_output():
    x = noise(4, 6)
    found = made(scene_with(softmax, {"x": x}))
    right = torch.softmax(x, -1)
    outputs = {name: mutant.outputs[0][1] for name, mutant in found.items()}
    assert not outputs[ZEROS].any()
    assert torch.allclose(outputs[CONSTANT_MEAN], torch.full_like(right, 1 / 6))
    assert torch.allclose(outputs[SCALED], right * 1.005) and not torch.equal(outputs[SCALED], right)
    assert torch.equal(outputs[PASSED_THROUGH], x)
    assert torch.equal(outputs[ROWS_SWAPPED], right[[1, 0, 2, 3]])
    assert all(output.dtype == torch.float32 and output.shape == right.shape for output in outputs.values())
    assert found[SCALED].moved == pytest.approx(0.005, rel=1e-3)


def test_the_row_that_is_swapped_differs():
    out = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]])
    swapped = made(Scene({}, [("out", out)], [("out", out)]))[ROWS_SWAPPED]
    assert torch.equal(swapped.outputs[0][1], out[[2, 1, 0]])


@pytest.mark.parametrize("out", [torch.ones(3, 2), torch.tensor(2.0), torch.tensor([[5.0]])])
def test_equal_rows_make_no_mutant_that_could_be_told(out):
    assert made(Scene({}, [("out", out)], [("out", out)]))[ROWS_SWAPPED].moved == 0.0


def test_integers_have_neither_mean_nor_factor():
    out = torch.arange(6)
    assert set(made(Scene({"x": out}, [("out", out)], [("out", out)]))) == {ZEROS, ROWS_SWAPPED, PASSED_THROUGH}


def test_dropping_finds_the_axis_that_is_reduced():
    a, b = noise(300, 200), noise(200, 100)
    dropped = [m for m in mutants_of(scene_with(torch.matmul, {"input": a, "other": b})) if m.name == TAIL_DROPPED]
    short = a[:, :198] @ b[:198]
    assert any(torch.allclose(mutant.outputs[0][1], short, atol=1e-4) for mutant in dropped)
    assert sum(mutant.moved > SAME for mutant in dropped) == 1, "rows and columns that are left are right as they are"


def test_what_lies_beyond_the_dropped_part_is_right():
    x = noise(5, 100)
    scene = scene_with(softmax, {"x": x})
    (dropped,) = [m for m in mutants_of(scene) if m.name == TAIL_DROPPED and m.moved > SAME]
    out = dropped.outputs[0][1]
    assert torch.allclose(out[:, :99], torch.softmax(x[:, :99], -1))
    assert torch.allclose(out[:, 99:], torch.softmax(x, -1)[:, 99:])


def test_where_dropping_changes_nothing_the_end_is_zero():
    x = noise(400)
    dropped = made(scene_with(lambda x: x * 2, {"x": x}))[TAIL_DROPPED]
    assert torch.equal(dropped.outputs[0][1][:396], x[:396] * 2) and not dropped.outputs[0][1][396:].any()


def test_poorer_types():
    x = torch.tensor([1 + 2.0**-12, 1 + 2.0**-10, 7e4, float("inf")])
    found = made(scene_with(lambda x: x * 1, {"x": x}))
    assert found[FP16].outputs[0][1].tolist() == [1.0, 1 + 2.0**-10, float("inf"), float("inf")]
    assert found[TF32].outputs[0][1].tolist() == [1.0, 1 + 2.0**-10, 70016.0, float("inf")]
    assert not {FP16, TF32} & set(made(scene_with(lambda x: x * 1, {"x": noise(8, dtype=torch.bfloat16)})))


def rms(x, eps=1e-5):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def test_an_eps_among_the_inputs_is_dropped():
    x = noise(3, 8) * 1e-3
    found = made(scene_with(rms, {"x": x, "eps": 1e-5}))
    assert torch.allclose(found[NO_EPS].outputs[0][1], rms(x, 0.0))
    assert without_small_inputs({"x": x, "slope": 0.5, "n": 1}) is None


def test_an_eps_in_the_text_is_dropped():
    text = "EPS = 1e-6\n\ndef reference(x, slope=0.01, eps=1e-5):\n    return x * slope + eps + EPS\n"
    names: dict = {}
    exec(without_small_constants(text), names)
    assert names["reference"](2.0) == 0.02
    assert without_small_constants("def reference(x):\n    return x * 0.5 + 0.0\n") is None


def test_an_eps_of_torch_s_own_is_dropped():
    x = noise(3, 8) * 1e-3
    with EpsDropped() as dropped:
        got = torch.nn.functional.layer_norm(x, (8,), eps=1e-5)
    assert dropped.found and torch.allclose(got.std(-1, unbiased=False), torch.ones(3), atol=1e-4)
    found = made(scene_with(lambda x: torch.nn.functional.layer_norm(x, (8,)), {"x": x}))
    assert found[NO_EPS].moved > 0.1


def test_where_no_eps_can_be_told_there_is_no_such_mutant():
    assert NO_EPS not in made(scene_with(softmax, {"x": noise(2, 3)}))


def test_a_reference_that_takes_no_other_inputs_has_only_mutants_of_its_output():
    def picky(x):
        if x.shape != (2, 3) or x[1, 2] == 0:
            raise ValueError("only these")
        return x.double()

    inputs = {"x": noise(2, 3, dtype=torch.bfloat16)}
    assert TAIL_DROPPED not in made(scene_with(picky, inputs))


def test_distance():
    assert distance(torch.tensor([1.0, 2.1]), torch.tensor([1.0, 2.0])) == pytest.approx(0.05)
    assert distance(torch.tensor([0.0]), torch.tensor([0.0])) == 0.0
    assert distance(torch.tensor([1.0]), torch.tensor([0.0])) == float("inf")
    assert distance(torch.tensor([1.0]), torch.tensor([float("nan")])) == float("inf")
    assert distance(torch.tensor([3]), torch.tensor([2])) == 0.5


@pytest.mark.parametrize(
    "value",
    [
        noise(3, 4), noise(5, dtype=torch.float16), torch.zeros(4), torch.tensor([3, 1, 2]),
        torch.ones(3, dtype=torch.int32), torch.tensor([5]), torch.ones(2, dtype=torch.bool), torch.tensor(2.0),
    ],
)  # fmt: skip
def test_perturbed_values_are_others_of_the_same_kind(value):
    others = perturbed(value)
    assert others
    for other in others:
        assert other.shape == value.shape and other.dtype == value.dtype
        assert bool((other != value).any()) and bool(torch.isfinite(other.double()).all())


def test_what_is_no_data_is_not_perturbed():
    assert perturbed(3) == perturbed("sum") == perturbed(None) == perturbed(torch.empty(0)) == []
    assert perturbed(0.5) == [0.55]


def test_indices_stay_among_those_that_were_drawn():
    rows = torch.tensor([4, 0, 4, 1])
    assert all(set(other.tolist()) <= {0, 1, 4} for other in perturbed(rows))


def test_inputs_that_matter_and_one_that_does_not():
    def reference(table, rows, scale, unused):
        return table[rows] * scale + 0 * unused.sum()

    inputs = {"table": noise(5, 3), "rows": torch.tensor([0, 4, 2]), "scale": 2.0, "unused": noise(7)}
    scene = scene_with(reference, inputs)
    moved = {name: moved_by(scene, scene.ask, name) for name in inputs}
    assert all(moved[name] > 0.01 for name in ("table", "rows", "scale")) and moved["unused"] == 0.0


def test_values_that_hide_a_mutant_show_it_elsewhere():
    alike = scene_with(lambda x: x * 3, {"x": torch.ones(4, 5)})
    assert made(alike)[ROWS_SWAPPED].moved == 0.0
    assert mutants_on_other_values(alike)[ROWS_SWAPPED, "out"] > 0.01
    constant = scene_with(torch.ones_like, {"input": noise(4, 5)})
    assert mutants_on_other_values(constant)[ROWS_SWAPPED, "out"] == 0.0


def test_honest_evaluations_are_near_the_truth():
    x, weight = noise(6, 50, dtype=torch.float16), noise(50, dtype=torch.float16)
    task = task_with(lambda x, weight: torch.softmax(x * weight, -1))
    scene = scene_with(task.module.reference, {"x": x, "weight": weight})
    honest = [one for one in figures_of(scene) if one["kind"] == "honest"]
    assert [one["name"] for one in honest] == [
        "your kernel", "reference() in fp32", "reference() in fp32, from the other end",
    ]  # fmt: skip
    assert all(one["outputs"][0]["rms_error"] < 2e-5 for one in honest)


def test_a_function_that_knows_its_end_is_not_reversed():
    task = task_with(lambda x: x.cumsum(-1))
    scene = scene_with(task.module.reference, {"x": noise(50)})
    honest = [one["name"] for one in figures_of(scene) if one["kind"] == "honest"]
    assert honest == ["your kernel", "reference() in fp32"]
