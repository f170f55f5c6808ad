"""What is rare, on the page: the rarest on top, claims as words, nothing foreign live."""

from __future__ import annotations

import pandas as pd

from reports.page import environment
from reports.strips import Crop
from reports.tails import MAX_ROWS, TailsCell, TailsRow, examples_shown, tails_section
from reports.terminal import summary


def rows(part: str, rarity: int, states: list[str], kind: str = "cluster") -> list[dict[str, object]]:
    return [
        {"kind": kind, "part": part, "rarity": rarity, "share_reference": 0.04, "share_read_reference": 0.9,
         "generation": g, "share": 0.0 if state == "gone" else 0.02, "state": state}
        for g, state in enumerate(states)
    ]  # fmt: skip


TAILS = pd.DataFrame(
    rows("cluster 2", 2, ["present", "thinned"]) + rows("cluster 1", 1, ["present", "gone"])
    + rows("<b>old</b>", 1, ["present", "cannot_tell"], "group")
)  # fmt: skip
VERDICT = {"tails": {"sentence": "1 of 2 clusters is gone."}}


def test_the_rarest_stands_on_top_with_what_is_claimed_of_it() -> None:
    section = tails_section(TAILS, VERDICT)
    assert section is not None
    assert section.sentence == "1 of 2 clusters is gone."
    clusters, groups = section.tables
    assert [(row.name, row.reference) for row in clusters.rows] == [("cluster 1", "4 %"), ("cluster 2", "4 %")]
    assert clusters.rows[0].cells == [TailsCell("2 %"), TailsCell("0 % gone", "gone")]
    assert clusters.rows[1].cells == [TailsCell("2 %"), TailsCell("2 % fewer", "thinned")]
    assert groups.rows == [TailsRow("<b>old</b>", "90 %", [TailsCell("2 %"), TailsCell("2 %")])]
    page = environment().get_template("tails.html.j2").render(tails=section)
    assert "&lt;b&gt;old" in page
    assert "<b>old" not in page
    assert page.index("cluster 1") < page.index("cluster 2")


def test_the_rarest_of_many_are_shown() -> None:
    many = pd.DataFrame([row for nth in range(1, 50) for row in rows(f"cluster {nth}", nth, ["present"])])
    section = tails_section(many, {})
    assert section is not None
    assert [row.name for row in section.tables[0].rows] == [f"cluster {nth}" for nth in range(1, MAX_ROWS + 1)]


def test_a_cluster_is_shown_by_its_picture() -> None:
    shown = TAILS.assign(example=["real/a.png"] * 4 + [None] * 2)
    assert examples_shown(shown) == ["real/a.png"]
    section = tails_section(shown, VERDICT, {"real/a.png": Crop(b"jpeg", 4)})
    page = environment().get_template("tails.html.j2").render(tails=section)
    assert page.count('<img src="data:image/jpeg;base64,anBlZw=="') == 2
    assert page.count('class="gone"') == 1


def test_too_few_to_cluster_is_said() -> None:
    section = tails_section(TAILS.head(0), {"tails": {"sentence": "It takes 24."}})
    assert section is not None
    assert "It takes 24." in environment().get_template("tails.html.j2").render(tails=section)


def test_nothing_to_tell_is_no_section() -> None:
    assert tails_section(None, {}) is None
    assert tails_section(TAILS.head(0), {"tails": None}) is None


def test_the_terminal_has_one_line() -> None:
    empty = pd.DataFrame(columns=["trait", "kind"])
    assert "Tails: 1 of 2 clusters is gone." in summary(empty, empty, {**VERDICT, "sentence": "x"}).splitlines()
    assert "Tails" not in summary(empty, empty, {"tails": None})
