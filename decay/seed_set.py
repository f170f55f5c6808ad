"""A balanced set of real pictures to begin a lineage with: as many of each group, drawn by a seed.

Bohacek & Farid ("Nepotistically trained generative image models collapse", section 2.1) take 30 faces for each of 2
genders x 5 races x 3 ages. Where a group has fewer, that is said and what there is is taken: theirs filled 820 of 900.
"""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice, product
from pathlib import Path, PurePosixPath

from decay.errors import DecayError, ImageProblem, LineageError, ModelError
from decay.files import new_folder, to_json, write_bytes, write_text
from decay.images import decode, encode_png, read_bytes_and_hash, read_image
from decay.lineage import ImageRecord, read_folder
from decay.loop.protocol import MAX_SIZE_PX
from decay.loop.real import square
from decay.metadata import fill_template, json_lines, read_table
from detectors.embedder import PackGuesser
from detectors.vision import Vision

REPORT = "seed_set.json"
FORMAT_VERSION = 1
"""Of seed_set.json. 1: settings, groups ({group: {chosen, candidates}}), n_wanted, n_chosen, machine_made, notes."""

AGE_BANDS = ((35, "young"), (55, "middle-aged"))
OLDEST = "old"
"""Ages in years become words: below 35 young, below 55 middle-aged, else old. Ours: the paper states no limits."""

MAX_GROUPS = 10_000
_TAKEN = frozenset(
    {"file_name", "text", "source", "slot", "seed", "expects", "original", "original_sha256", "machine_made"}
)
_WHOLE_YEARS = re.compile(r"^\d{1,3}(\.\d*)?$")
_N_NAMED = 3

GUESSED_COLUMNS: Mapping[str, str] = {"age": "age", "sex": "gender"}
"""Which column a guess fills."""

Progress = Callable[[int, int, int], None]
"""(0 while guessing, 1 while picking; pictures done; in all)."""


@dataclass(frozen=True)
class SeedSetSettings:
    """``folder``: the pictures, at any depth, with what a metadata.csv or .jsonl there says of them.

    ``groups``: a further table, CSV or JSON lines: ``file_name`` (path in ``folder``) and any columns; it comes first.
    ``name_template``: columns in the names of files, as ``{age}_{gender}_{race}_*``; for what no table says.
    ``words``: by column, words in place of what a table or a name has, as ``{"gender": {"0": "man"}}``.
    ``columns``: a group is a combination of these. ``prompt``: a template over the columns. ``per_group``: pictures
    wanted in each. ``size_px``: side to which pictures are cropped and resized; None to copy the files as they are.
    ``guess``: ``age``, ``sex``: columns that a model fills where nothing says them; it is in ``pack``, under ``root``.
    """

    folder: Path
    per_group: int
    groups: Path | None = None
    name_template: str | None = None
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    columns: tuple[str, ...] = ("gender", "race", "age")
    prompt: str = "a photo of a {age} {race} {gender}"
    seed: int = 0
    size_px: int | None = None
    guess: tuple[str, ...] = ()
    pack: str | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        if self.per_group < 1:
            raise ValueError(f"per_group must be at least 1, got {self.per_group}")
        if self.size_px is not None and not 1 <= self.size_px <= MAX_SIZE_PX:
            raise ValueError(f"size_px must be 1 to {MAX_SIZE_PX}, got {self.size_px}")


@dataclass(frozen=True)
class SeedSet:
    """What was chosen. ``chosen``, ``candidates``: pictures by group, all groups, in the order of their names.

    ``machine_made``: columns that a model filled, in any picture. ``notes``: sentences on what was left out, and why.
    """

    folder: Path
    per_group: int
    chosen: Mapping[str, int]
    candidates: Mapping[str, int]
    machine_made: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def n_chosen(self) -> int:
        """Pictures in all."""
        return sum(self.chosen.values())

    @property
    def n_wanted(self) -> int:
        """Pictures if no group were short."""
        return self.per_group * len(self.chosen)

    @property
    def short(self) -> dict[str, int]:
        """Pictures in the groups that have fewer than wanted."""
        return {group: n for group, n in self.chosen.items() if n < self.per_group}


@dataclass(frozen=True)
class _Candidate:
    """One picture that may be drawn. ``made``: the columns in which it says what a model took it for."""

    record: ImageRecord
    columns: Mapping[str, str]
    made: tuple[str, ...] = ()


def make_seed_set(settings: SeedSetSettings, out: Path, progress: Progress = lambda step, done, total: None) -> SeedSet:
    """Draw the set and write it to ``out`` as Hugging Face's imagefolder, with a report in seed_set.json: whole or not.

    Files are 0000.png, 0001.jpg, ... by group; metadata.jsonl has file_name, text, group, original (the file in the
    folder), original_sha256, machine_made and the columns. The draw hangs on the seed and on the names of the files,
    not on their order, and a further picture displaces at most one. Raises DecayError if nothing can be chosen, and for
    a table that leads out of the folder; ModelError if what is to guess is not there; OutputError.
    """
    _check(settings)
    notes: list[str] = []
    with new_folder(out) as staged:
        candidates = _candidates(settings, notes, progress)
        by_group = _by_group(settings, candidates)
        rows, chosen = _write_pictures(settings, by_group, staged, notes, progress)
        machine_made = tuple(
            c for c in settings.columns if any(c in str(row["machine_made"]).split(", ") for row in rows)
        )
        if machine_made:
            notes.append(
                f"Guessed by a model, with its errors, for some or all pictures: {', '.join(machine_made)} "
                f"(insightface's pack {settings.pack}; column machine_made)."
            )
        made = SeedSet(
            out, settings.per_group, chosen, {g: len(c) for g, c in by_group.items()}, machine_made, tuple(notes)
        )
        write_text(staged / "metadata.jsonl", json_lines(rows))
        write_text(staged / REPORT, to_json(_record(settings, made)))
    return made


def seed_set_text(made: SeedSet) -> str:
    """The report for a terminal: how many, which groups are short, what was left out."""
    lines = [f"Chosen: {made.n_chosen} of {made.n_wanted} pictures in {len(made.chosen)} groups."]
    lines += [f"Short: {group}, {n} of {made.per_group}" for group, n in made.short.items()]
    return "\n".join([*lines, *(f"Note: {note}" for note in made.notes)])


def parse_words(text: str) -> tuple[str, dict[str, str]]:
    """``gender:0=man,1=woman`` as a column and its words. Raises DecayError."""
    column, _, pairs = text.partition(":")
    words = dict(pair.partition("=")[::2] for pair in pairs.split(","))
    if not column or not all(value and word for value, word in words.items()):
        raise DecayError(f"--words: expected a column and its words, as gender:0=man,1=woman; got {text!r}.")
    return column.strip(), {value.strip(): word.strip() for value, word in words.items()}


# --------------------------------------------------------------------------- what is asked for


def _check(settings: SeedSetSettings) -> None:
    if taken := sorted(_TAKEN.intersection(settings.columns)):
        raise DecayError(f"The columns {', '.join(taken)} have a meaning of their own; groups are made of others.")
    if not settings.columns or len(set(settings.columns)) < len(settings.columns):
        raise DecayError(f"Expected columns that differ, as gender,race,age; got {','.join(settings.columns)!r}.")
    unknown = sorted(set(_places(settings.prompt, "prompt")) - set(settings.columns))
    if unknown:
        raise DecayError(
            f"The prompt {settings.prompt!r} wants {', '.join(unknown)}; the columns are {', '.join(settings.columns)}"
            ". Give --prompt and --columns that go together."
        )
    if odd := sorted(set(settings.guess) - set(GUESSED_COLUMNS)):
        raise DecayError(f"Only {' and '.join(GUESSED_COLUMNS)} can be guessed, not {', '.join(odd)}. Correct --guess.")
    if settings.guess and settings.pack is None:
        raise ModelError(
            "To guess age or sex, name a pack of insightface that has a model of them: --embedder-pack buffalo_l."
        )


def _places(template: str, purpose: str) -> list[str]:
    """The names in a template, in order. Only plain names, so that no attribute or index of a text can be reached."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise DecayError(
            f"The {purpose} {template!r} is no template: {error}. Write {{column}} for a column."
        ) from error
    places = [(name, spec or conversion) for _, name, spec, conversion in parsed if name is not None]
    if odd := [name for name, extra in places if extra or not name.isidentifier()]:
        raise DecayError(f"The {purpose} {template!r} wants {odd[0]!r}; write the plain name of a column in braces.")
    return [name for name, _ in places]


def _name_pattern(template: str) -> re.Pattern[str]:
    """What a file's name must look like: {column} takes as little as it can, * anything."""
    places = _places(template, "name template")
    if not places or len(set(places)) < len(places):
        raise DecayError(f"The name template {template!r} needs columns, each once, as {{age}}_{{gender}}_{{race}}_*.")
    parts = []
    for text, name, _, _ in string.Formatter().parse(template):
        parts.append(".*".join(re.escape(piece) for piece in re.split(r"\*+", text)))
        parts.append(f"(?P<{name}>.+?)" if name else "")
    return re.compile("".join(parts), re.DOTALL)


# --------------------------------------------------------------------------- what there is


def _candidates(settings: SeedSetSettings, notes: list[str], progress: Progress) -> list[_Candidate]:
    """The pictures that have a value in every column."""
    folder, said_of_folder = read_folder(settings.folder)
    notes.extend(said_of_folder)
    table = {} if settings.groups is None else _table(settings.groups, folder.images, notes)
    pattern = None if settings.name_template is None else _name_pattern(settings.name_template)
    records = [record for record in folder.images if settings.groups is None or _key(record) in table]
    candidates, in_years = [], False
    for record in records:
        in_name = pattern.fullmatch(PurePosixPath(record.relative).name) if pattern else None
        found = {
            **(in_name.groupdict() if in_name else {}),
            "group": record.group,
            **record.columns,
            **table.get(_key(record), {}),
        }
        in_years = in_years or _WHOLE_YEARS.match(found.get("age", "").strip()) is not None
        candidates.append(_Candidate(record, _in_words(settings, found)))
    if settings.guess and settings.pack is not None:
        candidates = _guessed(settings, settings.pack, candidates, progress)
    if "age" in settings.columns and (in_years or "age" in settings.guess):
        notes.append(_bands_text())
    whole = [c for c in candidates if _is_whole(c, settings.columns)]
    if not whole:
        there = ", ".join(sorted({column for c in candidates for column, value in c.columns.items() if value}))
        raise DecayError(
            f"{settings.folder}: expected pictures with {', '.join(settings.columns)}; none of {len(candidates)} has "
            f"them all (there is: {there[:200] or 'nothing'}). "
            "Give a table with --groups, or the columns that there are with --columns."
        )
    lacking = [c.record for c in candidates if not _is_whole(c, settings.columns)]
    _note_some(notes, "Without a value in every column, left out", lacking)
    return whole


def _is_whole(candidate: _Candidate, columns: Sequence[str]) -> bool:
    return all(candidate.columns.get(column) for column in columns)


def _table(path: Path, images: Sequence[ImageRecord], notes: list[str]) -> dict[str, dict[str, str]]:
    """What the table says, by file. Raises LineageError for a name that leads out of the folder."""
    there = {_key(record) for record in images}
    table: dict[str, dict[str, str]] = {}
    missing, again = [], 0
    for where, file, texts in read_table(path):
        if file is None:
            raise LineageError(
                f"{where}: expected a file_name inside the folder of pictures; found {texts['file_name'][:80]!r}, "
                "which leads out of it. Correct it, or remove the row."
            )
        if file not in there:
            missing.append(file)
        elif file in table:
            again += 1
        else:
            table[file] = texts
    if missing:
        notes.append(f"Rows of {path.name} whose file is missing: {len(missing)} ({_some(missing)}).")
    if again:
        notes.append(f"Rows of {path.name} that name a file again (the first counts): {again}.")
    return table


def _key(record: ImageRecord) -> str:
    return unicodedata.normalize("NFC", record.relative)


def _in_words(settings: SeedSetSettings, found: Mapping[str, str]) -> dict[str, str]:
    """The chosen columns as they stand in prompts: in one spelling, the words asked for, ages as bands."""
    columns = {}
    for column, value in found.items():
        plain = " ".join(unicodedata.normalize("NFC", value).split())
        columns[column] = settings.words.get(column, {}).get(plain, plain)
    if _WHOLE_YEARS.match(columns.get("age", "")):
        columns["age"] = age_band(float(columns["age"]))
    return columns


def age_band(age_years: float) -> str:
    """The word for an age, see ``AGE_BANDS``."""
    return next((word for below, word in AGE_BANDS if age_years < below), OLDEST)


def _guessed(
    settings: SeedSetSettings, pack: str, candidates: list[_Candidate], progress: Progress
) -> list[_Candidate]:
    """Candidates with the columns that nothing said filled by a model, from the largest face."""
    try:
        guesser = PackGuesser(pack, settings.root)
    except FileNotFoundError as error:
        raise ModelError(str(error)) from error
    with Vision() as vision:
        filled = []
        for done, candidate in enumerate(candidates, start=1):
            filled.append(_with_guess(settings, candidate, vision, guesser))
            progress(0, done, len(candidates))
    return filled


def _with_guess(settings: SeedSetSettings, candidate: _Candidate, vision: Vision, guesser: PackGuesser) -> _Candidate:
    wanted = [what for what in settings.guess if not candidate.columns.get(GUESSED_COLUMNS[what])]
    if not wanted:
        return candidate
    try:
        view = vision.look(read_image(candidate.record.path, within=settings.folder))
    except ImageProblem:
        return candidate  # it is met again, and said, if it is ever drawn
    if not view.faces:
        return candidate
    guess = guesser.guess(view.pixels, max(view.faces, key=lambda face: face.box.width * face.box.height))
    if guess is None:
        return candidate
    words = {"age": age_band(guess.age_years), "gender": guess.sex}
    made = tuple(GUESSED_COLUMNS[what] for what in wanted)
    return _Candidate(candidate.record, {**candidate.columns, **{column: words[column] for column in made}}, made)


# --------------------------------------------------------------------------- what is drawn


def _by_group(settings: SeedSetSettings, candidates: Iterable[_Candidate]) -> dict[str, list[_Candidate]]:
    """Candidates of every combination of the values there are, in the order in which they are drawn."""
    candidates = list(candidates)
    values = [sorted({c.columns[column] for c in candidates}) for column in settings.columns]
    n_groups = 1
    for each in values:
        n_groups *= len(each)
    if n_groups > MAX_GROUPS:
        counts = ", ".join(f"{c} {len(v)}" for c, v in zip(settings.columns, values, strict=True))
        raise DecayError(
            f"Expected at most {MAX_GROUPS:,} groups; the columns have {counts} different values, {n_groups:,} groups "
            "in all. Choose columns of words with --columns, or put numbers into bands."
        )
    named: dict[str, tuple[str, ...]] = {}
    for combination in product(*values):
        if (other := named.setdefault(" ".join(combination), combination)) != combination:
            one, two = (", ".join(map(repr, each)) for each in (other, combination))
            raise DecayError(
                f"Expected groups of different names; {one} and {two} would both be {' '.join(other)!r}. "
                "Give one of these values another word with --words."
            )
    by_group: dict[str, list[_Candidate]] = {group: [] for group in named}
    for candidate in candidates:
        by_group[_group(settings, candidate)].append(candidate)
    return {
        group: sorted(by_group[group], key=lambda c: _lot(settings.seed, group, _key(c.record)))
        for group in sorted(by_group)
    }


def _group(settings: SeedSetSettings, candidate: _Candidate) -> str:
    return " ".join(candidate.columns[column] for column in settings.columns)


def _lot(seed: int, group: str, name: str) -> bytes:
    """A number drawn for each picture: the least are taken, so that no picture's chance hangs on the others' order."""
    return hashlib.sha256(f"{seed}\0{group}\0{name}".encode()).digest()


@dataclass
class _LeftOut:
    """Pictures that were drawn and not taken, or taken with a reserve."""

    bad: list[ImageRecord] = field(default_factory=list)
    doubles: list[ImageRecord] = field(default_factory=list)
    enlarged: list[ImageRecord] = field(default_factory=list)


@dataclass(frozen=True)
class _Chosen:
    """A picture to write: its bytes as they will be, and the sha256 of the file it comes from."""

    candidate: _Candidate
    suffix: str
    content: bytes
    original_sha256: str


def _write_pictures(
    settings: SeedSetSettings,
    by_group: Mapping[str, list[_Candidate]],
    staged: Path,
    notes: list[str],
    progress: Progress,
) -> tuple[list[dict[str, object]], dict[str, int]]:
    """Read in the order drawn until each group is full; rows of metadata, and pictures by group."""
    rows: list[dict[str, object]] = []
    chosen = dict.fromkeys(by_group, 0)
    left = _LeftOut()
    seen: set[str] = set()
    n_wanted = sum(min(settings.per_group, len(candidates)) for candidates in by_group.values())
    for group, candidates in by_group.items():
        for picture in islice(_usable(settings, candidates, seen, left), settings.per_group):
            name = f"{len(rows):04d}{picture.suffix}"
            write_bytes(staged / name, picture.content)
            rows.append(_row(settings, picture, name, group))
            chosen[group] += 1
            progress(1, len(rows), n_wanted)
    _note_some(notes, "Not readable, left out", left.bad)
    _note_some(notes, "The same file as one already chosen, left out", left.doubles)
    _note_some(notes, f"Smaller than {settings.size_px} px, enlarged", left.enlarged)
    if not rows:
        raise DecayError(f"{settings.folder}: expected pictures that can be read; none could. {' '.join(notes)}")
    return rows, chosen


def _usable(
    settings: SeedSetSettings, candidates: Iterable[_Candidate], seen: set[str], left: _LeftOut
) -> Iterator[_Chosen]:
    """Those that can be read and are not the same file as one in ``seen``, which grows; the others go to ``left``.

    Every picture is decoded, so that what is chosen can be read.
    """
    for candidate in candidates:
        record = candidate.record
        try:
            data, sha256 = read_bytes_and_hash(record.path, within=settings.folder)
            pixels = decode(data, str(record.path)).pixels
        except ImageProblem:
            left.bad.append(record)
            continue
        if sha256 in seen:
            left.doubles.append(record)
            continue
        seen.add(sha256)
        if settings.size_px is None:
            yield _Chosen(candidate, record.path.suffix.lower(), data, sha256)
        else:
            if min(pixels.shape[:2]) < settings.size_px:
                left.enlarged.append(record)
            yield _Chosen(candidate, ".png", encode_png(square(pixels, settings.size_px)), sha256)


def _row(settings: SeedSetSettings, picture: _Chosen, name: str, group: str) -> dict[str, object]:
    candidate = picture.candidate
    columns = {column: candidate.columns[column] for column in settings.columns}
    return {
        "file_name": name,
        "text": fill_template(settings.prompt, columns),
        **columns,
        "group": group,
        "source": "real",
        "original": candidate.record.relative,
        "original_sha256": picture.original_sha256,
        "machine_made": ", ".join(column for column in candidate.made if column in columns),
    }


# --------------------------------------------------------------------------- what is said


def _record(settings: SeedSetSettings, made: SeedSet) -> dict[str, object]:
    return {
        "format_version": FORMAT_VERSION,
        "settings": asdict(settings),
        "n_chosen": made.n_chosen,
        "n_wanted": made.n_wanted,
        "groups": {group: {"chosen": n, "candidates": made.candidates[group]} for group, n in made.chosen.items()},
        "machine_made": made.machine_made,
        "notes": made.notes,
    }


def _bands_text() -> str:
    (young_below, young), (middle_below, middle) = AGE_BANDS
    return f"Ages in years: below {young_below} {young}, {young_below} to {middle_below - 1} {middle}, else {OLDEST}."


def _note_some(notes: list[str], what: str, records: Sequence[ImageRecord]) -> None:
    if records:
        notes.append(f"{what}: {len(records)} ({_some([record.relative for record in records])}).")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return ", ".join(names[:_N_NAMED]) + more
