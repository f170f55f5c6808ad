"""Chart files as parts of a page: an SVG drawn inside it, and any file as a link that holds what it downloads."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from markupsafe import Markup

from reports.charts import BAR, DATA, GRID, HATCH, INK, MUTED, ONSET, PAPER

_THEME = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    HATCH: "--hatch",
    BAR: "--bar",
    DATA: "--data",
    ONSET: "--onset",
}
"""The charts' colours that follow the page into the dark; the heat map's scale keeps its own."""
SVG, PNG, CSV = "image/svg+xml", "image/png", "text/csv;charset=utf-8"


@dataclass(frozen=True)
class Download:
    """A file that the page carries. ``name``: what it is saved as; ``uri``: a ``data:`` address that is the file."""

    name: str
    label: str
    uri: str


@dataclass(frozen=True)
class ChartFiles:
    """One chart as files: SVG text, PNG bytes (empty where there is none) and the numbers in it as CSV text."""

    svg: str
    png: bytes = b""
    csv: str = ""

    def downloads(self, name: str) -> list[Download]:
        """What there is of it, each to be saved under ``name``, a plain word."""
        contents = (("svg", SVG, self.svg.encode()), ("png", PNG, self.png), ("csv", CSV, self.csv.encode()))
        return [
            Download(f"{name}.{suffix}", suffix.upper(), data_uri(content, kind))
            for suffix, kind, content in contents
            if content
        ]


def data_uri(content: bytes, kind: str) -> str:
    """An address that is its own content. ``kind``: the media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def inline_svg(svg: str, name: str) -> Markup:
    """A chart file's SVG for use inside the page: sized by the page, coloured by its theme, its ids made unique.

    ``name``: what its ids begin with. Fonts are the page's, so that those named in the file are left out.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<title>.*?</title>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"\s*<style\b.*?</style>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"', r'\1 aria-hidden="true"', body, count=1)
    body = re.sub(r" ?font-family: [^;\"]*;?", "", body)
    body = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour, variable in _THEME.items():
        body = re.sub(rf'(fill|stroke)(: |="){colour}\b', rf"\1\2var({variable})", body)
    return Markup(re.sub(r"\s*\n\s*", "\n", body))
