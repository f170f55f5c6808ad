from __future__ import annotations

import base64

from reports.inline import ChartFiles, data_uri, inline_svg


def test_inline_svg_keeps_its_ids_to_itself() -> None:
    svg = '<?xml version="1.0"?><svg width="2pt" height="1pt" viewBox="0 0 2 1"><title>t</title>'
    svg += '<g id="a"><use href="#a" clip-path="url(#p)" style="fill: #1f2328"/></g></svg>'
    assert inline_svg(svg, "n") == (
        '<svg aria-hidden="true" viewBox="0 0 2 1"><g id="n-a"><use href="#n-a" clip-path="url(#n-p)"'
        ' style="fill: var(--ink)"/></g></svg>'
    )


def test_an_address_holds_its_content() -> None:
    kind, content = data_uri(b"a,b\n1,2\n", "text/csv").split(";base64,")
    assert kind == "data:text/csv"
    assert base64.b64decode(content) == b"a,b\n1,2\n"


def test_only_files_that_there_are_can_be_saved() -> None:
    files = ChartFiles("<svg/>", csv="x\n").downloads("iris")
    assert [(file.name, file.label) for file in files] == [("iris.svg", "SVG"), ("iris.csv", "CSV")]
