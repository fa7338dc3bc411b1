import torch

entry = "vector_add"


def inputs(gen, device, n):
    return {
        "x": torch.randn(n, generator=gen, device=device),
        "y": torch.randn(n, generator=gen, device=device),
    }


def workloads():
    for n in [1 << 24, 9_999_991]:
        yield lambda gen, device, n=n: inputs(gen, device, n)


def reference(x, y):
    return x + y


def domain(rng):
    n = rng.choice([1, 255, 256, 257, rng.randint(1, 10_000)])
    return lambda gen, device: inputs(gen, device, n)
