"""``kernel-evolve doctor`` on what keeps a candidate's code apart: each layer, active or missing, why, and what to do.

The children that compile and run candidates stand behind other layers than the bench beside a GPU, which a driver has
to work behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evolve_core.cli.finding import Finding
from evolve_core.judge.client import BenchLayers

_CHILDREN = {
    "namespaces": "no network, no sight of other processes, a file system that is read-only",
    "bubblewrap": "in place of namespaces of their own: no network, other processes or devices, files read-only",
    "landlock": "no writing outside the candidate's folder, no TCP",
    "seccomp": "no sockets, no other process's memory, no hidden memory",
    "sockets": "no abstract Unix sockets of other programs",
}
_BENCH = {
    "files": "no writing outside its own folders and the driver's devices, no sight of other processes' memory",
    "proc": "no writing to other processes' entries in /proc",
    "signals": "no signals to other processes",
    "sockets": "no abstract Unix sockets of other programs",
    "privileges": "nothing that only root may do",
    "calls": "no network, no other process's memory",
}
_NEWER = "a newer kernel or driver may have it; host code that runs beside the GPU is less confined until then"


def of_children(offered: Mapping[str, Any]) -> list[Finding]:
    """``offered``: the host's ``sandbox``. What is needed is that files are confined and the network is closed."""
    missing = {str(one["layer"]): one for one in offered.get("missing", [])}
    active = {layer for layer in _CHILDREN if offered.get(layer)}
    # A network namespace has abstract sockets of its own.
    if active & {"namespaces", "bubblewrap"} or ("landlock" in active and "sockets" not in missing):
        active.add("sockets")
    found = []
    for layer, gives in _CHILDREN.items():
        if layer in active:
            found.append(Finding(f"children: {layer}", True, gives))
        elif layer == "bubblewrap" and "namespaces" in active:
            found.append(Finding(f"children: {layer}", None, "not needed: namespaces do the same"))
        elif layer == "namespaces" and "bubblewrap" in active:
            found.append(Finding(f"children: {layer}", None, "refused by this system; bubblewrap makes them instead"))
        else:
            said = missing.get(layer, {"why": "not to be had here", "step": ""})
            found.append(Finding(f"children: {layer}", None, f"missing: {said['why']} ({gives})", str(said["step"])))
    if not (offered.get("read_only_files") and offered.get("network_off")):
        step = "see what is missing above; any of namespaces, bubblewrap, or Landlock with seccomp will do"
        found.append(Finding("children", False, "candidates can write your files or reach the network", step))
    return found


def of_bench(layers: BenchLayers | None) -> list[Finding]:
    """None: there is no GPU to try them with."""
    if layers is None:
        return [Finding("bench: layers", None, "tried when there is a GPU: what works depends on its driver")]
    if layers.untold:
        return [Finding("bench: layers", None, layers.untold, "try again when the GPU is free")]
    found = []
    for layer, gives in _BENCH.items():
        if layer in layers.held:
            found.append(Finding(f"bench: {layer}", True, gives))
        else:
            why = layers.missing.get(layer, "it was not tried in time")
            found.append(Finding(f"bench: {layer}", None, f"missing: {why} ({gives})", _NEWER))
    return found
