"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Pack = Annotated[str | None, typer.Option(help="An insightface model pack for face embeddings, e.g. buffalo_l.")]
Root = Annotated[Path | None, typer.Option(help="The folder whose models/ holds the pack.")]
FeaturesRoot = Annotated[
    Path | None,
    typer.Option(help="The folder that holds the weights of FID, CLIP and their like.", show_default="~/.cache/decay"),
]
Seed = Annotated[int, typer.Option(help="Seed of everything random here.", min=0)]
Workers = Annotated[
    int | None, typer.Option(help="Processes that read; 0: this one alone.", min=0, show_default="one per core")
]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Measured runs.", readable=False)]
