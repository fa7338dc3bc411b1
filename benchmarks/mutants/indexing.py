"""Gather and scatter, embeddings, sorting, top-k, histograms, and copies that must be bitwise."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from benchmarks.mutants.kit import (
    BF16,
    F16,
    F32,
    Function,
    Operator,
    Tensor,
    at,
    bf16,
    f16,
    integers,
    normal,
    spoiled_last_row,
    tf32,
)  # fmt: skip


def draw_table(dtype: torch.dtype) -> Any:
    """``index`` of ``count`` rows out of ``rows``, repeated and unordered."""
    return lambda generator, rows, columns, count: {
        "table": normal(generator, rows, columns, dtype=dtype),
        "index": integers(generator, 0, rows, count),
    }


def picked(table: Tensor, index: Tensor) -> Tensor:
    return table[index]


def embedded(table: Tensor, index: Tensor) -> Tensor:
    """Rows times the root of their length, nothing for row 0, the padding."""
    return torch.where((index == 0)[:, None], 0.0, table[index] * table.shape[-1] ** 0.5)


TABLES = ((3, 7, 5), (37, 65, 100), (100, 256, 500))

GATHERS = (
    Operator(
        "gather rows fp16", TABLES, draw_table(F16), picked, picked,
        honest={
            "index_select": lambda table, index: table.index_select(0, index),
            "one-hot product": lambda table, index: (functional.one_hot(index, len(table)).float() @ table.float()).half(),
        },
        mutants={
            "index off by one": lambda table, index: table[(index + 1).clamp(max=len(table) - 1)],
            "last column of the neighbour": lambda table, index: torch.cat((table[index][:, :-1], table[index][:, -2:-1]), 1),
            "in order": lambda table, index: table[index.sort().values],
            "through bf16": lambda table, index: table.bfloat16()[index].half(),
            "repeated rows only once": lambda table, index: table[index] * (index != index.roll(1))[:, None],
            "small values flushed": lambda table, index: torch.where(table.abs() < 1e-4, 0.0, table)[index],
        },
    ),
    Operator(
        "embedding with padding and scale fp16", TABLES, draw_table(F16), embedded, at(F16, embedded),
        honest={
            "padding row zeroed": at(F16, lambda table, index: (table * (torch.arange(len(table)) != 0)[:, None])[index] * table.shape[-1] ** 0.5),
            "scaled before": at(F16, lambda table, index: embedded(table * table.shape[-1] ** 0.5, index) / table.shape[-1] ** 0.5),
        },
        mutants={
            "padding not empty": at(F16, lambda table, index: table[index] * table.shape[-1] ** 0.5),
            "not scaled": at(F16, lambda table, index: embedded(table, index) / table.shape[-1] ** 0.5),
            "scale in bf16": at(F16, lambda table, index: embedded(table, index) / table.shape[-1] ** 0.5 * float(torch.tensor(table.shape[-1] ** 0.5).bfloat16())),
            "padding is the last row": at(F16, lambda table, index: torch.where((index == len(table) - 1)[:, None], 0.0, table[index] * table.shape[-1] ** 0.5)),
            "index off by one": at(F16, lambda table, index: embedded(table, (index + 1).clamp(max=len(table) - 1))),
        },
    ),
)  # fmt: skip


def draw_scatter(generator: torch.Generator, rows: int, columns: int, count: int) -> dict[str, Any]:
    """Row 1 of the result gets nothing."""
    index = integers(generator, 0, rows, count)
    return {
        "values": normal(generator, count, columns),
        "index": torch.where(index == 1, 0, index),
        "rows": rows,
    }


def scattered(values: Tensor, index: Tensor, rows: int) -> Tensor:
    return values.new_zeros(rows, values.shape[1]).index_add(0, index, values)


def scattered_backwards(values: Tensor, index: Tensor, rows: int) -> Tensor:
    return scattered(values.flip(0), index.flip(0), rows)


def scattered_sorted(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Sorted first, each stretch of equal indices added at once."""
    return torch.stack([values[index == row].sum(0) for row in range(rows)])


def overwritten(values: Tensor, index: Tensor, rows: int) -> Tensor:
    out = values.new_zeros(rows, values.shape[1])
    for place, row in zip(index.tolist(), values, strict=True):
        out[place] = row
    return out


def bag_mean(values: Tensor, index: Tensor, rows: int, least: int = 1) -> Tensor:
    counts = torch.bincount(index, minlength=rows).clamp(min=least)
    return scattered(values, index, rows) / counts[:, None]


SCATTERED = ((4, 7, 9), (17, 33, 100), (30, 130, 1000))

SCATTERS = (
    Operator(
        "scatter-add fp32", SCATTERED, draw_scatter, scattered, at(F32, scattered),
        honest={"backwards": at(F32, scattered_backwards), "sorted first": at(F32, scattered_sorted)},
        mutants={
            "races: the last one wins": at(F32, overwritten),
            "last value dropped": at(F32, lambda values, index, rows: scattered(values[:-1], index[:-1], rows)),
            "index off by one": at(F32, lambda values, index, rows: scattered(values, (index + 1) % rows, rows)),
            "accumulated in bf16": at(F32, scattered, BF16),
            "values in tf32": at(F32, lambda values, index, rows: scattered(tf32(values), index, rows)),
            "row 0 skipped": at(F32, lambda values, index, rows: scattered(values * (index != 0)[:, None], index, rows)),
        },
    ),
    Operator(
        "mean of bags fp32", SCATTERED, draw_scatter, bag_mean, at(F32, bag_mean),
        honest={
            "backwards": at(F32, lambda values, index, rows: bag_mean(values.flip(0), index.flip(0), rows)),
            "divided first": at(F32, lambda values, index, rows: scattered(values / torch.bincount(index, minlength=rows)[index][:, None], index, rows)),
        },
        mutants={
            "sum": at(F32, scattered),
            "empty bags not a number": at(F32, lambda values, index, rows: bag_mean(values, index, rows, 0)),
            "divided by one more": at(F32, lambda values, index, rows: scattered(values, index, rows) / (torch.bincount(index, minlength=rows) + 1)[:, None]),
            "fp16 throughout": at(F32, bag_mean, F16),
            "last value dropped": at(F32, lambda values, index, rows: bag_mean(torch.cat((values[:-1], 0 * values[-1:])), index, rows)),
        },
    ),
)  # fmt: skip


def draw_ties(generator: torch.Generator, *shape: int) -> dict[str, Any]:
    return {"x": integers(generator, -30, 31, *shape, dtype=F16)}


def order(x: Tensor) -> Tensor:
    """Descending, ties in their order."""
    return torch.argsort(x, dim=-1, descending=True, stable=True)


def order_by_keys(x: Tensor) -> Tensor:
    """By one integer of value and place together; the bits of a float, folded, are in its order."""
    bits = torch.where(x == 0, 0.0, x).half().view(torch.int16).long()
    folded = torch.where(bits < 0, -(bits & 0x7FFF), bits)
    return torch.argsort(-folded * x.shape[-1] + torch.arange(x.shape[-1]), dim=-1)


def order_by_counting(x: Tensor) -> Tensor:
    places = torch.arange(x.shape[-1])
    above = (x[:, None, :] > x[:, :, None]) | ((x[:, None, :] == x[:, :, None]) & (places < places[:, None]))
    return torch.empty_like(above[..., 0], dtype=torch.int64).scatter_(-1, above.sum(-1), places.expand(x.shape))


def later_ties_first(x: Tensor) -> Tensor:
    return x.shape[-1] - 1 - order(x.flip(-1))


def top(x: Tensor, indices: Function = order, k: int = 5) -> tuple[Tensor, Tensor]:
    found = indices(x)[..., :k].contiguous()
    return x.gather(-1, found), found


def top_one_by_one(x: Tensor) -> tuple[Tensor, Tensor]:
    rest, found = x.clone(), []
    for _ in range(5):
        place = (rest == rest.amax(-1, keepdim=True)).to(torch.int8).argmax(-1, keepdim=True)
        found.append(place)
        rest = rest.scatter(-1, place, -torch.inf)
    return x.gather(-1, torch.cat(found, -1)), torch.cat(found, -1)


def sorted_but_last(x: Tensor) -> Tensor:
    return torch.cat((x[..., :-1].sort(-1).values, x[..., -1:]), -1)


SORTED = ((1, 7), (7, 65), (100, 200))

SORTS = (
    Operator(
        "sorted values fp16", SORTED, lambda generator, *shape: {"x": normal(generator, *shape, dtype=F16)},
        lambda x: x.sort(-1).values,
        lambda x: x.sort(-1).values,
        honest={"in fp32": at(F16, lambda x: x.sort(-1).values), "backwards": lambda x: -(-x).sort(-1, descending=True).values},
        mutants={
            "descending": lambda x: x.sort(-1, descending=True).values,
            "last element left": sorted_but_last,
            "by magnitude": lambda x: x.gather(-1, x.abs().argsort(-1)),
            "keys in bf16": lambda x: x.gather(-1, x.bfloat16().sort(dim=-1, stable=True).indices),
            "repeated values once": lambda x: torch.where(x.sort(-1).values == x.sort(-1).values.roll(1, -1), 0.0, x.sort(-1).values),
        },
    ),
    Operator(
        "stable order, ties", SORTED, draw_ties, order, order,
        honest={"one integer key": order_by_keys, "by counting": order_by_counting},
        mutants={
            "later ties first": later_ties_first,
            "ascending": lambda x: torch.argsort(x, dim=-1, stable=True),
            "by magnitude": lambda x: order(x.abs()),
            "last row: later ties first": spoiled_last_row(later_ties_first, order),
            "last element left": lambda x: torch.cat((order(x[..., :-1]), torch.full_like(order(x)[..., :1], x.shape[-1] - 1)), -1),
        },
    ),
    Operator(
        "five largest and where", ((1, 7), (7, 65), (100, 600)), draw_ties, top, top,
        honest={"one integer key": lambda x: top(x, order_by_keys), "one by one": top_one_by_one},
        mutants={
            "later ties first": lambda x: top(x, later_ties_first),
            "largest magnitude": lambda x: top(x, lambda x: order(x.abs())),
            "last element not seen": lambda x: top(x[..., :-1]),
            "four, then the first again": lambda x: tuple(torch.cat((one[..., :4], one[..., :1]), -1) for one in top(x)),
            "unsorted": lambda x: (x.gather(-1, i := top(x)[1].sort(-1).values), i),
            "from halves of the row, not merged": lambda x: top(x[..., : max(5, x.shape[-1] // 2)]),
        },
    ),
)  # fmt: skip


def draw_bins(generator: torch.Generator, count: int) -> dict[str, Any]:
    return {"x": integers(generator, 0, 16, count, dtype=torch.int32)}


def histogram(x: Tensor) -> Tensor:
    return torch.bincount(x, minlength=16)


HISTOGRAM = Operator(
    "histogram of 16 bins", ((9,), (700,), (50_000,)), draw_bins, histogram, histogram,
    honest={
        "one-hot sums": lambda x: functional.one_hot(x.long(), 16).sum(0),
        "parts": lambda x: sum((histogram(part) for part in x.tensor_split(7)), start=torch.zeros(16, dtype=torch.int64)),
    },
    mutants={
        "last bin lost": lambda x: torch.cat((histogram(x)[:-1], 0 * histogram(x)[-1:])),
        "last element not seen": lambda x: histogram(x[:-1]),
        "saturating at 255": lambda x: histogram(x).clamp(max=255),
        "bins shifted": lambda x: histogram(x).roll(1),
        "lost updates": lambda x: histogram(x[torch.cat((torch.tensor([True]), x[1:] != x[:-1]))]),
    },
)  # fmt: skip


def transposed(x: Tensor) -> Tensor:
    return x.t().contiguous()


def by_tiles(x: Tensor, tile: int = 16, keep_ragged: bool = True) -> Tensor:
    out = x.new_zeros(x.shape[1], x.shape[0])
    ends = x.shape if keep_ragged else tuple(max(tile, n // tile * tile) for n in x.shape)
    for i in range(0, ends[0], tile):
        for j in range(0, ends[1], tile):
            out[j : j + tile, i : i + tile] = x[i : i + tile, j : j + tile].t()
    return out


def draw_joined(generator: torch.Generator, rows: int, columns: int) -> dict[str, Any]:
    return {"x": normal(generator, rows, columns), "y": normal(generator, rows, columns + 3)}


def joined(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat((x, y), 1)


MATRICES = ((1, 7), (37, 65), (130, 500))

COPIES = (
    Operator(
        "transpose bf16", MATRICES, lambda generator, *shape: {"x": normal(generator, *shape, dtype=BF16)},
        transposed, transposed,
        honest={"by tiles": by_tiles, "by tiles of 32": lambda x: by_tiles(x, 32)},
        mutants={
            "a view": lambda x: x.t(),
            "strides of the input": lambda x: x.clone().t(),
            "ragged tiles not written": lambda x: by_tiles(x, keep_ragged=False),
            "reshaped only": lambda x: x.reshape(x.shape[1], x.shape[0]).clone(),
            "through fp16": lambda x: transposed(x.half().bfloat16()),
            "negative zeros lost, small values flushed": lambda x: transposed(torch.where(x.abs() < 1e-4, 0.0, x)),
        },
    ),
    Operator(
        "rows joined fp32", MATRICES, draw_joined, joined, joined,
        honest={
            "written in two": lambda x, y: torch.empty(len(x), x.shape[1] + y.shape[1]).index_copy_(1, torch.arange(x.shape[1]), x).index_copy_(1, x.shape[1] + torch.arange(y.shape[1]), y),
            "padded and added": lambda x, y: functional.pad(x, (0, y.shape[1])) + functional.pad(y, (x.shape[1], 0)),
        },
        mutants={
            "exchanged": lambda x, y: torch.cat((y, x), 1),
            "through tf32": lambda x, y: tf32(joined(x, y)),
            "through fp16": lambda x, y: f16(joined(x, y)),
            "seam one too early": lambda x, y: torch.cat((x[:, :-1], y[:, :1], y), 1),
            "second in bf16": lambda x, y: torch.cat((x, bf16(y)), 1),
        },
    ),
    Operator(
        "lower triangle fp32", ((7, 7), (65, 37), (500, 130)), lambda generator, *shape: {"x": normal(generator, *shape)},
        lambda x: torch.tril(x), lambda x: torch.tril(x),
        honest={
            "select": lambda x: torch.where(torch.arange(x.shape[1]) <= torch.arange(x.shape[0])[:, None], x, 0.0),
            "product with a mask": lambda x: x * torch.ones_like(x).tril(),
        },
        mutants={
            "without the diagonal": lambda x: x.tril(-1),
            "one diagonal more": lambda x: x.tril(1),
            "upper": lambda x: torch.triu(x),
            "nothing hidden": lambda x: x.clone(),
            "hidden, not cleared": lambda x: torch.where(torch.ones_like(x).tril().bool(), x, 1e-30),
        },
    ),
)  # fmt: skip

OPERATORS = (*GATHERS, *SCATTERS, *SORTS, HISTOGRAM, *COPIES)
