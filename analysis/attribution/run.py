"""Maps of many stimuli by many methods, scored against the regions in which the distortions are known to be."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from analysis.attribution.curves import POINTS, areas, ratio, versions
from analysis.attribution.frame import check_grid
from analysis.attribution.maps import Maps, local_pairs, maps
from analysis.attribution.methods import BASELINES, MAKERS
from analysis.attribution.objective import Objective
from analysis.attribution.truth import SCORES, chance, order, scores
from analysis.choice import Choice, choice
from hooks.load import Mllm
from probes.intervals import Difference, Interval, group_bootstrap, holm, paired_difference
from stimuli.pairs import Pair
from stimuli.progress import tqdm
from stimuli.regions import cell_shares
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN
from stimuli.types import Stimulus, StimulusSet

MASK = "mask"
"""The row of the region itself, laid out in cells: as well as any map of the grid can do."""


@dataclass(frozen=True, repr=False)
class Attribution(Result):
    """Maps of where each method sees the distortion answer come from, and how right they are."""

    table: Table
    """A row per ``method``, the best ``auc`` first, and one for the region itself (``mask``), which bounds them: ``n``, ``references``;
    each of ``truth.SCORES`` with interval over references and ``…_chance``; ``auc_control``, of the same maps against the regions of
    the other references, and ``beyond``, auc less control, paired, with interval, ``p`` and Holm's ``p_holm`` over methods;
    ``over_edges``, auc less that of the image's edges, paired, with interval, p and Holm; ``auc_moved``, of the ``moved`` stimuli whose
    distortion raises the contrast at all; ``deletion`` (less is better) and ``insertion`` (more is better), areas as a share of the
    contrast's change, with intervals, and ``deletion_gain``, by how much the deletion area lies under that of ``random``, paired, with
    interval; ``gap``, mean distance from completeness as a share of the mean change that should be explained (None where nothing should
    sum up); ``seconds`` and ``passes`` per image."""
    each: Table
    """A row per stimulus and method: ``id``, ``reference``, ``type``, ``level``, ``area`` of the region, ``contrast``, ``clean_contrast``,
    the scores, ``auc_control``, ``deletion`` and ``insertion`` in nats."""
    maps: Mapping[str, np.ndarray] = field(repr=False)
    """Method to float32 (n, grid, grid), signed, over the original image."""
    ids: tuple[str, ...] = field(repr=False)
    left_out: Mapping[str, str] = field(repr=False)
    """Methods that the model cannot do, and why; only of the default ones."""

    def row(self, method: str) -> Row:
        """The row of a method."""
        return next(row for row in self.table if row["method"] == method)


def attribute(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus] | Sequence[Pair],
    *,
    methods: Sequence[str] | None = None,
    grid: int = 8,
    taxonomy: str | Path = "paper8",
    prompt: str | None = None,
    curves: bool = True,
    points: int = POINTS,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Attribution:
    """Attribute the answer which distortion an image has, against that it is clean, and score the maps against the truth.

    Args:
        mllm: the model; left as it is.
        stimuli: with local distortions (``exam_set(region=…)``), of two references or more, and the clean images of the same references;
            or pairs of clean and distorted ones. Those without a region or a class are left out.
        methods: of ``METHODS``; by default all that the model can do.
        grid: cells per side of the maps.
        taxonomy: name or file; it needs the class ``clean``.
        prompt: another question.
        curves: whether to make deletion and insertion curves: ``2 * (points - 1)`` passes per map.
        points: steps of the curves.
        batch_size: sequences per forward pass.
        n_boot: resamples of references.
        seed: of random choices and resamples.
        progress: show progress bars.

    Raises:
        InputError: no local distortion, fewer than two references, an unknown method or one that the model cannot do, no class
            ``clean``, or a grid that does not fit.
    """
    found, labels = local_pairs(stimuli, taxonomy)
    asked = choice(taxonomy, prompt)
    shown = [pair.after for pair in found]
    for stimulus in shown:
        check_grid((stimulus.image.shape[0], stimulus.image.shape[1]), grid)
    made = maps(
        mllm,
        shown,
        labels,
        asked,
        methods,
        grid=grid,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        names=[s.id for s in shown],
    )
    regions = [_region(stimulus) for stimulus in shown]
    truth = np.stack([cell_shares(own, grid, grid) for own in regions]).astype(np.float32)
    heat = {**made.heat, MASK: truth}
    each = _each(found, heat, regions)
    _add_curves(mllm, asked, found, labels, heat, each, points if curves else 0, batch_size, seed, progress)
    table = _table(each, made, [*made.heat, MASK], n_boot, seed, curves)
    return Attribution(table, each, made.heat, tuple(s.id for s in shown), made.left_out)


def _region(stimulus: Stimulus) -> np.ndarray:
    mask = stimulus.mask
    assert mask is not None
    return mask


# ---- scores ------------------------------------------------------------------------------------------------------------


def _each(found: Sequence[Pair], heat: Mapping[str, np.ndarray], regions: Sequence[np.ndarray]) -> Table:
    """A row per stimulus and method, in the order of both; the control takes one region per other reference."""
    from analysis.attribution.truth import auc

    first = {pair.reference: i for i, pair in reversed(list(enumerate(found)))}
    grid = next(iter(heat.values())).shape[1]
    inside = np.stack([cell_shares(own, grid, grid).ravel() for own in regions])
    rows = []
    for i, (pair, region) in enumerate(zip(found, regions, strict=True)):
        stimulus = pair.after
        about = {"id": stimulus.id, "reference": stimulus.reference, "type": stimulus.type, "level": stimulus.level}
        others = [j for reference, j in first.items() if reference != pair.reference]
        for name, own in heat.items():
            control = float(np.mean([auc(own[i].ravel(), inside[j]) for j in others]))
            rows.append(
                {"method": name, **about, "area": float(region.mean()), **scores(own[i], region), "auc_control": control}
            )
    return rows


def _add_curves(
    mllm: Mllm,
    asked: Choice,
    found: Sequence[Pair],
    labels: Sequence[str],
    heat: Mapping[str, np.ndarray],
    each: Table,
    points: int,
    batch_size: int,
    seed: int,
    progress: bool,
) -> None:
    """Put contrasts and the areas of curves into the rows of ``_each``; with ``points=0`` the contrasts alone."""
    rows = iter(each)
    for i, pair in enumerate(tqdm(found, desc="curves", disable=not progress or not points)):
        objective = Objective(mllm, asked, pair.after.image, labels[i], CLEAN, batch_size)
        clean, distorted = objective.of_images([pair.before.image, pair.after.image])
        for own in heat.values():
            row = next(rows)
            row |= {"contrast": float(distorted), "clean_contrast": float(clean)}
            if not points:
                continue
            ranked = order(own[i], seed + zlib.crc32(pair.after.id.encode()))
            values = objective.of_images(versions(pair.before.image, pair.after.image, ranked, own.shape[1], points))
            row["deletion"], row["insertion"] = areas(values, float(clean), float(distorted), own[i].size, points)


def _table(each: Table, made: Maps, names: Sequence[str], n_boot: int, seed: int, curves: bool) -> Table:
    own = {name: [row for row in each if row["method"] == name] for name in names}
    table = [_row(name, own, made, n_boot, seed, curves) for name in names]
    for key in ("p", "over_edges_p"):
        tested = [row for row in table if row[key] is not None]
        for row, p in zip(tested, holm([row[key] for row in tested]) if tested else [], strict=True):
            row[f"{key}_holm"] = p
    return sorted(table, key=lambda row: (row["method"] == MASK, -row["auc"]))


def _row(name: str, own: Mapping[str, Table], made: Maps, n_boot: int, seed: int, curves: bool) -> Row:
    rows = own[name]
    groups = [row["reference"] for row in rows]
    values = {
        key: np.array([row[key] for row in rows], float) for key in (*SCORES, "auc_control", "contrast", "clean_contrast")
    }
    row: Row = {"method": name, "n": len(rows), "references": len(set(groups))}
    level = chance(float(np.mean([each["area"] for each in rows])))
    for key in SCORES:
        found = _mean(values[key], groups, n_boot, seed)
        row |= {key: found.value, f"{key}_low": found.low, f"{key}_high": found.high, f"{key}_chance": level[key]}
    row["auc_control"] = float(values["auc_control"].mean())
    row |= _told(
        "beyond", None if name == MASK else paired_difference(values["auc_control"], values["auc"], groups, n_boot, seed)
    )
    row["p"], row["p_holm"] = row.pop("beyond_p"), None
    edges = None
    if "edges" in own and name not in (MASK, *BASELINES):
        edges = paired_difference(np.array([each["auc"] for each in own["edges"]]), values["auc"], groups, n_boot, seed)
    row |= {**_told("over_edges", edges), "over_edges_p_holm": None}
    change = values["contrast"] - values["clean_contrast"]
    moved = change > 0
    row |= {"moved": int(moved.sum()), "auc_moved": float(values["auc"][moved].mean()) if moved.any() else None}
    for key in ("deletion", "insertion") if curves else ():
        area = ratio(np.array([each[key] for each in rows]), change, groups, n_boot, seed)
        row |= {key: area.value, f"{key}_low": area.low, f"{key}_high": area.high}
    if curves and "random" in own and name != "random":
        less = np.array([other["deletion"] - each["deletion"] for other, each in zip(own["random"], rows, strict=True)])
        gain = ratio(less, change, groups, n_boot, seed)
        row |= {"deletion_gain": gain.value, "deletion_gain_low": gain.low, "deletion_gain_high": gain.high}
    gaps = made.gaps.get(name)
    row["gap"] = None
    if gaps is not None:
        explained = made.heat[name].sum((1, 2), dtype=float) - gaps
        row["gap"] = float(np.abs(gaps).mean() / np.abs(explained).mean())
    return row | {"seconds": made.seconds.get(name), "passes": made.passes.get(name)}


def _mean(values: np.ndarray, groups: Sequence[str], n_boot: int, seed: int) -> Interval:
    """Mean of what is not NaN; without an interval where it is of one reference or none."""
    there = np.isfinite(values)
    if len(set(np.asarray(groups)[there])) > 1:
        return group_bootstrap(values, groups, n_boot, seed)
    return Interval(float(values[there].mean()) if there.any() else float("nan"), float("nan"), float("nan"))


def _told(name: str, found: Difference | None) -> Row:
    keys = (name, f"{name}_low", f"{name}_high", f"{name}_p")
    return dict(zip(keys, (None,) * 4 if found is None else (found.value, found.low, found.high, found.p), strict=True))


# ---- shown -------------------------------------------------------------------------------------------------------------


def leader_table(result: Attribution) -> str:
    """The table of methods in Markdown: value, interval and chance of the main scores, best first."""
    curves = "deletion" in result.table[0]
    head = ["method", "AUC [95 %]", "beyond other regions", "over edges", "AP", "pointing", "IoU", "energy"]
    head += ["deletion ↓", "under random [95 %]", "insertion ↑"] if curves else []
    lines = ["| " + " | ".join([*head, "s/image", "passes"]) + " |", "|---" * (len(head) + 2) + "|"]
    for row in result.table:
        cells = [row["method"], f"{row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}]"]
        cells += [_signed(row, "beyond", row["p_holm"]), _signed(row, "over_edges", row["over_edges_p_holm"])]
        cells += [f"{row[key]:.3f}" for key in ("average_precision", "pointing", "iou", "energy")]
        cells += [f"{row['deletion']:.2f}", _gain(row), f"{row['insertion']:.2f}"] if curves else []
        cells += ["–", "–"] if row["method"] not in MAKERS else [f"{row['seconds']:.2f}", f"{row['passes']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    level = result.table[0]
    told = [f"{level[f'{key}_chance']:.3f}" for key in ("average_precision", "pointing", "iou", "energy")]
    lines.append("| " + " | ".join(["*chance*", "0.500", "0", "–", *told, *(["–"] * 3 if curves else []), "–", "–"]) + " |")
    return "\n".join(lines)


def _gain(row: Row) -> str:
    if row.get("deletion_gain") is None:
        return "–"
    return f"{row['deletion_gain']:+.2f} [{row['deletion_gain_low']:+.2f}, {row['deletion_gain_high']:+.2f}]"


def _signed(row: Row, key: str, p: float | None) -> str:
    return "–" if row[key] is None else f"{row[key]:+.3f}{'*' if p is not None and p < 0.05 else ''}"
