"""Protocols from TOML files, from the presets that lie in the package, and from the record of a run; and back.

Nothing in a file is trusted: its size and depth are bounded, every key and type is checked, and what is wrong is said
with its place in the file. The record has the very shape of the file, so that one reader serves both.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from decay.errors import DecayError, shown
from decay.loop.engine import Setting
from decay.loop.engines import ENGINES
from decay.loop.protocol import (
    KIND_SETTINGS,
    Controls,
    Experiment,
    HeldOut,
    Init,
    Keep,
    Kind,
    Parent,
    Protocol,
    RealSet,
    Regime,
    Start,
    read_parent,
)
from decay.toml import parse_toml, read_toml_text

_MUST_SAY: Mapping[Kind, str] = {"mix": "synthetic", "fresh": "synthetic", "schedule": "shares"}
_REAL_ONLY = [{"kind": "mix", "synthetic": 0.0}]


# --------------------------------------------------------------------------- files


def preset_names() -> tuple[str, ...]:
    """The presets in the package."""
    found = (entry.name for entry in (files("decay.loop") / "presets").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def preset_text(name: str) -> str:
    """The TOML of a preset, to be read, or saved and changed."""
    return (files("decay.loop") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def read_protocol(path_or_preset: str | Path) -> Experiment:
    """The experiment in a TOML file, or the preset of this name.

    Paths in a file are relative to its folder, those in a preset to the working directory. Raises DecayError, with
    the place in the file, for whatever is not as ``decay.loop.protocol`` has it.
    """
    path = Path(path_or_preset)
    if str(path) in preset_names():
        return _experiment(f"the preset {path}", preset_text(str(path)), Path())
    if not path.exists():
        raise DecayError(
            f"{path}: expected a TOML file, or one of the presets {', '.join(preset_names())}; found nothing. "
            "Correct the name."
        )
    return _experiment(str(path), read_toml_text(path), path.parent)


def _experiment(where: str, text: str, root: Path) -> Experiment:
    written = parse_toml(where, text)
    arms_written = _Table(where, written).tables("arm")
    base_written = {key: value for key, value in written.items() if key != "arm"}
    base = _protocol(_Table(where, base_written), root)
    arms: dict[str, Protocol] = {}
    for table in arms_written:
        arm = _arm(table, base_written, arms, root)
        if arm.name.casefold() in {name.casefold() for name in arms}:
            raise DecayError(
                f"{table.where}: expected a name that no other arm has; found {arm.name!r} again. Rename one of them."
            )
        arms[arm.name] = arm
    return Experiment(base, arms)


def _arm(table: _Table, base: Mapping[str, object], arms: Mapping[str, Protocol], root: Path) -> Protocol:
    with table.checked():
        name = table.text("name")
        heal = table.text("heal", "")
    where = f"{table.where} ({shown(name)})"
    written = {key: value for key, value in table.values.items() if key != "heal"}
    if heal and "parent" in written:
        raise DecayError(f"{where}: expected either heal or parent; found both. Take one of them out.")
    if heal and "regime" not in written:
        written["regime"] = _REAL_ONLY
    arm = _protocol(_Table(where, merged(base, written)), root)
    return replace(arm, parent=_healed(where, heal, arms)) if heal else arm


def _healed(where: str, heal: str, arms: Mapping[str, Protocol]) -> Parent:
    with _placed(where):
        parent = read_parent(heal)
        if (source := arms.get(str(parent.run))) is None:
            above = ", ".join(arms) or "none"
            raise ValueError(f"expected heal to name an arm that stands above ({above}); found {shown(heal)}")
        first = source.last_generation if source.keep_weights == "last" else source.first_generation
        if not first <= parent.generation <= source.last_generation:
            raise ValueError(
                f"expected heal to name a generation whose weights {parent.run} keeps, {first} to "
                f"{source.last_generation}; found {parent.generation}"
            )
    return parent


def merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """``base`` with what stands in ``over``: tables are merged key by key, all else, arrays too, is replaced."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


# --------------------------------------------------------------------------- records


def resolved(protocol: Protocol) -> dict[str, object]:
    """Every setting of a protocol, defaults too, as plain values in the shape of the TOML file; None for none."""
    record: dict[str, object] = {
        "name": protocol.name,
        "seed": protocol.seed,
        "iterations": protocol.iterations,
        "init": protocol.init,
        "size_px": protocol.size_px,
        "first_from": protocol.first_from,
        "later_from": protocol.later_from,
        "keep_weights": protocol.keep_weights,
        "real": _plain_values(protocol.real),
        "engine": {"name": protocol.engine, **protocol.engine_settings},
        "regime": [_regime_record(regime) for regime in protocol.regimes],
        "controls": _plain_values(protocol.controls),
        "held_out": _plain_values(protocol.held_out),
        "parent": None if protocol.parent is None else _plain_values(protocol.parent),
    }
    return record


def protocol_from_record(record: Mapping[str, object]) -> Protocol:
    """The protocol that ``resolved`` made the record of, also after JSON. Raises DecayError."""
    return _protocol(_Table("the recorded protocol", record), Path())


def _regime_record(regime: Regime) -> dict[str, object]:
    own = ("since", "kind", *KIND_SETTINGS[regime.kind])
    return {name: value for name, value in _plain_values(regime).items() if name in own}


def _plain_values(part: Any) -> dict[str, object]:
    return {field.name: _plain_value(getattr(part, field.name)) for field in fields(part)}


def _plain_value(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


# --------------------------------------------------------------------------- tables to dataclasses


def _protocol(table: _Table, root: Path) -> Protocol:
    table.only(
        "name", "seed", "iterations", "init", "size_px", "first_from", "later_from", "keep_weights",
        "real", "engine", "regime", "controls", "held_out", "parent",
    )  # fmt: skip
    engine, engine_settings = _engine(table.table("engine"))
    with table.checked():
        return Protocol(
            name=table.text("name"),
            real=_real(table.table("real"), root),
            engine=engine,
            engine_settings=engine_settings,
            seed=table.whole("seed", Protocol.seed),
            iterations=table.whole("iterations", Protocol.iterations),
            init=table.choice("init", get_args(Init)) if table.has("init") else None,
            size_px=table.whole("size_px", Protocol.size_px),
            first_from=table.choice("first_from", get_args(Start), Protocol.first_from),
            later_from=table.choice("later_from", get_args(Start), Protocol.later_from),
            keep_weights=table.choice("keep_weights", get_args(Keep), Protocol.keep_weights),
            regimes=tuple(_regime(part) for part in table.tables("regime")) or Protocol.regimes,
            controls=_controls(table.table("controls"), root),
            held_out=_held_out(table.table("held_out")),
            parent=_parent(table.table("parent"), root) if table.has("parent") else None,
        )


def _real(table: _Table, root: Path) -> RealSet:
    table.only(*(field.name for field in fields(RealSet)))
    with table.checked():
        return RealSet(
            folder=root / table.text("folder"),
            prompt=table.text("prompt", RealSet.prompt),
            group=table.text("group", RealSet.group),
            per_group=table.whole("per_group", 0) if table.has("per_group") else None,
            expects=table.texts("expects") if table.has("expects") else None,
        )


def _engine(table: _Table) -> tuple[str, Mapping[str, Setting]]:
    with table.checked():
        name = table.choice("name", tuple(ENGINES))
        settings: dict[str, Setting] = {}
        for key, value in table.values.items():
            if key != "name":
                settings[key] = _setting(shown(key), value)
    return name, settings


def _setting(key: str, value: object) -> Setting:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_line(key, value)
        return value
    if isinstance(value, int):
        _check_size(key, value)
        return value
    if isinstance(value, float):
        _check_finite(key, value)
        return value
    raise ValueError(f"expected a text, a number, true or false in {key}; found {_described(value)}")


def _regime(table: _Table) -> Regime:
    table.only(*(field.name for field in fields(Regime)))
    with table.checked():
        kind: Kind = table.choice("kind", get_args(Kind))
        if (needed := _MUST_SAY.get(kind)) is not None and not table.has(needed):
            raise ValueError(f"expected {needed}, which the regime {kind} needs; found none")
        return Regime(
            since=table.whole("since", Regime.since),
            kind=kind,
            synthetic=table.number("synthetic", Regime.synthetic),
            shares=table.numbers("shares"),
            keep=table.number("keep", Regime.keep),
            score=table.text("score", Regime.score),
            missed=table.number("missed", Regime.missed),
        )


def _controls(table: _Table, root: Path) -> Controls:
    table.only(*(field.name for field in fields(Controls)))
    with table.checked():
        return Controls(
            colour=table.flag("colour", Controls.colour),
            quality=table.flag("quality", Controls.quality),
            quality_model=root / table.text("quality_model") if table.has("quality_model") else None,
            quality_attempts=table.whole("quality_attempts", Controls.quality_attempts),
        )


def _held_out(table: _Table) -> HeldOut:
    table.only(*(field.name for field in fields(HeldOut)))
    with table.checked():
        return HeldOut(table.texts("prompts"), table.whole("per_prompt", HeldOut.per_prompt))


def _parent(table: _Table, root: Path) -> Parent:
    table.only(*(field.name for field in fields(Parent)))
    with table.checked():
        return Parent(root / table.text("run"), table.whole("generation"))


@contextmanager
def _placed(where: str) -> Iterator[None]:
    """Says where in the file a value is wrong, if the body finds it wrong."""
    try:
        yield
    except ValueError as error:
        raise DecayError(f"{where}: {error}. Correct it.") from error


@dataclass(frozen=True)
class _Table:
    """A table of the file and its place there. What is absent, or null in a record, has its default; without one it
    must be there. Each method raises ValueError for a value of another type, which ``checked`` gives its place.
    """

    where: str
    values: Mapping[str, object]

    def checked(self) -> AbstractContextManager[None]:
        """The place for what the body finds wrong."""
        return _placed(self.where)

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def only(self, *known: str) -> None:
        """Raises DecayError for a key that is not known."""
        for key in self.values:
            if key not in known:
                raise DecayError(
                    f"{self.where}: expected keys out of {', '.join(known)}; found {shown(key)}. "
                    f"{_meant(key, known)}Correct or remove it."
                )

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self._get(key, default, "a text", str)
        _check_line(key, value)
        if not value.strip() and default is None:
            raise ValueError(f"expected a text in {key}; found an empty one")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        value: int = self._get(key, default, "a whole number", int)
        _check_size(key, value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value: int | float = self._get(key, default, "a number", (int, float))
        _check_finite(key, value)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value: bool = self._get(key, default, "true or false", bool)
        return value

    def choice(self, key: str, words: Sequence[str], default: str | None = None) -> Any:
        value = self.text(key, default)
        if value not in words:
            raise ValueError(f"expected {key} to be one of {', '.join(words)}; found {shown(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._get(key, [], "a list of texts", list)
        return tuple(_Table(self.where, {key: value}).text(key) for value in values)

    def numbers(self, key: str) -> tuple[float, ...]:
        values = self._get(key, [], "a list of numbers", list)
        return tuple(_Table(self.where, {key: value}).number(key) for value in values)

    def table(self, key: str) -> _Table:
        """The table ``[key]``, empty where there is none. Raises DecayError if it is none."""
        where = f"{self.where}, [{key}]"
        with _placed(self.where):
            return _Table(where, self._get(key, {}, f"a table [{key}]", Mapping))

    def tables(self, key: str) -> list[_Table]:
        """The tables ``[[key]]``, none where there are none. Raises DecayError if they are none."""
        with _placed(self.where):
            values = self._get(key, [], f"tables [[{key}]]", list)
            parts = [_Table(self.where, {key: value})._get(key, None, f"tables [[{key}]]", Mapping) for value in values]
        return [_Table(f"{self.where}, [[{key}]] {number}", part) for number, part in enumerate(parts, start=1)]

    def _get(self, key: str, default: Any, what: str, kinds: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            if default is None:
                raise ValueError(f"expected {what} in {key}; found none")
            return default
        # In Python true and false are whole numbers; in a protocol they are not.
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise ValueError(f"expected {what} in {key}; found {_described(value)}")
        return value


def _check_line(key: str, text: str) -> None:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        raise ValueError(f"expected one line without control characters in {key}; found {shown(text)}")


def _check_size(key: str, number: int) -> None:
    if abs(number) >= 2**63:
        raise ValueError(f"expected a whole number of at most 63 bits in {key}; found a larger one")


def _check_finite(key: str, number: float) -> None:
    if not abs(number) <= sys.float_info.max:
        raise ValueError(f"expected a finite number in {key}; found none")


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else shown(value)


def _meant(key: str, known: Sequence[str]) -> str:
    """``Is iterations meant? ``, where a known key is much like it."""
    near = get_close_matches(key, known, n=1)
    return f"Is {near[0]} meant? " if near else ""
