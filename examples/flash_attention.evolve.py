import torch

entry = "flash_attention"


def inputs(gen, device, batch, heads, rows, head_dim):
    shape = (batch, heads, rows, head_dim)
    return {name: torch.randn(shape, generator=gen, device=device, dtype=torch.float16) for name in ("q", "k", "v")}


def workloads():
    for batch, heads, rows, head_dim in [(4, 16, 2048, 64), (2, 32, 4096, 128)]:
        yield lambda gen, device, batch=batch, heads=heads, rows=rows, head_dim=head_dim: inputs(
            gen, device, batch, heads, rows, head_dim
        )


def reference(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def domain(rng):
    batch, heads, rows = rng.choice([1, 2]), rng.choice([1, 3]), rng.randint(1, 200)
    head_dim = rng.choice([16, 32, 64])
    return lambda gen, device: inputs(gen, device, batch, heads, rows, head_dim)
