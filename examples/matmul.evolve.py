import torch

entry = "matmul"


def inputs(gen, device, m, n, k):
    return {
        "a": torch.randn(m, k, generator=gen, device=device, dtype=torch.float16),
        "b": torch.randn(k, n, generator=gen, device=device, dtype=torch.float16),
    }


def workloads():
    for m, n, k in [(4096, 4096, 4096), (2048, 8192, 1024)]:
        yield lambda gen, device, m=m, n=n, k=k: inputs(gen, device, m, n, k)


def reference(a, b):
    return a @ b


def domain(rng):
    m, n, k = (rng.randint(1, 200) for _ in range(3))
    return lambda gen, device: inputs(gen, device, m, n, k)
