"""Lineage x journal x workers -> what became of every image. Reads only what the journal does not know yet."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decay import images
from decay.changes import CHANGES
from decay.errors import DecayError, ImageProblem
from decay.lineage import ImageRecord, Lineage, records
from decay.outcome import DIED, Outcome
from decay.settings import MeasureSettings
from decay.storage import absolute, is_remote
from decay.vectors import Lengths, are_usual, lengths_of, usual_lengths
from decay.workers import Workers
from decay.workers.job import Job
from detectors.trait import OK

if TYPE_CHECKING:
    from decay.journal import Journal
    from decay.repeat import RepeatLoss

AGAIN = -2
"""In place of a generation's number where progress is told."""

Progress = Callable[[int, int, int], None]
"""(generation, images done, images in it); generation -1 is the reference folder, -2 its pictures read again."""

N_HASHING, N_FETCHING = 4, 16
"""Threads that hash files: they also wait for the disk, or for storage; more of them wait for one another."""


@dataclass(frozen=True)
class Hashed:
    """One image of a lineage and its file: the ``sha256`` of the bytes, or the ``problem`` that hid them."""

    generation: int
    record: ImageRecord
    root: Path
    sha256: str = ""
    problem: Outcome | None = None


def hash_lineage(lineage: Lineage) -> list[Hashed]:
    """Every image of the lineage, in the order of the tables, with the hash of its file. Nothing is decoded."""
    # Absolute, for workers may stand elsewhere.
    every = [
        Hashed(generation, record, absolute(lineage.root_of(generation))) for generation, record in records(lineage)
    ]
    with ThreadPoolExecutor(N_FETCHING if is_remote(lineage.root) else N_HASHING) as threads:
        return list(threads.map(_hashed, every))


def _hashed(image: Hashed) -> Hashed:
    try:
        return replace(image, sha256=images.hash_file(image.record.path, within=image.root))
    except ImageProblem as problem:
        return replace(image, problem=Outcome("", problem.state, None, str(problem)))


def read_lineage(
    hashed: Sequence[Hashed], journal: Journal, version: str, workers: Workers, progress: Progress | None = None
) -> dict[str, Outcome]:
    """The outcome of every image, by its path from the lineage root. New readings enter the journal one by one.

    Bytes that stand in several places are read once.
    """
    progressing = _Progressing(Counter(image.generation for image in hashed), progress)
    jobs = {Job(i.record.path, i.root, i.record.relative, sha256=i.sha256): i for i in hashed}
    outcomes = {job: image.problem for job, image in jobs.items() if image.problem}
    wanted = {job: image.sha256 for job, image in jobs.items() if not image.problem}
    for job in outcomes:
        progressing.done(jobs[job].generation)
    outcomes |= read_jobs(wanted, journal, version, workers, lambda job: progressing.done(jobs[job].generation))
    return {job.name: outcome for job, outcome in outcomes.items()}


@dataclass(frozen=True)
class Repeats:
    """What re-reading the reference showed: ``losses`` by trait, and the ``record`` of it for run.json."""

    losses: Mapping[str, RepeatLoss]
    record: Mapping[str, Any] | None


def read_again(
    lineage: Lineage,
    outcomes: Mapping[str, Outcome],
    settings: MeasureSettings,
    journal: Journal,
    version: str,
    workers: Workers,
    progress: Progress | None = None,
) -> Repeats:
    """Read some of the reference's pictures again after each of ``CHANGES``; nothing where none are asked for."""
    if settings.repeat == 0:
        return Repeats({}, None)
    # Imported here: it needs the statistics, which whoever finds nothing changed has no use for.
    from decay.repeat import choose, reference_generation, repeat_losses, repeated_tables  # noqa: PLC0415

    chosen = choose(lineage, outcomes, settings.repeat, settings.seed)
    root = lineage.root_of(reference_generation(lineage))
    root = absolute(root)
    jobs = {
        change: [Job(r.path, root, r.relative, change, sha256=outcomes[r.relative].sha256) for r in chosen]
        for change in CHANGES
    }
    wanted = {job: outcomes[job.name].sha256 for some in jobs.values() for job in some}
    progressing = _Progressing({AGAIN: len(wanted)}, progress)
    found = read_jobs(wanted, journal, version, workers, lambda _: progressing.done(AGAIN))
    again = {change: [found[job] for job in some] for change, some in jobs.items()}
    losses = repeat_losses(repeated_tables(chosen, outcomes, again), tuple(CHANGES), settings.seed) if chosen else {}
    return Repeats(losses, {"n_images": len(chosen), "changes": list(CHANGES)})


def read_jobs(
    wanted: Mapping[Job, str],
    journal: Journal,
    version: str,
    workers: Workers,
    done: Callable[[Job], None],
    keep: Callable[[Outcome], Outcome] = lambda outcome: outcome,
) -> dict[Job, Outcome]:
    """What became of each job, whose file has this sha256: from the journal, or from the first of those alike.

    ``keep``: makes of an outcome what is held of it; the journal has it whole. Raises DecayError where the journal
    holds vectors of other lengths than are read now: a foreign or edited one.
    """
    outcomes: dict[Job, Outcome] = {}
    lengths: dict[Job, Lengths] = {}
    unknown: dict[str, list[Job]] = {}
    for job, sha256 in wanted.items():
        key = _key(sha256, job)
        if key not in unknown and (kept := journal.get(version, key)):
            outcomes[job] = keep(Outcome(sha256, OK, kept))
            lengths[job] = lengths_of(kept)
        else:
            unknown.setdefault(key, []).append(job)
    usual = usual_lengths(lengths.values())
    for job in [job for job, its in lengths.items() if not are_usual(its, usual)]:
        del outcomes[job]
        unknown.setdefault(_key(wanted[job], job), []).append(job)
    for job in outcomes:
        done(job)
    first = {alike[0]: alike for alike in unknown.values()}
    while first:
        alone: dict[Job, list[Job]] = {}
        for job, outcome in workers.read(first):
            if outcome.readings:
                if not are_usual(lengths_of(outcome.readings), usual):
                    raise DecayError(
                        f"{journal.path}: expected vectors as long as those that are read now; found {usual}. They are "
                        "not this program's, or were edited. Move the file away, and the same command measures anew."
                    )
                journal.put(version, _key(outcome.sha256, job), outcome.readings)
            kept_of_it = keep(outcome)
            told = first[job]
            if not is_of(outcome, wanted[job]):  # the file changed, or went, since it was hashed: its twins did not
                told = [job]
                alone |= {twin: [twin] for twin in first[job] if twin != job}
            for twin in told:
                outcomes[twin] = _of_twin(kept_of_it, job, twin, wanted[job])
                done(twin)
        first = alone
    return outcomes


def is_of(outcome: Outcome, sha256: str) -> bool:
    """Whether it is what became of these bytes. A worker that died could not say what it had read."""
    return outcome.sha256 == sha256 or outcome.state in DIED


def _of_twin(outcome: Outcome, job: Job, twin: Job, sha256: str) -> Outcome:
    if twin == job:
        return replace(outcome, sha256=outcome.sha256 or (sha256 if outcome.state in DIED else ""))
    reason = outcome.reason.replace(job.name, twin.name)
    return replace(outcome, sha256=sha256, reason=reason, fresh=False)


def _key(sha256: str, job: Job) -> str:
    prompt = f"prompt:{hashlib.sha256(job.prompt.encode('utf-8', 'surrogatepass')).hexdigest()}" if job.prompt else ""
    return "+".join(part for part in (sha256, job.change, prompt) if part)


class _Progressing:
    """Tells how many of each group are done: images are not done in the order of their generations."""

    def __init__(self, totals: Mapping[int, int], progress: Progress | None) -> None:
        self._totals = totals
        self._done: Counter[int] = Counter()
        self._progress = progress

    def done(self, which: int) -> None:
        self._done[which] += 1
        if self._progress:
            self._progress(which, self._done[which], self._totals[which])
