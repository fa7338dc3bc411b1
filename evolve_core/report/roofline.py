"""The picture of a calibration: the roofs of one device, as one HTML file that needs nothing else."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evolve_core.report import svg

if TYPE_CHECKING:
    from evolve_core.judge.calibration import Calibration

_WIDTH, _HEIGHT = 920.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 130.0, 16.0, 46.0
_NAME_HEIGHT = 15.0
_LEAST_INTENSITY, _LARGEST_INTENSITY = 2.0**-4, 2.0**14
"""FLOP for each byte: from a copy that adds now and then to matrix products far beyond any ridge."""


def page(found: Calibration) -> str:
    """The whole page: headline figures, the roofline, every figure in a table."""
    environment = Environment(
        loader=PackageLoader("evolve_core.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("calibration.html.j2").render(
        device=found.device,
        moment=moment(found),
        delta=percent(found.delta),
        picture=roofline_svg(found),
        rows=rows(found),
    )


def rows(found: Calibration) -> list[tuple[str, str]]:
    """Every figure with its unit, for the terminal and for the page."""
    noise = found.noise
    timed = f"{noise.processes} processes × {noise.pairs} pairs"
    flushed = f"{found.flush_us:.1f} µs to overwrite twice its size, before every timed call"
    return [
        ("smallest difference", f"{percent(found.delta)}; less is called no difference"),
        *((f"memory, {kind}", f"{rate:.0f} GB/s") for kind, rate in found.bandwidth_gbps.items()),
        *((f"matrix products, {kind}", f"{rate:.1f} TFLOP/s") for kind, rate in found.tflops.items()),
        ("empty kernel", f"{found.launch_us:.2f} µs ({found.empty_us:.2f} µs of it are the clock's own)"),
        ("L2 cache", f"{found.l2_bytes / 2**20:.0f} MiB; {flushed}"),
        ("a kernel against itself", f"97.5 % of {timed} within ±{percent(math.expm1(noise.percentile))}"),
        ("process to process", f"standard deviation {percent(math.expm1(noise.spread))}"),
        ("device", f"{found.device}, {found.device_uuid}"),
        ("software", f"driver {found.driver}, torch {found.torch}, triton {found.triton}"),
    ]


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def moment(found: Calibration) -> str:
    return datetime.fromtimestamp(found.measured_at, UTC).strftime("%Y-%m-%d %H:%M UTC")


class _Scale:
    """Data to pixels, both axes logarithmic. Intensity in FLOP a byte, rates in TFLOP/s."""

    def __init__(self, found: Calibration) -> None:
        self.high = max(found.tflops.values()) * 2
        self.low = found.peak_gbps * _LEAST_INTENSITY / 1e3

    def x(self, intensity: float) -> float:
        share = math.log(intensity / _LEAST_INTENSITY) / math.log(_LARGEST_INTENSITY / _LEAST_INTENSITY)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, tflops: float) -> float:
        share = math.log(tflops / self.low) / math.log(self.high / self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def roofline_svg(found: Calibration) -> Markup:
    """The roofline model (Williams, Waterman, Patterson 2009): one slope for the memory, a roof for every type."""
    scale = _Scale(found)
    top = max(found.tflops.values())
    slope: svg.Attributes = {
        "x1": scale.x(_LEAST_INTENSITY),
        "y1": scale.y(scale.low),
        "x2": scale.x(_ridge(found, top)),
        "y2": scale.y(top),
        "class": "roof",
    }
    named: svg.Attributes = {"x": scale.x(_LEAST_INTENSITY) + 12, "y": scale.y(scale.low) - 26, "class": "tick"}
    parts = [
        *_axes(scale),
        svg.element("line", slope),
        svg.element("text", named, f"memory {found.peak_gbps:.0f} GB/s"),
        *(part for kind, rate in found.tflops.items() for part in _roof(found, scale, kind, rate)),
        *_roof_names(found, scale),
    ]
    return svg.drawing(_WIDTH, _HEIGHT, parts, "Roofline: attainable TFLOP/s over FLOP per byte")


def _ridge(found: Calibration, tflops: float) -> float:
    """The intensity from which on a type's products, not the memory, set the limit."""
    return tflops * 1e3 / found.peak_gbps


def _roof(found: Calibration, scale: _Scale, kind: str, rate: float) -> list[Markup]:
    ridge, end = _ridge(found, rate), _WIDTH - _RIGHT
    line: svg.Attributes = {"x1": scale.x(ridge), "x2": end, "y1": scale.y(rate), "y2": scale.y(rate), "class": "roof"}
    title = f"{kind}: {rate:.1f} TFLOP/s, from {ridge:.0f} FLOP per byte on"
    return [svg.titled(svg.element("line", line), title)]


def _roof_names(found: Calibration, scale: _Scale) -> list[Markup]:
    """From the highest roof down, each at its roof or below the name above it."""
    parts, above = [], -_NAME_HEIGHT
    for kind, rate in sorted(found.tflops.items(), key=lambda pair: -pair[1]):
        above = max(scale.y(rate) + 4, above + _NAME_HEIGHT)
        place: svg.Attributes = {"x": _WIDTH - _RIGHT + 6, "y": above, "class": "tick"}
        parts.append(svg.element("text", place, f"{kind} {rate:.0f} TFLOP/s"))
    return parts


def _axes(scale: _Scale) -> list[Markup]:
    parts = []
    for power in range(-4, 15, 2):
        x = scale.x(2.0**power)
        across: svg.Attributes = {"x1": x, "x2": x, "y1": _TOP, "y2": _HEIGHT - _BOTTOM, "class": "grid"}
        below: svg.Attributes = {"x": x, "y": _HEIGHT - _BOTTOM + 18, "text-anchor": "middle", "class": "tick"}
        parts += [svg.element("line", across), svg.element("text", below, f"{2.0**power:g}")]
    for power in range(math.ceil(math.log10(scale.low)), math.floor(math.log10(scale.high)) + 1):
        y = scale.y(10.0**power)
        along: svg.Attributes = {"x1": _LEFT, "x2": _WIDTH - _RIGHT, "y1": y, "y2": y, "class": "grid"}
        beside: svg.Attributes = {"x": _LEFT - 8, "y": y + 4, "text-anchor": "end", "class": "tick"}
        parts += [svg.element("line", along), svg.element("text", beside, f"{10.0**power:g}")]
    middle, low = (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8
    caption: svg.Attributes = {"x": middle, "y": low, "text-anchor": "middle", "class": "tick"}
    return [*parts, svg.element("text", caption, "FLOP per byte; upwards TFLOP/s")]
