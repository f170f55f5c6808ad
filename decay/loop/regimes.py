"""Which pictures a retraining is made on: pure arithmetic over slots, generations and groups.

The regimes are those of the literature on model collapse: replace and accumulate (Gerstgrasser et al. 2024, "Is Model
Collapse Inevitable?", arXiv:2404.01413), accumulate with a fixed budget (Kazdan et al. 2024, "Collapse or Thrive?",
arXiv:2410.16713), a fixed share of generated pictures (Bohacek & Farid, "Nepotistically trained generative image
models collapse"), fresh data in every generation (Alemohammad et al. 2023, "Self-Consuming Generative Models Go MAD",
arXiv:2307.01850), curation by a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from decay.errors import DecayError
from decay.loop.protocol import KIND_SETTINGS, Protocol, Regime, synthetic_count

REAL = -1
"""In place of a generation: a slot's own real picture."""
FRESH = -2
"""In place of a generation: a picture of the reserve."""


@dataclass(frozen=True, order=True)
class Item:
    """One picture of a training set.

    ``generation``: 0 or later, or ``REAL`` or ``FRESH``. ``slot``: its slot; of a fresh picture its
    number among those that the fits of its run take of its group. ``group``: the group that it belongs to.
    """

    generation: int
    slot: int
    group: str

    @property
    def is_synthetic(self) -> bool:
        """Whether a model made it."""
        return self.generation >= 0


@dataclass(frozen=True)
class Pool:
    """What there is to choose from for the fit that makes ``generation`` (1 or later): all generations before it.

    ``iteration``: the number of this retraining in its run, 1 or later; ``generation`` itself unless the run has a
    parent. ``groups``: the group of each slot. ``n_reserve``: real pictures that neither are slots nor were seen by a
    fit before this run's, by group. ``scores``: of the generation before, one per slot, higher is better, NaN where
    there is none; needed by ``curated`` alone. ``n_taken``: fresh pictures that earlier regimes of the run took of the
    reserve, by group.
    """

    groups: Sequence[str]
    generation: int
    iteration: int
    n_reserve: Mapping[str, int]
    scores: Sequence[float] | None = None
    n_taken: Mapping[str, int] = field(default_factory=dict)

    @property
    def slots_by_group(self) -> dict[str, list[int]]:
        """Slots of each group, groups in the order of their names."""
        slots: dict[str, list[int]] = {group: [] for group in sorted(set(self.groups))}
        for slot, group in enumerate(self.groups):
            slots[group].append(slot)
        return slots


def pool_of(
    protocol: Protocol,
    groups: Sequence[str],
    generation: int,
    n_reserve: Mapping[str, int],
    scores: Sequence[float] | None = None,
) -> Pool:
    """What a run that follows ``protocol`` has for the fit that makes ``generation``; see ``Pool``."""
    iteration = protocol.iteration_of(generation)
    n_taken: Counter[str] = Counter()
    for earlier in map(protocol.regime_at, range(1, protocol.regime_at(iteration).since)):
        if earlier.kind == "fresh":
            n_taken.update({group: _n_fresh(earlier, n_slots) for group, n_slots in Counter(groups).items()})
    return Pool(groups, generation, iteration, n_reserve, scores, n_taken)


def compose(regime: Regime, pool: Pool, seed: int) -> tuple[Item, ...]:
    """The training set, in order: groups by name, within each the slots by number.

    Everything drawn hangs on ``seed``, the generation and the group alone. Raises DecayError if the reserve has too few
    pictures for ``fresh``.
    """
    items: list[Item] = []
    for number, (group, slots) in enumerate(pool.slots_by_group.items()):
        rng = np.random.default_rng([seed, pool.generation, number])
        items.extend(_of_group(regime, pool, group, slots, rng))
    return tuple(items)


def counts(items: Sequence[Item]) -> dict[str, tuple[int, int]]:
    """(real, synthetic) pictures by group, fresh ones counted as real; groups in the order of their names."""
    found = {item.group: [0, 0] for item in sorted(items, key=lambda item: item.group)}
    for item in items:
        found[item.group][item.is_synthetic] += 1
    return {group: (real, synthetic) for group, (real, synthetic) in found.items()}


def notes_on_shares(protocol: Protocol, groups: Sequence[str]) -> tuple[str, ...]:
    """A sentence on each share between 0 and 1 that comes to none or to all of the pictures of some groups.

    ``groups``: the group of each slot. Raises DecayError for a share that comes to that in every group, at every
    iteration that it is for: it would be another experiment than the one that is written.
    """
    counted: dict[tuple[Regime, float], list[tuple[int, int]]] = {}
    for generation in range(max(protocol.first_generation, 1), protocol.last_generation + 1):
        iteration = protocol.iteration_of(generation)
        regime = protocol.regime_at(iteration)
        for n_slots in Counter(groups).values():
            share, n = _share_of(regime, iteration, n_slots, n_slots * generation)
            if 0.0 < share < 1.0:
                n_taken = _n_kept(regime, n) if regime.kind == "curated" else synthetic_count(share, n)
                counted.setdefault((regime, share), []).append((n_taken, n))
    noted = (_note_on_share(regime, share, pairs) for (regime, share), pairs in counted.items())
    return tuple(note for note in noted if note)


def _share_of(regime: Regime, iteration: int, n_slots: int, n_synthetic: int) -> tuple[float, int]:
    """A regime's share at an iteration, 0 if it has none, and of how many pictures of a group it is one."""
    match regime.kind:
        case "mix" | "schedule" | "fresh":
            return regime.share_at(iteration), n_slots
        case "curated":
            return regime.keep, n_slots
        case "filtered":
            return regime.missed, n_synthetic
        case _:
            return 0.0, n_slots


def _note_on_share(regime: Regime, share: float, counted: Sequence[tuple[int, int]]) -> str:
    """``counted``: (taken, of how many) in each group at each iteration."""
    lost = [(n_taken, n) for n_taken, n in counted if n_taken in (0, n)]
    if not lost:
        return ""
    outcomes = {"none" if n_taken == 0 else "all" for n_taken, _ in lost}
    comes_to = f"{KIND_SETTINGS[regime.kind][0]} = {share:g} of the regime {regime.kind} comes to " + " or to ".join(
        sorted(outcomes, reverse=True)
    )
    sizes = sorted({n for _, n in lost})
    of = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
    if len(lost) == len(counted):
        raise DecayError(
            f"Expected a share that takes some of a group's pictures and leaves some, or 0 or 1; {comes_to} of {of}, "
            "in every group. Add pictures, raise per_group, or correct the share."
        )
    return f"In some groups, {comes_to} of their {of} pictures."


def _of_group(regime: Regime, pool: Pool, group: str, slots: list[int], rng: np.random.Generator) -> list[Item]:
    before = pool.generation - 1
    match regime.kind:
        case "replace":
            items = [Item(before, slot, group) for slot in slots]
        case "mix" | "schedule":
            generated = _draw(slots, synthetic_count(regime.share_at(pool.iteration), len(slots)), rng)
            items = [Item(before if slot in generated else REAL, slot, group) for slot in slots]
        case "fresh":
            items = _with_fresh(regime, pool, group, slots, rng)
        case "accumulate":
            items = _all(slots, before, group)
        case "budget":
            items = _some(_all(slots, before, group), len(slots), rng)
        case "filtered":
            items = _filtered(regime, _all(slots, before, group), len(slots), rng)
        case "curated":
            items = _best(regime, pool, group, slots)
    return items


def _draw(slots: Sequence[int], n: int, rng: np.random.Generator) -> set[int]:
    return {int(slot) for slot in rng.permutation(slots)[:n]}


def _all(slots: Sequence[int], last: int, group: str) -> list[Item]:
    """The real pictures and those of every generation so far."""
    return [Item(generation, slot, group) for generation in (REAL, *range(last + 1)) for slot in slots]


def _some(items: Sequence[Item], n: int, rng: np.random.Generator) -> list[Item]:
    chosen = rng.choice(len(items), size=n, replace=False)
    return [items[index] for index in sorted(chosen)]


def _filtered(regime: Regime, items: list[Item], n: int, rng: np.random.Generator) -> list[Item]:
    """As ``budget``, from what is left when the log's synthetic pictures are dropped, but for the share missed."""
    real = [item for item in items if not item.is_synthetic]
    synthetic = [item for item in items if item.is_synthetic]
    passed = _some(synthetic, synthetic_count(regime.missed, len(synthetic)), rng)
    return _some([*real, *passed], n, rng)


def _with_fresh(regime: Regime, pool: Pool, group: str, slots: list[int], rng: np.random.Generator) -> list[Item]:
    """Generated slots as in a mix; in place of each other one a real picture that no iteration has seen.

    Each iteration takes the next so many of the reserve.
    """
    n_fresh = _n_fresh(regime, len(slots))
    generated = _draw(slots, len(slots) - n_fresh, rng)
    begin = pool.n_taken.get(group, 0) + (pool.iteration - regime.since) * n_fresh
    if begin + n_fresh > pool.n_reserve.get(group, 0):
        raise DecayError(
            f"The regime fresh needs {begin + n_fresh} real pictures of {group or 'its one group'} beyond the "
            f"{len(slots)} of its slots, none of them seen by a parent, by iteration {pool.iteration}; there are "
            f"{pool.n_reserve.get(group, 0)}. Add "
            "real pictures, or lower per_group, the iterations or the share of fresh ones."
        )
    fresh = iter(range(begin, begin + n_fresh))
    return [
        Item(pool.generation - 1, slot, group) if slot in generated else Item(FRESH, next(fresh), group)
        for slot in slots
    ]


def _n_fresh(regime: Regime, n_slots: int) -> int:
    return n_slots - synthetic_count(regime.synthetic, n_slots)


def _best(regime: Regime, pool: Pool, group: str, slots: list[int]) -> list[Item]:
    """The best share of the generation before, best first, repeated until every slot is filled. Unscored ones last."""
    scores = np.full(len(pool.groups), np.nan) if pool.scores is None else np.asarray(pool.scores, dtype=np.float64)
    ranked = sorted(slots, key=lambda slot: (np.isnan(scores[slot]), -np.nan_to_num(scores[slot]), slot))
    kept = ranked[: _n_kept(regime, len(slots))]
    return [Item(pool.generation - 1, kept[i % len(kept)], group) for i in range(len(slots))]


def _n_kept(regime: Regime, n_slots: int) -> int:
    return max(synthetic_count(regime.keep, n_slots), 1)
