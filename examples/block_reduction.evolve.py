import torch


def launches(x):
    n = x.numel()
    blocks = min(1024, -(-n // 256))
    partial = torch.empty(blocks, device=x.device)
    total = torch.empty(1, device=x.device)
    yield {
        "kernel": "block_sum",
        "grid": (blocks, 1, 1),
        "block": (256, 1, 1),
        "shared_bytes": 0,
        "arguments": [x, partial, n],
    }
    yield {
        "kernel": "block_sum",
        "grid": (1, 1, 1),
        "block": (256, 1, 1),
        "shared_bytes": 0,
        "arguments": [partial, total, blocks],
    }
    return total


def inputs(gen, device, n):
    # Away from zero, so that the sum is not all cancellation and its relative error means something.
    return {"x": torch.rand(n, generator=gen, device=device) + 0.5}


def workloads():
    for n in [1 << 25, 9_999_991]:
        yield lambda gen, device, n=n: inputs(gen, device, n)


def reference(x):
    return x.sum(dtype=torch.float64).to(x.dtype).reshape(1)


def domain(rng):
    n = rng.choice([1, 255, 256, 257, rng.randint(1, 100_000)])
    return lambda gen, device: inputs(gen, device, n)
