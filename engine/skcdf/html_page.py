"""One HTML file that needs nothing else: its style, tables and escaping. No script, and leave to load nothing.

Texts given to these functions are escaped here, once; only `Markup` is taken as HTML.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


_PNG = b"\x89PNG\r\n\x1a\n"
# `data:` pictures and the style below are all that the page may use; a browser refuses anything else.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #59626d; --rule: #dde1e6; --paper: #ffffff;
  --panel: #f5f7f9; --warn: #fff3d6; --warn-ink: #6b4700; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --quiet: #a3adb8; --rule: #363d45; --paper: #14171b;
  --panel: #1d2227; --warn: #3a2e10; --warn-ink: #f6d68a; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: break-word; }
h1 { margin: 0 0 .75rem; font-size: 1.75rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--rule); font-size: 1.2rem; }
p { margin: .5rem 0; max-width: 48rem; }
.quiet, caption, figcaption, footer { color: var(--quiet); font-size: .875rem; }
.notice { max-width: none; padding: .6rem .9rem; border-left: 4px solid currentcolor; border-radius: 3px;
  background: var(--warn); color: var(--warn-ink); font-weight: 600; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
.figures div { padding: .7rem .9rem; border-radius: 6px; background: var(--panel); }
.figures dt { color: var(--quiet); font-size: .8rem; }
.figures dd { margin: 0; font-size: 1.3rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.figures .missing { font-size: 1rem; font-weight: 400; }
.figures small { display: block; color: var(--quiet); font-size: .8rem; font-weight: 400; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.wide { overflow-x: auto; } .wide > svg { min-width: 34rem; }
table { border-collapse: collapse; margin: .75rem 0; font-size: .925rem; }
caption { padding-bottom: .4rem; text-align: left; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
th { font-weight: 600; } tbody th { font-weight: 400; } tfoot th, tfoot td { font-weight: 650; }
thead th { border-bottom-color: var(--quiet); vertical-align: bottom; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.pairs { width: 100%; } .pairs th { width: 16rem; color: var(--quiet); } .pairs td { overflow-wrap: anywhere; }
code { font-size: .875rem; } code span { display: inline-block; max-width: 100%; }
.dot { display: block; width: 8rem; height: .8rem; margin-top: .35rem; stroke: var(--rule); stroke-width: 1; }
.dot .spread { stroke: var(--accent); stroke-width: 3; opacity: .4; }
.dot circle { fill: var(--accent); stroke: none; }
footer { margin-top: 3rem; }
@media (max-width: 34rem) { .pairs th { width: 45%; } h1 { font-size: 1.4rem; } }
@media print { :root { color-scheme: light; --ink: #000; --quiet: #444; --rule: #bbb; --paper: #fff; --panel: #f3f3f3;
  --warn: #fff; --warn-ink: #000; --accent: #0072b2; }
  body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; } .wide > svg { min-width: 0; }
  figure, tr, .figures div { break-inside: avoid; } h2, caption { break-after: avoid; }
  figure img { max-height: 22cm; } table { font-size: 8.5pt; } th, td { padding-right: .5rem; }
  .dot { width: 5rem; } }
"""


def document(title: str, parts: Iterable[Markup], style: str = "") -> str:
    """The whole file: the parts under a head with `STYLE` and ``style``."""
    body = "\n".join(parts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def element(name: str, content: str, **attributes: str) -> Markup:
    """An element; ``class_`` stands for ``class`` and ``aria_label`` for ``aria-label``."""
    names = (name.rstrip("_").replace("_", "-") for name in attributes)
    named = zip(names, attributes.values(), strict=True)
    given = "".join(f' {key}="{escape(value)}"' for key, value in named if value)
    return Markup(f"<{name}{given}>{_markup(content)}</{name}>")


def joined(parts: Iterable[Markup]) -> Markup:
    """The parts one after the other, a line each."""
    return Markup("\n".join(parts))


def section(title: str, *parts: Markup) -> Markup:
    """A heading and what is under it."""
    return element("section", joined([element("h2", title), *parts]))


def pairs(rows: Iterable[tuple[str, str]], caption: str) -> Markup:
    """A table of names and values."""
    body = (_markup_row([element("th", name, scope="row"), element("td", value)]) for name, value in rows)
    return _table(caption, element("tbody", joined(body)), "pairs")


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, foot: Sequence[str] = ()
) -> Markup:
    """A table whose first column names the rows; the others are set as numbers where they are not `Markup`."""
    first, *others = head
    columns = [element("th", first, scope="col")]
    columns += [element("th", name, scope="col", class_=_alignment(name)) for name in others]
    parts = [element("thead", _markup_row(columns)), element("tbody", joined(map(_row, rows)))]
    parts += [element("tfoot", _row(foot))] if foot else []
    return _scrolling(caption, _table(caption, joined(parts)))


def figure(content: Markup, caption: str) -> Markup:
    """A picture or chart with its caption; the caption of a chart that scrolls stays in place."""
    return element("figure", joined([content, element("figcaption", caption)]))


def chart(svg: str, name: str) -> Markup:
    """An ``<svg>`` that keeps a readable size on a narrow screen, where it scrolls sideways."""
    return _scrolling(name, Markup(svg))


def picture(png: bytes, alternative: str) -> Markup:
    """A PNG as part of the file.

    Raises:
        ValueError: ``png`` is not the content of a PNG file.
    """
    if png[:8] != _PNG or len(png) < 24:
        raise ValueError("not a PNG")
    width, height = struct.unpack(">II", png[16:24])
    source = base64.b64encode(png).decode("ascii")
    size = f'width="{width}" height="{height}"'  # known before it is decoded, so that nothing jumps
    return Markup(f'<img src="data:image/png;base64,{source}" {size} alt="{escape(alternative)}">')


def _scrolling(name: str, content: Markup) -> Markup:
    # reachable by keyboard, or nobody without a mouse could scroll it
    return element("div", content, class_="wide", role="region", aria_label=name, tabindex="0")


def _table(caption: str, body: Markup, style: str = "") -> Markup:
    return element("table", joined([element("caption", caption), body]), class_=style)


def _row(cells: Sequence[str]) -> Markup:
    first, *others = cells
    numbers = (element("td", cell, class_=_alignment(cell)) for cell in others)
    return _markup_row([element("th", first, scope="row"), *numbers])


def _alignment(cell: str) -> str:
    return "" if isinstance(cell, Markup) else "number"


def _markup_row(cells: Iterable[Markup]) -> Markup:
    return element("tr", Markup("".join(cells)))


def _markup(content: str) -> str:
    return content if isinstance(content, Markup) else escape(content)
