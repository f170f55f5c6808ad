from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from decay.errors import FileProblem, OutputError
from decay.files import (
    ASIDE_PREFIX,
    csv_text,
    make_folder,
    move_files,
    new_folder,
    output_error,
    read_regular,
    run_lock,
    safe_csv,
    scratch_folder,
    write_aside,
    write_bytes,
    write_text,
)
from decay.storage import lies_within

REPOSITORY = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{ASIDE_PREFIX}*"))


# ------------------------------------------------------------------ writing aside


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_text(path, "old")
    write_text(path, "né\n")
    assert path.read_bytes() == b"n\xc3\xa9\n"
    assert leftovers(tmp_path) == []


def test_the_old_file_is_in_place_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_bytes(path, b"old")
    with write_aside(path) as aside:
        assert aside.suffix == ".parquet"  # writers choose their format by it
        aside.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_bytes(path, b"old")

    def fail_half_way() -> None:
        with write_aside(path) as aside:
            aside.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_written_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".csv")
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing/t.csv", "folder does not exist"), ("a_file/t.csv", "is a file"), ("n" * 300, "name is too long")],
)
def test_where_nothing_can_be_written_one_sentence_says_why(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "a_file").touch()
    with pytest.raises(OutputError, match=says):
        write_bytes(tmp_path / name, b"x")


def test_a_folder_in_the_way_is_said_and_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(OutputError, match="a folder of this name is in the way"):
        write_bytes(tmp_path / "t.csv", b"x")
    assert (tmp_path / "t.csv").is_dir()
    assert leftovers(tmp_path) == []


def test_a_file_in_the_place_of_the_output_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "measures").touch()
    with pytest.raises(OutputError, match="found a file"):
        make_folder(tmp_path / "measures")


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    write_bytes(tmp_path / "t.csv", b"old")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="no permission to write"):
            write_bytes(tmp_path / "t.csv", b"new")
        assert (tmp_path / "t.csv").read_bytes() == b"old"
    finally:
        tmp_path.chmod(0o700)


WRITE_MUCH = """
    import sys
    from pathlib import Path
    import numpy as np, pandas as pd
    from decay.errors import OutputError
    from decay.files import write_bytes
    from decay.images import write_png
    folder = Path(sys.argv[1])
    write_bytes(folder / "t.parquet", b"old")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    def parquet():
        write_bytes(folder / "t.parquet", pd.DataFrame(dict(x=noise.ravel())).to_parquet())
    {prepare}
    for write in (parquet, lambda: write_png(folder / "t.png", noise)):
        try:
            write()
        except OutputError as error:
            print(error)
    print(sorted(path.name for path in folder.iterdir()), (folder / "t.parquet").read_bytes())
"""


def check_nothing_half_written(run: subprocess.CompletedProcess[str], says: str) -> None:
    assert run.returncode == 0, run.stderr
    parquet, png, folder = run.stdout.splitlines()
    assert "t.parquet: could not be written" in parquet
    assert says in parquet
    assert "t.png: could not be written" in png
    assert says in png
    assert folder == "['t.parquet'] b'old'"


def test_a_file_size_limit_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    prepare = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    check_nothing_half_written(python(WRITE_MUCH.format(prepare=prepare), str(tmp_path)), "larger than this system")


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    namespace = ["unshare", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=64k tmpfs '{tmp_path}'"
    try:
        tried = subprocess.run([*namespace, "sh", "-c", mount], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed: no small disk to fill")
    if tried.returncode != 0:
        pytest.skip("this system lets nobody mount a small disk to fill")
    script = textwrap.dedent(WRITE_MUCH.format(prepare="pass"))
    run = subprocess.run(
        [*namespace, "sh", "-c", f'{mount} && exec "$0" "$@"', sys.executable, "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    check_nothing_half_written(run, "the disk is full")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_a_failure_of_the_disk_is_one_sentence(code: int, says: str) -> None:
    message = str(output_error(Path("runs/x"), OSError(code, os.strerror(code))))
    assert message.startswith("runs/x: could not be written: ")
    assert says in message
    assert "\n" not in message


# ------------------------------------------------------------------ one writer at a time

HOLD = """
    import sys
    from pathlib import Path
    from decay.files import run_lock, write_aside
    folder = Path(sys.argv[1])
    with run_lock(folder), write_aside(folder / "t.csv") as aside:
        aside.write_bytes(b"half")
        print("held", flush=True)
        sys.stdin.read()
"""


def test_a_second_writer_is_told_who_holds_the_folder_and_a_killed_one_blocks_nobody(tmp_path: Path) -> None:
    write_bytes(tmp_path / "t.csv", b"old")
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=f"process {holder.pid} on .* is at work"), run_lock(tmp_path):
            pass
        assert len(leftovers(tmp_path)) == 1
        holder.send_signal(signal.SIGKILL)
    with run_lock(tmp_path):
        assert leftovers(tmp_path) == []
        assert (tmp_path / "t.csv").read_bytes() == b"old"


def test_the_lock_makes_its_folder_and_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with run_lock(tmp_path / "run" / "measures"):
            assert (tmp_path / "run" / "measures").is_dir()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"keep")
    for name in (".lock", "journal.sqlite", "charts/x.svg", "charts"):
        folder = tmp_path / name.replace("/", "_") / "measures"
        link = folder / name
        link.parent.mkdir(parents=True)
        link.symlink_to(outside if name == "charts" else outside / "precious")
        with pytest.raises(OutputError, match="found a link"), run_lock(folder):
            pass
    (tmp_path / "measures").symlink_to(outside)
    with pytest.raises(OutputError, match="found a link"), run_lock(tmp_path / "measures"):
        pass
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_bytes() == b"keep"


def test_a_pipe_in_the_output_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "journal.sqlite")
    with pytest.raises(OutputError, match="pipe"), run_lock(tmp_path):
        pass


# ------------------------------------------------------------------ whole folders


def test_a_new_folder_has_its_name_only_once_its_files_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal, forced = tmp_path / "goal", set[int]()
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(handle: int) -> None:
        forced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def watched_rename(self: Path, target: Path) -> Path:
        assert {path.stat().st_ino for path in self.rglob("*")} <= forced
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    with new_folder(goal) as folder:
        (folder / "deep").mkdir()
        (folder / "a.png").write_bytes(b"a")
        (folder / "deep" / "b.png").write_bytes(b"b")
    assert tmp_path.stat().st_ino in forced
    assert (goal / "deep" / "b.png").read_bytes() == b"b"


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    goal = tmp_path / "deep" / "lineage"
    with pytest.raises(ZeroDivisionError), new_folder(goal) as folder:
        (folder / "a").write_text(f"half {1 / 0}")
    assert list(goal.parent.iterdir()) == []
    goal.mkdir()
    with new_folder(goal) as folder:
        (folder / "a").write_bytes(b"whole")
        assert list(goal.iterdir()) == []
    assert (goal / "a").read_bytes() == b"whole"
    with pytest.raises(OutputError, match="already holds"), new_folder(goal):
        pass
    assert [path.name for path in goal.parent.iterdir()] == ["lineage"]


def test_files_are_moved_over_older_ones_and_leave_others(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, tmp_path) as scratch:
        (scratch / "charts").mkdir()
        (scratch / "charts" / "a.svg").write_bytes(b"new")
        (tmp_path / "charts").mkdir()
        for name in ("a.svg", "b.svg"):
            (tmp_path / "charts" / name).write_bytes(b"old")
        move_files(scratch, tmp_path)
    assert (tmp_path / "charts" / "a.svg").read_bytes() == b"new"
    assert (tmp_path / "charts" / "b.svg").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_the_scratch_folder_of_a_killed_process_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / f"{ASIDE_PREFIX}0123"
    (left / "charts").mkdir(parents=True)
    (left / "charts" / "half.svg").write_bytes(b"<svg")
    with run_lock(tmp_path):
        assert leftovers(tmp_path) == []


# ------------------------------------------------------------------ tables for spreadsheets


def test_texts_cannot_act_as_formulas_and_numbers_stay(tmp_path: Path) -> None:
    hostile = ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]  # noqa: RUF001
    harmless = ["a portrait", "", "-", "1=1", "né", 'say "x", y']
    frame = pd.DataFrame({"prompt": hostile + harmless, "value": [-1.5] * 14, "n": [-1] * 14})
    safe = safe_csv(frame)
    assert list(safe["prompt"]) == [f"'{text}".replace("\r", "\n") for text in hostile] + harmless
    assert safe[["value", "n"]].equals(frame[["value", "n"]])
    write_text(tmp_path / "t.csv", csv_text(frame))
    back = pd.read_csv(tmp_path / "t.csv", keep_default_na=False)
    assert list(back["prompt"][8:]) == harmless
    assert list(back["value"]) == [-1.5] * 14
    assert list(frame["prompt"]) == hostile + harmless  # the caller's table is untouched


def test_a_carriage_return_inside_a_text_begins_no_row(tmp_path: Path) -> None:
    write_text(tmp_path / "t.csv", csv_text(pd.DataFrame({"prompt": ["a\r=1+1", "b\r\n=1+1"]})))
    assert list(pd.read_csv(tmp_path / "t.csv")["prompt"]) == ["a\n=1+1", "b\n=1+1"]


def test_categories_and_mixed_columns_are_made_safe_too() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["=1", "b"]), "m": ["=1", 2.0]}, index=[5, 5])
    safe = safe_csv(frame)
    assert list(safe["c"]) == ["'=1", "b"]
    assert list(safe["m"]) == ["'=1", 2.0]


# ------------------------------------------------------------------ reading what others made


def state_of(path: Path, within: Path | None = None, max_bytes: int = 100) -> str:
    with pytest.raises(FileProblem) as caught:
        read_regular(path, within=within, max_bytes=max_bytes)
    assert str(path) in str(caught.value)
    return caught.value.state


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)
    assert read_regular(tmp_path / "f", within=tmp_path, max_bytes=100) == b"x" * 100


def test_what_is_no_file_has_a_state(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * 101)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert state_of(tmp_path / "pipe") == "not_a_file"  # and does not wait for a writer
    assert state_of(tmp_path / "folder") == "not_a_file"
    assert state_of(Path("/dev/zero")) == "not_a_file"
    assert state_of(tmp_path / "large") == "too_large"
    assert state_of(tmp_path / "nothing") == "missing"
    assert state_of(tmp_path / "dangling", within=tmp_path) == "missing"
    assert state_of(tmp_path / "loop", within=tmp_path) == "unreadable"


def test_links_may_not_lead_out(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "gen_0").mkdir(parents=True)
    (tmp_path / "run_secret").write_bytes(b"x")  # shares the folder's name as a prefix
    (run / "inside").write_bytes(b"y")
    (run / "gen_0" / "out").symlink_to(tmp_path / "run_secret")
    (run / "gen_0" / "in").symlink_to("../inside")
    assert state_of(run / "gen_0" / "out", within=run) == "outside"
    assert state_of(run / ".." / "run_secret", within=run) == "outside"
    assert read_regular(run / "gen_0" / "in", within=run, max_bytes=9) == b"y"
    assert lies_within(run / "gen_0", run)


def test_a_lineage_reached_through_a_link_is_still_inside_itself(tmp_path: Path) -> None:
    (tmp_path / "real_run").mkdir()
    (tmp_path / "real_run" / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real_run")
    assert read_regular(tmp_path / "link" / "f", within=tmp_path / "link", max_bytes=9) == b"x"


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_no_permission_has_a_state(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "f").chmod(0)
    assert state_of(tmp_path / "f") == "no_permission"
