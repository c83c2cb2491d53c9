"""Commands about what a model says: ask, rate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from snellen.cli_options import Images, Levels, Loading, Model, Progress, References, Seed, resumable, shared, whole_numbers

Taxonomy = Annotated[str, typer.Option(help="name or YAML file")]
Out = Annotated[
    Path | None,
    typer.Option(help="folder of answers, tables and figures, where a killed run goes on; or a .csv of the answers alone"),
]
BatchSize = Annotated[int, typer.Option(help="images per forward pass; halved where memory runs out")]
Workers = Annotated[int | None, typer.Option(help="how many read and distort images ahead of the model; 0 for none")]
Rank = Annotated[int | None, typer.Option(help="which of several processes this is, from 0; torchrun says so itself")]
WorldSize = Annotated[int | None, typer.Option(help="how many processes share the folder")]
Job = Annotated[str | None, typer.Option(help="a name common to processes started together; from torchrun or SLURM")]
Strict = Annotated[bool, typer.Option("--strict", help="stop at the first stimulus that would be left out")]
Repeats = Annotated[int, typer.Option(help="draw so many free answers per image, and say how far they agree")]
Temperature = Annotated[float, typer.Option(help="at which repeated answers are drawn")]
Tokens = Annotated[int | None, typer.Option(help="most tokens of a free answer")]


def ask(
    model: Model = "embedded",
    images: Images = "embedded",
    references: References = 40,
    levels: Levels = "1,3,5",
    taxonomy: Taxonomy = "paper8",
    protocol: Annotated[
        str, typer.Option(help="forced-choice, multiple-choice, open, short-answer, json, yes-no, or mcq (with --questions)")
    ] = "forced-choice",
    prompt: Annotated[
        str | None,
        typer.Option(help="another question; when asked again (--repeats, --paraphrases, --pixels) it is the usual one"),
    ] = None,
    sums: Annotated[bool, typer.Option("--sum", help="forced choice by summed log-likelihood rather than per token")] = False,
    calibrated: Annotated[bool, typer.Option("--calibrated", help="forced choice relative to a mid-grey image")] = False,
    orders: Annotated[int, typer.Option(help="of the options in multiple choice")] = 4,
    repeats: Repeats = 1,
    temperature: Temperature = 1.0,
    paraphrases: Annotated[
        str | None, typer.Option(help="ask in other words, too: ours, distortion (DepictQA-Wild's 24) or a YAML file")
    ] = None,
    pixels: Annotated[bool, typer.Option("--pixels", help="ask again after changes that no one sees")] = False,
    controls: Annotated[bool, typer.Option("--controls", help="ask again with the image hidden in seven ways")] = False,
    questions: Annotated[Path | None, typer.Option(help="multiple-choice questions of your own, as Q-Bench's (mcq)")] = None,
    max_new_tokens: Tokens = None,
    out: Out = None,
    batch_size: BatchSize = 16,
    workers: Workers = None,
    rank: Rank = None,
    world_size: WorldSize = None,
    job: Job = None,
    seed: Seed = 0,
    strict: Strict = False,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Ask which distortion each image has.

    Examples:  snellen ask embedded-template --protocol open --out runs/answers.csv
               snellen ask ./my-checkpoint --images kadid10k:KADID --protocol json --taxonomy qinsight5 --out runs/json
               snellen ask ./my-checkpoint --protocol open --repeats 8 --temperature 1 --paraphrases distortion --controls --out runs/twice
               snellen ask ./my-checkpoint --protocol mcq --questions llvisionqa_dev.json --images LLVisionQA --out runs/qbench
    """
    from analysis.protocols import protocol as one_way
    from snellen.asking import Asking, ask_questions, questions_of
    from snellen.models import loaded

    with resumable():
        mine, how = shared(rank, world_size, job, load)
        how_asked: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "rank": mine.rank, "world_size": mine.world_size,
                                  "job": mine.job, "strict": strict, "progress": progress}  # fmt: skip
        if protocol == "mcq":
            asked, most = questions_of(questions, images), {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
            lines = ask_questions(loaded(model, how), asked, out, seed=seed, **most, **how_asked)
        else:
            form: dict[str, Any] = {"prompt": prompt, "length_normalised": not sums, "calibrated": calibrated, "orders": orders,
                                    "max_new_tokens": max_new_tokens}  # fmt: skip
            one_way(protocol, taxonomy, **form)  # refuses what cannot be asked before a model is loaded
            shown = _set(images, references, levels, seed, taxonomy)
            asking = Asking(loaded(model, how), shown, taxonomy, out, seed, how_asked)
            lines = asking(protocol, form, repeats, temperature, paraphrases, pixels, controls)
    for line in lines:
        typer.echo(line)


def rate(
    model: Model = "embedded",
    images: Images = "embedded",
    references: References = 40,
    levels: Levels = "1,3,5",
    method: Annotated[
        str,
        typer.Option(
            help="one or several, comma-separated: levels, q-bench, q-boost, q-align, deqa (words); number, number-100, "
            "visualquality-r1, visualquality-r1-non-thinking"
        ),
    ] = "levels,q-bench,q-align",
    truth: Annotated[
        str | None, typer.Option(help="compare with mos, ssim or psnr; the first that is known by default")
    ] = None,
    repeats: Repeats = 1,
    temperature: Temperature = 1.0,
    paraphrases: Annotated[bool, typer.Option("--paraphrases", help="ask in DeQA-Score's ten wordings, too")] = False,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="ask which of two versions is better, too (two images per question)")
    ] = False,
    max_new_tokens: Tokens = None,
    out: Out = None,
    batch_size: BatchSize = 16,
    workers: Workers = None,
    rank: Rank = None,
    world_size: WorldSize = None,
    job: Job = None,
    seed: Seed = 0,
    strict: Strict = False,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Ask how good each image is, and how well the scores follow opinion or measured severity.

    Examples:  snellen rate embedded --out runs/quality
               snellen rate ./my-checkpoint --images koniq10k:KONIQ --method q-align,deqa --paraphrases --out runs/koniq
               snellen rate ./my-checkpoint --images kadid10k:KADID --method number --repeats 8 --pairs --out runs/kadid
    """
    from analysis.quality_methods import method as by_name
    from snellen.asking import rate_images
    from snellen.models import loaded

    with resumable():
        mine, how = shared(rank, world_size, job, load)
        how_asked: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "rank": mine.rank, "world_size": mine.world_size,
                                  "job": mine.job, "strict": strict, "progress": progress}  # fmt: skip
        methods = [by_name(name.strip(), max_new_tokens=max_new_tokens) for name in method.split(",")]
        shown = _set(images, references, levels, seed, "paper8")
        lines = rate_images(
            loaded(model, how), shown, methods, out, truth=truth, repeats=repeats, temperature=temperature,
            paraphrases=paraphrases, pairs=pairs, max_new_tokens=max_new_tokens, seed=seed, **how_asked,
        )  # fmt: skip
    for line in lines:
        typer.echo(line)


def compare(
    first: Annotated[Path, typer.Argument(help="folder or .csv that `snellen ask --out` wrote")],
    second: Annotated[Path, typer.Argument(help="the same of another model, or of the same one tuned")],
    seed: Seed = 0,
) -> dict[str, Any]:
    """Compare two models' answers to the same images: paired bootstrap over references, and McNemar's test.

    Example:  snellen compare runs/base runs/tuned
    """
    from snellen.compared import compare_files, compared_lines

    found = compare_files(first, second, seed=seed)
    for line in compared_lines(found):
        typer.echo(line)
    return found


def _set(images: str, references: int, levels: str, seed: int, taxonomy: str) -> Any:
    from snellen.sources import chosen_set

    return chosen_set(images, references, whole_numbers(levels), seed, measure=True, taxonomy=taxonomy)


def register(app: typer.Typer) -> None:
    """Make these commands part of the command line."""
    for command in (ask, rate, compare):
        app.command()(command)
