"""Cells and tables of the accuracy report: no figure is rounded into a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def spread(errors: pd.Series, digits: int = 3) -> list[str]:
    """Median and 90th percentile of absolute errors."""
    if errors.empty:
        return ["-", "-"]
    return [f"{errors.median():.{digits}f}", f"{errors.quantile(0.9):.{digits}f}"]


def share(right: pd.Series) -> str:
    """The share of true entries, of something good: rounded down."""
    return percent(float(right.mean())) if len(right) else "-"


def percent(value: float) -> str:
    """One decimal, rounded down: 999 of 1000 is not 100 %. ``value``: 0..1, of something good."""
    return f"{math.floor(value * 1000 + 1e-9) / 10:.1f} %"  # 0.289 * 1000 is a hair below 289


def percent_of_errors(value: float) -> str:
    """One decimal, rounded up: 1 of 10,000 is not 0 %. ``value``: 0..1, of something bad."""
    return f"{math.ceil(value * 1000 - 1e-9) / 10:.1f} %"


def of(n: int, total: int) -> str:
    """``n of total`` with its percentage, of something good; a dash where there is nothing to count."""
    return f"{n} of {total} ({percent(n / total)})" if total else "-"


def errors_of(n: int, total: int) -> str:
    """The same, of something bad."""
    return f"{n} of {total} ({percent_of_errors(n / total)})" if total else "-"


def wilson(n: int, total: int) -> tuple[float, float]:
    """95 % interval of a share, 0..1 (Wilson 1927, doi:10.1080/01621459.1927.10502953). ValueError for total 0."""
    if not 0 <= n <= total or total == 0:
        raise ValueError(f"expected 0 <= n <= total and total > 0, got {n} of {total}")
    p, z2 = n / total, Z_95**2
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def interval(n: int, total: int) -> str:
    """The Wilson interval in per cent, rounded outward; a dash where there is nothing to count."""
    if not total:
        return "-"
    low, high = wilson(n, total)
    return f"{percent(low)} to {percent_of_errors(high)}".replace(" %", "")


def halves(records: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The two halves of the photographs, and both."""
    return [*((half, records[records["half"] == half]) for half in ("tuning", "reporting")), ("both", records)]
