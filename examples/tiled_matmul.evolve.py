import torch


def launches(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = torch.empty(m, n, device=a.device)
    yield {
        "kernel": "tiled_matmul",
        "grid": (-(-n // 16), -(-m // 16), 1),
        "block": (16, 16, 1),
        "shared_bytes": 0,
        "arguments": [a, b, c, m, n, k],
    }
    return c


def inputs(gen, device, m, n, k):
    return {
        "a": torch.randn(m, k, generator=gen, device=device),
        "b": torch.randn(k, n, generator=gen, device=device),
    }


def workloads():
    for m, n, k in [(2048, 2048, 2048), (1000, 3000, 777)]:
        yield lambda gen, device, m=m, n=n, k=k: inputs(gen, device, m, n, k)


def reference(a, b):
    return a @ b


def domain(rng):
    m, n, k = (rng.randint(1, 200) for _ in range(3))
    return lambda gen, device: inputs(gen, device, m, n, k)
