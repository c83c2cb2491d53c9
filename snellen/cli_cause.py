"""The commands about causes: exchange, cut, read, attribute and steer what a model computes, and see what becomes of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen import cli_cause_shared as common
from snellen.cli_cause_shared import Batch, Boot, Out, Region, RegionAny, Sites, Taxonomy
from snellen.cli_options import Images, Levels, Loading, Model, ModelNamed, Progress, References, Seed, resumable

if TYPE_CHECKING:
    from stimuli.tables import Table


def patch(
    model: Model = "embedded",
    images: Images = "embedded",
    references: References = 10,
    levels: Levels = "5",
    region: Region = None,
    pairs: Annotated[
        str, typer.Option(help="reference (clean and distorted), levels (every two of a type) or neighbours")
    ] = "reference",
    sites: Sites = "all",
    sets: Annotated[str, typer.Option(help="token sets: all, image, region, outside, question, last")] = "image,question,last",
    parts: Annotated[str, typer.Option(help="some of block,attention,mlp")] = "block",
    directions: Annotated[str, typer.Option(help="forward, reverse or both, comma-separated")] = "forward,reverse",
    donor: Annotated[
        str | None, typer.Option(help="take the features from another model of this architecture, such as a tuned one")
    ] = None,
    controls: Annotated[bool, typer.Option(help="exchange with strangers too; doubles the time")] = True,
    taxonomy: Taxonomy = "paper8",
    batch_size: Batch = 16,
    n_boot: Boot = 1000,
    out: Out = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Exchange features between a clean and a distorted image of one reference: where does the answer follow?

    Examples:  snellen patch ./tuned --out runs/patch
               snellen patch ./tuned --region any --sets image,region,last --parts block,attention,mlp --out runs/patch
               snellen patch embedded --donor runs/tuned --sites projector,llm.0 --out runs/donor
    """
    from analysis.figures.patching import patching_figures
    from analysis.patching import patch as run
    from snellen.cli_distance import after_model
    from stimuli.pairs import pairs as pairs_of

    with resumable():
        mllm, shown = common.begun(model, load, images, references, levels, seed, region)
        kind: Any = pairs
        other = None if donor is None else after_model(mllm, donor, load or ())
        found = run(mllm, pairs_of(shown, kind), sites=common.sites(sites), sets=common.names(sets), parts=common.names(parts),
                    directions=common.names(directions), donor=other, controls=controls, taxonomy=taxonomy, batch_size=batch_size,
                    n_boot=n_boot, seed=seed, progress=progress)  # fmt: skip
    shown_columns = ("site", "part", "set", "direction", "low", "high", "patched", "recovery", "recovery_low", "recovery_high",
                     "recovery_control", "beyond_p_holm")  # fmt: skip
    common.told(found.table, shown_columns, found.notes)
    common.written(out, "patching", {"patching": found.table, "patching_pairs": found.pairs}, mllm, shown, found.notes,
             patching_figures({"patching": found.table}))  # fmt: skip


def knockout(
    model: Model = "embedded",
    images: Images = "embedded",
    references: References = 20,
    levels: Levels = "5",
    region: Region = None,
    edges: Annotated[
        str, typer.Option(help="source->target of image, region, frame, question, last, text; comma-separated")
    ] = "image->last,image->question,question->last",
    window: Annotated[int | None, typer.Option(help="layers per window; about a fifth of them by default")] = None,
    controls: Annotated[bool, typer.Option(help="cut as many pairs elsewhere too; doubles the time")] = True,
    shares: Annotated[
        bool, typer.Option("--shares", help="also how much each head looks at the image (and the region)")
    ] = False,
    taxonomy: Taxonomy = "paper8",
    batch_size: Batch = 16,
    n_boot: Boot = 1000,
    out: Out = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Cut attention between parts of the prompt, in windows of layers: where does the answer get its information?

    Examples:  snellen knockout ./tuned --out runs/knockout
               snellen knockout ./tuned --edges 'image->last,image->text' --window 5 --shares --region any --out runs/knockout
    """
    from analysis.attention_shares import attention_shares
    from analysis.figures.cause import knockout_figures
    from analysis.knockout import knockout as run

    with resumable():
        mllm, shown = common.begun(model, load, images, references, levels, seed, region)
        options: dict[str, Any] = {"taxonomy": taxonomy, "batch_size": batch_size, "n_boot": n_boot, "seed": seed,
                                   "progress": progress}  # fmt: skip
        found = run(mllm, shown, edges=common.names(edges), window=window, control=controls, **options)
        looked = attention_shares(mllm, shown, **options).table if shares else []
    common.told(found.table, ("edge", "first", "last", "p_before", "p_after", "change", "low", "high", "p_holm", "control_change",
                        "accuracy_before", "accuracy_after"))  # fmt: skip
    tables = {"knockout": found.table, **({"attention": looked} if looked else {})}
    common.written(out, "knockout", tables, mllm, shown, (), knockout_figures(tables))


def lens(
    model: Model = "embedded",
    images: Images = "embedded",
    references: References = 20,
    levels: Levels = "3,5",
    region: Region = None,
    sites: Annotated[str | None, typer.Option(help="comma-separated; by default all of the language model's space")] = None,
    tuned: Annotated[
        Path | None, typer.Option(help="folder of a tuned lens; trained on other references and written there if it is not yet")
    ] = None,
    train_references: Annotated[int, typer.Option(help="of a tuned lens that is trained")] = 40,
    steps: Annotated[int, typer.Option(help="of its training")] = 300,
    rank: Annotated[int | None, typer.Option(help="of its translators; full by default")] = None,
    maps: Annotated[
        str | None, typer.Option(help="sites whose image tokens are laid out as a map of who says the word; with --region")
    ] = None,
    taxonomy: Taxonomy = "paper8",
    batch_size: Batch = 16,
    n_boot: Boot = 1000,
    out: Out = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Read every site with the model's own output head: how high does the right word rank on its way?

    Examples:  snellen lens ./tuned --out runs/lens
               snellen lens ./tuned --tuned runs/translators --out runs/lens
               snellen lens ./tuned --region any --maps llm.0,llm.3 --out runs/lens
    """
    from analysis.figures.cause import lens_figures
    from analysis.lens import compare_lenses
    from analysis.lens import lens as run
    from analysis.patch_map import patch_map

    with resumable():
        mllm, shown = common.begun(model, load, images, references, levels, seed, region)
        options: dict[str, Any] = {"taxonomy": taxonomy, "batch_size": batch_size, "n_boot": n_boot, "seed": seed,
                                   "progress": progress}  # fmt: skip
        wanted = None if sites is None else common.names(sites)
        found = run(mllm, shown, sites=wanted, **options)
        tables: dict[str, Table] = {"lens": found.table, "lens_words": found.words}
        notes = list(found.notes)
        if tuned is not None:
            how = {"steps": steps, "rank": rank, "sites": wanted, **options}
            translated = run(
                mllm,
                shown,
                sites=wanted,
                tuned=common.translators(mllm, tuned, images, train_references, levels, how),
                **options,
            )
            tables |= {"tuned_lens": translated.table, "lens_change": compare_lenses(found, translated)}
        if maps is not None:
            drawn = patch_map(mllm, shown, common.names(maps), **options)
            tables["patch_map"] = drawn.table
            notes += drawn.notes
    rows = [row for row in tables.get("tuned_lens", []) + found.table if row["class"] == "all"]
    common.told(rows, ("lens", "site", "position", "rank", "class_rank", "class_rank_low", "class_rank_high", "class_rank_control", "accuracy",
                 "chance", "p_holm"), notes)  # fmt: skip
    common.written(out, "lens", tables, mllm, shown, notes, lens_figures(tables))


def attribute(
    model: Model = "embedded",
    images: Images = "embedded",
    references: References = 8,
    levels: Levels = "5",
    region: RegionAny = "any",
    methods: Annotated[str | None, typer.Option(help="comma-separated; by default all that the model can do")] = None,
    grid: Annotated[int, typer.Option(help="cells per side of the maps")] = 8,
    curves: Annotated[bool, typer.Option(help="deletion and insertion")] = True,
    stages: Annotated[
        bool, typer.Option("--stages", help="also how much of the answer each site and token set carries")
    ] = False,
    sanity: Annotated[bool, typer.Option("--sanity", help="also whether maps change as weights are randomised")] = False,
    taxonomy: Taxonomy = "paper8",
    batch_size: Batch = 16,
    n_boot: Boot = 1000,
    out: Out = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Ask several methods which part of the image the answer comes from, and score them against the distorted part.

    Examples:  snellen attribute ./tuned --out runs/attribution
               snellen attribute ./tuned --methods gradient,occlusion,relevancy,random --stages --sanity --out runs/attribution
    """
    from analysis.attribution.run import attribute as run
    from analysis.attribution.sanity import sanity as check
    from analysis.attribution.stages import conductance

    with resumable():
        mllm, shown = common.begun(model, load, images, references, levels, seed, region)
        options: dict[str, Any] = {"grid": grid, "taxonomy": taxonomy, "batch_size": batch_size, "n_boot": n_boot, "seed": seed,
                                   "progress": progress}  # fmt: skip
        named = None if methods is None else common.names(methods)
        found = run(mllm, shown, methods=named, curves=curves, **options)
        tables: dict[str, Table] = {"attribution": found.table, "attribution_each": found.each}
        if stages:
            tables["conductance"] = conductance(mllm, shown, **options).table
        if sanity:
            tables["sanity"] = check(mllm, shown, methods=named, **options).table
    notes = [f"{name} was left out: {why}" for name, why in found.left_out.items()]
    common.told(found.table, ("method", "auc", "auc_low", "auc_high", "auc_control", "beyond", "p_holm", "pointing", "iou", "deletion_gain",
                        "seconds"), notes)  # fmt: skip
    common.written(out, "attribution", tables, mllm, shown, notes,
                   common.attributed(found, tables, shown, out))  # fmt: skip


def steer(
    site: Annotated[str, typer.Argument(help="where the direction is added, such as projector or llm.2")],
    model: ModelNamed = "embedded",
    images: Images = "embedded",
    references: References = 20,
    fit_references: Annotated[int, typer.Option(help="other references, that the directions are found on")] = 40,
    levels: Levels = "5",
    doses: Annotated[
        str, typer.Option(help="in units of the natural difference between the classes, comma-separated")
    ] = "-4,-2,-1,0,1,2,4",
    tokens: Annotated[str, typer.Option(help="image, all or last")] = "image",
    content: Annotated[str | None, typer.Option(help="doses at which descriptions are asked for too, as a control")] = None,
    taxonomy: Taxonomy = "paper8",
    batch_size: Batch = 32,
    n_boot: Boot = 1000,
    out: Out = None,
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Add the direction of a class to a site and watch the answer: dose and response, beside random directions.

    Examples:  snellen steer projector --model ./tuned --out runs/steer
               snellen steer llm.2 --model ./tuned --doses -2,0,2 --content 0,2 --out runs/steer
    """
    from analysis.figures.cause import steering_figures
    from analysis.steering import dose_response

    with resumable():
        mllm, shown = common.begun(model, load, images, references, levels, seed)
        fitting = common.other(images, fit_references, levels, seed)
        found = dose_response(mllm, shown, fitting, site=site, doses=common.numbers("doses", doses),
                              content=None if content is None else common.numbers("content", content), tokens=tokens, taxonomy=taxonomy,
                              batch_size=batch_size, n_boot=n_boot, seed=seed, progress=progress)  # fmt: skip
    rows = [row for row in found.slopes if row["class"] == "all"]
    common.told(rows, ("kind", "like", "slope", "low", "high", "p_holm", "beyond_random", "monotone"), found.notes)
    common.written(out, "steering", {"steering": found.table, "slopes": found.slopes}, mllm, shown, found.notes,
             steering_figures(found.table))  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (patch, knockout, lens, attribute, steer):
        app.command()(command)
