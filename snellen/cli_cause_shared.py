"""What the commands about causes share: the model and stimuli they begin with, what they print, and the files they write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli_options import whole_numbers
from snellen.cli_probe import plain_table

if TYPE_CHECKING:
    from analysis.attribution.run import Attribution
    from analysis.figures.files import Plan
    from analysis.translators import TunedLens
    from hooks.load import Mllm
    from stimuli.tables import Table
    from stimuli.types import StimulusSet

"""For a command whose argument is something else."""
_REGION = typer.Option(help="distort a part of each image only: box, ellipse, segment or any")
Region = Annotated[str | None, _REGION]
RegionAny = Annotated[str, _REGION]
Sites = Annotated[str, typer.Option(help="comma-separated, or all")]
Taxonomy = Annotated[str, typer.Option(help="name or YAML file")]
Batch = Annotated[int, typer.Option(help="images per forward pass")]
Boot = Annotated[int, typer.Option(help="resamples of references")]
Out = Annotated[Path | None, typer.Option(help="folder for tables, JSON and figures")]

EXAMPLES = 6
"""Images whose maps are drawn."""


def begun(
    model: str, load: Sequence[str] | None, images: str, references: int, levels: str, seed: int, region: str | None = None
) -> tuple[Mllm, StimulusSet]:
    """The model and the stimuli of a command."""
    from snellen.models import loaded
    from snellen.sources import chosen_set

    return loaded(model, load or ()), chosen_set(images, references, whole_numbers(levels), seed, **_region(region))


def other(images: str, references: int, levels: str, seed: int) -> StimulusSet:
    """Stimuli of other references, to fit something on.

    Raises:
        InputError: images that are shown whole, so that there are no others.
    """
    from snellen.sources import BUILTIN, chosen_set
    from stimuli.errors import InputError

    if images not in BUILTIN:
        raise InputError(
            f"Got --images {images}, all of which are shown. Expected {' or '.join(BUILTIN)}, of which there are always other references to "
            "fit on; with images of your own, split them by reference and use the library (docs/cause.md)."
        )
    return chosen_set(images, references, whole_numbers(levels), seed, split="train", measure=False)


def translators(mllm: Mllm, folder: Path, images: str, references: int, levels: str, how: Mapping[str, Any]) -> TunedLens:
    """The tuned lens in a folder, trained first if there is none."""
    from analysis.translators import TunedLens
    from analysis.tuned_lens import tune_lens

    if any(folder.glob("*.safetensors")):
        return TunedLens.load(folder)
    made = tune_lens(mllm, other(images, references, levels, how["seed"]), **how)
    made.save(folder)
    typer.echo(f"Tuned lens trained on {references} other references: {folder}")
    return made


def _region(region: str | None) -> dict[str, Any]:
    return {} if region is None else {"region": region}


def names(text: str) -> list[str]:
    """Read ``a,b``."""
    return [part.strip() for part in text.split(",") if part.strip()]


def sites(text: str) -> str | list[str]:
    """Read ``all`` or ``a,b``."""
    return text if text == "all" else names(text)


def numbers(option: str, text: str) -> list[float]:
    """Read ``-1,0,2.5``.

    Raises:
        InputError: something else.
    """
    from stimuli.errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"Got --{option} {text}; expected numbers, such as --{option} 0,1,2.") from error


def told(table: Table, columns: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Print some columns of a table, and what has to be known to read it."""
    for line in [*plain_table(table, columns), *(f"\n{note}" for note in notes)]:
        typer.echo(line)


def written(
    out: Path | None,
    name: str,
    tables: Mapping[str, Table],
    mllm: Mllm,
    shown: StimulusSet,
    notes: Sequence[str],
    figures: Plan,
) -> None:
    """Write tables as CSV, everything with provenance as JSON, and figures; say so."""
    from analysis.figures.files import written as drawn
    from snellen.provenance import provenance
    from stimuli.fingerprint import fingerprint
    from stimuli.tables import write_csv, write_json

    if out is None:
        return
    for key, table in tables.items():
        write_csv(table, out / f"{key}.csv")
    about = provenance(mllm.provenance, {"stimuli": fingerprint(shown)})
    write_json({"provenance": about, "notes": list(notes), **tables}, out / f"{name}.json")
    drawn(figures, out / "figures", ("png", "pdf"))
    typer.echo(f"\n{', '.join(f'{key}.csv' for key in tables)}, {name}.json and figures in {out}")


def attributed(found: Attribution, tables: Mapping[str, Table], shown: StimulusSet, out: Path | None) -> Plan:
    """The figures of attributions: of the tables, and the maps of the first few images, which are kept to be drawn again."""
    from analysis.figures.cause import attribution_figures, overlay_figures
    from analysis.figures.saved import OVERLAYS
    from stimuli.result_files import dumps
    from stimuli.tables import write_text

    by_id = {stimulus.id: stimulus for stimulus in shown}
    first = list({by_id[id].reference: at for at, id in reversed(list(enumerate(found.ids)))}.values())[::-1]
    rows = [*first, *(at for at in range(len(found.ids)) if at not in first)][
        :EXAMPLES
    ]  # one of each reference before a second
    own = [by_id[found.ids[at]] for at in rows]
    kept: dict[str, Any] = {
        "images": [s.image for s in own],
        "maps": {method: heat[rows] for method, heat in found.maps.items()},
        "masks": [s.mask for s in own],
        "names": [f"{s.type} {s.level}" for s in own],
    }
    if out is not None:
        write_text(dumps(kept), out / OVERLAYS)
    return {**attribution_figures(tables), **overlay_figures(**kept)}
