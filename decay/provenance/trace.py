"""Where a picture comes from: its ancestry back to real photographs, as a person reads it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from decay.errors import DecayError, LineageError
from decay.files import sha256_of
from decay.metadata import read_settings, relative_to_root
from decay.provenance.ancestry import Depth, Group, Known, Made, Past, share
from decay.provenance.chain import LOG_NAME, open_log, read_links
from decay.provenance.events import Image, Picture, Real
from decay.provenance.words import counted, plain

MAX_DEPTH = 12
MAX_WIDTH = 8
MAX_RUNS = 64
"""That go on from one another."""


@dataclass(frozen=True)
class Node:
    """A line of the tree, and what stands below it."""

    label: str
    children: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Ancestry:
    """Of one picture. ``n_training``, ``n_training_synthetic``: one step back, the training set of its weights.

    ``n_unrecorded``: pictures of that set that no line before records. ``depth``: see ``decay.provenance.ancestry``;
    ``is_bound``: whether it is a lower bound, since something behind the picture is not known. ``missing``: of the runs
    that this one goes on from, the one whose log is not there, if any, as lineage.json names it.
    """

    picture: Picture
    n_training: int
    n_training_synthetic: int
    n_unrecorded: int
    depth: Depth
    is_bound: bool
    missing: str | None
    tree: Node

    @property
    def frac_synthetic(self) -> float:
        """Share of the ancestors that are synthetic, 0..1; weights by their last fit alone."""
        return share(self.depth.last)

    @property
    def frac_synthetic_chain(self) -> float:
        """The same, weights by all their fits."""
        return share(self.depth.chain)


def find_run(image: Path) -> Path:
    """The nearest folder above a picture that keeps a log. Raises LineageError if none does."""
    for folder in Path(os.path.abspath(image)).parents:  # noqa: PTH100  links stay as they are named
        if (folder / LOG_NAME).is_file():
            return folder
    raise LineageError(
        f"{image}: expected a picture in a run that keeps {LOG_NAME}; no folder above it does. Name one that does."
    )


def trace(image: Path, *, max_depth: int = MAX_DEPTH, max_width: int = MAX_WIDTH) -> Ancestry:
    """The ancestry of a picture of a run, as its log and those of the runs that it goes on from tell it, which
    lineage.json names. The whole chains are checked.

    ``max_depth``, ``max_width``: of the tree alone, the figures know no bound. Raises LineageError where the chain is
    broken, or where the log knows no such content.
    """
    run = find_run(image)
    if not image.is_file():
        raise LineageError(f"{image}: expected a picture; found none. Name one of the run.")
    sha256, name = sha256_of(image), relative_to_root(run, Path(os.path.abspath(image)))  # noqa: PTH100
    runs, missing = _line_of(run)
    with ExitStack() as opened:
        logs = [opened.enter_context(open_log(each)) for each in runs]
        past = opened.enter_context(closing(Past(*logs)))
        for number, (each, stream) in enumerate(zip(runs, logs, strict=True)):
            root = "" if each == run else f"{each.name}/"
            for link in read_links(stream, each / LOG_NAME, torn_tail=each != run):
                past.add(link.event, link.line, link.offset, number, root)
        found = past.find(sha256, path=name) or past.find(sha256)
        if found is None:
            raise LineageError(
                f"{image}: expected a picture that {run / LOG_NAME} records; it knows no content with the sha256 "
                f"{sha256}. It was altered, or never recorded: see decay provenance verify {run}."
            )
        made = past.made(found.weights or "", before=found.number)
        return Ancestry(
            picture=past.event(found),
            n_training=0 if made is None else sum(made.groups.values()),
            n_training_synthetic=0 if made is None else made.n_synthetic,
            n_unrecorded=0 if made is None else made.n_unrecorded,
            depth=Depth(found.last, found.chain),
            is_bound=found.is_bound,
            missing=missing,
            tree=_Tree(past, max_depth, max_width).picture(found),
        )


def _line_of(run: Path) -> tuple[list[Path], str | None]:
    """The run and those that it goes on from, the first of all first; and the one that is not there, if any."""
    runs = [run]
    seen = {run.resolve()}
    while (above := _parent_of(runs[0])) is not None:
        place = above.resolve()
        # Path.is_file raises for a name that is too long.
        if place in seen or len(runs) == MAX_RUNS or not os.path.isfile(place / LOG_NAME):  # noqa: PTH113
            return runs, str(above)
        seen.add(place)
        runs.insert(0, place)
    return runs, None


def _parent_of(run: Path) -> Path | None:
    """The run that a run goes on from, as its lineage.json says; a relative path is one from its own folder."""
    try:
        protocol = read_settings(run).get("protocol")
    except DecayError:
        return None
    parent = protocol.get("parent") if isinstance(protocol, dict) else None
    said = parent.get("run") if isinstance(parent, dict) else None
    if not isinstance(said, str) or not _can_be_a_path(said):
        return None
    return Path(os.path.normpath(run.resolve() / said))


def _can_be_a_path(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # JSON can spell lone surrogates
        return False


def ancestry_text(ancestry: Ancestry) -> str:
    """The figures and the tree, for a terminal."""
    lines = []
    if isinstance(ancestry.picture, Real):
        lines.append("A photograph: nothing synthetic behind it.")
    else:
        lines.append(
            f"Synthetic ancestry: {100 * ancestry.frac_synthetic:.1f} % (on the way back to a photograph a model "
            f"stands in between {ancestry.depth.last:.2f} times on average)"
        )
        if ancestry.depth.chain != ancestry.depth.last:
            lines.append(
                f"With every fit of its weights, not the last alone: {100 * ancestry.frac_synthetic_chain:.1f} % "
                f"({ancestry.depth.chain:.2f} times)"
            )
    if ancestry.n_training:
        one_back = 100 * ancestry.n_training_synthetic / ancestry.n_training
        lines.append(
            f"One step back: {one_back:.1f} % of the {counted(ancestry.n_training, 'picture')} trained on are synthetic"
        )
    if ancestry.n_unrecorded:
        lines.append(f"Of these the log does not record {ancestry.n_unrecorded:,}.")
    if ancestry.missing is not None:
        lines.append(f"This run goes on from {plain(ancestry.missing, 200)}, whose log is not there to be read.")
    if ancestry.is_bound:
        lines.append("Lower bounds: not all that stands behind this picture is recorded.")
    return "\n".join([*lines, "", *_tree_lines(ancestry.tree)])


def _tree_lines(node: Node) -> Iterator[str]:
    yield node.label
    for child in node.children:
        is_last = child is node.children[-1]
        first, other = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        for number, line in enumerate(_tree_lines(child)):
            yield (other if number else first) + line


class _Tree:
    """Builds the tree: weights are taken apart once, and named where they come again."""

    def __init__(self, past: Past, max_depth: int, max_width: int) -> None:
        self._past = past
        self._max_depth = max_depth
        self._max_width = max_width
        self._done: set[tuple[str, int]] = set()

    def picture(self, known: Known, level: int = 0) -> Node:
        """A picture, what made it, what it was started from."""
        event = self._past.event(known)
        name = f"{plain(known.path)} (sha256 {known.sha256[:12]}"
        if isinstance(event, Real):
            source = f", from {plain(event.source, 80)}" if event.source else ""
            return Node(f"{name}): a photograph{source}")
        if level >= self._max_depth:
            return Node(f"{name}): not followed further")
        below = [self.picture(parent, level + 1) for parent in self._past.parents(known)[: self._max_width]]
        n_more = len(event.parents) - len(below)
        below += [Node(f"and {counted(n_more, 'picture')} more, or not in this log")] if n_more else []
        of = "" if known.generation is None else f", generation {known.generation}"
        if isinstance(event, Image):
            if event.sha256 in event.parents:
                return Node(f"{name}{of}): left as it was", tuple(_with(node, "started from ") for node in below))
            said = f'made for "{plain(event.prompt, 80)}"' + ("" if event.seed is None else f", seed {event.seed}")
            made = [] if event.weights is None else [self._weights(event.weights, level + 1, known.number)]
            return Node(f"{name}{of}): {said}", (*made, *(_with(node, "started from ") for node in below)))
        return Node(f"{name}{of}): {plain(event.method, 80)}", tuple(_with(node, "made of ") for node in below))

    def _weights(self, sha256: str, level: int, before: int) -> Node:
        """``before``: number of the picture or the fit that has to do with them."""
        made = self._past.made(sha256, before=before)
        if made is None:
            return Node(f"weights {sha256[:12]}, not in this log: what they were trained on is not known here")
        name = f"weights {plain(made.path, 80)} ({sha256[:12]})"
        if not made.groups:
            return Node(f"{name}, made elsewhere: what they were trained on is not known here")
        if (sha256, made.number) in self._done:
            return Node(f"{name}: see above")
        if level >= self._max_depth:
            return Node(f"{name}: not followed further")
        self._done.add((sha256, made.number))
        # The latest first: what it is made of explains the others.
        groups = sorted(made.groups, key=_latest_first)
        below = [self._group(made, group, level) for group in groups]
        if len(below) > self._max_width:
            below = [*below[: self._max_width], Node(f"and {counted(len(below) - self._max_width, 'group')} more")]
        if made.parent is not None:
            below.append(_with(self._weights(made.parent, level + 1, made.number), "going on from "))
        return Node(f"{name}, trained on {_training_set(made)}", tuple(below))

    def _group(self, made: Made, group: Group, level: int) -> Node:
        example = made.examples.get(group)
        label = f"{made.groups[group]:,} {_kind(group)}" + (
            f", e.g. {plain(example, 80)}" if example else ", not in this log"
        )
        if group.origin == "real" or group.weights is None:
            return Node(label)
        return Node(label, (self._weights(group.weights, level + 1, made.number),))


def _training_set(made: Made) -> str:
    """``900 images: 675 real, 225 synthetic of generation 1``."""
    by_kind = Counter[str]()
    for group in sorted(made.groups, key=lambda group: (group.origin, group.generation or 0)):
        by_kind[_kind(group)] += made.groups[group]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in by_kind.items())
    return f"{counted(sum(made.groups.values()), 'image')}" + (f": {kinds}" if kinds else "")


def _kind(group: Group) -> str:
    return "real" if group.origin == "real" else f"synthetic of generation {group.generation}"


def _latest_first(group: Group) -> tuple[bool, int, str]:
    return group.origin == "real", -(group.generation or 0), group.weights or ""


def _with(node: Node, words: str) -> Node:
    return Node(words + node.label, node.children)
