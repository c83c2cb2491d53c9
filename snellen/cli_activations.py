"""Commands about stored activations: extract, verify, compact, merge, export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli_options import Images, Levels, Loading, Model, Progress, References, Seed, resumable, shared, whole_numbers
from snellen.cli_output import FOUND, Failing

if TYPE_CHECKING:
    from hooks.store import Store

COMMAND = "command.json"
"""In a folder of activations: the options that ``extract`` was given."""
Folder = Annotated[Path, typer.Argument(help="folder of activations")]


def extract(
    model: Model = "embedded",
    out: Annotated[Path, typer.Option(help="folder of activations; a killed run goes on there")] = Path("runs/activations"),
    images: Images = "embedded",
    references: References = 40,
    levels: Levels = "1,3,5",
    sites: Annotated[str, typer.Option(help="all, or names, comma-separated")] = "all",
    pool: Annotated[
        str, typer.Option(help="mean, max, last, cls, grid:G, none (all tokens), random:K or stride:K tokens")
    ] = "mean",
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="the question, or NAME=QUESTION several times; the distortion question by default"),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="stimuli per forward pass; halved where memory runs out")] = 16,
    dtype: Annotated[str | None, typer.Option(help="to store in: float32, bfloat16 or float16")] = None,
    workers: Annotated[int | None, typer.Option(help="how many read and distort images ahead of the model; 0 for none")] = None,
    rank: Annotated[
        int | None, typer.Option(help="which of several processes this is, from 0; torchrun says so itself")
    ] = None,
    world_size: Annotated[int | None, typer.Option(help="how many processes share the folder")] = None,
    job: Annotated[str | None, typer.Option(help="a name common to processes started together; from torchrun or SLURM")] = None,
    seed: Seed = 0,
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first stimulus that would be left out")] = False,
    load: Loading = None,
    progress: Progress = True,
) -> dict[str, Any]:
    """Store the activations of a set of stimuli.

    Examples:  snellen extract embedded --out runs/a --sites vision.3,projector
               snellen extract ./my-checkpoint --load dtype=bfloat16 --load adapter=./my-lora --pool grid:4
               torchrun --standalone --nproc-per-node 8 -m snellen extract ./my-checkpoint --images photos.csv --out runs/b
               snellen extract ./my-checkpoint --rank $SLURM_ARRAY_TASK_ID --world-size 64 --out /shared/c
    """
    given = {key: value for key, value in locals().items() if key not in ("rank", "world_size", "job", "progress")}
    store = extracted(given, rank, world_size, job, progress)
    typer.echo(
        f"{len(store.ids)} stimuli, {len(store.sites)} sites, {store.bytes / 1e6:.1f} MB in {out}; {len(store.skipped)} left out"
    )
    return {**_about(store), "left_out": store.skipped, "run": store.runs[-1] if store.runs else None}


def extracted(
    given: Mapping[str, Any],
    rank: int | None = None,
    world_size: int | None = None,
    job: str | None = None,
    progress: bool = True,
) -> Store:
    """What ``extract`` does with its options, which are kept in the folder, so that ``repair`` can do it again."""
    from hooks.extract import extract as run
    from snellen.models import loaded
    from snellen.provenance import provenance
    from snellen.sources import chosen_set
    from snellen.steps import named_prompts
    from stimuli.fingerprint import fingerprint
    from stimuli.tables import write_json

    mine, how = shared(rank, world_size, job, given["load"])
    wanted: Any = given["sites"] if given["sites"] == "all" else given["sites"].split(",")
    out = Path(given["out"])
    names = ("batch_size", "dtype", "seed", "workers", "strict")
    with resumable():
        shown = chosen_set(given["images"], given["references"], whole_numbers(given["levels"]), given["seed"])
        mllm = loaded(given["model"], how)
        store = run(
            mllm, shown, wanted, given["pool"], out, prompt=named_prompts(given["prompt"] or ()), rank=mine.rank,
            world_size=mine.world_size, job=mine.job, progress=progress, **{name: given[name] for name in names},
        )  # fmt: skip
    if mine.rank == 0:
        made = provenance(mllm.provenance, {"stimuli": fingerprint(shown)}, seed=given["seed"])
        write_json({"command": "extract", "options": {**given, "out": None}, "provenance": made}, out / COMMAND)
    return store


def verify(
    folder: Annotated[Path, typer.Argument(help="folder of activations, or of an exam")],
    progress: Progress = True,
) -> dict[str, Any]:
    """Check stored activations against their checksums; `snellen repair` mends what is damaged.

    Example:  snellen verify runs/demo
    """
    from snellen.steps import verify as check

    problems, checked = check(folder, progress=progress)
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(f"{checked} folders of activations checked, {len(problems)} problems")
    result = {"checked": checked, "problems": problems}
    if problems:
        raise Failing(FOUND, result)
    return result


def compact(
    folder: Folder,
    force: Annotated[bool, typer.Option("--force", help="also if a run on another machine never finished")] = False,
    progress: Progress = True,
) -> dict[str, Any]:
    """Put the files of a folder of activations together, as few as hold them, so that each site reads as one memory map.

    Example:  snellen compact runs/a
    """
    from hooks.compact import compact as run

    store = run(folder, force=force, progress=progress)
    files = len(list(folder.rglob("*.safetensors")))
    typer.echo(f"{len(store.ids)} stimuli, {store.bytes / 1e6:.1f} MB in {files} files")
    return {**_about(store), "files": files}


def merge(
    folders: Annotated[list[Path], typer.Argument(help="folders of activations of one recipe")],
    out: Annotated[Path, typer.Option(help="folder to join them in; the sources stay as they are")],
) -> dict[str, Any]:
    """Join folders of activations of the same model, sites and pooling.

    Example:  snellen merge disk1/a disk2/a --out runs/a
    """
    from hooks.compact import merge as run

    store = run(list(folders), out)
    typer.echo(f"{len(store.ids)} stimuli, {store.bytes / 1e6:.1f} MB in {out}")
    return {**_about(store), "sources": len(folders)}


def export(
    store: Annotated[Path, typer.Argument(help="folder of activations, or of an exam")],
    to: Annotated[Path, typer.Option(help="folder to write; a new one")],
    format: Annotated[str, typer.Option(help="npy (a file per site) or safetensors (one file, a tensor per site)")] = "npy",
    sites: Annotated[str | None, typer.Option(help="names, comma-separated; all by default")] = None,
) -> dict[str, Any]:
    """Write stored activations as plain arrays that any tool reads, with stimuli.csv and sites.json beside them.

    Examples:  snellen export runs/a --to arrays
               snellen export runs/demo --to arrays --format safetensors --sites vision.3,projector
    """
    from hooks.export import export as run
    from snellen.cli_probe import open_store

    wanted: Any = format
    done = run(open_store(store), to, wanted, sites=None if sites is None else sites.split(","))
    typer.echo(f"{done.stimuli} stimuli, {len(done.sites)} sites, {done.bytes / 1e6:.1f} MB in {done.folder}")
    return {"folder": str(done.folder), "sites": list(done.sites), "stimuli": done.stimuli, "bytes": done.bytes}


def _about(store: Store) -> dict[str, Any]:
    """What machines are told of a store."""
    return {"folder": str(store.folder), "stimuli": len(store.ids), "sites": list(store.sites), "bytes": store.bytes}


def register(app: typer.Typer) -> None:
    """Make these commands part of the command line."""
    for command in (extract, verify, compact, merge, export):
        app.command()(command)
