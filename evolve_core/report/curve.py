"""The best-so-far curve: what the run had to show after so many verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from evolve_core.report import svg
from evolve_core.report.view import Point

_WIDTH, _HEIGHT = 920.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 16.0, 14.0, 34.0


def curve_svg(found: Sequence[Point], judged: int) -> Markup:
    """Ratios (logarithmic) over the number of verdicts, and the best so far as a step line. "" without any point.

    Screening numbers are drawn hollow and carry no figure: they rank candidates and claim nothing.
    """
    if not found:
        return Markup("")
    scale = _Scale(found, judged)
    parts = [*_grid(scale), *(_dot(p, scale) for p in found), *_steps(found, scale)]
    return svg.drawing(_WIDTH, _HEIGHT, parts, "Best ratio so far over the number of candidates judged")


class _Scale:
    """Data to pixels. The ratio axis always holds 1.0, your own kernel; very slow candidates lie on its lower edge."""

    def __init__(self, found: Sequence[Point], judged: int) -> None:
        self.judged = max(judged, found[-1].position, 1)
        best = max(p.ratio for p in found)
        worst = min(p.ratio for p in found)
        self.low = max(min(worst, 0.95), 0.5) * 0.97
        self.high = max(best, 1.1) * 1.04

    def x(self, position: float) -> float:
        return _LEFT + position / self.judged * (_WIDTH - _LEFT - _RIGHT)

    def y(self, ratio: float) -> float:
        inside = min(max(ratio, self.low), self.high)
        share = math.log(inside / self.low) / math.log(self.high / self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _grid(scale: _Scale) -> list[Markup]:
    parts = []
    ratios = [r for r in svg.ticks(scale.low, scale.high) if abs(r - 1.0) > 1e-6]
    for ratio in [*ratios, 1.0]:
        y = scale.y(ratio)
        kind = "axis-one" if ratio == 1.0 else "grid"
        parts.append(svg.element("line", {"x1": _LEFT, "x2": _WIDTH - _RIGHT, "y1": y, "y2": y, "class": kind}))
        label: svg.Attributes = {"x": _LEFT - 8, "y": y + 4, "text-anchor": "end", "class": "tick"}
        parts.append(svg.element("text", label, f"{ratio:g}×" if ratio != 1.0 else "1×"))
    for position in svg.ticks(0, scale.judged, 8):
        if position == int(position):
            place: svg.Attributes = {
                "x": scale.x(position),
                "y": _HEIGHT - _BOTTOM + 18,
                "text-anchor": "middle",
                "class": "tick",
            }
            parts.append(svg.element("text", place, f"{position:.0f}"))
    return parts


def _dot(point: Point, scale: _Scale) -> Markup:
    kind = "dot" if point.claim else "dot screening"
    shape = svg.element("circle", {"cx": scale.x(point.position), "cy": scale.y(point.ratio), "r": 3, "class": kind})
    number = f"{point.ratio:.2f}×{' estimated' if point.estimated else ''}" if point.claim else "screened, no claim"
    return svg.titled(shape, f"{point.summary}\n{number}")


def _steps(found: Sequence[Point], scale: _Scale) -> list[Markup]:
    """The user's kernel is the best until something claims more."""
    best, path = 1.0, f"M{scale.x(0):.1f},{scale.y(1.0):.1f}"
    for point in found:
        if point.claim and point.ratio > best:
            best = point.ratio
            path += f" H{scale.x(point.position):.1f} V{scale.y(best):.1f}"
    path += f" H{scale.x(scale.judged):.1f}"
    return [svg.element("path", {"d": path, "class": "best-line"})]
