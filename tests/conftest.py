"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VALIDATION_DATA = Path(os.environ.get("DECAY_VALIDATION_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""The one place that says where the validation photographs are."""


@pytest.fixture(scope="session")
def validation_data() -> Path:
    if not VALIDATION_DATA.is_dir():
        pytest.skip("no validation data")
    return VALIDATION_DATA
