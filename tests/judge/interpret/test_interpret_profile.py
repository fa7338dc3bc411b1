"""Work profiles against counts that can be made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def profile(ask: Callable, entry: str, inputs: str, module: str = "kernels") -> dict:
    answer = ask(entry, inputs, "profile", module)
    assert "value" in answer, answer
    (launch,) = answer["value"]
    return launch


def test_every_byte_of_an_addition(ask: Callable) -> None:
    work = profile(ask, "add", '{"a": torch.zeros(1 << 20), "b": torch.zeros(1 << 20), "n": 1 << 20}')
    per_program = work["per_program"]
    assert (work["grid"], work["programs"]) == ([4096, 1, 1], 4096)
    assert (per_program["load_bytes"], per_program["store_bytes"]) == (2 * 256 * 4, 256 * 4)
    assert (per_program["load_sectors"], per_program["store_sectors"]) == (2 * 32, 32)
    assert per_program["unique_sectors"] == 2 * 32
    assert per_program["fp_ops"] == 256
    assert work["compulsory_bytes"] == 3 * 4 * (1 << 20)
    assert work["wave_unique_sectors"]["sectors"] == work["wave_unique_sectors"]["programs"] * 64
    assert work["out_of_bounds"] == []


def test_a_load_after_a_reduction_is_another_trip_to_memory(ask: Callable) -> None:
    assert profile(ask, "softmax", '{"x": torch.zeros(64, 256)}', "softmax")["per_program"]["memory_trips"] == 1
    assert profile(ask, "reload", '{"x": torch.zeros(64)}')["per_program"]["memory_trips"] == 2


@pytest.mark.parametrize(
    ("stride", "sectors", "lines"), [(1, 32, 8), (2, 64, 16), (8, 256, 64), (16, 256, 128), (32, 256, 256)]
)
def test_strided_lanes_touch_more_sectors_for_the_same_bytes(
    ask: Callable, stride: int, sectors: int, lines: int
) -> None:
    tensor = f"torch.zeros({4096 * stride})"
    work = profile(ask, "add", f'{{"a": {tensor}, "b": {tensor}, "n": 4096, "stride": {stride}}}')["per_program"]
    assert work["load_bytes"] == 2 * 256 * 4
    assert work["load_sectors"] == 2 * sectors
    assert work["load_lines"] == 2 * lines


def test_the_last_program_counts_for_itself_only(ask: Callable) -> None:
    work = profile(ask, "add", '{"a": torch.zeros(1000), "b": torch.zeros(1000), "n": 1000}')
    assert work["programs"] * work["per_program"]["store_bytes"] == 1000 * 4
    assert work["compulsory_bytes"] == 3 * 1000 * 4


def test_rows_that_share_a_weight(ask: Callable) -> None:
    work = profile(ask, "row_sums", '{"x": torch.zeros(512, 1024), "weight": torch.zeros(64)}')
    per_program = work["per_program"]
    assert (per_program["loop_steps"], per_program["loops"], per_program["reductions"]) == (16, 1, 1)
    assert per_program["unique_sectors"] == 1024 * 4 / 32 + 8
    # Sixteen steps each wait for their load; the weight leaves with the last of them.
    assert per_program["memory_trips"] == 16
    # The row's sums of 16 steps, then 64 products and 64 additions of the reduction.
    assert per_program["fp_ops"] == 16 * 64 + 64 + 64
    assert work["compulsory_bytes"] == pytest.approx(512 * 1024 * 4 + 64 * 4 + 512 * 4)
    wave = work["wave_unique_sectors"]
    # The weight is read after the first loop, where the wave's programs have ended: two neighbours told it is shared.
    assert wave["sectors"] == wave["programs"] * 128 + 8


def test_loops_count_their_steps_and_unrolled_ones_do_not(ask: Callable) -> None:
    work = profile(ask, "loops", '{"outer": 5, "inner": 100}')["per_program"]
    assert work["loop_steps"] == 5 + 5 * 2  # the inner loop breaks in its second step
    assert work["loops"] == 1 + 5


def test_a_loop_that_is_cut_short_stands_for_all_of_its_steps(ask: Callable) -> None:
    steps = 50_000
    work = profile(ask, "long_loop", f'{{"x": torch.zeros({steps * 64})}}')["per_program"]
    assert work["loop_steps"] == pytest.approx(steps)
    assert work["load_bytes"] == pytest.approx(steps * 64 * 4)
    assert work["unique_sectors"] == pytest.approx(steps * 8)


@pytest.mark.parametrize(
    ("dtype", "precision", "kind", "passes"),
    [("float16", "tf32", "fp16", 1), ("bfloat16", "tf32", "bf16", 1), ("float32", "tf32", "tf32", 1),
     ("float32", "tf32x3", "tf32", 3), ("float32", "ieee", "fp32", 1)],
)  # fmt: skip
def test_matrix_products_by_dtype(ask: Callable, dtype: str, precision: str, kind: str, passes: int) -> None:
    tensors = f'"a": torch.zeros(32, 128, dtype=torch.{dtype}), "b": torch.zeros(128, 16, dtype=torch.{dtype})'
    work = profile(ask, "dot", f'{{{tensors}, "precision": "{precision}"}}')["per_program"]
    assert work["dot_flops"] == {kind: 2 * 32 * 16 * 128 * passes}
    assert work["dot_tile"] == [32, 16, 16]
    assert work["fp_ops"] == 0  # accumulating is part of the matrix instruction


def test_a_division_by_a_constant_is_cheaper_than_by_a_value(ask: Callable) -> None:
    inputs = '{"x": torch.ones(64, dtype=torch.int32), "fixed": %s}'
    fixed, free = (profile(ask, "divisions", inputs % f)["per_program"]["int_ops"] for f in ("True", "False"))
    assert fixed < free


def test_grouped_program_order_shows_in_the_wave(ask: Callable) -> None:
    matrices = '{"a": torch.zeros(1024, 1024).half(), "b": torch.zeros(1024, 1024).half()}'
    work = profile(ask, "matmul", matrices, "matmul")
    wave = work["wave_unique_sectors"]
    # 64×64 tiles, row-major: n programs need every column tile once, and n/16 row tiles.
    tile = 64 * 1024 * 2 / 32
    assert wave["programs"] > 16
    assert wave["sectors"] == pytest.approx(tile * (16 + -(-wave["programs"] // 16)), rel=0.01)
    assert work["per_program"]["unique_sectors"] == 2 * tile
    assert work["compulsory_bytes"] == 3 * 1024 * 1024 * 2


def test_an_index_that_wraps_at_real_size_is_reported_and_nothing_crashes(ask: Callable, marked_line: Callable) -> None:
    work = profile(ask, "large_rows", '{"x": torch.empty(70000, 40000, dtype=torch.int8)}')
    (stray,) = work["out_of_bounds"]
    assert (stray["tensor"], stray["line"]) == ("x_ptr", marked_line("overflow"))


def test_launches_come_in_order(ask: Callable) -> None:
    first, second = ask("two_launches", '{"x": torch.zeros(512, 256)}', "profile")["value"]
    assert (first["launch"], first["kernel"]) == (0, "row_sums_kernel")
    assert (second["launch"], second["kernel"]) == (1, "add_kernel")


def test_what_the_entry_raises_comes_through(ask: Callable, marked_line: Callable) -> None:
    assert ask("host_error", '{"x": 1}', "profile")["raised"][1] == marked_line("host")
