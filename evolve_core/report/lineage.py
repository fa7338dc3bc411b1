"""Who descends from whom: a picture of a run's candidates as a tree that grows to the right.

Every candidate hangs below its first parent (other parents are named in its title); the user's own source is the root.
Candidates without children are packed in short rows beside their parent when there are many, so that five hundred of
them still fit on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from evolve_core.journal.model import CandidateRecord
from evolve_core.report import svg
from evolve_core.report.wording import STANDING_WORDS, Standing, ratio_words, standing, verdict_words

_PACK_ABOVE = 40
_PER_ROW = 14
_LEAF_GAP = 13.0
_MARGIN = 16.0


@dataclass(slots=True, eq=False)
class _Node:
    candidate: CandidateRecord | None
    depth: int
    children: list[_Node] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class _Spacing:
    column: float
    row: float
    per_row: int


def lineage_svg(candidates: Sequence[CandidateRecord], best: str) -> Markup:
    """The tree as inline SVG; ``best`` is the id of the candidate to ring. "" where there is nothing to draw."""
    if not candidates:
        return Markup("")
    nodes = _tree(candidates)
    spacing = _spacing(nodes)
    rows = _place(nodes, spacing)
    on_path = _path_to(nodes, best)
    width = max(n.x for n in nodes) + 2 * _MARGIN
    height = rows * spacing.row + 2 * _MARGIN
    edges = [
        _edge(parent, child, child in on_path, spacing)
        for parent in nodes
        for child in _linked(parent, spacing, on_path)
    ]
    # Edges of the path to the winner are drawn last, so that no other edge crosses over them.
    edges.sort(key=lambda e: "edge-best" in e)
    marks = [_mark(node, best) for node in nodes]
    return svg.drawing(width, height, [*edges, *marks], "Lineage of the candidates, from your source on the left")


def _tree(candidates: Sequence[CandidateRecord]) -> list[_Node]:
    """All nodes, the root first, parents before children. A parent counts only if it is older: no cycle can come in."""
    root = _Node(None, 0)
    by_id: dict[str, _Node] = {}
    nodes = [root]
    for candidate in sorted(candidates, key=lambda c: c.ordinal):
        parent = next((by_id[p] for p in candidate.parents if p in by_id), root)
        node = _Node(candidate, parent.depth + 1)
        parent.children.append(node)
        by_id[candidate.candidate_id] = node
        nodes.append(node)
    return nodes


def _spacing(nodes: Sequence[_Node]) -> _Spacing:
    deepest = max(n.depth for n in nodes)
    packed = len(nodes) > _PACK_ABOVE
    # A chain of two hundred is squeezed; what still does not fit scrolls sideways.
    column = max(26.0, min(110.0, 900.0 / deepest))
    return _Spacing(column, 16.0 if packed else 26.0, _PER_ROW if packed else 1)


def _place(nodes: Sequence[_Node], spacing: _Spacing) -> int:
    """Give every node its place; returns how many rows that takes. An explicit stack: chains get long."""
    row = 0
    stack: list[tuple[_Node, bool]] = [(nodes[0], False)]
    while stack:
        node, children_are_placed = stack.pop()
        node.x = _MARGIN + node.depth * spacing.column
        if children_are_placed:
            # A packed tree is taller than the window: its root has to be where the reader starts.
            last = node.children[0] if spacing.per_row > 1 else node.children[-1]
            node.y = (node.children[0].y + last.y) / 2
            continue
        leaves, branches = _split(node, spacing)
        if not node.children:
            node.y, row = _row_y(row, spacing), row + 1
            continue
        row = _place_leaves(node, leaves, row, spacing)
        node.children = leaves + branches
        stack.append((node, True))
        stack.extend((child, False) for child in reversed(branches))
    return row


def _split(node: _Node, spacing: _Spacing) -> tuple[list[_Node], list[_Node]]:
    """Children to pack in rows, and children that get a row of their own or more."""
    if spacing.per_row == 1:
        return [], node.children
    leaves = [c for c in node.children if not c.children]
    return leaves, [c for c in node.children if c.children]


def _place_leaves(node: _Node, leaves: Sequence[_Node], row: int, spacing: _Spacing) -> int:
    start = _MARGIN + (node.depth + 1) * spacing.column
    for index, leaf in enumerate(leaves):
        leaf.x = start + (index % spacing.per_row) * _LEAF_GAP
        leaf.y = _row_y(row + index // spacing.per_row, spacing)
    return row + -(-len(leaves) // spacing.per_row)


def _row_y(row: int, spacing: _Spacing) -> float:
    return _MARGIN + (row + 0.5) * spacing.row


def _linked(parent: _Node, spacing: _Spacing, on_path: Sequence[_Node]) -> list[_Node]:
    """The children that get an edge: of packed leaves the last of every row, its edge running behind the others."""
    leaves, branches = _split(parent, spacing)
    last_of_row = {leaf.y: leaf for leaf in leaves}
    leading = [leaf for leaf in leaves if leaf in on_path and leaf not in last_of_row.values()]
    return [*last_of_row.values(), *branches, *leading]


def _path_to(nodes: Sequence[_Node], best: str) -> list[_Node]:
    parents = {id(child): node for node in nodes for child in node.children}
    node = next((n for n in nodes if n.candidate and best and n.candidate.candidate_id == best), None)
    path = []
    while node is not None:
        path.append(node)
        node = parents.get(id(node))
    return path


def _edge(parent: _Node, child: _Node, on_path: bool, spacing: _Spacing) -> Markup:
    style = "edge edge-best" if on_path else "edge"
    if spacing.per_row > 1:
        # Elbows share one trunk, where hundreds of curves would smear into a wedge.
        elbow = f"M{parent.x:.1f},{parent.y:.1f} h12 V{child.y:.1f} H{child.x:.1f}"
        return svg.element("path", {"d": elbow, "class": style})
    bend = parent.x + min(24.0, (child.x - parent.x) / 2)
    path = f"M{parent.x:.1f},{parent.y:.1f} C{bend:.1f},{parent.y:.1f} {bend:.1f},{child.y:.1f} "
    path += f"{bend + 8:.1f},{child.y:.1f} L{child.x:.1f},{child.y:.1f}"
    return svg.element("path", {"d": path, "class": style})


def _mark(node: _Node, best: str) -> Markup:
    candidate = node.candidate
    if candidate is None:
        shape: svg.Attributes = {"x": node.x - 6, "y": node.y - 6, "width": 12, "height": 12, "rx": 3, "class": "root"}
        return svg.titled(svg.element("rect", shape), "your source")
    kind = standing(candidate.verdict)
    shapes = [svg.mark(kind, node.x, node.y, 5.0)]
    if candidate.candidate_id == best:
        shapes.insert(0, svg.element("circle", {"cx": node.x, "cy": node.y, "r": 9.5, "class": "ring"}))
    return svg.titled(Markup("").join(shapes), _title(candidate, kind))


def _title(candidate: CandidateRecord, kind: Standing) -> str:
    ratio = ratio_words(candidate.verdict)
    verdict = verdict_words(candidate.verdict) if candidate.verdict else STANDING_WORDS[kind]
    others = f"\nparents: {', '.join(candidate.parents)}" if len(candidate.parents) > 1 else ""
    reason = f"\n{candidate.verdict.reason}" if candidate.verdict and candidate.verdict.reason else ""
    return f"#{candidate.ordinal} {candidate.summary}\n{verdict}{', ' + ratio if ratio else ''}{others}{reason}"
