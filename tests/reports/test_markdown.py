from __future__ import annotations

from typing import Any

import pytest

from reports.markdown import plain, render_markdown


@pytest.mark.parametrize(
    "text", ["<b>", "[a](b)", "![a](b)", "a | b", "*a* _b_ `c`", "# a", "a@b.org", "~~a~~ $x$", "\\"]
)
def test_foreign_text_stays_text(text: str) -> None:
    escaped = plain(text)
    assert escaped.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\") == text
    for nth, character in enumerate(escaped):
        if character in "<>[]|*_`#@~$!":
            assert escaped[nth - 1] == "\\"


def test_the_report_as_markdown_says_what_the_page_says(tables: Any) -> None:
    few = tables.few()
    text = render_markdown(few.traits, few.erosion, few.verdict, few.run, "../measures/my charts")
    assert text.startswith("# Eyes eroded first\\: catchlight presence fell from generation 2")
    assert "](../measures/my%20charts/overview.svg)" in text
    assert "](../measures/my%20charts/catchlight_presence.svg)" in text
    assert "hand_pose_spread.svg" not in text  # nothing was measured of it
    assert "no subject of this kind was found or expected" in text
    assert "0.10.21" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "generation" not in line]
    assert len(rows) >= few.traits["trait"].nunique()
