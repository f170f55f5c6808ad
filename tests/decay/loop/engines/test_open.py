"""What is written under [engine]: names, settings and their types."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from decay.errors import DecayError
from decay.loop.engine import Setting
from decay.loop.engines import ENGINES, open_engine


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_opens_with_its_own_settings(name: str) -> None:
    engine = open_engine(name, {}, 64)
    again = {key: value for key, value in engine.settings().items() if key not in ("name", "size_px")}
    assert open_engine(name, again, 64).settings() == engine.settings()


@pytest.mark.parametrize(
    ("name", "setting", "value", "wanted"),
    [
        ("linear", "noise", "no", "true or false"),
        ("linear", "n_components", True, "a whole number"),
        ("linear", "n_components", 2.5, "a whole number"),
        ("linear", "strength", True, "a number"),
        ("diffusion", "flip", "false", "true or false"),
        ("diffusion", "epochs", 1.5, "a whole number"),
        ("diffusion", "ema_decay", "0.9", "a number"),
        ("diffusion", "prediction", 1, "a text"),
        ("stable-diffusion", "local_files_only", "false", "true or false"),
        ("stable-diffusion", "batch_size", 2.5, "a whole number"),
        ("flux-fill", "model", 1, "a text"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, setting: str, value: Setting, wanted: str) -> None:
    with pytest.raises(DecayError, match=f"expected {wanted}.* in {setting}; got"):
        open_engine(name, {setting: value}, 64)


def test_a_whole_number_is_a_number_and_none_is_none() -> None:
    assert open_engine("linear", {"strength": 1, "n_components": None}, 64).settings()["strength"] == 1


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(DecayError, match=r"one of the engines linear, diffusion"):
        open_engine("gan", {}, 64)
    with pytest.raises(DecayError, match=r"no setting stregth; it has n_components, strength, noise"):
        open_engine("linear", {"stregth": 1}, 64)


@pytest.mark.parametrize("name", ENGINES)
def test_the_document_names_every_setting_with_its_default(name: str) -> None:
    text = (Path(__file__).parents[4] / "docs" / "protocol.md").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith(f"- **{name}**: "))
    module, class_name = ENGINES[name]
    engine_class = getattr(import_module(f"decay.loop.engines.{module}"), class_name)
    for field in fields(engine_class):
        if field.init and field.name != "size_px":
            default = "none" if field.default is None else json.dumps(field.default)
            assert f"`{field.name} = {default}`" in line
