"""How much of a picture's ancestry is synthetic, computed line by line as a log is read.

Walk back from a picture. If it was worked over from others, it has their ancestry. If it was generated, step to one of
its parents: a picture drawn at random from the training set of its weights or, where it was started from other
pictures, with probability 1/2 one of those. Go on until a photograph is reached. With T the number of steps,

- ``depth`` is E[T], the mean number of times that a model stands between the picture and a photograph;
- ``frac_synthetic`` = E[T - 1] / E[T] = 1 - 1/depth is the share of the ancestors met that are synthetic.

For a picture of generation k, where generation 0 comes from real pictures alone and every later fit is made on a share
s of the generation before, depth_k = 1 + s depth_{k-1} = (1 - s^(k+1)) / (1 - s), and k + 1 for s = 1. So
frac_synthetic is 0 at generation 0, s / (1 + s) at 1, k / (k + 1) for s = 1, and tends to s for s < 1.

Weights count as made by their last fit alone. ``Depth.chain`` is the same with weights that went on from earlier ones
counted as made by all their fits in the log, each with probability in proportion to its steps: for s = 1, equal steps
and base weights at the start, depth_k = 1 + H_k (the k-th harmonic number).

A picture that is its own start picture bit for bit, because a model that paints parts anew found nothing to paint, has
that picture's ancestry: no model stood in between.

What the logs do not know (the training set of base weights, weights and pictures never recorded) is left out; where
nothing is known, the step counts as having reached a photograph. Both figures are lower bounds then: ``is_bound``.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import BinaryIO, NamedTuple

from decay.provenance.chain import index_errors
from decay.provenance.events import Derived, Event, Fit, Image, Member, Picture, Real, parse_line


class Depth(NamedTuple):
    """E[T], weights by their last fit alone (``last``) and by all their fits (``chain``)."""

    last: float
    chain: float


def share(depth: float) -> float:
    """1 - 1/depth; 0 for a photograph."""
    return 0.0 if depth <= 1.0 else 1.0 - 1.0 / depth


class Known(NamedTuple):
    """A recorded picture. ``number``: of its record, in order. ``log``: of several, from 0. ``weights``: that made it,
    or what it was worked over from. ``is_bound``: whether something behind it is not known."""

    number: int
    log: int
    line: int
    offset: int
    path: str
    sha256: str
    origin: str
    generation: int | None
    weights: str | None
    last: float
    chain: float
    is_bound: bool


class Group(NamedTuple):
    """What the pictures of a training set are grouped by."""

    origin: str
    generation: int | None
    weights: str | None


@dataclass(frozen=True)
class Made:
    """Weights, as one fit made them. ``number``: of its record, in order. ``mean``: depth of a picture drawn from their
    training set. ``chain_steps``: of all their fits; 0 for weights from elsewhere. ``is_bound``: whether something
    behind them is not known."""

    number: int
    path: str
    sha256: str
    parent: str | None
    groups: Counter[Group]
    examples: dict[Group, str]
    n_unrecorded: int
    mean: Depth
    chain_steps: int
    is_bound: bool

    @property
    def n_synthetic(self) -> int:
        """Pictures of the training set that a model made."""
        return sum(count for group, count in self.groups.items() if group.origin == "synthetic")


class Past:
    """What the lines so far tell. Nothing is looked up that comes later, so that no log can lead in circles.

    ``logs``: to read; that of a run that another goes on from comes before it. Pictures are kept on disk (a temporary
    SQLite database), weights in memory.
    """

    def __init__(self, *logs: BinaryIO) -> None:
        self._weights: dict[str, list[Made]] = {}
        self._logs = logs
        self._n_records = 0
        with index_errors():
            self._db = sqlite3.connect("", isolation_level=None)
            self._db.execute("PRAGMA journal_mode=OFF")
            self._db.execute(
                "CREATE TABLE pictures (number INTEGER PRIMARY KEY, log INTEGER, line INTEGER, offset INTEGER,"
                " path TEXT, sha256 TEXT, origin TEXT, generation INTEGER, weights TEXT, last REAL, chain REAL,"
                " is_bound INTEGER)"
            )
            self._db.execute("CREATE INDEX by_hash ON pictures (sha256)")
            self._db.execute("BEGIN")

    def close(self) -> None:
        """Let go of the pictures."""
        self._db.close()

    def add(self, event: Event | None, line: int, offset: int, log: int = 0, root: str = "") -> None:
        """Take up the next line of a log. ``root``: put before its paths."""
        if isinstance(event, Fit):
            self._n_records += 1
            self._weights.setdefault(event.sha256, []).append(self._made(event, root))
        elif isinstance(event, Real | Image | Derived):
            self._n_records += 1
            origin, generation, weights = "real", None, None
            depth, is_bound = Depth(0.0, 0.0), False
            if isinstance(event, Image):
                origin, generation, weights = "synthetic", event.generation, event.weights
                depth, is_bound = self._image(event)
            elif isinstance(event, Derived):
                parents = self._found(event.parents)
                origin, generation, weights = "synthetic", event.generation, parents[0].weights if parents else None
                depth = _mean(parents) if parents else Depth(1.0, 1.0)
                is_bound = len(parents) < max(len(event.parents), 1) or any(parent.is_bound for parent in parents)
            place = (self._n_records, log, line, offset, root + event.path, event.sha256)
            self._insert(Known(*place, origin, generation, weights, *depth, is_bound))

    def made(self, sha256: str, *, before: int | None = None) -> Made | None:
        """The last fit that made these weights, ``before`` a record: a later one may have come to the same, bit for
        bit."""
        fits = (fit for fit in reversed(self._weights.get(sha256, ())) if before is None or fit.number < before)
        return next(fits, None)

    def find(
        self, sha256: str, *, path: str | None = None, member: Member | None = None, before: int | None = None
    ) -> Known | None:
        """The last record of this content: at ``path``, as a training set speaks of it, ``before`` a record."""
        query, values = "sha256 = ?", list[str | int | None]([sha256])
        if path is not None:
            query, values = query + " AND path = ?", [*values, path]
        if member is not None:
            generation = member.generation if member.origin == "synthetic" else None
            query, values = query + " AND origin = ? AND generation IS ?", [*values, member.origin, generation]
        if before is not None:
            query, values = query + " AND number < ?", [*values, before]
        with index_errors():
            row = self._db.execute(
                f"SELECT * FROM pictures WHERE {query} ORDER BY number DESC LIMIT 1", values
            ).fetchone()
        return None if row is None else Known(*row)

    def event(self, known: Known) -> Picture:
        """All that is recorded of a picture. Only once every line was taken up: it moves the stream."""
        self._logs[known.log].seek(known.offset)
        event, _, _ = parse_line(self._logs[known.log].readline(), f"line {known.line}")
        assert isinstance(event, Real | Image | Derived)
        return event

    def parents(self, known: Known) -> list[Known]:
        """The recorded pictures that this one was started or made from. Only once every line was taken up."""
        event = self.event(known)
        return [] if isinstance(event, Real) else self._found(event.parents, before=known.number)

    def _found(self, hashes: Sequence[str], before: int | None = None) -> list[Known]:
        return [known for sha256 in hashes if (known := self.find(sha256, before=before)) is not None]

    def _image(self, event: Image) -> tuple[Depth, bool]:
        """(its depth, whether that is a lower bound)."""
        made = self.made(event.weights or "")
        parents = self._found(event.parents)
        is_bound = len(parents) < len(event.parents) or any(parent.is_bound for parent in parents)
        if event.sha256 in (parent.sha256 for parent in parents):
            return _mean(parents), is_bound
        is_bound |= made.is_bound if made is not None else event.weights is not None or not parents
        routes = ([made.mean] if made is not None and made.groups else []) + ([_mean(parents)] if parents else [])
        if not routes:
            return Depth(1.0, 1.0), is_bound
        depth = Depth(1.0 + fmean(route.last for route in routes), 1.0 + fmean(route.chain for route in routes))
        return depth, is_bound

    def _made(self, event: Fit, root: str) -> Made:
        groups, examples, n_unrecorded = Counter[Group](), dict[Group, str](), 0
        is_bound = not event.training_set
        totals = [0.0, 0.0]
        for member in event.training_set:
            known = self.find(member.sha256, member=member)
            group = Group(member.origin, member.generation, known.weights if known else None)
            groups[group] += 1
            if known is not None:
                examples.setdefault(group, known.path)
            n_unrecorded += known is None
            is_bound |= known is None or known.is_bound
            # Of a synthetic picture that is not recorded this much is known: a model made it.
            unrecorded = 1.0 if member.origin == "synthetic" else 0.0
            totals[0] += known.last if known else unrecorded
            totals[1] += known.chain if known else unrecorded
        last, chain = (total / max(len(event.training_set), 1) for total in totals)
        # Weights from elsewhere, whose training set nobody here knows, have no say.
        steps, before = (event.steps or 1) if event.training_set else 0, self.made(event.parent or "")
        if before is not None and before.chain_steps:
            chain = (chain * steps + before.mean.chain * before.chain_steps) / (steps + before.chain_steps)
            steps += before.chain_steps
        if event.parent is not None:
            is_bound |= before is None or before.is_bound
        mean = Depth(last, chain)
        path = root + event.path
        number, sha256 = self._n_records, event.sha256
        return Made(number, path, sha256, event.parent, groups, examples, n_unrecorded, mean, steps, is_bound)

    def _insert(self, known: Known) -> None:
        with index_errors():
            self._db.execute("INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", known)


def _mean(pictures: Sequence[Known]) -> Depth:
    return Depth(fmean(each.last for each in pictures), fmean(each.chain for each in pictures))
