"""Protocols: what a TOML file may say, what it is told where it is wrong, arms, healing, presets, records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decay.errors import DecayError
from decay.files import to_json
from decay.loop.engines import open_engine
from decay.loop.protocol import (
    KIND_SETTINGS,
    Controls,
    Experiment,
    HeldOut,
    Kind,
    Parent,
    Protocol,
    RealSet,
    Regime,
    columns_of,
    read_parent,
    synthetic_count,
)
from decay.loop.reading import (
    merged,
    preset_names,
    preset_text,
    protocol_from_record,
    read_protocol,
    resolved,
)
from decay.toml import MAX_BYTES

MINIMAL = """
name = "faces"
[real]
folder = "ffhq"
[engine]
name = "linear"
"""


def read(tmp_path: Path, text: str) -> Experiment:
    path = tmp_path / "protocol.toml"
    path.write_text(text, encoding="utf-8")
    return read_protocol(path)


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(DecayError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "protocol.toml"))
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) - len(str(tmp_path)) < 420
    return message.removeprefix(str(tmp_path / "protocol.toml"))


# --------------------------------------------------------------------------- a file


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    experiment = read(tmp_path, MINIMAL)
    assert experiment == Experiment(Protocol("faces", RealSet(tmp_path / "ffhq"), "linear"))
    assert experiment.base.regimes == (Regime(1, "replace"),)


def test_everything_that_can_be_said_arrives(tmp_path: Path) -> None:
    text = """
    name = "all"
    seed = 7
    iterations = 9
    init = "base"
    size_px = 64
    first_from = "noise"
    later_from = "real"
    keep_weights = "last"
    [real]
    folder = "/elsewhere/ffhq"
    prompt = "a {age} {gender}"
    group = "{age}"
    per_group = 30
    expects = ["face", "hand"]
    [engine]
    name = "linear"
    n_components = 4
    strength = 0.5
    noise = true
    [[regime]]
    kind = "schedule"
    shares = [0, 0.5, 0.9]
    [[regime]]
    since = 4
    kind = "curated"
    keep = 0.25
    score = "image_contrast"
    [[regime]]
    since = 6
    kind = "filtered"
    missed = 0.1
    [controls]
    colour = true
    quality = true
    quality_model = "inception.pt"
    quality_attempts = 3
    [held_out]
    prompts = ["a dog", "a cat"]
    per_prompt = 2
    [parent]
    run = "../before"
    generation = 5
    """
    assert read(tmp_path, text).base == Protocol(
        name="all",
        real=RealSet(Path("/elsewhere/ffhq"), "a {age} {gender}", "{age}", 30, ("face", "hand")),
        engine="linear",
        engine_settings={"n_components": 4, "strength": 0.5, "noise": True},
        seed=7,
        iterations=9,
        init="base",
        size_px=64,
        first_from="noise",
        later_from="real",
        regimes=(
            Regime(1, "schedule", shares=(0.0, 0.5, 0.9)),
            Regime(4, "curated", keep=0.25, score="image_contrast"),
            Regime(6, "filtered", missed=0.1),
        ),
        controls=Controls(True, True, tmp_path / "inception.pt", 3),
        held_out=HeldOut(("a dog", "a cat"), 2),
        parent=Parent(tmp_path / "../before", 5),
        keep_weights="last",
    )


WRONG = [
    # (what is put into or after MINIMAL, what the message says)
    ("sinthetic = 1\n{}", r": expected keys out of name, seed, .*; found 'sinthetic'\. Correct or remove it\."),
    ("{}[controls]\ncolor = true", r", \[controls\]: expected keys out of .*; found 'color'\. Is colour meant\?"),
    ("{}[held_out]\nprompt = 'x'", r", \[held_out\]: expected keys out of prompts, per_prompt; found 'prompt'\."),
    ("{}[[regime]]\nkind = 'mix'\nshare = 1", r", \[\[regime\]\] 1: expected keys out of since, .*; found 'share'\."),
    ("seed = true\n{}", r": expected a whole number in seed; found true\."),
    ("seed = 1.0\n{}", r": expected a whole number in seed; found 1\.0\."),
    ("seed = -1\n{}", r": expected seed of 0 or more; found -1\."),
    ("seed = 9223372036854775808\n{}", r": expected a whole number of at most 63 bits in seed; found a larger one\."),
    ("iterations = -1\n{}", r": expected iterations of 0 or more; found -1\."),
    ("iterations = 0\n{}[parent]\nrun = 'x'\ngeneration = 1", r": expected iterations of 1 or more; found 0\."),
    ("iterations = '5'\n{}", r": expected a whole number in iterations; found '5'\."),
    ("size_px = 4\n{}", r": expected size_px of 8 or more; found 4\."),
    ("init = 'chains'\n{}", r": expected init to be one of chain, base; found 'chains'\."),
    ("init = 1\n{}", r": expected a text in init; found 1\."),
    ("later_from = 'before'\n{}", r": expected later_from to be one of real, previous, noise; found 'before'\."),
    ("keep_weights = 'none'\n{}", r": expected keep_weights to be one of all, last; found 'none'\."),
    ("real = 1\nengine = {name = 'linear'}\nname = 'x'", r": expected a table \[real\] in real; found 1\."),
    ("regime = 'mix'\n{}", r": expected tables \[\[regime\]\] in regime; found 'mix'\."),
    ("regime = ['mix']\n{}", r": expected tables \[\[regime\]\] in regime; found 'mix'\."),
    ("regime = {kind = 'mix'}\n{}", r": expected tables \[\[regime\]\] in regime; found a table\."),
    ("regime = [{since = 1}]\n{}", r", \[\[regime\]\] 1: expected a text in kind; found none\."),
    ("regime = [{kind = 'mixed'}]\n{}", r"1: expected kind to be one of replace, mix, .*; found 'mixed'\."),
    ("regime = [{kind = 'mix'}]\n{}", r"1: expected synthetic, which the regime mix needs; found none\."),
    ("regime = [{kind = 'fresh'}]\n{}", r"1: expected synthetic, which the regime fresh needs; found none\."),
    ("regime = [{kind = 'fresh', synthetic = 1}]\n{}", r"1: expected synthetic below 1; found 1, which leaves no"),
    ("regime = [{kind = 'schedule'}]\n{}", r"1: expected shares, which the regime schedule needs; found none\."),
    (
        "regime = [{kind = 'schedule', shares = []}]\n{}",
        r"1: expected one share per iteration in shares; found none\.",
    ),
    ("regime = [{kind = 'schedule', shares = 1}]\n{}", r"1: expected a list of numbers in shares; found 1\."),
    ("regime = [{kind = 'schedule', shares = ['a']}]\n{}", r"1: expected a number in shares; found 'a'\."),
    ("regime = [{kind = 'schedule', shares = [0, 2]}]\n{}", r"1: expected shares in 0\.\.1; found 2\.0\."),
    ("regime = [{kind = 'mix', synthetic = 1.01}]\n{}", r"1: expected synthetic in 0\.\.1; found 1\.01\."),
    ("regime = [{kind = 'mix', synthetic = -0.1}]\n{}", r"1: expected synthetic in 0\.\.1; found -0\.1\."),
    ("regime = [{kind = 'mix', synthetic = nan}]\n{}", r"1: expected a finite number in synthetic; found none\."),
    ("regime = [{kind = 'mix', synthetic = true}]\n{}", r"1: expected a number in synthetic; found true\."),
    ("regime = [{kind = 'curated', keep = 0}]\n{}", r"1: expected keep above 0; found 0, which leaves nothing"),
    ("regime = [{kind = 'curated', score = ' '}]\n{}", r"1: expected a text in score; found an empty one\."),
    ("regime = [{kind = 'filtered', missed = 3}]\n{}", r"1: expected missed in 0\.\.1; found 3\.0\."),
    (
        "regime = [{kind = 'replace', synthetic = 0.5}]\n{}",
        r"1: expected no synthetic: the regime replace has no settings; found synthetic\.",
    ),
    (
        "regime = [{kind = 'mix', synthetic = 0.5, keep = 0.1}]\n{}",
        r"1: expected no keep: the regime mix has synthetic; found keep\.",
    ),
    ("regime = [{kind = 'replace', since = 0}]\n{}", r"1: expected since of 1 or more; found 0\."),
    ("regime = [{kind = 'replace', since = 2}]\n{}", r": expected a first regime with since = 1; found 2\."),
    (
        "regime = [{kind = 'replace'}, {kind = 'budget', since = 4}, {kind = 'replace', since = 3}]\n{}",
        r": expected regimes in the order of since, each later than the last; found \[1, 4, 3\]\.",
    ),
    (
        "regime = [{kind = 'replace'}, {kind = 'budget'}]\n{}",
        r": expected regimes in the order .* found \[1, 1\]\.",
    ),
    ("{}strength = [1]", r", \[engine\]: expected a text, a number, true or false in 'strength'; found a list\."),
    ("{}strength = {a = 1}", r", \[engine\]: expected a text, .* in 'strength'; found a table\."),
    ("{}strength = inf", r", \[engine\]: expected a finite number in 'strength'; found none\."),
    ("{}when = 2020-01-01", r", \[engine\]: expected a text, a number, true or false in 'when'; found datetime"),
    ("{}[controls]\nquality = true", r", \[controls\]: expected quality_model, the TorchScript file .*; found none\."),
    ("{}[controls]\ncolour = 1", r", \[controls\]: expected true or false in colour; found 1\."),
    ("{}[controls]\nquality_attempts = 0", r", \[controls\]: expected quality_attempts of 1 or more; found 0\."),
    ("{}[held_out]\nprompts = 'x'", r", \[held_out\]: expected a list of texts in prompts; found 'x'\."),
    ("{}[held_out]\nprompts = ['']", r", \[held_out\]: expected a text in prompts; found an empty one\."),
    ("{}[held_out]\nprompts = ['a dog', ' A  dog']", r", \[held_out\]: expected every prompt once in prompts;"),
    ("{}[held_out]\nprompts = ['a']\nper_prompt = 0", r", \[held_out\]: expected per_prompt of 1 or more; found 0\."),
    (
        '{}[held_out]\nprompts = ["a\\u0000"]',
        r", \[held_out\]: expected one line without control characters in prompts",
    ),
    ("{}[parent]\nrun = 'x'", r", \[parent\]: expected a whole number in generation; found none\."),
    ("{}[parent]\nrun = 'x'\ngeneration = -1", r", \[parent\]: expected generation of 0 or more; found -1\."),
    ("{}[[arm]]\nseed = 2", r", \[\[arm\]\] 1: expected a text in name; found none\."),
    (
        "{}[[arm]]\nname = '../x'",
        r", \[\[arm\]\] 1 \('\.\./x'\): expected a name of 1 to 64 letters, .*; found '\.\./x'\.",
    ),
    (
        "{}[[arm]]\nname = 'a'\n[[arm]]\nname = 'A'",
        r", \[\[arm\]\] 2: expected a name that no other arm has; found 'A'",
    ),
    ("{}[[arm]]\nname = 'a'\narm = []", r", \[\[arm\]\] 1 \('a'\): expected keys out of name, .*; found 'arm'\."),
    ("{}[[arm]]\nname = 'a'\niterations = -1", r"\('a'\): expected iterations of 0 or more; found -1\."),
    ("{}[[arm]]\nname = 'a'\n[arm.engine]\nname = 'gan'", r"\('a'\), \[engine\]: expected name to be one of .*'gan'\."),
    ("{}[[arm]]\nname = 'a'\nheal = 'a@5'", r"\('a'\): expected heal to name an arm that stands above \(none\);"),
    ("{}[[arm]]\nname = 'a'\nheal = 'a'", r"\('a'\): expected a run and one of its generations, as in RUN@5; found"),
    ("{}[[arm]]\nname = 'a'\nheal = 5", r", \[\[arm\]\] 1: expected a text in heal; found 5\."),
    (
        "{}[[arm]]\nname = 'a'\n[[arm]]\nname = 'b'\nheal = 'a@6'",
        r"2 \('b'\): expected heal to name a generation whose weights a keeps, 0 to 5; found 6\.",
    ),
    (
        "keep_weights = 'last'\n{}[[arm]]\nname = 'a'\n[[arm]]\nname = 'b'\nheal = 'a@4'",
        r"2 \('b'\): expected heal to name a generation whose weights a keeps, 5 to 5; found 4\.",
    ),
    (
        "{}[[arm]]\nname = 'a'\n[[arm]]\nname = 'b'\nheal = 'a@5'\nparent = {run = 'x', generation = 1}",
        r"2 \('b'\): expected either heal or parent; found both\.",
    ),
    ("name = \n", r": expected TOML; found none \(.*line 1, column 8.*\)\. Correct it there\."),
    ("x = " + 5000 * "9", r": expected TOML; found none \('Exceeds the limit.*\)\."),
    ("x = 2023-02-30", r": expected TOML; found none \(.*\)\."),
    ("x = " + 3000 * "[" + 3000 * "]", r": expected TOML; found tables or lists nested too deep\."),
    (".".join(9 * "a") + " = 1", r", line 1: expected keys of at most 8 parts; found 'a\.a\.a\.a\.a\.a\.a\.a\.a'\."),
    ("\n[" + " . ".join(9 * ["'a b'"]) + "]", r", line 2: expected keys of at most 8 parts; found "),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    found = error_of(tmp_path, text.replace("{}", MINIMAL))
    assert re.search(message, found), found


REAL = [
    ("folder = ''", "expected a text in folder; found an empty one"),
    ("", "expected a text in folder; found none"),
    ("folder = 'x'\nprompt = ' '", "expected a text in prompt; found an empty one"),
    ("folder = 'x'\nprompt = 'a {age'", "expected a template with columns in braces; found 'a {age' ("),
    ("folder = 'x'\nprompt = '{age.__class__}'", "expected plain column names in braces; found '{age.__class__}'"),
    ("folder = 'x'\nprompt = '{age!r}'", "expected plain column names in braces"),
    ("folder = 'x'\ngroup = '{age:>99999999}'", "expected plain column names in braces"),
    ("folder = 'x'\ngroup = '{}'", "expected plain column names in braces; found '{}'"),
    ("folder = 'x'\nper_group = 0", "expected per_group of 1 or more; found 0"),
    ("folder = 'x'\nexpects = ['foot']", "expected words out of face, hand in expects; found ('foot',)"),
    ("folder = 'x'\nexpects = 'face'", "expected a list of texts in expects; found 'face'"),
    ('folder = "a\\u001b[31m"', "expected one line without control characters in folder; found 'a\\x1b[31m'"),
]


@pytest.mark.parametrize(("real", "message"), REAL)
def test_what_is_wrong_with_the_real_pictures(tmp_path: Path, real: str, message: str) -> None:
    found = error_of(tmp_path, f"name = 'x'\n[engine]\nname = 'linear'\n[real]\n{real}")
    assert found.startswith(f", [real]: {message}"), found


def test_a_held_out_prompt_that_is_trained_on_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.replace("[engine]", "prompt = 'A dog'\n[engine]") + "[held_out]\nprompts = ['a  dog']"
    assert ": expected held-out prompts that are never trained on; found 'a  dog'" in error_of(tmp_path, text)
    held_out = HeldOut(("a dog",))
    held_out.refuse_trained(["a cat"])
    with pytest.raises(DecayError, match="found 'a dog'"):
        held_out.refuse_trained(["a cat", "A DOG"])


def test_an_engine_that_there_is_none_of(tmp_path: Path) -> None:
    found = error_of(tmp_path, "name = 'x'\n[real]\nfolder = 'x'\n[engine]\nname = 'gan'")
    assert found.startswith(", [engine]: expected name to be one of linear, diffusion, stable-diffusion, flux-fill;")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DecayError, match="one of the presets bohacek-farid, demo, forum; found nothing"):
        read_protocol(tmp_path / "nothing.toml")
    with pytest.raises(DecayError, match="expected a file; found a folder"):
        read_protocol(tmp_path)
    path = tmp_path / "protocol.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(DecayError, match="expected UTF-8 text; found other bytes at 8"):
        read_protocol(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(DecayError, match="expected at most 0 MB"):
        read_protocol(path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("\ufeff" + MINIMAL, encoding="utf-8")
    assert read_protocol(tmp_path / "p.toml").base.name == "faces"


@pytest.mark.parametrize(
    "text",
    [
        "a." * (MAX_BYTES // 2 - 4) + "a = 1",
        '"a" . ' * (MAX_BYTES // 6 - 4) + "a = 1",
        "a" * (MAX_BYTES - 10),
        "a = " + "[" * (MAX_BYTES - 10),
        "a = " + "{a=" * (MAX_BYTES // 3 - 10),
        r'"\"".' * (MAX_BYTES // 5 - 4) + "a = 1",
        "a = " + '"a' * (MAX_BYTES // 2 - 4),
        "[a.a.a.a.a.a.a]\n" * (MAX_BYTES // 17),
        "[[arm]]\n" * (MAX_BYTES // 8 - 1),
        "a = '''" + "'" * 1000,
    ],
)
def test_hostile_files_are_refused_at_once(tmp_path: Path, text: str) -> None:
    error_of(tmp_path, text)  # unbounded, the first takes hours


# --------------------------------------------------------------------------- arms

SWEEP = (
    MINIMAL
    + """
strength = 0.5
[[regime]]
kind = "mix"
synthetic = 0.5
[[regime]]
since = 3
kind = "fresh"
synthetic = 0.5
[held_out]
prompts = ["a dog", "a cat"]
per_prompt = 2
[[arm]]
name = "as-it-is"
[[arm]]
name = "other"
seed = 3
engine = { noise = true }
regime = [{ kind = "accumulate" }]
held_out = { prompts = ["a horse"] }
[[arm]]
name = "healed"
iterations = 2
heal = "other@4"
[[arm]]
name = "healed-again"
heal = "healed@6"
regime = [{ kind = "mix", synthetic = 0.1 }]
"""
)


def test_an_arm_is_the_base_but_for_what_it_says(tmp_path: Path) -> None:
    base, arms = read(tmp_path, SWEEP).base, read(tmp_path, SWEEP).arms
    assert list(arms) == ["as-it-is", "other", "healed", "healed-again"]
    assert arms["as-it-is"] == replace(base, name="as-it-is")
    assert arms["other"] == replace(
        base,
        name="other",
        seed=3,
        engine_settings={"strength": 0.5, "noise": True},
        regimes=(Regime(kind="accumulate"),),
        held_out=HeldOut(("a horse",), 2),
    )


def test_healing_goes_on_from_another_arm_on_real_pictures(tmp_path: Path) -> None:
    experiment = read(tmp_path, SWEEP)
    healed = experiment.arms_in(tmp_path / "sweep")["healed"]
    assert healed.parent == Parent(tmp_path / "sweep" / "other", 4)
    assert healed.regimes == (Regime(kind="mix", synthetic=0.0),)
    assert (healed.first_generation, healed.last_generation) == (5, 6)
    again = experiment.arms_in(tmp_path / "sweep")["healed-again"]
    assert again.parent == Parent(tmp_path / "sweep" / "healed", 6)
    assert again.regimes == (Regime(kind="mix", synthetic=0.1),)
    assert (again.first_generation, again.last_generation) == (7, 11)
    assert experiment.base.healed_from(Parent(Path("x"), 5)).regimes == healed.regimes


def test_a_parent_that_is_no_arm_stays_where_it_is(tmp_path: Path) -> None:
    text = MINIMAL + "[parent]\nrun = 'before'\ngeneration = 2\n[[arm]]\nname = 'a'\n"
    assert read(tmp_path, text).arms_in(Path("elsewhere"))["a"].parent == Parent(tmp_path / "before", 2)


def test_other_real_pictures_in_all_arms(tmp_path: Path) -> None:
    experiment = read(tmp_path, SWEEP).on_real(Path("mine"))
    assert {protocol.real for protocol in (experiment.base, *experiment.arms.values())} == {RealSet(Path("mine"))}


def test_merging() -> None:
    base = {"a": 1, "t": {"x": 1, "y": {"z": 1}}, "l": [1, 2]}
    assert merged(base, {"b": 2, "t": {"y": {"w": 2}}, "l": [3]}) == {
        "a": 1,
        "b": 2,
        "t": {"x": 1, "y": {"z": 1, "w": 2}},
        "l": [3],
    }
    assert merged(base, {"t": 5}) == {"a": 1, "t": 5, "l": [1, 2]}
    assert base == {"a": 1, "t": {"x": 1, "y": {"z": 1}}, "l": [1, 2]}


# --------------------------------------------------------------------------- shares, regimes, words


@pytest.mark.parametrize(
    ("share", "n_slots", "expected"),
    [(1.0, 30, 30), (0.5, 30, 15), (0.25, 30, 8), (0.1, 30, 3), (0.033, 30, 1), (0.0, 30, 0), (0.29, 50, 15)],
)
def test_shares_of_a_group(share: float, n_slots: int, expected: int) -> None:
    assert synthetic_count(share, n_slots) == expected


@given(st.floats(0, 1), st.integers(0, 10_000))
def test_a_share_is_at_most_half_a_picture_off(share: float, n_slots: int) -> None:
    assert abs(synthetic_count(share, n_slots) - share * n_slots) <= 0.5 + 1e-9  # the product is rounded in binary
    assert 0 <= synthetic_count(share, n_slots) <= n_slots


def test_the_regime_of_an_iteration_and_its_share() -> None:
    schedule = Regime(2, "schedule", shares=(0.1, 0.5))
    protocol = Protocol("x", RealSet(Path("x")), "linear", regimes=(Regime(), schedule, Regime(9, "budget")))
    kinds = [protocol.regime_at(iteration).kind for iteration in (1, 2, 8, 9, 50)]
    assert kinds == ["replace", "schedule", "schedule", "budget", "budget"]
    assert [schedule.share_at(i) for i in (2, 3, 4, 9)] == [0.1, 0.5, 0.5, 0.5]
    assert Regime(kind="mix", synthetic=0.3).share_at(7) == 0.3


def test_columns_of_a_template() -> None:
    assert columns_of("a photo of a {age} {race} {gender}") == ("age", "race", "gender")
    assert columns_of("{{no column}}") == ()
    assert columns_of("{eye colour} {age-group}") == ("eye colour", "age-group")


def test_a_parent_in_words() -> None:
    assert read_parent("runs/a@b@12") == Parent(Path("runs/a@b"), 12)
    for text in ("", "@5", "runs", "runs@", "runs@-1", "runs@5.0", "runs@\u0665", "runs@9999999"):
        with pytest.raises(ValueError, match="as in RUN@5; found"):
            read_parent(text)


# --------------------------------------------------------------------------- records

LINES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
SHARES = st.floats(0, 1)
COUNTS = st.integers(1, 99)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[a-z0-9]", fullmatch=True)
PLAIN = LINES.filter(lambda text: "{" not in text and "}" not in text)
SETTINGS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(-1e9, 1e9) | LINES


@st.composite
def regimes(draw: st.DrawFn, since: int = 1) -> Regime:
    kind: Kind = draw(st.sampled_from(sorted(KIND_SETTINGS)))
    values: dict[str, st.SearchStrategy[object]] = {
        "synthetic": st.floats(0, 0.99),
        "shares": st.lists(SHARES, min_size=1, max_size=3).map(tuple),
        "keep": st.floats(0.01, 1),
        "score": LINES,
        "missed": SHARES,
    }
    return Regime(since, kind, **{name: draw(values[name]) for name in KIND_SETTINGS[kind]})


@st.composite
def protocols(draw: st.DrawFn) -> Protocol:
    prompts = draw(st.lists(PLAIN.filter(lambda text: text.casefold() == text), unique=True, max_size=3))
    since = sorted(draw(st.sets(st.integers(2, 20), max_size=2)))
    keys = LINES.filter(lambda key: key != "name")
    return Protocol(
        name=draw(NAMES),
        real=RealSet(
            Path(draw(LINES)),
            draw(PLAIN) + " {age} {race}",
            draw(st.sampled_from(["", "{group}", "one"])),
            draw(st.none() | COUNTS),
            draw(st.sampled_from([None, (), ("face",), ("face", "hand")])),
        ),
        engine=draw(st.sampled_from(["linear", "flux-fill"])),
        engine_settings=draw(st.dictionaries(keys, SETTINGS, max_size=4)),
        seed=draw(st.integers(0, 2**63 - 1)),
        iterations=draw(COUNTS),
        init=draw(st.sampled_from([None, "chain", "base"])),
        size_px=draw(st.integers(8, 2000)),
        first_from=draw(st.sampled_from(["real", "previous", "noise"])),
        later_from=draw(st.sampled_from(["real", "previous", "noise"])),
        regimes=(draw(regimes()), *(draw(regimes(at)) for at in since)),
        controls=draw(st.sampled_from([Controls(), Controls(True), Controls(False, True, Path("a/b.pt"), 3)])),
        held_out=HeldOut(tuple(prompts), draw(COUNTS)),
        parent=draw(st.none() | st.builds(Parent, LINES.map(Path), st.integers(0, 50))),
        keep_weights=draw(st.sampled_from(["all", "last"])),
    )


@settings(max_examples=150, deadline=None)
@given(protocols())
def test_a_record_gives_the_protocol_back(protocol: Protocol) -> None:
    record = resolved(protocol)
    assert protocol_from_record(record) == protocol
    assert protocol_from_record(json.loads(to_json(record))) == protocol
    assert resolved(protocol_from_record(record)) == record


def test_a_record_has_every_setting() -> None:
    record = resolved(Protocol("x", RealSet(Path("y")), "linear", regimes=(Regime(kind="curated"),)))
    assert set(record) >= {"seed", "iterations", "init", "size_px", "first_from", "later_from", "keep_weights"}
    assert record["regime"] == [{"since": 1, "kind": "curated", "keep": 0.5, "score": "image_sharpness"}]
    assert record["controls"] == {
        "colour": False,
        "quality": False,
        "quality_model": None,
        "quality_attempts": 10,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_record_is_read_or_refused_in_a_sentence(data: st.DataObject) -> None:
    regimes = (Regime(kind="mix", synthetic=0.5), Regime(3, "schedule", shares=(0.1,)))
    protocol = Protocol("x", RealSet(Path("y")), "linear", regimes=regimes, parent=Parent(Path("z"), 1))
    record = json.loads(to_json(resolved(protocol)))
    place: object = record
    while isinstance(place, dict | list) and place:
        holder = place
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place = holder[key]
        if data.draw(st.booleans()):
            break
    holder[key] = data.draw(JSON)
    said = None
    try:
        found = protocol_from_record(record)
    except DecayError as error:
        said = str(error)
    if said is None:
        assert protocol_from_record(resolved(found)) == found
    else:
        assert re.fullmatch(r"the recorded protocol.*: expected .*; found .*\.", said), said


def test_a_damaged_record_is_named() -> None:
    record = resolved(Protocol("x", RealSet(Path("y")), "linear")) | {"seed": "1"}
    with pytest.raises(DecayError, match="the recorded protocol: expected a whole number in seed; found '1'"):
        protocol_from_record(record)


# --------------------------------------------------------------------------- the document

DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_documents_example_is_a_protocol_that_says_everything(tmp_path: Path) -> None:
    (example,) = blocks("toml")
    experiment = read(tmp_path, example)
    assert list(experiment.arms) == ["mix-100", "mix-100-no-flip", "heal-100"]
    assert [experiment.base.regime_at(i).share_at(i) for i in range(1, 6)] == [0.25, 0.25, 0.25, 0.0, 0.0]
    assert experiment.arms["mix-100-no-flip"].engine_settings["flip"] is False
    assert experiment.arms["heal-100"].last_generation == 10
    for key in ("init", "first_from", "later_from", "keep_weights", "per_group", "expects", "quality_attempts"):
        assert f"\n{key} = " in example
    for key in ("seed", "iterations", "size_px", "first_from", "later_from", "keep_weights", "controls"):
        assert getattr(experiment.base, key) == getattr(Protocol, key)  # shown as the default, so it must be


def test_the_documents_script_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (script,) = blocks("python")
    exec(script, {})
    assert "heal-25 [{'since': 1, 'kind': 'mix', 'synthetic': 0.0}]" in capsys.readouterr().out


def test_the_document_knows_every_regime_preset_and_arm() -> None:
    for kind, names in KIND_SETTINGS.items():
        (row,) = re.findall(rf"^\| `{kind}` \|.*$", DOCUMENT, re.MULTILINE)
        assert all(f"`{name}`" in row for name in names)
    assert all(f"`{name}`" in DOCUMENT for name in preset_names())
    for arm in (*read_protocol("bohacek-farid").arms, *read_protocol("forum").arms):
        assert f"`{arm}`" in DOCUMENT


# --------------------------------------------------------------------------- presets


def test_every_preset_is_read_and_gives_itself_back() -> None:
    assert preset_names() == ("bohacek-farid", "demo", "forum")
    for name in preset_names():
        experiment = read_protocol(name)
        assert experiment.base.name == name
        assert experiment.base.real.folder == Path("real")
        assert len(experiment.arms) >= 3
        for protocol in (experiment.base, *experiment.arms.values()):
            assert protocol_from_record(resolved(protocol)) == protocol


@pytest.mark.parametrize("name", preset_names())
def test_every_engine_takes_the_settings_of_its_presets(name: str) -> None:
    experiment = read_protocol(name)
    for protocol in (experiment.base, *experiment.arms.values()):
        settings = open_engine(protocol.engine, protocol.engine_settings, protocol.size_px).settings()
        assert {key: settings[key] for key in protocol.engine_settings} == protocol.engine_settings


def test_a_saved_preset_is_the_preset_beside_its_own_folder(tmp_path: Path) -> None:
    saved = read(tmp_path, preset_text("forum"))
    assert saved == read_protocol("forum").on_real(tmp_path / "real")


class TestBohacekFarid:
    """Section by section of "Nepotistically trained generative image models collapse"."""

    base = read_protocol("bohacek-farid").base
    arms = read_protocol("bohacek-farid").arms

    def test_model_and_retraining(self) -> None:
        assert self.base.engine == "stable-diffusion"
        said = self.base.engine_settings
        assert said["learning_rate"] == 2e-6
        assert (said["epochs"], said["precision"], said["flip"], said["train"]) == (50, "fp32", True, "unet")
        assert (said["strength"], said["inference_steps"]) == (0.8, 250)
        assert self.base.size_px == 512

    def test_seed_set(self) -> None:
        assert self.base.real.per_group == 30
        assert self.base.real.prompt == "a photo of a {age} {race} {gender}"
        assert set(columns_of(self.base.real.group)) == {"age", "race", "gender"}

    def test_loop(self) -> None:
        assert (self.base.first_from, self.base.later_from) == ("real", "noise")
        assert (self.base.iterations, self.base.init) == (5, "chain")
        assert self.base.regimes == (Regime(kind="replace"),)

    @pytest.mark.parametrize(
        ("arm", "n_synthetic_of_30"),
        [("mix-100", 30), ("mix-50", 15), ("mix-25", 8), ("mix-10", 3), ("mix-3.3", 1), ("mix-0", 0)],
    )
    def test_composition(self, arm: str, n_synthetic_of_30: int) -> None:
        shares = [self.arms[arm].regime_at(i).share_at(i) for i in range(1, 6)]
        assert [synthetic_count(share, 30) for share in shares] == 5 * [n_synthetic_of_30]

    def test_healing(self) -> None:
        healed = read_protocol("bohacek-farid").arms_in(Path("sweep"))["heal-25"]
        assert healed.parent == Parent(Path("sweep/mix-25"), 5)
        assert (healed.first_generation, healed.last_generation) == (6, 10)
        assert {healed.regime_at(i) for i in range(1, 6)} == {Regime(kind="mix", synthetic=0.0)}

    def test_controls(self) -> None:
        colour, quality = self.arms["control-colour"], self.arms["control-quality"]
        assert colour.controls == Controls(colour=True)
        assert (quality.controls.colour, quality.controls.quality) == (False, True)
        assert colour.regimes == quality.regimes == self.arms["mix-100"].regimes

    def test_held_out_prompts(self) -> None:
        assert self.base.held_out.prompts == (
            "A dog walker training a dog amidst a field of sunflowers",
            "A football team grilling hamburgers at a snowy ski resort",
            "A group of skateboarders practicing martial arts in a mysterious foggy landscape",
            "A marine biologist scuba diving amidst a field of sunflowers",
            "An elderly woman writing in a journal in a charming village square",
        )

    def test_arms(self) -> None:
        assert list(self.arms) == [
            "mix-100", "mix-50", "mix-25", "mix-10", "mix-3.3", "mix-0", "heal-25", "control-colour", "control-quality",
        ]  # fmt: skip
        assert len({(arm.engine, tuple(arm.engine_settings.items()), arm.seed) for arm in self.arms.values()}) == 1


def test_the_forum_preset_paints_into_the_generation_before() -> None:
    experiment = read_protocol("forum")
    assert experiment.base.engine == "flux-fill"
    assert (experiment.base.first_from, experiment.base.later_from) == ("real", "previous")
    assert experiment.base.iterations == 10
    masks = {name: arm.engine_settings["mask"] for name, arm in experiment.arms.items()}
    assert masks == {
        "eyes": "eyes",
        "hands": "hands",
        "face": "face",
        "eyes-interrupted": "eyes",
        "eyes-accumulate": "eyes",
    }
    interrupted = experiment.arms["eyes-interrupted"]
    assert [interrupted.regime_at(i).share_at(i) for i in (1, 2, 3, 4, 5, 10)] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_the_demo_preset_is_what_the_demo_did() -> None:
    base = read_protocol("demo").base
    assert (base.engine, base.engine_settings) == ("linear", {"strength": 0.5})
    assert (base.first_from, base.later_from, base.init) == ("real", "previous", "base")
    assert (base.size_px, base.iterations, base.regimes) == (320, 6, (Regime(kind="replace"),))


def test_reading_a_protocol_imports_no_torch() -> None:
    reads = "from decay.loop import plan, reading; reading.read_protocol('forum')"
    code = f"import sys; {reads}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
