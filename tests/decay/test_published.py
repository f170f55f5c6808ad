"""A published onset map, reproduced by the rule that its authors used.

CollapseTracker (Ramkumar & Pragalya 2026, CC BY 4.0, doi:10.5281/zenodo.19511599): 24 recursive text runs, and the
first generation in which the share of distinct word pairs lies below 0.9 of generation 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from decay.erosion import first_below

MIXING_RATIOS = (1.0, 0.25, 0.5, 0.75)
"""Share of generated text, in the order of the map's columns."""
PUBLISHED = {
    ("creative_fiction", "distilgpt2"): (1, 2, 2, 2),
    ("creative_fiction", "gpt2"): (3, 3, 3, 2),
    ("technical_qa", "distilgpt2"): (1, 2, 1, 1),
    ("technical_qa", "gpt2"): (2, 3, 2, 2),
    ("wikipedia", "distilgpt2"): (2, 2, 2, 2),
    ("wikipedia", "gpt2"): (2, 4, 3, 3),
}
"""Read off the map that was published with the data."""


@pytest.mark.validation
def test_the_flat_rule_gives_the_published_onset_in_every_cell(validation_data: Path) -> None:
    table = pd.read_csv(validation_data / "published" / "collapsetracker_metrics.csv")
    found = {
        (domain, model, ratio): _onset(rows)
        for (domain, model, ratio), rows in table.groupby(["domain", "model", "mixing_ratio"])
    }
    expected = {
        (*run, ratio): float(onset)
        for run, onsets in PUBLISHED.items()
        for ratio, onset in zip(MIXING_RATIOS, onsets, strict=True)
    }
    assert len(expected) == 24
    assert found == expected


def _onset(rows: pd.DataFrame) -> float:
    rows = rows.sort_values("generation")
    return first_below(rows["distinct_2gram"].to_numpy(dtype=np.float64), list(rows["generation"]), drop=0.1)
