import torch

entry = "layernorm"


def inputs(gen, device, rows, cols):
    return {
        "x": torch.randn(rows, cols, generator=gen, device=device, dtype=torch.float16),
        "weight": torch.randn(cols, generator=gen, device=device, dtype=torch.float16),
        "bias": torch.randn(cols, generator=gen, device=device, dtype=torch.float16),
    }


def workloads():
    for rows, cols in [(4096, 4096), (8192, 2048), (4096, 5120)]:
        yield lambda gen, device, rows=rows, cols=cols: inputs(gen, device, rows, cols)


def reference(x, weight, bias):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias)


def domain(rng):
    rows, cols = rng.choice([1, 5, 16]), rng.randint(1, 3000)
    return lambda gen, device: inputs(gen, device, rows, cols)
