"""The command that teaches components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from snellen.cli_options import Images, Levels, Loading, ModelNamed, Progress, Seed, first, resumable, shared, whole_numbers

ALONE = {"method": "--method", "rank": "--rank", "only": "--only", "lr": "--lr", "patience": "--patience"}
"""Options of a component that is tuned once."""
SWEEP = ("budgets", "rates", "further")
"""Options that make a comparison, also of one component."""


def tune(
    context: typer.Context,
    components: Annotated[
        list[str],
        typer.Argument(
            help="vision, projector, llm, a range of layers (vision.3-5) or a union (vision+projector); several are compared at matched "
            "budgets, with the constraint where +constraint ends the name"
        ),
    ],
    model: ModelNamed = "embedded",
    images: Images = "embedded",
    references: Annotated[int, typer.Option(help="training references of a built-in set; all references of a folder")] = 160,
    levels: Levels = "2,3,4,5",
    test: Annotated[float, typer.Option(help="share of references that is reported on and not learnt; 0 for no report")] = 0.2,
    taxonomy: Annotated[str, typer.Option(help="name or YAML file")] = "paper8",
    method: Annotated[str, typer.Option(help="full, lora or dora")] = "full",
    only: Annotated[str | None, typer.Option(help="norm or bias: of the component, these parameters alone")] = None,
    rank: Annotated[int, typer.Option(help="of adapters")] = 8,
    constraint: Annotated[
        str | None,
        typer.Option(
            help="on visual tokens: align, align-cosine, keep, distill, order, decorrelate, joined by + (vision, projector)"
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="optimizer steps")] = None,
    seconds: Annotated[float | None, typer.Option(help="wall time of the steps, instead of or besides --steps")] = None,
    batch_size: Annotated[int, typer.Option(help="lessons per step, over all passes and processes")] = 32,
    micro_batch: Annotated[int | None, typer.Option(help="lessons per forward pass at most")] = None,
    ask_batch_size: Annotated[
        int, typer.Option(help="images per forward pass of the questions before and after; halved where memory runs out")
    ] = 32,
    lr: Annotated[float | None, typer.Option(help="peak learning rate; by default what suits the component")] = None,
    replay: Annotated[float, typer.Option(help="share of a batch that replays what the untouched model says")] = 0.45,
    quality: Annotated[float, typer.Option(help="share of a batch that asks for the quality word")] = 0.0,
    patience: Annotated[int | None, typer.Option(help="stop after so many evaluations that bring nothing better")] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="gradient checkpointing: less memory, more time")] = False,
    precision: Annotated[str, typer.Option(help="auto, float32 or bf16")] = "auto",
    checkpoint_every: Annotated[int, typer.Option(help="steps between the checkpoints that a killed run goes on from")] = 100,
    budgets: Annotated[
        str,
        typer.Option(help="of a comparison: steps, parameters, seconds, comma-separated; said of one component, it is swept"),
    ] = "steps",
    rates: Annotated[
        str,
        typer.Option(help="of a comparison: factors on the learning rate, comma-separated; said of one component, it is swept"),
    ] = "0.3,1,3",
    further: Annotated[
        int | None,
        typer.Option(help="of a comparison: rates tried beyond the lowest or highest while that is the best, 2 by default"),
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the run; a killed run goes on there")] = Path("runs/tuned"),
    seed: Seed = 0,
    load: Loading = None,
    progress: Progress = True,
) -> None:
    """Tune one component on distortion answers, or compare several; report what they gain and forget.

    Examples:  snellen tune vision --constraint align+keep --steps 400 --out runs/vision
               snellen tune vision.3-5+projector --method lora --rank 16 --out runs/lora
               snellen tune llm --model ./my-7b --images kadid10k:./kadid --method lora --micro-batch 4 --recompute --out runs/llm
               snellen tune vision projector llm --budgets steps,parameters,seconds --out runs/matched
               snellen tune projector --rates 0.1,0.3,1,3 --out runs/rates
               torchrun --nproc-per-node 2 -m snellen tune vision --out runs/vision
    """
    from snellen.models import loaded
    from snellen.results import component_of
    from snellen.taught import teach_one, training_set
    from tuning.constraints import NEEDS_PAIRS, parse_constraint
    from tuning.settings import check

    swept = [f"--{name}" for name in SWEEP if _given(context, name)]
    compared = len(components) > 1 or bool(swept)
    if compared:
        components = _constrained(components, constraint)
        _check_several(components, [name for name in ALONE if _given(context, name)], constraint, swept)
        _check_how(budgets, rates, components, constraint, seconds, further)
    for name in components:
        check(component_of(name), method, None if compared else constraint, only=only)
    steps = steps if steps or seconds else 200
    pairs = bool(NEEDS_PAIRS & set(parse_constraint(constraint)))
    with resumable():
        train, shown = training_set(images, references, whole_numbers(levels), test, seed, taxonomy, pairs, progress)
        mllm = loaded(model, shared(None, None, None, load)[1])
        common: dict[str, Any] = {
            "taxonomy": taxonomy, "batch_size": batch_size, "micro_batch": micro_batch, "replay": replay, "quality": quality,
            "recompute": recompute, "precision": precision, "checkpoint_every": checkpoint_every, "seed": seed, "progress": progress,
            "ask_batch_size": ask_batch_size,
        }  # fmt: skip
        if compared:
            chosen: dict[str, Any] = {
                "steps": steps or 200,
                "seconds": seconds,
                **({"constraint": constraint} if constraint else {}),
                **({} if further is None else {"further": further}),
            }
            _compare(mllm, train, shown, components, out, budgets.split(","), _numbers(rates), {**common, **chosen})
            return
        done = teach_one(mllm, train, shown, components[0], out, method=method, only=only, steps=steps, seconds=seconds, lr=lr,
                         constraint=constraint, lora_rank=rank, patience=patience, **common)  # fmt: skip
    if first():
        _say(done, components[0], out)


def _given(context: typer.Context, name: str) -> bool:
    """Whether an option was said, also if it is the default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def _constrained(components: Sequence[str], constraint: str | None) -> list[str]:
    """A component that is swept alone has the constraint that is named, without being told so by its own name."""
    from snellen.results import CONSTRAINED

    if constraint and len(components) == 1 and not components[0].endswith(CONSTRAINED):
        return [components[0] + CONSTRAINED]
    return list(components)


def _check_several(components: Sequence[str], alone: Sequence[str], constraint: str | None, swept: Sequence[str] = ()) -> None:
    """Refuse what a comparison of components, or a sweep of one, would not heed, before anything is loaded.

    Raises:
        InputError: options of one component, a constraint that no component has, or several processes.
    """
    from snellen.matching import refuse_processes
    from snellen.results import CONSTRAINED
    from stimuli.errors import InputError

    refuse_processes()
    if alone:
        said = ", ".join(ALONE[name] for name in alone)
        several = f"several components ({', '.join(components)})" if len(components) > 1 else ", ".join(swept)
        instead = "tune one component at a time" if len(components) > 1 else f"leave out {' and '.join(swept)}"
        raise InputError(
            f"Got {said} with {several}. Comparing chooses these itself: all weights at equal steps and seconds, LoRA of matched rank at equal "
            f"parameters (--budgets), several learning rates (--rates). Leave it out, or {instead}."
        )
    if constraint and not any(name.endswith(CONSTRAINED) for name in components):
        raise InputError(
            f"Got --constraint {constraint} with {', '.join(components)}, none of which ends in {CONSTRAINED}. Expected to be told which of "
            f"them it shapes. Write, for example, vision{CONSTRAINED}, or leave --constraint out."
        )


def _check_how(
    budgets: str, rates: str, components: Sequence[str], constraint: str | None, seconds: float | None, further: int | None
) -> None:
    """What ``teach`` would refuse, refused before images are made and a model is loaded."""
    from snellen.matching import FURTHER, check_comparison
    from tuning.settings import VALIDATION

    how = (constraint or "align+keep", seconds, VALIDATION, FURTHER if further is None else further)
    check_comparison(budgets.split(","), _numbers(rates), components, *how)


def _numbers(text: str) -> list[float]:
    """Read ``0.3,1,3``.

    Raises:
        InputError: something else.
    """
    from stimuli.errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"Got --rates {text}; expected numbers above 0, such as --rates 0.3,1,3.") from error


def _say(done: Any, component: str, out: Path) -> None:
    """What a run brought, in a few lines."""
    audit, results = done.tuned.audit, done.results
    kept = "bit-identical" if audit.unchanged else "CHANGED"
    together = done.tuned.processes
    by = (
        f" by {together['count']} processes{', each with a part of the weights' * together['sharded']}"
        if together["count"] > 1
        else ""
    )
    typer.echo(f"trained {audit.n_trained:,} numbers of {component}{by}; everything else is {kept}")
    if audit.note:
        typer.echo(f"  {audit.note}")
    if results:
        before, after, gain = results["before"], results["after"], results["gain"]
        typer.echo(
            f"balanced accuracy {_share(before['balanced_accuracy'])} → {_share(after['balanced_accuracy'])} "
            f"(gain {_share(gain['value'])} [{_share(gain['low'])}, {_share(gain['high'])}], chance {_share(results['chance'])}) on "
            f"{results['n']} images of references that were not learnt"
        )
    for row in done.forgotten:
        typer.echo(
            f"  {row['measure']:16} {row['before']:6.3f} → {row['after']:6.3f}  change {row['change']:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}]"
        )
    typer.echo(f"saved in {out}; {done.checkpoint.name} loads with sn.load, transformers or PEFT: {done.checkpoint}")


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _compare(
    mllm: Any,
    train: Any,
    shown: Any,
    components: Sequence[str],
    out: Path,
    budgets: Sequence[str],
    rates: Sequence[float],
    how: dict[str, Any],
) -> None:
    """Several components at matched budgets, or one at several budgets and rates."""
    from analysis.figures.files import written
    from analysis.figures.teaching import matched_figures
    from snellen.teaching import teach
    from stimuli.errors import InputError

    if shown is None:
        raise InputError(
            "Got --test 0 with several components, or with --budgets or --rates; comparing needs references to report on. Leave --test out."
        )
    done = teach(mllm, train, shown, components, budgets=budgets, rates=rates, out=out, **how)
    written(matched_figures(done.as_dict()), out / "figures")
    base = done.base["balanced_accuracy"]
    typer.echo(f"balanced accuracy as loaded {_share(base)}, chance {_share(done.base['chance'])}")
    for row in done.matrix:
        typer.echo(_line(row))
    typer.echo(f"tables and figures in {out}")


def _line(row: Mapping[str, Any]) -> str:
    """One component at one budget."""
    start = f"  {row['budget']:10} {row['component']:20} "
    if row["unchanged"] is None:
        return f"{start}not measured: {row['note']}; lower --rates"
    edge = ", the lowest or highest tried: a better one may lie beyond it (--rates, --further)" if row["edge"] else ""
    return (
        f"{start}{_share(row['balanced_accuracy']):>7}  gain {_share(row['gain'])} [{_share(row['gain_low'])}, "
        f"{_share(row['gain_high'])}]  {row['n_trained']:,} numbers, {row['steps']} steps, {row['seconds']:.0f} s, rate "
        f"{row['rate']:.2g}{edge}"
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)
