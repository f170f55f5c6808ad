"""`decay models`: what each detector and network needs, where it is; and fetching it, on request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decay.cli.options import FeaturesRoot, Pack, Root
from decay.cli.say import explained, out, plain

models_app = typer.Typer(help="The model files that the detectors use.", invoke_without_command=True)


@models_app.callback()
def models(
    context: typer.Context, embedder_pack: Pack = None, embedder_root: Root = None, features_root: FeaturesRoot = None
) -> None:
    """List what each detector needs, where it was found, its sha256 and licence."""
    if context.invoked_subcommand:
        return
    with explained():
        from decay.models import list_models, list_networks, models_text

        found = [*list_models(embedder_pack, embedder_root), *list_networks(features_root)]
        out.print(models_text(found), markup=False)


@models_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="inception, clip, dinov2, or a model pack, e.g. buffalo_l.")],
    root: Annotated[Path | None, typer.Option(help="Where it goes.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Its checksum, where none is known.")] = None,
) -> None:
    """Download weights or a model pack on request and check its sha256. Nothing else here downloads anything."""
    with explained():
        from decay.models import fetch as fetch_model
        from decay.models import measure_options

        out.print(f"Fetched and checked: {plain(str(fetch_model(name, root, sha256)))}", markup=False)
        out.print(plain(f"Use it: decay measure RUN{measure_options(name, root)}"), markup=False)
