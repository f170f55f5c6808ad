"""Faults of the machine: full and read-only disks, a clock that goes backwards, two commands on one run."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.common import (
    LIMIT_S,
    Bench,
    Row,
    command,
    copied,
    decay,
    differing,
    environment,
    leftovers,
    one_message,
    results,
    said,
)
from benchmarks.faults.interrupted import PROTOCOL

FULL = "Disk"
CLOCK = "Clock"
TWO = "Two at once"
SHARES = (0.05, 0.5, 0.9)
"""Of the room that the results take: how much there is before the disk is full."""
CLOCK_STEP_S = 2.0


@contextmanager
def small_disk(place: Path, n_bytes: int) -> Iterator[Path]:
    """A file system of this size. Raises CalledProcessError where this user may not mount one."""
    place.mkdir(parents=True, exist_ok=True)
    _run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(place)])
    try:
        yield place
    finally:
        _run(["umount", "--lazy", str(place)])


def _remount(place: Path, options: str) -> None:
    _run(["mount", "-o", f"remount,{options}", str(place)])


def _run(arguments: Sequence[str]) -> None:
    subprocess.run(arguments, check=True, capture_output=True)


def _may_mount(work: Path) -> bool:
    try:
        with small_disk(work / "try", 2**20):
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def full_disks(bench: Bench) -> list[Row]:
    """`decay measure` and `decay run` on a disk that fills up, then with more room."""
    if not _may_mount(bench.work):
        return [_limited_files(bench)]
    measured = bench.work / "roomy"
    copied(bench.lineage, measured)
    decay("measure", measured)
    needed = _bytes_of(measured / "measures")
    rows = [_full_measure(bench, share, round(needed * share)) for share in SHARES]
    shutil.rmtree(measured)
    return [*rows, _full_run(bench), *_read_only(bench)]


def _full_measure(bench: Bench, share: float, room: int) -> Row:
    with small_disk(bench.work / "small", 2**26) as disk:
        run = copied(bench.lineage, disk / "run")
        used = shutil.disk_usage(disk).used
        _remount(disk, f"size={used + room}")
        done = decay("measure", run)
        whole = not differing(results(run), bench.wanted, absent_is_fine=True) and not leftovers(run)
        _remount(disk, "size=256m")
        again = decay("measure", run)
        wrong = differing(results(run), bench.wanted)
    return Row(
        FULL,
        f"disk full at {share:.0%} of what `decay measure` writes",
        f"a tmpfs with {room / 1024:,.0f} KiB of room",
        "exit 1, one sentence, nothing half-written; with room, the same command ends with the same results",
        f"{said(done)}; then exit {again.returncode}, {_kept(again)}; {_equal(wrong)}",
        one_message(done) and whole and again.returncode == 0 and not wrong,
    )


def _equal(wrong: Sequence[str]) -> str:
    return f"different: {', '.join(wrong)}" if wrong else "equal"


def _kept(done: subprocess.CompletedProcess[str]) -> str:
    line = next((line for line in done.stdout.splitlines() if line.startswith("Images:")), "")
    return line.removeprefix("Images: ").removesuffix(", 0 not readable.")


def _full_run(bench: Bench) -> Row:
    with small_disk(bench.work / "small", 2**26) as disk:
        protocol = disk / "p.toml"
        protocol.write_text(PROTOCOL)
        copied(bench.lineage / "gen_00", disk / "real")
        whole = bench.work / "roomy-run"
        decay("run", protocol, "--out", whole)
        _remount(disk, f"size={shutil.disk_usage(disk).used + _bytes_of(whole) // 2}")
        done = decay("run", protocol, "--out", disk / "out")
        _remount(disk, "size=256m")
        again = decay("run", protocol, "--out", disk / "out")
        checked = decay("provenance", "verify", disk / "out")
        pictures = {path.name for path in (disk / "out" / "gen_04").glob("*.png")}
        equal = all(
            (disk / "out" / "gen_04" / name).read_bytes() == (whole / "gen_04" / name).read_bytes() for name in pictures
        )
    shutil.rmtree(whole)
    return Row(
        FULL,
        "disk full half-way through `decay run`",
        "a tmpfs with half of the room that the run takes",
        "exit 1, one sentence; with room, the same command makes the same pictures and the log is whole",
        f"{said(done)}; then exit {again.returncode}, verify exit {checked.returncode}, "
        f"last generation {'equal' if equal and pictures else 'different'}",
        one_message(done, "full") and again.returncode == checked.returncode == 0 and equal and bool(pictures),
    )


def _limited_files(bench: Bench) -> Row:
    run = copied(bench.lineage, bench.work / "limited")
    done = subprocess.run(
        command("measure", run), capture_output=True, text=True, env=environment(), timeout=LIMIT_S, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )  # fmt: skip
    again = decay("measure", run)
    wrong = differing(results(run), bench.wanted)
    return Row(
        FULL,
        "no file may grow beyond 200 kB",
        "RLIMIT_FSIZE; this user may not mount a small disk",
        "exit 1, one sentence; without the limit, the same command ends with the same results",
        f"{said(done)}; then exit {again.returncode}, {'different' if wrong else 'equal'}",
        one_message(done) and again.returncode == 0 and not wrong,
    )


def _read_only(bench: Bench) -> list[Row]:
    with small_disk(bench.work / "small", 2**26) as disk:
        run = copied(bench.lineage, disk / "run")
        _remount(disk, "ro")
        unmeasured = decay("measure", run)
        _remount(disk, "rw")
        decay("measure", run)
        _remount(disk, "ro")
        measured = decay("measure", run)
        verdict = decay("verdict", run)
        page = bench.work / "page.html"
        report = decay("report", run, "--out", page)
        other = decay("measure", copied(bench.lineage, bench.work / "beside"), "--reference", run / "gen_00")
        whole = not differing(results(run), bench.wanted)
    return [
        Row(
            FULL,
            "read-only output",
            "the run on a tmpfs mounted read-only; unmeasured, then measured",
            "exit 1, one sentence each; earlier results untouched",
            f"{said(unmeasured)}; {said(measured)}; earlier results {'equal' if whole else 'changed'}",
            one_message(unmeasured, "read-only") and one_message(measured) and whole,
        ),
        Row(
            FULL,
            "read-only input",
            "`decay verdict`, `decay report --out` elsewhere and `decay measure --reference` on the read-only run",
            "exit 0: what only reads does not want to write",
            f"exit {verdict.returncode}, {report.returncode}, {other.returncode}",
            verdict.returncode == report.returncode == other.returncode == 0 and page.stat().st_size > 0,
        ),
    ]


# --------------------------------------------------------------------------- clock


def clocks(bench: Bench) -> list[Row]:
    """`decay measure` and `decay run` while the clock is set back by 400 days."""
    how = "libfaketime" if bench.faketime else "a sitecustomize that shifts time.time"
    return [_clock_of_measure(bench, how), _clock_of_run(bench, how)]


def _clock_of_measure(bench: Bench, how: str) -> Row:
    run = copied(bench.lineage, bench.work / "clock")
    codes = _while_the_clock_goes_back(bench, ["measure", str(run)])
    wrong = differing(results(run), bench.wanted)
    return Row(
        CLOCK,
        "the clock is set back 400 days during `decay measure`",
        f"{how}; once while it reads, then the same command in the past",
        "the same results",
        f"exit {codes[0]}, {codes[1]}; {_equal(wrong)}",
        codes == [0, 0] and not wrong,
    )


def _clock_of_run(bench: Bench, how: str) -> Row:
    protocol = bench.work / "clock.toml"
    protocol.write_text(PROTOCOL)
    copied(bench.lineage / "gen_00", bench.work / "real")
    out = bench.work / "clock-run"
    codes = _while_the_clock_goes_back(bench, ["run", str(protocol), "--out", str(out)])
    checked = decay("provenance", "verify", out)
    return Row(
        CLOCK,
        "the clock is set back 400 days during `decay run`",
        f"{how}; once while it draws, then the same command in the past",
        "the run ends, the log's chain is whole, for nothing hangs on the order of times",
        f"exit {codes[0]}, {codes[1]}; verify exit {checked.returncode}",
        codes == [0, 0] and checked.returncode == 0,
    )


def _while_the_clock_goes_back(bench: Bench, arguments: list[str]) -> list[int]:
    """The exit codes of a command whose clock jumps, and of the same command when the clock has stayed there."""
    offset = bench.work / "clock-offset"
    offset.write_text("+0\n")
    faked = environment(**_faked(bench, offset))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(*arguments), env=faked, cwd="/", **quiet)  # type: ignore[call-overload]
    time.sleep(CLOCK_STEP_S)
    offset.write_text("-400d\n")
    process.wait(LIMIT_S)
    second = subprocess.run(command(*arguments), env=faked, cwd="/", timeout=LIMIT_S, check=False, **quiet)  # type: ignore[call-overload]
    return [process.returncode, second.returncode]


def _faked(bench: Bench, offset: Path) -> dict[str, str]:
    if bench.faketime:
        return {
            "LD_PRELOAD": str(bench.faketime),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # the kernel's monotonic clock never goes back
        }
    shim = bench.work / "shim"
    shim.mkdir(exist_ok=True)
    (shim / "sitecustomize.py").write_text(
        "import time\n"
        "now = time.time\n"
        f"time.time = lambda: now() - (400 * 86400 if open({str(offset)!r}).read().startswith('-') else 0)\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(shim), environment()["PYTHONPATH"]])}


# --------------------------------------------------------------------------- two at once


def two_measures(bench: Bench) -> Row:
    """A second `decay measure` on a run that is being measured."""
    run = copied(bench.lineage, bench.work / "two")
    first = subprocess.Popen(
        command("measure", run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(), cwd="/"
    )
    while not (run / "measures" / "journal.sqlite").exists() and first.poll() is None:
        time.sleep(0.05)
    second = decay("measure", run)
    first.wait(LIMIT_S)
    wrong = differing(results(run), bench.wanted)
    return Row(
        TWO,
        "two `decay measure` on one run",
        "the second is started once the first has its lock",
        "exit 1 and who is at work, at once; the first unharmed",
        f"{said(second)}; the first: exit {first.returncode}, {_equal(wrong)}",
        one_message(second, "at work") and first.returncode == 0 and not wrong,
    )
