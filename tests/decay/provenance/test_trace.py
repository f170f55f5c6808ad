"""Ancestry: the closed forms of pure regimes, and what a person is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from decay import provenance
from decay.errors import LineageError
from decay.provenance import Derived, Fit, Image, Member, Real, member_of
from decay.provenance.ancestry import Depth, Past
from decay.provenance.chain import LOG_NAME, open_log, read_links

History = Callable[..., list[provenance.Event]]
N_SLOTS = 12


def sha(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


Regime = Callable[[int, Mapping[int, Sequence[Image]], Sequence[Real]], Sequence[Member]]
"""(generation, pictures of every generation before, real ones) -> training set"""


@pytest.fixture
def history() -> Callable[..., list[provenance.Event]]:
    """(regime, n_generations, ...) -> every event of a run of N_SLOTS pictures a generation.

    ``base``: generation 0 by weights from elsewhere. ``chain``: fits go on from the weights before. ``steps``: of a
    fit. ``start``: pictures start from that of their slot in the generation before, of the real ones for 0.
    """

    def make(
        regime: Regime,
        n_generations: int,
        *,
        base: bool = False,
        chain: bool = False,
        steps: Callable[[int], int] = lambda generation: 10,
        start: bool = False,
    ) -> list[provenance.Event]:
        real = [Real(f"real/{slot}.png", sha("real", slot)) for slot in range(N_SLOTS)]
        events: list[provenance.Event] = [*real]
        made: dict[int, Sequence[Image]] = {}
        weights = sha("base")
        if base:
            events.append(Fit("weights/base", weights, (), steps=0))
        for generation in range(n_generations):
            members = regime(generation, made, real)
            if not (base and generation == 0):
                parent = weights if chain and (base or generation) else None
                weights = sha("fit", generation)
                path = f"weights/fit_{generation:02d}"
                events.append(Fit(path, weights, tuple(members), parent, generation, 0, steps(generation)))
            made[generation] = [
                Image(
                    f"gen_{generation:02d}/{slot}.png",
                    sha("image", generation, slot),
                    generation=generation,
                    weights=weights,
                    parents=(made[generation - 1][slot].sha256 if generation else real[slot].sha256,) if start else (),
                )
                for slot in range(N_SLOTS)
            ]
            events += made[generation]
        return events

    return make


def mix(n_synthetic: int) -> Callable[..., list[Member]]:
    """``n_synthetic`` of N_SLOTS from the generation before, the others real."""

    def regime(generation: int, made: Mapping[int, Sequence[Image]], real: Sequence[Real]) -> list[Member]:
        if generation == 0:
            return [member_of(picture) for picture in real]
        return [member_of(picture) for picture in [*made[generation - 1][:n_synthetic], *real[n_synthetic:]]]

    return regime


def accumulate(generation: int, made: Mapping[int, Sequence[Image]], real: Sequence[Real]) -> list[Member]:
    return [member_of(picture) for picture in [*real, *(each for part in made.values() for each in part)]]


def depths(events: Sequence[provenance.Event], run: Path, n_generations: int, slot: int = 0) -> list[Depth]:
    with provenance.log(run) as p:
        p.record_many(events)
    with open_log(run) as stream:
        past = Past(stream)
        for link in read_links(stream, run / LOG_NAME):
            past.add(link.event, link.line, link.offset)
        found = [past.find(sha("image", generation, slot)) for generation in range(n_generations)]
    past.close()
    return [Depth(known.last, known.chain) for known in found if known is not None]


def fractions(found: Sequence[Depth]) -> list[float]:
    return [1 - 1 / depth.last for depth in found]


@pytest.mark.parametrize("n_synthetic", [0, 3, 6, 11])
def test_a_mix_has_the_share_of_its_closed_form(n_synthetic: int, history: History, tmp_path: Path) -> None:
    s = n_synthetic / N_SLOTS
    found = depths(history(mix(n_synthetic), 7), tmp_path, 7)
    assert fractions(found) == pytest.approx([1 - (1 - s) / (1 - s ** (k + 1)) for k in range(7)])
    assert fractions(found)[:2] == pytest.approx([0, s / (1 + s)])


def test_replacing_all_leaves_one_photograph_behind_k_generations(history: History, tmp_path: Path) -> None:
    found = depths(history(mix(N_SLOTS), 7), tmp_path, 7)
    assert fractions(found) == pytest.approx([k / (k + 1) for k in range(7)])


def test_accumulating_grows_as_the_harmonic_numbers(history: History, tmp_path: Path) -> None:
    # The mean over real pictures (0) and generations 0..k-1: depth_k = 1 + sum(depth_j) / (k + 1) = 1 + H_k / 1 ...
    found = depths(history(accumulate, 6), tmp_path, 6)
    expected = [1.0]
    for k in range(1, 6):
        expected.append(expected[-1] + 1 / (k + 1))  # depth_k - depth_(k-1) = 1 / (k + 1), so depth_k = H_(k+1)
    assert [depth.last for depth in found] == pytest.approx(expected)


def test_chained_weights_remember_every_fit(history: History, tmp_path: Path) -> None:
    found = depths(history(mix(N_SLOTS), 7, base=True, chain=True), tmp_path, 7)
    assert [depth.last for depth in found] == pytest.approx([k + 1 for k in range(7)])
    assert [depth.chain for depth in found] == pytest.approx(
        [1 + sum(1 / j for j in range(1, k + 1)) for k in range(7)]
    )


def test_a_fit_counts_by_its_steps(history: History, tmp_path: Path) -> None:
    # fit_01 on generation 0 (depth 1) for 30 steps, then fit_02 on generation 1 (depth 2) for 10.
    found = depths(history(mix(N_SLOTS), 3, base=True, chain=True, steps=lambda g: {1: 30, 2: 10}[g]), tmp_path, 3)
    assert found[2].chain == pytest.approx(1 + (30 * 1 + 10 * 2) / 40)


def test_without_a_chain_both_figures_are_one(history: History, tmp_path: Path) -> None:
    assert all(depth.last == depth.chain for depth in depths(history(mix(4), 5), tmp_path, 5))


def test_a_start_picture_has_half_a_say(history: History, tmp_path: Path) -> None:
    # Mix of 0 %: weights are made of photographs alone; only the start picture of the generation before is synthetic.
    found = depths(history(mix(0), 6, start=True), tmp_path, 6)
    assert [depth.last for depth in found] == pytest.approx([2 - 0.5**k for k in range(6)])


def test_image_to_image_without_training_is_followed_through_its_starts(tmp_path: Path) -> None:
    events: list[provenance.Event] = [Real("real/0.png", sha("real"))]
    for generation in range(4):
        start = sha("image", generation - 1, 0) if generation else sha("real")
        events.append(Image(f"{generation}.png", sha("image", generation, 0), parents=(start,), weights=sha("base")))
    assert [depth.last for depth in depths(events, tmp_path, 4)] == [1, 2, 3, 4]


def test_a_picture_worked_over_has_the_ancestry_of_its_own(tmp_path: Path) -> None:
    real, first = Real("real/0.png", sha("real")), Image("0.png", sha("image", 0, 0), generation=0)
    matched = Derived("1.png", sha("matched"), (first.sha256,), "matched", generation=0, reference=real.sha256)
    fit = provenance.Fit("w", sha("w"), (member_of(matched),))
    second = Image("2.png", sha("image", 1, 0), generation=1, weights=fit.sha256)
    assert [depth.last for depth in depths([real, first, matched, fit, second], tmp_path, 2)] == [1, 2]


def test_members_that_are_not_recorded_count_as_what_they_are_called(tmp_path: Path) -> None:
    members = (*[Member(sha(i), "synthetic", 0) for i in range(3)], Member(sha("real"), "real"))
    path = tmp_path / "a.png"
    path.write_text("a")
    with provenance.log(tmp_path) as p:
        p.record_many([Fit("w", sha("w"), members)])
        p.record(path, weights=sha("w"))
    found = provenance.trace(path)
    assert found.depth.last == pytest.approx(1 + 3 / 4)
    assert found.n_unrecorded == 4
    assert "Of these the log does not record 4" in provenance.ancestry_text(found)
    assert "Lower bounds" in provenance.ancestry_text(found)


def test_no_log_can_lead_in_circles(tmp_path: Path) -> None:
    """A picture started from itself, weights fitted on what they made, weights that are their own parent."""
    weights = sha("w")
    members = (Member(sha("a"), "synthetic", 0), Member(sha("b"), "synthetic", 0), Member(sha("c"), "synthetic", 0))
    names = {name: (tmp_path / f"{name}.png") for name in "abc"}
    with provenance.log(tmp_path) as p:
        for turn in range(2):
            for name, start in ("ab", "bc", "ca"):
                path = names[name]
                path.write_text(name)
                event = p.record(path, generation=0, weights=weights)
                others = [names[start]] if names[start].exists() else []
                p.record(path, generation=0, weights=weights, parents=[event, *others])
            p.record_many([provenance.Fit("w", weights, members, parent=weights, steps=1 + turn)])
    found = provenance.trace(names["a"])
    assert len(provenance.ancestry_text(found).splitlines()) < 5000
    assert found.depth.last < 100


# --------------------------------------------------------------------------- what is told


def test_the_tree_goes_back_to_photographs(run: Path) -> None:
    found = provenance.trace(run / "gen_01" / "slot_0002.png")
    assert (found.n_training, found.n_training_synthetic) == (3, 3)
    assert found.frac_synthetic == pytest.approx(0.5)
    lines = provenance.ancestry_text(found).splitlines()
    assert lines[0].startswith("Synthetic ancestry: 50.0 %")
    assert lines[1] == "One step back: 100.0 % of the 3 pictures trained on are synthetic"
    assert lines[3].startswith("gen_01/slot_0002.png (sha256 ")
    assert lines[3].endswith(', generation 1): made for "a face", seed 2')
    assert [line.lstrip("└├─│ ").split(" (")[0] for line in lines[4:]] == [
        "weights weights/fit_01",
        "3 synthetic of generation 0, e.g. gen_00/slot_0000.png",
        "weights weights/fit_00",
        "3 real, e.g. real/0.png",
    ]
    assert "trained on 3 images: 3 synthetic of generation 0" in lines[4]


def test_weights_that_came_out_twice_are_each_told_as_what_they_were(tmp_path: Path) -> None:
    """As a model in closed form does when it is healed: the same weights, bit for bit, as a fit long before."""
    photograph, weights = Real("real/0.png", sha("real")), sha("weights")
    with provenance.log(tmp_path) as p:
        p.record_many([photograph])
        for generation in (0, 1):
            fit = f"weights/fit_{generation:02d}"
            p.record_many([Fit(fit, weights, (member_of(photograph),), None, generation, 0, 1)])
            path = tmp_path / f"{generation}.png"
            path.write_text(path.name)
            p.record(path, generation=generation, weights=weights)
    for generation in (0, 1):
        told = provenance.ancestry_text(provenance.trace(tmp_path / f"{generation}.png"))
        assert f"weights/fit_{generation:02d}" in told
        assert f"weights/fit_{1 - generation:02d}" not in told


def test_a_start_picture_and_a_photograph_are_named(run: Path) -> None:
    text = provenance.ancestry_text(provenance.trace(run / "gen_00" / "slot_0001.png"))
    assert "started from real/1.png" in text
    assert ": a photograph, from o.png" in text
    assert "nothing synthetic" in provenance.ancestry_text(provenance.trace(run / "real" / "0.png"))


def test_a_long_history_is_told_in_bounds(history: History, tmp_path: Path) -> None:
    n = 30
    with provenance.log(tmp_path) as p:
        p.record_many(history(accumulate, n))
        path = tmp_path / "last.png"
        path.write_text("last")
        p.record(path, generation=n, weights=sha("fit", n - 1))
    found = provenance.trace(path, max_depth=5, max_width=4)
    lines = provenance.ancestry_text(found).splitlines()
    assert len(lines) < 100
    assert any("not followed further" in line for line in lines)
    assert any("groups more" in line for line in lines)
    assert found.n_training == N_SLOTS * n


def test_a_picture_that_was_altered_is_not_traced(run: Path) -> None:
    path = run / "gen_01" / "slot_0002.png"
    path.write_text("other")
    with pytest.raises(LineageError, match="altered, or never recorded"):
        provenance.trace(path)
    with pytest.raises(LineageError, match="expected a picture; found none"):
        provenance.trace(run / "gen_01" / "none.png")


@pytest.mark.parametrize("named", ["a\0b", "\ud800", "x" * 5000])
def test_a_parent_that_no_folder_can_be_named_ends_the_line(named: str, run: Path) -> None:
    (run / "lineage.json").write_text(json.dumps({"protocol": {"parent": {"run": named, "generation": 0}}}))
    assert provenance.trace(run / "gen_01" / "slot_0000.png").picture.slot == "0"


def test_a_picture_outside_of_any_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("a")
    with pytest.raises(LineageError, match="no folder above it does"):
        provenance.trace(tmp_path / "a.png")


def test_base_weights_are_named(history: History, tmp_path: Path) -> None:
    with provenance.log(tmp_path) as p:
        p.record_many(history(mix(3), 2, base=True, chain=True))
        path = tmp_path / "x.png"
        path.write_text("x")
        p.record(path, generation=1, weights=sha("fit", 1))
    text = provenance.ancestry_text(provenance.trace(path))
    assert f"going on from weights weights/base ({sha('base')[:12]}), made elsewhere" in text
    assert "12 images: 9 real, 3 synthetic of generation 0" in text
