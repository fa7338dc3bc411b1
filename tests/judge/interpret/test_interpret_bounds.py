"""Runs in Triton's interpreter with every access checked: what is refused, and above all what is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

EXAMPLES = {
    "softmax": '{"x": torch.randn(7, 781)}',
    "layernorm": '{"x": torch.randn(3, 700).half(), "weight": torch.ones(700).half(), "bias": torch.ones(700).half()}',
    "matmul": '{"a": torch.randn(70, 90).half(), "b": torch.randn(90, 33).half()}',
    "swiglu": '{"gate": torch.randn(5, 301).half(), "up": torch.randn(5, 301).half()}',
}


def only_stray(answer: dict) -> dict:
    assert answer["value"]["result"] is None
    (stray,) = answer["value"]["out_of_bounds"]
    return stray


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_stay_inside_and_give_what_the_plain_interpreter_gives(ask: Callable, name: str) -> None:
    checked = ask(name, EXAMPLES[name], module=name)["value"]
    assert checked["out_of_bounds"] == []
    assert checked["result"] == ask(name, EXAMPLES[name], "plain", module=name)["value"]


def test_a_load_past_the_end_names_line_tensor_and_lanes(ask: Callable, marked_line: Callable) -> None:
    stray = only_stray(ask("load_past_the_end", '{"x": torch.randn(100)}'))
    assert (stray["kernel"], stray["line"], stray["tensor"], stray["access"]) == (
        "copy_without_mask",
        marked_line("load past the end"),
        "x_ptr",
        "load",
    )
    assert "float32[100]" in stray["message"]
    assert "28 of 64 active lanes" in stray["message"]
    assert "program (1, 0, 0)" in stray["message"]


def test_the_same_kernel_is_fine_where_blocks_fit(ask: Callable) -> None:
    assert ask("load_past_the_end", '{"x": torch.randn(128)}')["value"]["out_of_bounds"] == []


def test_host_code_that_swallows_everything_does_not_hide_it(ask: Callable) -> None:
    assert only_stray(ask("load_past_the_end_swallowed", '{"x": torch.randn(100)}'))["tensor"] == "x_ptr"


def test_a_store_before_the_start(ask: Callable) -> None:
    stray = only_stray(ask("store_before_the_start", '{"x": torch.randn(64)}'))
    assert (stray["access"], stray["tensor"]) == ("store", "out_ptr")
    assert "12 bytes before its start" in stray["message"]


def test_a_wild_address_is_refused_instead_of_killing_the_process(ask: Callable) -> None:
    assert only_stray(ask("store_far_away", '{"x": torch.randn(64)}'))["tensor"] == "out_ptr"


def test_an_atomic_outside(ask: Callable, marked_line: Callable) -> None:
    inputs = '{"x": torch.arange(64) %% 10, "bins": %d}'
    assert sum(ask("atomics", inputs % 10)["value"]["result"]) == 64
    stray = only_stray(ask("atomics", inputs % 9))
    assert (stray["access"], stray["line"]) == ("atomic", marked_line("atomic"))


def test_a_tensor_that_lies_behind_another_is_not_that_other(ask: Callable) -> None:
    assert ask("neighbour", '{"step": 0}')["value"]["out_of_bounds"] == []
    assert only_stray(ask("neighbour", '{"step": 64}'))["tensor"] == "a_ptr"


def test_stepping_from_a_slice_to_the_rest_of_its_storage_is_honest(ask: Callable) -> None:
    assert ask("packed", '{"qk": torch.randn(128)}')["value"]["out_of_bounds"] == []
    assert only_stray(ask("packed", '{"qk": torch.randn(127)}'))["tensor"] == "a_ptr"


def test_pointers_loaded_from_memory_may_point_to_any_live_tensor(ask: Callable) -> None:
    answer = ask("grouped", '{"lengths": [64, 64]}')["value"]
    assert answer["out_of_bounds"] == []
    assert answer["result"] == [0.0] * 64 + [1.0] * 64


def test_a_descriptor_clamps_inside_its_shape_and_is_caught_where_the_shape_lies(ask: Callable) -> None:
    assert ask("descriptor", '{"x": torch.randn(12, 16), "claimed_rows": 12}')["value"]["out_of_bounds"] == []
    assert only_stray(ask("descriptor", '{"x": torch.randn(12, 16), "claimed_rows": 16}'))["tensor"] == "x_ptr"


def test_lanes_that_are_masked_off_may_point_anywhere(ask: Callable) -> None:
    assert ask("all_lanes_off", '{"x": torch.randn(4)}')["value"]["result"] == [7.0] * 64


def test_device_assert_is_live(ask: Callable, marked_line: Callable) -> None:
    assert ask("asserted", '{"x": torch.ones(64)}')["value"]["result"] == [1.0] * 64
    message, line = ask("asserted", '{"x": torch.zeros(64)}')["raised"]
    assert "x must be positive" in message
    assert line == marked_line("assert")


def test_arithmetic_that_overflows_on_purpose_is_not_a_failure(ask: Callable) -> None:
    assert ask("overflowing")["value"]["out_of_bounds"] == []


def test_the_line_inside_a_helper_function(ask: Callable, marked_line: Callable) -> None:
    stray = only_stray(ask("through_helper", '{"x": torch.randn(63)}'))
    assert (stray["kernel"], stray["line"]) == ("uses_helper", marked_line("helper"))


def test_an_autotuned_kernel_runs_its_first_configuration(ask: Callable) -> None:
    assert ask("tuned", '{"x": torch.ones(100)}')["value"]["result"] == [2.0] * 100


def test_errors_carry_their_own_message_and_line(ask: Callable, marked_line: Callable) -> None:
    assert ask("host_error", '{"x": 1}')["raised"] == ["ValueError: the host code is wrong", marked_line("host")]
    message, line = ask("kernel_error", '{"x": torch.ones(64)}')["raised"]
    assert message == "NameError: name 'undefined_name' is not defined"
    assert line == marked_line("broken")


def test_a_grid_without_programs_runs_nothing(ask: Callable) -> None:
    assert ask("empty_grid", '{"x": torch.ones(64)}')["value"]["result"] == [0.0] * 64
