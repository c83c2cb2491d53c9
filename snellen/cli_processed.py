"""The command about what models' resizes leave of the distortions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from snellen.cli_options import Images, Levels, Progress, References, Seed, resumable, whole_numbers

KINDS = ("clip", "tiles", "anyres", "native")
"""Image processors that need no checkpoint: the short side to N and the middle cut out (CLIP, LLaVA); N x N tiles and an overview
(InternVL); the same with black borders (LLaVA-NeXT); nearly as it is, in patches of N px (Qwen2-VL)."""
COLUMNS = ("processor", "type", "n", "size_in", "size_out", "psnr_in", "psnr_out", "energy_kept", "before", "after", "change")


def processed(
    models: Annotated[
        list[str],
        typer.Argument(
            help="embedded, checkpoint folders or hub ids, of which the processor alone is read; or without a checkpoint clip:N, "
            "tiles:N, anyres:N (N px a side) and native:N (patches of N px)"
        ),
    ],
    images: Images = "embedded",
    references: References = 40,
    levels: Levels = "1,3,5",
    taxonomy: Annotated[str, typer.Option(help="name or YAML file")] = "paper8",
    design: Annotated[
        str, typer.Option(help="balanced (each reference once per class) or crossed (every type at every level)")
    ] = "balanced",
    size: Annotated[int, typer.Option(help="side of built-in images in px: the larger, the more there is to lose")] = 512,
    out: Annotated[Path, typer.Option(help="folder for table and figure")] = Path("runs/processed"),
    folds: Annotated[int, typer.Option(help="folds by reference")] = 5,
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """Show what models' resizes leave of each distortion, before any weight.

    Examples:  snellen processed clip:224 clip:336 clip:448 tiles:336 --images ./photos --out runs/resize
               snellen processed ./my-checkpoint --images photos.csv
    """
    from analysis.figures.all import processed_figures
    from analysis.figures.files import written
    from analysis.processed import processed_survival
    from snellen.provenance import provenance
    from snellen.sources import chosen_set
    from stimuli.fingerprint import fingerprint
    from stimuli.tables import write_csv, write_json

    named = {name: image_processor(name) for name in models}
    how: dict[str, Any] = {"taxonomy": taxonomy, "design": design, "measure": False, "size": size}
    shown = chosen_set(images, references, whole_numbers(levels), seed, progress=progress, **how)
    with resumable():
        found = processed_survival(named, shown, taxonomy=taxonomy, folds=folds, seed=seed, progress=progress)
    write_csv(found.table, out / "processed.csv")
    about = provenance(data={"stimuli": fingerprint(shown)}, seed=seed)
    write_json({"provenance": about, "table": found.table, "left_out": found.left_out, "without_reference": found.without_reference,
                "taxonomy": found.taxonomy, "folds": found.folds, "seed": seed, "n_boot": found.n_boot, "models": models,
                "images": images}, out / "processed.json")  # fmt: skip
    written(processed_figures(found.table), out / "figures")
    for line in lines(found.table):
        typer.echo(line)
    typer.echo(
        f"{len(shown)} stimuli, {len(found.left_out)} left out, {found.without_reference} without a clean image to compare with; "
        f"table and figure in {out}"
    )


def lines(table: Sequence[dict[str, Any]]) -> list[str]:
    """The rows of all levels together, as a plain table."""
    cells = [list(COLUMNS)]
    cells += [[_cell(name, row.get(name)) for name in COLUMNS] for row in table if row["level"] == "all"]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if name.startswith("psnr") else f"{value:.3f}"


def image_processor(name: str) -> Any:
    """A processor by name: generic ones as ``KIND:N``, else that of a checkpoint, without its weights.

    Raises:
        InputError: a size that is no whole number above zero, or a checkpoint without a processor.
    """
    kind, colon, size = name.partition(":")
    if colon and kind in KINDS:
        return _generic(kind, size)
    from hooks.folder import check_folder
    from hooks.processor import load_processor
    from snellen import embedded

    path = str(embedded.folder(name)) if name in embedded.PATIENTS else name
    check_folder(path)
    return load_processor(path)


def _generic(kind: str, size: str) -> Any:
    from stimuli.errors import InputError

    if not size.isdecimal() or not 8 <= int(size) <= 4096:
        raise InputError(f"Got {kind}:{size}; expected a number of pixels from 8 to 4096 behind the colon, such as {kind}:336.")
    side = int(size)
    square = {"height": side, "width": side}
    if kind == "clip":
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square)
    if kind == "tiles":
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

        return GotOcr2ImageProcessorPil(size=square, crop_to_patches=True)
    if kind == "anyres":
        from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

        grids = [[side * rows, side * columns] for rows, columns in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
        return LlavaNextImageProcessorPil(size={"shortest_edge": side}, crop_size=square, image_grid_pinpoints=grids)
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=side)


def register(app: typer.Typer) -> None:
    """Make this command part of the command line."""
    app.command()(processed)
