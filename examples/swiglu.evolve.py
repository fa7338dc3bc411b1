import torch

entry = "swiglu"


def inputs(gen, device, rows, cols):
    return {
        "gate": torch.randn(rows, cols, generator=gen, device=device, dtype=torch.float16),
        "up": torch.randn(rows, cols, generator=gen, device=device, dtype=torch.float16),
    }


def workloads():
    for rows, cols in [(4096, 11008), (2048, 14336), (512, 5461)]:
        yield lambda gen, device, rows=rows, cols=cols: inputs(gen, device, rows, cols)


def reference(gate, up):
    return torch.nn.functional.silu(gate) * up


def domain(rng):
    rows, cols = rng.choice([1, 3, 17]), rng.randint(1, 1500)
    return lambda gen, device: inputs(gen, device, rows, cols)
