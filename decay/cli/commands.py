"""`decay measure` and every other command that is no group of commands."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decay.cli.models import models_app
from decay.cli.options import FeaturesRoot, Pack, Root, Runs, Seed, Workers
from decay.cli.provenance import provenance_app
from decay.cli.say import bars, explained, out, plain
from decay.errors import DecayError, ModelError
from decay.settings import MeasureSettings, ReportForm, Rule

if TYPE_CHECKING:
    from pandas import DataFrame

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(models_app, name="models")
app.add_typer(provenance_app, name="provenance")


class FlatOrNot(StrEnum):
    """Which rule is applied."""

    INTERVAL = "interval"
    THRESHOLD = "threshold"


@app.callback()
def streams() -> None:
    """An instrument that shows how an image model forgets."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 has no blocks and no ellipsis


@app.command()
def measure(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="A folder whose subfolders are generations: gen_00/, gen_01/, ...; or one in storage, as "
            "s3://bucket/run. Several: one after another.",
        ),
    ],
    embedder_pack: Pack = None,
    embedder_root: Root = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Pictures to compare with, in place of real/ or generation 0.", metavar="DIR"),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(help="A measured run trained on no generated picture: its drift is taken off.", metavar="RUN"),
    ] = None,
    margin: Annotated[float, typer.Option(help="Loss that counts as erosion.", min=0.01, max=0.99)] = Rule.margin,
    confidence: Annotated[
        float, typer.Option(help="Of the intervals, for all traits and generations at once.", min=0.51, max=0.999)
    ] = Rule.coverage,
    p_first: Annotated[
        float, typer.Option(help="Share of resamples in which a first must come first to be named.", min=0.51, max=1)
    ] = Rule.p_first,
    rule: Annotated[
        FlatOrNot, typer.Option(help="threshold: also say where public trackers' flat rule falls, for comparison.")
    ] = FlatOrNot.INTERVAL,
    drop: Annotated[
        float, typer.Option(help="Of --rule threshold: below 1 - drop of generation 0.", min=0.001, max=0.999)
    ] = 0.1,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Also say when nothing will be left, beyond the last generation.")
    ] = False,
    repeat: Annotated[
        int,
        typer.Option(
            help="Reference pictures read again after a flip, a shift and JPEG; at least 12 tell anything.", min=0
        ),
    ] = MeasureSettings.repeat,
    resamples: Annotated[
        int, typer.Option(help="Draws behind every interval.", min=20, max=100_000)
    ] = MeasureSettings.n_resamples,
    seed: Seed = 0,
    workers: Workers = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write measures/ there, and leave RUN alone; of several runs, to DIR/NAME.",
            metavar="DIR",
            show_default="RUN",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Read on a dask cluster: its scheduler's address, as tcp://host:8786, or local."),
    ] = None,
    features_root: FeaturesRoot = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Measure RUN/held_out, the prompts never trained on, by themselves.")
    ] = False,
) -> None:
    """Measure a lineage: tables, decay charts, and which trait erodes first. Again: only what is new is read."""
    with explained():
        settings = MeasureSettings(
            embedder_pack=embedder_pack,
            embedder_root=embedder_root,
            n_resamples=resamples,
            seed=seed,
            rule=Rule(margin, confidence, p_first),
            reference=reference,
            control=control,
            flat_drop=drop if rule is FlatOrNot.THRESHOLD else None,
            extrapolate=extrapolate,
            repeat=repeat,
            workers=_n_workers(workers),
            cluster=cluster,
            features_root=features_root,
        )
        for run, home in _homes(runs, out_folder).items():
            if len(runs) > 1:
                out.print(f"{plain(str(run))}:", markup=False)
            _measure_one(run, home, settings, held_out)


@app.command()
def verdict(
    runs: Runs,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, the content of verdict.json.")] = False,
) -> None:
    """Say again what a measured run showed. Several runs: replicates of one experiment, taken together."""
    with explained():
        traits_csv, erosion_csv, record = _found(runs)
        if as_json:
            from decay.files import to_json

            out.print(to_json(record), markup=False, end="")
        else:
            from reports.terminal import summary

            out.print(summary(traits_csv, erosion_csv, record), markup=False)


@app.command()
def report(
    runs: Runs,
    form: Annotated[ReportForm, typer.Option("--format", help="pdf is printed by an installed Chromium.")] = (
        ReportForm.HTML
    ),
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write.", metavar="FILE", show_default="RUN/measures/report.FORMAT"),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it when it is written.")] = False,
) -> None:
    """Write the report of a measured run: the page, Markdown or PDF. Several runs: laid over one another."""
    with explained():
        from decay.report import write_report

        with bars("draw") as advance:
            written = write_report(runs, form, out_file, progress=advance)
        out.print(f"Written: {plain(str(written))}", markup=False)
        if open_it and typer.launch(str(written)) != 0:
            raise DecayError(f"{written}: no program was found that opens it. Open it by hand.")


@app.command()
def compare(
    runs: Runs,
    baseline: Annotated[
        str | None,
        typer.Option(help="The run that the others are compared with, by its folder's name.", show_default="the first"),
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Write the tables and the figures there.", metavar="DIR")
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(
            help="A trait to draw against generation, a line for each run; can be repeated.",
            metavar="TRAIT",
            show_default="image_fid and image_clip_score, else what eroded first",
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="With the figures that Bohacek & Farid (2023) give in words.")
    ] = False,
) -> None:
    """Set measured runs side by side: did an intervention delay or stop the erosion, by how much, how sure."""
    with explained():
        from decay.arms import load_arms
        from decay.compare import compare as compare_arms
        from decay.figure import figure_of
        from decay.files import check_folder
        from reports.compare import comparison_text

        if out_folder is None and (figure or published):
            raise DecayError("--figure and --published draw into a folder; none was given. Name it: --out DIR.")
        arms = load_arms(runs)
        if out_folder is not None:
            check_folder(out_folder)
        drawn = figure_of(runs, arms, figure or (), published) if out_folder is not None else None
        comparison = compare_arms(arms, baseline)  # takes longer: what cannot be drawn is refused before
        out.print(comparison_text(comparison.table, comparison.record), markup=False)
        if out_folder is not None:
            from decay.results import publish_comparison

            names = publish_comparison(comparison, out_folder, drawn)
            out.print(f"Written to {plain(str(out_folder))}: {', '.join(names)}", markup=False)


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="Where the lineage goes; must not exist yet.")],
    seed: Seed = 0,
) -> None:
    """Make a lineage on this machine alone (drawn faces, a linear model eating its own output) and measure it."""
    with explained():
        from decay.demo import make_demo

        with bars("make") as advance:
            make_demo(out_folder, seed=seed, progress=advance)
        _measure_and_print(out_folder, MeasureSettings(seed=seed, workers=_n_workers(None)))


@app.command()
def run(
    out_folder: Annotated[
        Path, typer.Option("--out", help="Where the run goes; with --sweep, a folder for each arm.", metavar="DIR")
    ],
    protocol: Annotated[
        str | None, typer.Argument(help="A TOML file, or a preset: bohacek-farid, forum, demo.", show_default=False)
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Run this arm of the protocol.")] = None,
    all_arms: Annotated[bool, typer.Option("--sweep", help="Run every arm, each in a folder of its name.")] = False,
    real: Annotated[
        Path | None, typer.Option(help="The real pictures, in place of the protocol's.", metavar="DIR")
    ] = None,
    heal: Annotated[
        str | None, typer.Option(help="Go on from a generation of a run, on real pictures only.", metavar="RUN@5")
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Retrainings of --heal.", min=1, show_default="5")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; make nothing.")] = False,
) -> None:
    """Retrain a generator on its own pictures, as a protocol says. The same command goes on after an interruption."""
    with explained():
        from decay.loop.plan import plan_text, sweep_text
        from decay.loop.request import Request
        from decay.loop.run import plan
        from decay.loop.run import run as run_protocol

        if iterations is not None and heal is None:
            raise DecayError("--iterations is for --heal; a protocol has its own number. Change it there.")
        out.quiet = os.environ.get("RANK", "0") != "0"  # of several processes the first speaks
        chosen = Request(out_folder, protocol, arm, all_arms, real, heal, iterations or 5).protocols()
        # Of several processes the others may find what the first has begun meanwhile.
        plans = [] if out.quiet and not dry_run else [plan(each, folder, chosen) for folder, each in chosen.items()]
        if dry_run:
            out.print(sweep_text(plans) if all_arms else plan_text(plans[0]), markup=False, end="")
            return
        if missing := next((each.missing for each in plans if each.missing), ""):
            raise ModelError(missing)
        for folder, each in chosen.items():
            with bars(f"{folder.name}:" if all_arms else "make") as advance:
                run_protocol(each, folder, advance)
            name = plain(str(folder))
            out.print(f"Done: {name}. Measure it: decay measure {name}", markup=False)


@app.command()
def phantom(
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="Where the lineage goes; must not exist yet.")],
    plan: Annotated[
        str, typer.Option(help="essay, hands_first, healthy, null, or a TOML file (see docs/files.md).")
    ] = "essay",
    generations: Annotated[int, typer.Option(min=1, max=100)] = 7,
    per_generation: Annotated[int, typer.Option(min=1, max=100_000)] = 40,
    size: Annotated[int, typer.Option(help="Side of the square images in pixels.", min=64, max=4096)] = 512,
    seed: Seed = 0,
) -> None:
    """Draw a lineage of faces and hands whose true decay is planted and written beside the images."""
    with explained():
        from decay.phantom import load_plan, make_lineage

        with bars("draw") as advance:
            make_lineage(
                out_folder,
                load_plan(plan),
                seed=seed,
                n_per_generation=per_generation,
                n_generations=generations,
                size_px=size,
                progress=advance,
            )
        folder = plain(str(out_folder))
        out.print(f"Drawn: {folder}. Measure it: decay measure {folder}", markup=False)


@app.command("seed-set")
def seed_set(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Real pictures, at any depth.", readable=False)],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the set goes; must not exist yet.", metavar="DIR")],
    per_group: Annotated[int, typer.Option(help="Pictures wanted in each group.", min=1)] = 30,
    groups: Annotated[
        Path | None, typer.Option(help="Table with file_name and columns, CSV or JSON lines.", metavar="FILE")
    ] = None,
    columns_from_name: Annotated[
        str | None, typer.Option(help="Columns in the files' names, as '{age}_{gender}_{race}_*'.", metavar="TEMPLATE")
    ] = None,
    words: Annotated[
        list[str] | None, typer.Option(help="Words for a column's values, as gender:0=man,1=woman; may be repeated.")
    ] = None,
    columns: Annotated[str, typer.Option(help="A group is a combination of these.")] = "gender,race,age",
    prompt: Annotated[str, typer.Option(help="Template over the columns.")] = "a photo of a {age} {race} {gender}",
    size: Annotated[
        int | None,
        typer.Option(help="Crop to a square and resize to this side; else files are copied.", min=16, max=8192),
    ] = None,
    guess: Annotated[
        str | None, typer.Option(help="age,sex: guessed by the pack's model where nothing says them; marked.")
    ] = None,
    embedder_pack: Pack = None,
    embedder_root: Root = None,
    seed: Seed = 0,
) -> None:
    """Pick a balanced set of real pictures, as many of each group, and say which groups are short."""
    with explained():
        from decay.seed_set import SeedSetSettings, make_seed_set, parse_words, seed_set_text

        settings = SeedSetSettings(
            folder=folder,
            per_group=per_group,
            groups=groups,
            name_template=columns_from_name,
            words=dict(parse_words(text) for text in words or ()),
            columns=tuple(column.strip() for column in columns.split(",") if column.strip()),
            prompt=prompt,
            seed=seed,
            size_px=size,
            guess=tuple(what.strip() for what in guess.split(",")) if guess else (),
            pack=embedder_pack,
            root=embedder_root,
        )
        with bars("set:", ("age and sex", "pictures")) as advance:
            made = make_seed_set(settings, out_folder, progress=advance)
        for line in seed_set_text(made).splitlines():
            out.print(plain(line), markup=False)
        out.print(f"Written: {plain(str(out_folder))}", markup=False)


@app.command()
def traits(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the document docs/traits.md.")] = False,
) -> None:
    """List every trait that is measured: its unit, which way is healthy, its floor and its source."""
    with explained():
        from decay.catalogue import traits_markdown, traits_text

        out.print(traits_markdown() if markdown else traits_text(), markup=False, end="")


@app.command()
def calibrate(
    out_file: Annotated[Path, typer.Option("--out", help="The report to write.")] = Path("docs/accuracy.md"),
    photographs: Annotated[
        Path | None, typer.Option(help="Folder of labelled photographs (the validation data); left out if absent.")
    ] = None,
    scale: Annotated[
        float, typer.Option(help="Share of the full study; below 1 is quicker and rougher.", min=0.01)
    ] = 1,
    hands_sheet: Annotated[Path | None, typer.Option(help="Where a sheet of 24 drawn hands goes (PNG).")] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="Folder for the generated photographs with what is seen drawn over them.")
    ] = None,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Try the statistics on simulated lineages instead; own report.")
    ] = False,
    planted: Annotated[
        bool, typer.Option("--planted", help="Try the verdict on drawn lineages instead; a section of that report.")
    ] = False,
) -> None:
    """Measure the instrument itself against drawn truth and labelled photographs."""
    with explained():
        if statistics:
            from decay.calibrate.statistics import write_statistics

            with bars("tell", ("simulated lineages",)) as advance:
                written = write_statistics(out_file, scale, progress=advance)
            out.print(f"Written: {plain(str(written))}", markup=False)
            return
        if planted:
            from decay.calibrate.planted import PLANTED, write_planted

            with bars("tell", [each.plan.name for each in PLANTED]) as advance:
                written = write_planted(out_file, scale, progress=advance)
            out.print(f"Written: {plain(str(written))}", markup=False)
            return
        from decay.calibrate import calibrate as run_calibration

        with bars("study", ("drawn faces and hands", "photographs")) as advance:
            run_calibration(out_file, photographs, scale, progress=advance, hands_sheet=hands_sheet, overlays=overlays)
        out.print(f"Written: {plain(str(out_file))}", markup=False)


def _found(runs: Sequence[Path]) -> tuple[DataFrame, DataFrame, Mapping[str, Any]]:
    """The traits, the erosion and the verdict of one measured run, or of several taken together."""
    if len(runs) == 1:
        from decay.verdict import read_finding

        found = read_finding(runs[0])
        return found.traits, found.erosion, found.verdict
    from decay.arms import load_arms
    from decay.replicates import judge_replicates

    results = judge_replicates(load_arms(runs))
    return results.traits, results.erosion, results.verdict


def _homes(runs: Sequence[str], out_folder: Path | None) -> dict[Path, Path | None]:
    """Each run with the folder that its results go to, None for its own."""
    from decay.storage import place

    places = list(dict.fromkeys(place(run) for run in runs))
    if len(places) == 1 or out_folder is None:
        return dict.fromkeys(places, out_folder)
    names = [run.name for run in places]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise DecayError(
            f"--out: expected runs of different names, for each goes to a folder of its own there; two are {twice!r}. "
            "Measure them one by one."
        )
    return {run: out_folder / run.name for run in places}


def _measure_one(run: Path, home: Path | None, settings: MeasureSettings, held_out: bool) -> None:
    """A run, or its held-out prompts in place of it."""
    if not held_out:
        _measure_and_print(run, settings, home)
        return
    from decay.measure import held_out_of

    pictures = held_out_of(run)
    _measure_and_print(pictures, settings, home / pictures.name if home else None)


def _measure_and_print(run: Path, settings: MeasureSettings, out_folder: Path | None = None) -> None:
    from decay.measure import measure as measure_lineage
    from reports.terminal import summary

    with bars("read") as advance:
        measured = measure_lineage(run, settings, progress=advance, out=out_folder)
    found = measured.finding
    out.print(summary(found.traits, found.erosion, found.verdict), markup=False)
    out.print(f"\nImages: {measured.n_read} read, {measured.n_kept} known already, {measured.n_bad} not readable.")
    for note in found.run["notes"]:
        out.print(f"Note: {plain(note)}", markup=False)
    folder = plain(str(measured.folder))
    out.print(f"Charts: {folder}/charts    Page: {folder}/report.html", markup=False)


def _n_workers(wanted: int | None) -> int:
    """As many as were asked for, or one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if wanted is None else wanted
