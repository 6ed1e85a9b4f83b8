"""Pictures of recorded graphs: boxes with data and grad, still or filled step by step.

The text in Graphviz's language is made here; the layout and the drawing are Graphviz's (the extra
`graph`, and the program `dot`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from minitorch.backend.extras import install_hint
from minitorch.core.tensor import Tensor
from minitorch.viz.plots import suffix_of, write_whole
from minitorch.viz.traces import Row, Trace, Value, shown, trace

__all__ = ["animate_graph", "draw_graph"]

_FORMATS = ("svg", "png", "pdf", "dot")
_FONT = "Helvetica,Arial,sans-serif"
_LEAF, _STEP, _NOW = "#dcefdc", "#dfe8f5", "#ffd9a0"  # headers of boxes
_DATA, _GRAD, _EDGE, _UNSEEN = "#1a1a1a", "#b3261e", "#6b7280", "#fffffe"
_HELD = 3  # how many times longer than another the last frame stays
_LEGEND = (
    f'<FONT COLOR="{_DATA}">data: the value</FONT>     '
    f'<FONT COLOR="{_GRAD}">grad: the adjoint; on an edge, what it adds to the grad behind it'
    "</FONT>"
)


@dataclass(frozen=True)
class _State:
    """The state of a frame: the nodes that have data, grads by node, edges that brought theirs."""

    caption: str = ""
    data: frozenset[str] = frozenset()
    grads: Mapping[str, Value] = field(default_factory=dict)
    edges: frozenset[tuple[str, str]] = frozenset()  # (node, child)
    now: frozenset[str] = frozenset()


def draw_graph(
    y: Tensor | Trace,
    format: str | None = None,
    names: Mapping[str, Tensor] | None = None,
    path: str | Path | None = None,
    *,
    gradient: Tensor | None = None,
    named_only: bool = False,
    digits: int = 2,
) -> Any:
    """Draw the graph of `y`: a box with data and grad for each node, its contribution on each edge.

    format: "svg" and "dot" give a str, "png" and "pdf" give bytes; they are written to `path` as
    well, if there is one. None: what the suffix of `path` says, or else "svg". y: a tensor, traced
    as by `trace` with the other arguments, or a Trace.
    Raises ValueError for another format, ImportError without the package graphviz, RuntimeError
    without the program `dot` (format "dot" needs neither), and what `trace` raises.
    """
    if format is None:
        format = "svg" if path is None else suffix_of(Path(path)) or "svg"
    if format not in _FORMATS:
        raise ValueError(f"draw_graph: format: expected one of {', '.join(_FORMATS)}, got {format}")
    found = _traced(y, names, gradient=gradient, named_only=named_only, digits=digits)
    text = _dot(found, _complete(found))
    drawn = text.encode() if format == "dot" else _rendered(format, text)
    if path is not None:
        write_whole(Path(path), lambda partial: partial.write_bytes(drawn))
    return drawn.decode() if format in ("svg", "dot") else drawn


def animate_graph(
    y: Tensor | Trace,
    path: str | Path,
    names: Mapping[str, Tensor] | None = None,
    *,
    seconds: float = 1.0,
    gradient: Tensor | None = None,
    named_only: bool = False,
    digits: int = 2,
) -> Path:
    """Write a moving picture of the graph of `y` that is filled forward, then backward.

    path: ends in .svg (animated by SMIL, for browsers) or .gif; returned. seconds: of a step; the
    last one stays three times as long. Other arguments and errors: see `draw_graph`.
    """
    path = Path(path)
    if suffix_of(path) not in ("svg", "gif"):
        raise ValueError(f"animate_graph: path: expected a name in .svg or .gif, got {path.name}")
    if not seconds > 0:
        raise ValueError(f"animate_graph: seconds: expected a positive number, got {seconds}")
    found = _traced(y, names, gradient=gradient, named_only=named_only, digits=digits)
    states = _frames(found)
    text = "\n".join(_dot(found, state, states) for state in states)
    if suffix_of(path) == "svg":
        drawn = _animated_svg(_rendered("svg", text).decode(), seconds).encode()
    else:
        drawn = _animated_gif(_rendered("png", text), seconds)
    write_whole(path, lambda partial: partial.write_bytes(drawn))
    return path


def _traced(y: Tensor | Trace, names: Any, **options: Any) -> Trace:
    return y if isinstance(y, Trace) else trace(y, names, (), show=False, **options)


# ---------------------------------------------------------------------- what is shown when
def _edges(found: Trace) -> list[tuple[Row, Any]]:
    return [(row, c) for row in found for c in row.contributions]


def _complete(found: Trace) -> _State:
    return _State(
        data=frozenset(row.name for row in found),
        grads={row.name: row.adjoint for row in found},
        edges=frozenset((row.name, c.child) for row, c in _edges(found)),
    )


def _frames(found: Trace) -> list[_State]:
    """Nothing, then data node by node, then grads by the edges of one node after another."""
    states = [_State("the graph")]
    for row in found:
        result = f"{row.name} = {shown(row.value, found.digits)}"
        step = "" if row.op == "leaf" else f"{row.name} = {row.expression}, "
        states.append(
            _State(
                f"forward: {step}{result}",
                states[-1].data | {row.name},
                now=frozenset([row.name]),
            )
        )
    end = found[found.order[0]]
    last = states[-1]
    start = f"backward: the grad of {end.name} is {shown(end.adjoint, found.digits)}"
    states.append(_State(start, last.data, {end.name: end.adjoint}, now=frozenset([end.name])))
    for child in found.order:
        sent = [(row, c) for row, c in _edges(found) if c.child == child]
        if not sent:
            continue
        amounts = ", ".join(
            f"{shown(c.amount, found.digits, signed=True)} to {row.name}" for row, c in sent
        )
        last = states[-1]
        states.append(
            _State(
                f"backward: {child} sends {amounts}",
                last.data,
                {**last.grads, **{row.name: c.total for row, c in sent}},
                last.edges | {(row.name, child) for row, _ in sent},
                frozenset([child]),
            )
        )
    whole = _complete(found)
    states.append(_State("all grads are known", whole.data, whole.grads, whole.edges))
    return states


# ---------------------------------------------------------------------- Graphviz's language
def _dot(found: Trace, state: _State, states: Sequence[_State] = ()) -> str:
    """The text of one picture; all of `states` come out in one size."""
    ids = {row.name: _quoted(row.name) for row in found}
    lines = [
        "digraph trace {",
        f"  graph [rankdir=LR, bgcolor=white, pad=0.2, nodesep=0.3, ranksep=0.7, fontsize=13, "
        f'fontname="{_FONT}", labelloc=b, label=<{_caption(state, states)}>];',
        f'  node [shape=plain, fontsize=13, fontname="{_FONT}"];',
        f'  edge [fontsize=12, fontname="{_FONT}", color="{_EDGE}"];',
    ]
    for row in found:
        lines.append(f"  {ids[row.name]} [label=<{_box(row, state, states, found.digits)}>];")
    amounts = {(row.name, c.child): c.amount for row, c in _edges(found)}
    for row in found:
        for parent in row.parents:
            pair = parent, row.name
            text = shown(amounts[pair], found.digits, signed=True) if pair in amounts else ""
            colour = _GRAD if pair in state.edges else _UNSEEN
            lines.append(
                f"  {ids[parent]} -> {ids[row.name]} "
                f'[label=<{escape(text) or " "}>, fontcolor="{colour}"];'
            )
    return "\n".join([*lines, "}", ""])


def _box(row: Row, state: _State, states: Sequence[_State], digits: int) -> str:
    head = _NOW if row.name in state.now else _LEAF if row.op == "leaf" else _STEP
    title = f"<B>{escape(row.name)}</B>"
    if row.op != "leaf":
        title += f"&#160;= {escape(row.expression)}"  # an SVG's text loses a space that begins it
    grad = state.grads.get(row.name)
    longest = [shown(s.grads.get(row.name), digits) for s in states]
    longest += [shown(row.value, digits), shown(row.adjoint, digits)]
    width = 16 + 8 * max(map(len, longest))  # in points; the same in all frames
    data = shown(row.value, digits)
    return (
        '<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="5">'
        f'<TR><TD COLSPAN="2" BGCOLOR="{head}">{title}</TD></TR>'
        + _cells("data", data, _DATA, width, row.name in state.data)
        + _cells("grad", shown(grad, digits), _GRAD, width, row.name in state.grads)
        + "</TABLE>"
    )


def _cells(label: str, text: str, colour: str, width: int, visible: bool) -> str:
    """A line of a box; an unknown value takes its space unseen."""
    ink = colour if visible else _UNSEEN
    return (
        f'<TR><TD ALIGN="LEFT"><FONT COLOR="{colour}">{label}</FONT></TD>'
        f'<TD ALIGN="RIGHT" WIDTH="{width}"><FONT COLOR="{ink}">{escape(text)}</FONT></TD></TR>'
    )


def _caption(state: _State, states: Sequence[_State]) -> str:
    """The description of a frame, in a cell as wide as the longest caption, and the legend."""
    height, width = (28, 8 * max(len(s.caption) for s in states)) if states else (8, 8)
    text = f'<FONT POINT-SIZE="15">{escape(state.caption)}</FONT>' if states else ""
    return (
        '<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="4">'
        f'<TR><TD FIXEDSIZE="TRUE" WIDTH="{width}" HEIGHT="{height}">{text}</TD></TR>'
        f"<TR><TD>{_LEGEND}</TD></TR></TABLE>"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


# ---------------------------------------------------------------------- drawing
def _rendered(format: str, text: str) -> bytes:
    """The output of `dot` for the text: one picture behind the other for several graphs."""
    try:
        import graphviz
    except ImportError as error:
        raise ImportError(
            f"drawing graphs needs the package graphviz: {install_hint('graph')}, and the "
            "program dot (Debian: apt install graphviz); format='dot' needs neither"
        ) from error
    try:
        drawn: bytes = graphviz.pipe("dot", format, text.encode(), quiet=True)
    except graphviz.ExecutableNotFound:
        raise RuntimeError(
            "the program dot of Graphviz is needed to draw graphs: apt install graphviz, or "
            "https://graphviz.org/download; format='dot' does without"
        ) from None
    return drawn


def _animated_svg(text: str, seconds: float) -> str:
    """One SVG picture of several: each is visible in its turn."""
    pictures = re.findall(r"(<svg\b.*?>)(.*?)</svg>", text, re.DOTALL)
    weights = [1] * (len(pictures) - 1) + [_HELD]
    total = sum(weights)
    parts = ['<?xml version="1.0" encoding="UTF-8"?>', pictures[-1][0]]
    for i, (_, body) in enumerate(pictures):
        begin, end = i / total, (i + weights[i]) / total
        marks = [(0.0, "hidden")] * (i > 0) + [(begin, "visible")]
        marks += [(end, "hidden")] * (i < len(pictures) - 1)
        times = ";".join(f"{at:.6f}" for at, _ in marks)
        values = ";".join(value for _, value in marks)
        rest = "visible" if i == len(pictures) - 1 else "hidden"  # where nothing moves
        parts += [
            f'<g visibility="{rest}"><animate attributeName="visibility" calcMode="discrete" '
            f'dur="{total * seconds:g}s" repeatCount="indefinite" keyTimes="{times}" '
            f'values="{values}"/>',
            re.sub(r'\sid="[^"]*"', "", body).replace(f'fill="{_UNSEEN}"', 'fill="none"').strip(),
            "</g>",
        ]
    return "\n".join([*parts, "</svg>", ""])


def _animated_gif(data: bytes, seconds: float) -> bytes:
    """One GIF picture of several PNG pictures."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"GIF pictures need Pillow: {install_hint('viz')}") from error
    start = b"\x89PNG\r\n\x1a\n"
    frames = [Image.open(io.BytesIO(start + part)) for part in data.split(start)[1:]]
    flat = [frame.convert("RGB").quantize(64) for frame in frames]
    times = [round(1000 * seconds)] * (len(flat) - 1) + [round(1000 * seconds * _HELD)]
    out = io.BytesIO()
    flat[0].save(
        out, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0, disposal=1
    )
    return out.getvalue()
