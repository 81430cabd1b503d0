"""Plots as SVG text: bars for medians side by side, lines for what grows. Plain shapes, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

COLORS: Final = ("#2f6fde", "#d9822b", "#3a9d5d", "#8a5cc2", "#c23b4e")
_INK: Final = "#7a7f87"
_FONT: Final = "font-family='system-ui,sans-serif'"
_WIDTH: Final = 760


class Bar(NamedTuple):
    """One bar of a group."""

    label: str
    value: float
    ours: bool = False


def bars(title: str, groups: Mapping[str, Sequence[Bar]], unit: str = "ms") -> str:
    """Return horizontal bars, each group with a scale of its own: what is compared stands together."""
    left, row, y = 210, 22, 56
    parts: list[str] = []
    for name, group in groups.items():
        parts.append(_text(10, y, name, weight="600"))
        y += 10
        longest = max(bar.value for bar in group) or 1.0
        for bar in group:
            length = max(1.0, bar.value / longest * (_WIDTH - left - 110))
            color = COLORS[0] if bar.ours else "#a9b0ba"
            parts.append(_text(left - 8, y + 15, bar.label, anchor="end"))
            parts.append(f"<rect x='{left}' y='{y + 3}' width='{length:.1f}' height='15' rx='2' fill='{color}'/>")
            parts.append(_text(left + length + 6, y + 15, f"{_short(bar.value)} {unit}"))
            y += row
        y += 26
    return _page(title, y, parts)


class Line(NamedTuple):
    """One line of a plot."""

    label: str
    points: Sequence[tuple[float, float]]


def lines(title: str, x_label: str, panels: Mapping[str, Sequence[Line]]) -> str:
    """Return panels of lines below each other that share the horizontal axis, each from zero."""
    left, height, top = 60, 130, 56
    span = _WIDTH - left - 130
    parts: list[str] = []
    y = top
    for name, group in panels.items():
        right = max(x for line in group for x, _ in line.points) or 1.0
        highest = max(value for line in group for _, value in line.points) * 1.1 or 1.0
        base = y + height
        parts.append(_text(10, y - 8, name, weight="600"))
        parts.append(f"<path d='M{left} {y}V{base}H{left + span}' fill='none' stroke='{_INK}'/>")
        for share in (0.5, 1.0):
            level = base - share / 1.1 * height
            parts.append(f"<path d='M{left} {level:.1f}H{left + span}' stroke='{_INK}' stroke-opacity='.25'/>")
            parts.append(_text(left - 6, level + 4, _short(highest * share / 1.1), anchor="end"))
        for number, line in enumerate(group):
            color = COLORS[number % len(COLORS)]
            places = [(left + x / right * span, base - value / highest * height) for x, value in line.points]
            way = " ".join(f"{x:.1f},{at:.1f}" for x, at in places)
            parts.append(f"<polyline points='{way}' fill='none' stroke='{color}' stroke-width='2'/>")
            parts.append(_text(left + span + 8, y + 14 + 16 * number, line.label, fill=color))
        for x, _ in group[0].points:
            parts.append(_text(left + x / right * span, base + 15, f"{x:g}", anchor="middle"))
        y = base + 52
    parts.append(_text(left + span / 2, y - 18, x_label, anchor="middle"))
    return _page(title, y, parts)


def _page(title: str, height: float, parts: Sequence[str]) -> str:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height:.0f}' width='{_WIDTH}' role='img'>"
    return "\n".join(
        (head, f"<title>{escape(title)}</title>", _text(10, 24, title, size=15, weight="600"), *parts, "</svg>\n")
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "400", fill: str = _INK
) -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'"
    return f"<text {place} {_FONT} font-size='{size}' font-weight='{weight}' fill='{fill}'>{escape(text)}</text>"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
