"""Two models' answers to the same images, from the files that ``snellen ask`` wrote."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.accuracy import mcnemar, mcnemar_by_reference
from probes.intervals import balanced_difference
from stimuli.errors import InputError


def compare_files(first: Path, second: Path, n_boot: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Paired difference in balanced accuracy, and McNemar's test.

    Args:
        first: folder or ``.csv`` that ``snellen ask --out`` wrote.
        second: the same of another model.
        n_boot: resamples of references.
        seed: of the resamples.

    Returns:
        ``images`` and ``references`` in common, ``left_out_first``, ``left_out_second``; ``gain`` with ``low``, ``high`` and ``p`` (second
        minus first, a share); ``only_first`` and ``only_second`` (images right in one alone), ``p_mcnemar`` (by reference) and
        ``p_mcnemar_images`` (images taken for independent).

    Raises:
        InputError: no such files, other columns, or no image in common.
    """
    a, b = (_answered(path) for path in (first, second))
    ids = [id for id in a if id in b]
    if not ids or any(a[id]["label"] != b[id]["label"] for id in ids):
        what = "no image in common" if not ids else "other true classes for the same images"
        raise InputError(
            f"The answers of {first} and {second} have {what}. Ask both models about the same set, with the same taxonomy."
        )
    columns = {key: np.array([a[id][key] for id in ids]) for key in ("label", "reference")}
    one, two = (np.array([own[id]["correct"] == "True" for id in ids]) for own in (a, b))
    gain = balanced_difference(one, two, columns["label"], columns["reference"], n_boot, seed)
    plain, grouped = mcnemar(one, two), mcnemar_by_reference(one, two, columns["reference"])
    return {
        "images": len(ids),
        "references": len(set(columns["reference"].tolist())),
        "left_out_first": len(a) - len(ids),
        "left_out_second": len(b) - len(ids),
        "gain": gain.value,
        "low": gain.low,
        "high": gain.high,
        "p": gain.p,
        "only_first": plain.only_a,
        "only_second": plain.only_b,
        "p_mcnemar": grouped.p,
        "p_mcnemar_images": plain.p,
    }


def compared_lines(found: Mapping[str, Any]) -> list[str]:
    """What ``compare_files`` found, for people."""
    return [
        f"{found['images']} images of {found['references']} references; left out: {found['left_out_first']} of the first, "
        f"{found['left_out_second']} of the second",
        f"balanced accuracy, second - first: {100 * found['gain']:+.1f} points [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}], "
        f"p {found['p']:.3g} (paired bootstrap over references)",
        f"right only in the first {found['only_first']}, only in the second {found['only_second']}; McNemar, by reference: "
        f"p {found['p_mcnemar']:.3g}; images taken for independent: p {found['p_mcnemar_images']:.3g}",
    ]


def _answered(path: Path) -> dict[str, dict[str, str]]:
    file = path / "answers.csv" if path.is_dir() else path
    try:
        with open(file, encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The answers {file} cannot be read ({error}). Expected a folder or .csv that `snellen ask --out` wrote."
        ) from error
    missing = [name for name in ("id", "reference", "label", "correct") if not rows or name not in rows[0]]
    if missing:
        raise InputError(f"The answers {file} lack the columns {', '.join(missing)}. Expected what `snellen ask --out` wrote.")
    return {row["id"]: row for row in rows}
