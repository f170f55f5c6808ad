"""The log: what is written can be read, survives kill -9, and any break of the chain is named."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decay import provenance
from decay.errors import DecayError, LineageError, OutputError
from decay.loop.checkpoint import published
from decay.provenance.chain import LOG_NAME, open_log, read_links
from decay.provenance.events import GENESIS

N_LINES = 12
SHA = "0" * 63


def picture(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def image(index: int, **said: object) -> provenance.Image:
    return provenance.Image(f"gen_00/{index}.png", hashlib.sha256(str(index).encode()).hexdigest(), **said)  # type: ignore[arg-type]


def lines_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / LOG_NAME).read_bytes().splitlines()]


def read(run: Path) -> int:
    """Number of lines, each link checked."""
    with open_log(run) as stream:
        return sum(1 for _ in read_links(stream, run / LOG_NAME))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log of N_LINES lines."""
    run = tmp_path_factory.mktemp("whole")
    with provenance.log(run) as p:
        p.record_many(image(index, prompt=f"face {index}", seed=index) for index in range(N_LINES - 1))
    return (run / LOG_NAME).read_bytes()


# --------------------------------------------------------------------------- what is written


def test_a_picture_is_recorded_with_all_that_is_said_of_it(tmp_path: Path) -> None:
    made = picture(tmp_path / "gen_00" / "a.png", "pixels")
    start = picture(tmp_path / "real" / "b.png", "photograph")
    with provenance.log(tmp_path) as p:
        real = p.record_real(start, group="g", prompt="a face")
        p.record(
            made, prompt="a face", seed=np.int64(3), slot=7, generation=0, parents=[real], guidance=np.float64(7.5)
        )
    said = lines_of(tmp_path)[-1]
    assert said["path"] == "gen_00/a.png"
    assert said["sha256"] == hashlib.sha256(b"pixels").hexdigest()
    assert said["parents"] == [hashlib.sha256(b"photograph").hexdigest()]
    assert (said["seed"], said["slot"], said["generation"], said["extra"]) == (3, "7", 0, {"guidance": 7.5})


def test_lines_are_canonical_and_chained_so_that_sha256sum_can_check_them(whole: bytes) -> None:
    previous = GENESIS
    for line in whole.splitlines(keepends=True):
        body = re.sub(rb'^\{"hash":"[0-9a-f]{64}",', b"{", line)
        said = json.loads(line)
        assert said["hash"] == hashlib.sha256(body).hexdigest()
        assert said["previous"] == previous
        del said["hash"]
        assert json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" == body
        previous = hashlib.sha256(body).hexdigest()


def test_every_kind_of_event_comes_back_as_it_was(tmp_path: Path) -> None:
    sha = [f"{SHA}{digit}" for digit in "0123456789"]
    members = (provenance.Member(sha[0], "real"), provenance.Member(sha[3], "synthetic", 1))
    events = [
        provenance.Real("real/a.png", sha[0], sha[1], "a.jpg", "g", "a face"),
        provenance.Fit("some/model", sha[2], (), extra={"revision": "abc"}),
        provenance.Fit("weights/fit_02", sha[4], members, sha[2], 2, 2**53 - 1, 100, {"lr": 1e-6}),
        provenance.Image("gen_02/a.png", sha[5], "ü\n\u2028", 1, "0", "g", 2, sha[4], (sha[0],), {"x": [1, None]}),
        provenance.Derived("gen_02/b.png", sha[6], (sha[5],), "matched", 2, "0", "g", sha[0], {}),
        provenance.Note("said", {"a": {"b": 1}}),
    ]
    with provenance.log(tmp_path) as p:
        p.record_many(events)
    with open_log(tmp_path) as stream:
        assert [link.event for link in read_links(stream, tmp_path)][1:] == events


def test_what_could_not_be_read_again_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    with provenance.log(tmp_path) as p:
        before = (tmp_path / LOG_NAME).read_bytes()
        with pytest.raises(ValueError, match="JSON"):
            p.note("a number", score=float("nan"))
        with pytest.raises(TypeError, match="holds texts"):
            p.note("an object", what=object())
        with pytest.raises(ValueError, match="sha256"):
            p.record_many([image(0), provenance.Image("a.png", "no hash")])
        assert (tmp_path / LOG_NAME).read_bytes() == before
        p.note("fine")
    assert read(tmp_path) == 2


def test_what_is_recorded_is_forced_to_the_disk_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, int]] = []
    write, sync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda handle, data: (done.append(("write", len(data))), write(handle, data))[1])
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(("sync", os.fstat(handle).st_size)), sync(handle))[1])
    with provenance.log(tmp_path) as p:
        before = (tmp_path / LOG_NAME).stat().st_size
        done.clear()
        p.record_many(image(index) for index in range(50))
        after = (tmp_path / LOG_NAME).stat().st_size
        assert done == [("write", after - before), ("sync", after)]


def test_the_beginning_says_code_packages_and_machine_but_no_name_of_a_person_or_host(tmp_path: Path) -> None:
    (tmp_path / "lineage.json").write_text("{}")
    with provenance.log(tmp_path):
        pass
    begin = lines_of(tmp_path)[0]
    environment = begin["environment"]
    assert isinstance(environment, dict)
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["n_cpus"] == os.cpu_count()
    assert begin["settings_sha256"] == hashlib.sha256(b"{}").hexdigest()
    text = json.dumps(begin)
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


def test_a_file_outside_of_the_run_is_refused(tmp_path: Path) -> None:
    outside = picture(tmp_path / "elsewhere" / "a.png", "x")
    run = tmp_path / "run"
    (run / "gen_00").mkdir(parents=True)
    (run / "gen_00" / "link.png").symlink_to(outside)
    with provenance.log(run) as p:
        for path in (outside, run / "gen_00" / ".." / ".." / "elsewhere" / "a.png", run / "gen_00" / "link.png"):
            with pytest.raises(DecayError, match="expected a file inside"):
                p.record(path)


def test_a_run_may_be_reached_by_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = picture(tmp_path / "run" / "gen_00" / "a.png", "x")
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path)
    for run, image_path in (
        ("run", made),
        ("link", made),
        ("link/../run", "run/gen_00/a.png"),
        (tmp_path / "run", "link/gen_00/a.png"),
    ):
        with provenance.log(run) as p:
            assert p.record(image_path).path == "gen_00/a.png"
    assert provenance.verify(Path("link")).ok
    assert provenance.trace(Path("link/gen_00/a.png")).picture.path == "gen_00/a.png"


def test_hostile_names_and_prompts_are_plain_texts(tmp_path: Path) -> None:
    names = [
        b"new\nline.png",
        b"[red]markup[/red].png",
        "ünïcode \u202e.png".encode(),
        b"not\xffutf8.png",
        b'quote".png',
    ]
    prompts = ['"}\n{"kind":"begin"}', "\ud800 lone", "\x1b[31m", "a" * 10_000, "\u2028\x00"]
    with provenance.log(tmp_path) as p:
        for name, prompt in zip(names, prompts, strict=True):
            path = tmp_path / "gen_00" / os.fsdecode(name)
            p.record(picture(path, repr(name)), prompt=prompt)
    assert read(tmp_path) == 1 + len(names)
    assert provenance.verify(tmp_path).ok
    text = provenance.ancestry_text(provenance.trace(tmp_path / "gen_00" / os.fsdecode(names[0])))
    assert "new\\nline.png" in text
    for name in names:
        shown = provenance.ancestry_text(provenance.trace(tmp_path / "gen_00" / os.fsdecode(name)))
        assert all(character.isprintable() or character == "\n" for character in shown)


# --------------------------------------------------------------------------- resuming


def test_resuming_records_each_picture_once(tmp_path: Path) -> None:
    weights = tmp_path / "weights" / "fit_00"
    with published(weights, {}) as folder:
        (folder / "w.bin").write_bytes(b"w")
    for upto in (2, 5):
        with provenance.log(tmp_path) as p:
            if not p.knows("weights/fit_00", 0):
                p.record_fit(weights, [], generation=0)
            for index in range(upto):
                path = picture(tmp_path / "gen_00" / f"{index}.png", str(index))
                if not p.knows(f"gen_00/{index}.png", 0):
                    p.record(path, generation=0)
            assert not p.knows("gen_00/0.png", 1)
            assert p.knows(hashlib.sha256(b"0").hexdigest(), 0)
            assert not p.knows(hashlib.sha256(b"9").hexdigest())
            place = p.recorded("gen_00/1.png")
            assert place is not None
            assert place.sha256 == hashlib.sha256(b"1").hexdigest()
    kinds = [line["kind"] for line in lines_of(tmp_path)]
    assert kinds == ["begin", "fit", "image", "image", "resume", "image", "image", "image"]
    assert provenance.verify(tmp_path).ok


@pytest.mark.parametrize("n_cut", [1, 40, 300])
def test_a_torn_last_line_is_cut_off_and_said(n_cut: int, whole: bytes, tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(whole[:-n_cut])
    with pytest.raises(LineageError, match=f"line {N_LINES}: .*cut short"):
        read(tmp_path)
    n_left = len(whole[:-n_cut]) - whole[:-n_cut].rindex(b"\n") - 1
    with provenance.log(tmp_path) as p:
        p.record_many([image(99)])
    said = lines_of(tmp_path)
    assert [line["kind"] for line in said[-2:]] == ["resume", "image"]
    assert (said[-2]["cut_bytes"], said[-2]["n_events"]) == (n_left, N_LINES - 1)
    assert read(tmp_path) == N_LINES + 1


def test_zeros_that_a_power_cut_left_are_cut_off(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(whole + bytes(512))
    with provenance.log(tmp_path):
        pass
    assert read(tmp_path) == N_LINES + 1


def test_a_first_line_that_was_torn_begins_anew(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_bytes(b'{"hash":"12')
    with provenance.log(tmp_path):
        pass
    assert [line["kind"] for line in lines_of(tmp_path)] == ["begin", "resume"]


def test_a_file_that_is_no_log_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text("a text without an end of line")
    with pytest.raises(LineageError, match="line 1: expected a line of a provenance log"), provenance.log(tmp_path):
        pass
    assert (tmp_path / LOG_NAME).read_text() == "a text without an end of line"


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    with provenance.log(tmp_path) as p:
        with pytest.raises(OutputError, match="another process"), provenance.log(tmp_path):
            pass
        script = "import sys\nfrom decay import provenance\nwith provenance.log(sys.argv[1]): pass"
        ended = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
        assert "another process" in ended.stderr
        with pytest.raises(LineageError, match="another process is writing"):
            provenance.verify(tmp_path)
        p.note("still here")
    assert read(tmp_path) == 2


def test_a_link_in_the_place_of_the_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / LOG_NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="plain file"), provenance.log(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == ""


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom decay import provenance\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with provenance.log(sys.argv[1]) as p:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "    for index in range(100): p.note('x' * 100)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert "OutputError" in ended.stderr
    assert 2 < read(tmp_path) < 100


def write_without_end(run: Path, reports: int) -> None:
    with provenance.log(run) as p:
        for index in range(100_000):
            sha256 = hashlib.sha256(str(index).encode()).hexdigest()
            p.record_many(provenance.Image(f"{index}_{part}.png", sha256, prompt="x" * 3000) for part in range(3))
            os.write(reports, b"%d\n" % index)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # on fork, from Python 3.12 on
@pytest.mark.parametrize("moment", range(20))
def test_kill_9_at_any_moment_leaves_a_log_that_goes_on(moment: int, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=write_without_end, args=(tmp_path, writing))
    child.start()
    os.close(writing)
    # The first moments hit the opening, the others the writing.
    time.sleep(random.Random(moment).uniform(0.0, 0.04 if moment % 4 == 0 else 0.2))
    child.kill()
    child.join()
    with os.fdopen(reading, "rb") as stream:
        reported = stream.read().split()
    with provenance.log(tmp_path) as p:
        assert all(p.knows(f"{index.decode()}_2.png") for index in reported)
    assert read(tmp_path) >= 1 + 3 * len(reported)
    assert lines_of(tmp_path)[-1]["kind"] in ("begin", "resume")


# --------------------------------------------------------------------------- the chain


def _edit(lines: list[bytes], at: int, draw: Callable[[int], int]) -> int:
    line = bytearray(lines[at])
    place = draw(len(line))
    line[place] ^= 1 + draw(255)
    lines[at] = bytes(line)
    return at


def _delete(lines: list[bytes], at: int, draw: Callable[[int], int]) -> int:
    del lines[at]
    return at


def _insert(lines: list[bytes], at: int, draw: Callable[[int], int]) -> int:
    source = draw(len(lines))
    lines.insert(at, lines[source])
    return at + (source == at)  # a copy before its original is the second of the two


def _swap(lines: list[bytes], at: int, draw: Callable[[int], int]) -> int:
    other = (at + 1 + draw(len(lines) - 1)) % len(lines)
    lines[at], lines[other] = lines[other], lines[at]
    return min(at, other)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("harm", [_edit, _delete, _insert, _swap])
def test_the_first_line_that_was_tampered_with_is_named(
    harm: Callable[[list[bytes], int, Callable[[int], int]], int],
    data: st.DataObject,
    whole: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lines = whole.splitlines(keepends=True)
    last = len(lines) - (1 if harm is _delete else 0)  # a line cut off the end cannot be seen by the chain alone
    at = data.draw(st.integers(0, last - 1))
    first = harm(lines, at, lambda n: data.draw(st.integers(0, n - 1)))
    run = tmp_path_factory.getbasetemp() / "tampered"
    run.mkdir(exist_ok=True)
    (run / LOG_NAME).write_bytes(b"".join(lines))
    with pytest.raises(LineageError, match=f"line {first + 1}[:,]"):
        read(run)
    if first < N_LINES - 1:  # what is wrong with the very last line alone may look like a writer that was killed
        with pytest.raises(LineageError, match=f"line {first + 1}[:,]"), provenance.log(run):
            pass


def test_a_line_written_anew_with_a_hash_of_its_own_is_found_by_the_next(whole: bytes, tmp_path: Path) -> None:
    lines = whole.splitlines(keepends=True)
    body = re.sub(rb'^\{"hash":"[0-9a-f]{64}",', b"{", lines[4]).replace(b'"seed":3', b'"seed":4')
    lines[4] = b'{"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'",' + body[1:]
    (tmp_path / LOG_NAME).write_bytes(b"".join(lines))
    with pytest.raises(LineageError, match="line 6: expected to follow"):
        read(tmp_path)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"kind":"image","previous":1,"at":""}', b"nan", b"[" * 100_000, b'{"a":' * 5000, b"\xff\xfe"],
)
def test_a_line_with_a_right_hash_and_wrong_content_is_named(body: bytes, whole: bytes, tmp_path: Path) -> None:
    body = b"{" + body[1:] + b"\n"
    line = b'{"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'",' + body[1:]
    (tmp_path / LOG_NAME).write_bytes(whole + line)
    with pytest.raises(LineageError, match=f"line {N_LINES + 1}"):
        read(tmp_path)


@pytest.mark.parametrize("text", [rb'"\ud800"', b"7", b"null", b"NaN", b'["a"]'])
def test_a_text_that_is_none_is_named_though_the_chain_is_whole(text: bytes, whole: bytes, tmp_path: Path) -> None:
    previous = json.loads(whole.splitlines()[-1])["hash"].encode()
    body = b'{"at":"","data":{},"kind":"note","previous":"' + previous + b'","text":' + text + b"}\n"
    line = b'{"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'",' + body[1:]
    (tmp_path / LOG_NAME).write_bytes(whole + line)
    with pytest.raises(LineageError, match=f"line {N_LINES + 1}: expected an event"):
        read(tmp_path)
