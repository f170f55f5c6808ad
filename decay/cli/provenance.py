"""`decay provenance`: check the log of a run, ask it, hand it on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from decay.cli.say import explained, out, plain
from decay.errors import DecayError

provenance_app = typer.Typer(
    help="The log of what made each picture: check it, ask it, hand it on.", no_args_is_help=True
)

LoggedRun = Annotated[Path, typer.Argument(metavar="RUN", help="A run that keeps a log.", readable=False)]


@provenance_app.command()
def verify(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run that keeps a log, or a folder of such runs.", readable=False)
    ],
    head: Annotated[
        str | None, typer.Option(help="Hash that the last line had once: is it still in the chain?", metavar="HASH")
    ] = None,
    log_only: Annotated[bool, typer.Option("--log-only", help="Check the chain, not the files.")] = False,
) -> None:
    """Check a run against its log; name the first broken link, or every file that was altered, added or taken away."""
    with explained():
        from decay import provenance

        runs = provenance.runs_in(run)
        if runs != (run,):
            _verify_each(runs, head, log_only)
            return
        found = provenance.verify(run, head=head, files=not log_only)
        out.print(provenance.verification_text(found), markup=False)
        if not found.ok:
            raise typer.Exit(1)


@provenance_app.command()
def trace(
    image: Annotated[Path, typer.Argument(help="A picture of a run that keeps a log.", readable=False)],
    depth: Annotated[int, typer.Option(help="Levels of the tree.", min=1, max=100)] = 12,
    width: Annotated[int, typer.Option(help="Branches at each.", min=1, max=1000)] = 8,
) -> None:
    """Print a picture's ancestry back to real photographs, and how much of it is synthetic."""
    with explained():
        from decay import provenance

        ancestry = provenance.trace(image, max_depth=depth, max_width=width)
        out.print(provenance.ancestry_text(ancestry), markup=False)


@provenance_app.command()
def export(
    run: LoggedRun,
    out_path: Annotated[Path, typer.Option("--out", help="A new .zip, or a new folder.", metavar="FILE.zip|DIR")],
    license_name: Annotated[
        str | None, typer.Option("--license", help="Licence of the pictures, a name or address.", metavar="TEXT")
    ] = None,
) -> None:
    """Write a run, verified, as an RO-Crate 1.1: pictures, log, and what made what in terms that other tools read."""
    with explained():
        from decay.provenance.crate import export as export_crate

        n_pictures = export_crate(run, out_path, license_name=license_name)
        out.print(f"Written: {plain(str(out_path))} ({n_pictures} pictures)", markup=False)


@provenance_app.command()
def sign(
    run: LoggedRun,
    key: Annotated[Path, typer.Option(help="Private key, PEM.", readable=False)],
    cert: Annotated[Path, typer.Option(help="Its certificate and those that vouch for it, PEM.", readable=False)],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the copies go; must not exist yet.", metavar="DIR")],
    algorithm: Annotated[str, typer.Option(help="Of the key: es256, es384, es512, ps256, ed25519.")] = "es256",
) -> None:
    """Write copies of the generated pictures with content credentials (C2PA). Needs the extra c2pa; no network."""
    with explained():
        from decay.provenance.credentials import sign as sign_pictures

        n_signed = sign_pictures(run, key, cert, out_folder, algorithm=algorithm)
        out.print(f"Signed: {n_signed} pictures in {plain(str(out_folder))}", markup=False)


def _verify_each(runs: Sequence[Path], head: str | None, log_only: bool) -> None:
    """Every run of a folder by itself, also after one whose chain is broken; then which of them failed."""
    from decay import provenance
    from decay.provenance.words import counted

    if head is not None:
        names = ", ".join(each.name for each in runs)
        raise DecayError(f"{runs[0].parent}: --head is of one run; found a folder of runs ({names}). Name one of them.")
    failed = []
    for each in runs:
        out.print(f"{plain(str(each))}:", markup=False)
        try:
            found = provenance.verify(each, files=not log_only)
            text, is_ok = provenance.verification_text(found), found.ok
        except DecayError as error:
            text, is_ok = plain(str(error)), False
        out.print(f"{text}\n", markup=False)
        failed += [] if is_ok else [each.name]
    out.print(plain(f"{counted(len(runs), 'run')}; not as logged: {', '.join(failed) or 'none'}."), markup=False)
    if failed:
        raise typer.Exit(1)
