"""SVG by hand: elements, the marks of a candidate's standing, axes. Everything that is text is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape

from evolve_core.report.wording import Standing

Attributes = Mapping[str, str | float]


def element(name: str, attributes: Attributes, content: str | Markup = "") -> Markup:
    """One element; plain text in ``content`` and in attributes is escaped, ``Markup`` is not."""
    described = Markup("").join(Markup(' {}="{}"').format(key, _value(value)) for key, value in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), described, escape(content))


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def drawing(width: float, height: float, parts: Iterable[Markup], label: str) -> Markup:
    """A whole picture. It keeps its natural size; the page decides whether it scrolls."""
    size: Attributes = {"width": width, "height": height, "viewBox": f"0 0 {width:.0f} {height:.0f}"}
    return element("svg", {**size, "role": "img", "aria-label": label}, Markup("\n").join(parts))


def titled(shape: Markup, title: str) -> Markup:
    return element("g", {"class": "node"}, element("title", {}, title) + shape)


def mark(standing: Standing, x: float, y: float, r: float) -> Markup:
    """A shape per standing as well as a colour, so that the picture survives without colours."""
    style = {"class": f"mark {standing.value}"}
    match standing:
        case Standing.WRONG:
            cross = f"M{x - r:.1f},{y - r:.1f} l{2 * r:.1f},{2 * r:.1f} m0,{-2 * r:.1f} l{-2 * r:.1f},{2 * r:.1f}"
            return element("path", {**style, "d": cross})
        case Standing.FAILED:
            return element("path", {**style, "d": f"M{x - r:.1f},{y:.1f} h{2 * r:.1f}"})
        case Standing.CHEATING:
            triangle = f"M{x:.1f},{y - r:.1f} l{r:.1f},{2 * r:.1f} h{-2 * r:.1f} z"
            return element("path", {**style, "d": triangle})
        case Standing.SLOWER:
            diamond = f"M{x:.1f},{y - r:.1f} l{r:.1f},{r:.1f} l{-r:.1f},{r:.1f} l{-r:.1f},{-r:.1f} z"
            return element("path", {**style, "d": diamond})
        case _:
            return element("circle", {**style, "cx": x, "cy": y, "r": r})


def legend_mark(standing: Standing) -> Markup:
    return drawing(14, 14, [mark(standing, 7, 7, 4.5)], standing.value)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover low…high."""
    span = max(high - low, 1e-9)
    raw = span / max(about, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]
