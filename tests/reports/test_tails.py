"""What is rare, on the page: the rarest on top, claims as words, nothing foreign live."""

from __future__ import annotations

import pandas as pd

from reports.page import environment
from reports.tails import MAX_ROWS, tails_section
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
    assert clusters.rows == [("cluster 1", "4 %", ["2 %", "0 % gone"]), ("cluster 2", "4 %", ["2 %", "2 % fewer"])]
    assert groups.rows == [("<b>old</b>", "90 %", ["2 %", "2 %"])]
    page = environment().get_template("tails.html.j2").render(tails=section)
    assert "&lt;b&gt;old" in page
    assert "<b>old" not in page
    assert page.index("cluster 1") < page.index("cluster 2")


def test_the_rarest_of_many_are_shown() -> None:
    many = pd.DataFrame([row for nth in range(1, 50) for row in rows(f"cluster {nth}", nth, ["present"])])
    section = tails_section(many, {})
    assert section is not None
    assert [name for name, _, _ in section.tables[0].rows] == [f"cluster {nth}" for nth in range(1, MAX_ROWS + 1)]


def test_nothing_to_tell_is_no_section() -> None:
    assert tails_section(None, {}) is None
    assert tails_section(TAILS.head(0), {"tails": None}) is None


def test_the_terminal_has_one_line() -> None:
    empty = pd.DataFrame(columns=["trait", "kind"])
    assert "Tails: 1 of 2 clusters is gone." in summary(empty, empty, {**VERDICT, "sentence": "x"}).splitlines()
    assert "Tails" not in summary(empty, empty, {"tails": None})
