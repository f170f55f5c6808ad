"""What the command line speaks with: plain text, one message for what went wrong, bars for what takes long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console

from decay.errors import DecayError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """Text that holds names of files, for a terminal: controls and bytes that are no UTF-8 are spelled out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the input or the machine did wrong into one message and exit code 1."""
    try:
        yield
    except DecayError as error:
        err.print(f"decay: {plain(str(error))}", markup=False)
        raise typer.Exit(1) from None
    except BrokenPipeError:
        raise  # who reads us has seen enough (`| head`); typer ends quietly
    except OSError as error:
        err.print(f"decay: {plain(str(error))}. Check the disk, then run the same command again.", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        err.print("decay: stopped. What was read so far is kept; the same command goes on from there.")
        raise typer.Exit(1) from None


@contextmanager
def bars(doing: str, names: Sequence[str] = ()) -> Iterator[Callable[[int | str, int, int], None]]:
    """A progress bar per generation, one of ``names``, or thing named, on standard error; gives what moves them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=err)
    tasks: dict[int | str, TaskID] = {}

    def advance(which: int | str, done: int, total: int) -> None:
        progress.start()
        if which not in tasks:
            tasks[which] = progress.add_task(f"{doing} {_bar_name(which, names)}", total=total)
        progress.update(tasks[which], completed=done)

    try:
        yield advance
    finally:
        if tasks:  # what never began must not end: that would put an empty line before a message
            progress.stop()


def _bar_name(which: int | str, names: Sequence[str]) -> str:
    if isinstance(which, str):
        return which
    return names[which] if names else {-1: "reference", -2: "reference again"}.get(which, f"generation {which}")
