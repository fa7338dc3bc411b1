import torch


def launches(x, y, a):
    n = x.numel()
    out = torch.empty_like(x)
    yield {
        "kernel": "saxpy",
        "grid": (-(-n // 256), 1, 1),
        "block": (256, 1, 1),
        "shared_bytes": 0,
        "arguments": [x, y, out, a, n],
    }
    return out


def inputs(gen, device, n):
    return {
        "x": torch.randn(n, generator=gen, device=device),
        "y": torch.randn(n, generator=gen, device=device),
        "a": 2.5,
    }


def workloads():
    for n in [1 << 24, 9_999_991]:
        yield lambda gen, device, n=n: inputs(gen, device, n)


def reference(x, y, a):
    return a * x + y


def domain(rng):
    n = rng.choice([1, 255, 256, 257, rng.randint(1, 10_000)])
    return lambda gen, device: inputs(gen, device, n)
