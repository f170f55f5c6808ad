"""One target under libFuzzer, in a process of its own: python -m benchmarks.fuzzing.worker TARGET RUNS SEED FOLDER.

Writes ``counts.json`` (inputs tried, how they ended, slowest, largest memory), ``findings.jsonl`` and the inputs that
made them into FOLDER. A finding does not end the run; a crash of native code does, and whoever started it goes on.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["decay", "PIL", "tomllib"]):
    from benchmarks.fuzzing.targets import TARGETS, empty

MOST_CPU_S = 2.0
"""An input may take this much processor time; the wall clock of a shared machine says nothing of the program."""
MOST_HANG_S = 30
MOST_GROWTH_MB = 512
"""How far the largest memory of the process may rise above that after its first inputs."""
SETTLED_AFTER = 200
BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "pickle.find_class")
CHANGES = tuple(
    f"os.{change}" for change in ("remove", "rename", "mkdir", "rmdir", "link", "symlink", "truncate", "chmod", "chown")
)


class Watch:
    """An audit hook (PEP 578) that notes what a target does outside of the folder it may write to, while it is on."""

    def __init__(self) -> None:
        self.allowed: str | None = None
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in NEVER:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open":
            path, mode, flags = arguments
            if (isinstance(flags, int) and flags & WRITES) or (isinstance(mode, str) and set(mode) & set("wax+")):
                self._check(event, path)
        elif event in CHANGES:
            self._check(event, arguments[0])

    def _check(self, event: str, path: object) -> None:
        place = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else repr(path)
        if self.allowed is None or not f"{os.path.realpath(place)}{os.sep}".startswith(self.allowed):
            self.seen.append(f"{event} {place!r:.200}")


class Session:
    """Tries one input after another and keeps count."""

    def __init__(self, name: str, n_runs: int, folder: Path) -> None:
        self.target, self._n_runs, self._folder = TARGETS[name], n_runs, folder
        self._ended: Counter[str] = Counter()
        self._known: set[str] = set()
        self._n, self._slowest_s, self._settled_mb = 0, 0.0, 0.0
        self._scratch = Path(tempfile.mkdtemp(dir=folder, prefix="scratch-"))
        self._watch = Watch()
        self._watch.allowed = f"{self._scratch}{os.sep}" if self.target.writes else None

    def one_input(self, data: bytes) -> None:
        """What libFuzzer calls."""
        self.target.lay(data, self._scratch)
        began = time.process_time()
        self._watch.seen = []
        ended, error = self._read(data)
        self._ended[ended] += 1
        if error is not None:
            self._found(data, f"{type(error).__name__}: {error}", traceback.extract_tb(error.__traceback__))
        self._account(data, time.process_time() - began)
        empty(self._scratch)

    def _read(self, data: bytes) -> tuple[str, Exception | None]:
        self._watch.on = True
        try:
            return self.target.read(data, self._scratch), None
        except Exception as error:  # whatever escapes is what we look for
            return "finding", error
        finally:
            self._watch.on = False

    def warm_up(self) -> None:
        """Load what is loaded on first use, unwatched: some library asks a program for the machine's caches."""
        for data in self.target.seeds()[:1]:
            self.target.lay(data, self._scratch)
            self.target.read(data, self._scratch)
            empty(self._scratch)

    def _account(self, data: bytes, cpu_s: float) -> None:
        self._n += 1
        self._slowest_s = max(self._slowest_s, cpu_s)
        if self._watch.seen:
            self._found(data, f"it did {self._watch.seen[0]}")
        if cpu_s > MOST_CPU_S:
            self._found(data, f"took more than {MOST_CPU_S:g} s")
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_UNIT / 2**20
        if self._n == SETTLED_AFTER:
            self._settled_mb = peak_mb
        if self._n > SETTLED_AFTER and peak_mb > self._settled_mb + MOST_GROWTH_MB:
            self._found(data, f"took more than {MOST_GROWTH_MB} MB")
        if self._n % 200 == 0 or self._n >= self._n_runs:
            said = {"n": self._n, "ended": self._ended, "slowest_s": self._slowest_s, "peak_mb": peak_mb}
            (self._folder / "counts.json").write_text(json.dumps(said))

    def _found(self, data: bytes, what: str, frames: traceback.StackSummary | None = None) -> None:
        ours = [frame for frame in frames or () if "fuzzing" not in frame.filename]
        where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in ours[-4:]]
        key = f"{what.partition(':')[0]} {where[-1:]}"
        if key in self._known:
            return
        self._known.add(key)
        name = f"finding-{self._n:06d}"
        (self._folder / name).write_bytes(data)
        with (self._folder / "findings.jsonl").open("a") as out:
            out.write(json.dumps({"what": what[:300], "where": where, "input": name}) + "\n")


def _anyhow(data: bytes, most: int) -> bytes:
    return bytes(atheris.Mutate(data, most))  # looked up now: Fuzz() puts another in its place


def main() -> None:
    """Fuzz one target. Ends the process."""
    name, n_runs, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    session = Session(name, n_runs, folder)
    session.warm_up()
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, content in enumerate(session.target.seeds()):
        (corpus / f"seed-{number:03d}").write_bytes(content)
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-runs={n_runs}",
        f"-seed={seed + 1}",  # 0 means the clock to libFuzzer
        f"-max_len={session.target.most_bytes}",
        f"-timeout={MOST_HANG_S}",
        "-rss_limit_mb=4096",
        f"-artifact_prefix={folder}/crash-",
        "-print_final_stats=1",
    ]
    mutate = session.target.mutate
    if mutate is None:
        atheris.Setup(arguments, session.one_input)
    else:
        atheris.Setup(arguments, session.one_input, custom_mutator=partial(mutate, anyhow=_anyhow))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
