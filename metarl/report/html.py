"""HTML in small pieces: a page that needs nothing but itself. What is called text is escaped here."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape as escape_html
from pathlib import Path

from metarl.errors import plain

CSS = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --rule: #d4d4d4; --soft: #ebebeb;
  --faint: #5c5c5c; --note: #fdf3d8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e2e2; --paper: #17191c; --rule: #43474d;
  --soft: #2b2e33; --faint: #a3a3a3; --note: #3a3016; } }
body { margin: 0 auto; padding: 2.5rem 1.25rem 5rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; font-weight: 600; text-wrap: balance; }
h1 { font-size: 2rem; margin: 0 0 .5rem; }
h2 { font-size: 1.5rem; margin: 3.5rem 0 .5rem; padding-top: 1.25rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; }
.faint, figcaption { color: var(--faint); font-size: .875rem; }
aside { margin: 1.25rem 0; padding: .6rem 1rem .75rem; background: var(--note); border-radius: 4px; }
aside h3 { margin: 0 0 .25rem; }
aside ul { margin: 0; padding-left: 1.2rem; }
figure { margin: 1rem 0; }
figcaption { max-width: 46rem; margin-top: .25rem; }
svg, img, video { display: block; max-width: 100%; height: auto; }
svg text { font-family: inherit !important; }
svg * { stroke-linejoin: round; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem 0 .2rem 1.5rem; text-align: left; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
tr > :first-child { padding-left: 0; }
table:has(tbody th) { min-width: 34rem; }
tbody th > div { width: 0; min-width: 100%; white-space: normal; }
thead th { border-bottom: 1px solid var(--ink); }
tbody + tbody th { border-top: 1px solid var(--rule); }
tbody:last-child tr:last-child > td { border-bottom: 1px solid var(--ink); }
@media (max-width: 40rem) {
  body { padding-top: 1.25rem; }
  table, tbody, tr, td, tbody th { display: block; min-width: 0 !important; }
  thead { display: none; }
  tr { padding: .35rem 0; border-bottom: 1px solid var(--rule); }
  td { padding: 0 0 0 1rem; border: 0 !important; white-space: normal; overflow-wrap: anywhere; }
  td.number { text-align: left; }
  td:empty { display: none; }
  td[data-label]::before { content: attr(data-label) ": "; color: var(--faint); }
}
a { color: inherit; }
.number { text-align: right; }
details { margin: .75rem 0; }
summary { cursor: pointer; font-weight: 600; }
details details { margin: .25rem 0 .25rem 1.2rem; }
details details summary { font-weight: 400; }
pre { font-size: .8rem; line-height: 1.4; padding: .75rem 1rem; background: var(--soft); overflow-x: auto; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"  # and nothing else
LEGIBLE = 0.45  # of its size, down to which a drawing shrinks with the window; beyond that it scrolls
Rows = Sequence[Sequence[str]]


def escape(text: str) -> str:
    """Text as HTML that is shown as it stands, and nothing in it obeyed."""
    return escape_html(plain(text))


def page(title: str, body: Iterable[str]) -> str:
    """A whole page of pieces."""
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(title)}</title>",
        f"<style>{CSS}</style>",
    ]
    return "\n".join(
        ['<!DOCTYPE html>\n<html lang="en">\n<head>', *head, "</head>\n<body>", *body, "</body>\n</html>\n"]
    )


def heading(level: int, text: str) -> str:
    """A heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; the kind "faint" is for remarks."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def notes(title: str, texts: Iterable[str]) -> str:
    """A box with things to be aware of."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<aside>{heading(3, title)}<ul>{items}</ul></aside>"


def table(head: Sequence[str], blocks: Mapping[str, Rows] | Rows, n_words: int = 1) -> str:
    """A table of texts.

    Args:
        head: names of the columns.
        blocks: rows of cells, empty ones on the right left out; or several blocks of rows, by the line
            that stands above each.
        n_words: columns from the left that hold words; the others hold numbers.
    """

    def row(kind: str, texts: Sequence[str]) -> str:
        whole = [*texts, *[""] * (len(head) - len(texts))]
        cells = []
        for k, (text, name) in enumerate(zip(whole, head, strict=True)):
            number = ' class="number"' * (k >= n_words)
            label = f' data-label="{escape(name)}"' if kind == "td" and k and name and text else ""
            cells.append(f"<{kind}{number}{label}>{escape(text)}</{kind}>")
        return f"<tr>{''.join(cells)}</tr>"

    lines = ['<div class="wide"><table>', f"<thead>{row('th', head)}</thead>"]
    for title, rows in (blocks if isinstance(blocks, Mapping) else {"": blocks}).items():
        above = f'<tr><th colspan="{len(head)}" scope="rowgroup"><div>{escape(title)}</div></th></tr>'
        below = "".join(row("td", texts) for texts in rows)
        lines.append(f"<tbody>{above if title else ''}{below}</tbody>")
    return "\n".join([*lines, "</table></div>"])


def details(summary: str, *html: str) -> str:
    """Pieces that show when they are asked for."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(html)}</details>"


def code(text: str) -> str:
    """Text as it stands."""
    lines = "\n".join(map(escape, text.splitlines()))
    return f"<pre>{lines}</pre>"


def figure(name: str, svg: str, caption: str) -> str:
    """A drawing, whose own names are made the page's by a name in front."""
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    least = LEGIBLE * float(next(re.finditer(r'width="([\d.]+)pt"', svg))[1])
    told = f'role="img" aria-label="{escape(caption)}" style="min-width: {least:.0f}pt"'
    svg = svg.replace("<svg ", f"<svg {told} ", 1)
    return f'<figure><div class="wide">{svg}</div><figcaption>{escape(caption)}</figcaption></figure>'


def link(address: str, text: str, remark: str = "") -> str:
    """A paragraph that leads somewhere else, and a remark behind it."""
    return f'<p><a href="{escape(address)}">{escape(text)}</a>{escape(remark)}</p>'


def clip(path: Path, content: bytes) -> str:
    """A video, in the page itself."""
    kind, data = path.suffix.lower(), base64.b64encode(content).decode()
    shown = (
        f'<img alt="{escape(str(path))}" src="data:image/gif;base64,{data}">'
        if kind == ".gif"
        else f'<video controls loop muted src="data:video/mp4;base64,{data}"></video>'
    )
    return f"<figure>{shown}<figcaption>{escape(str(path))}</figcaption></figure>"
