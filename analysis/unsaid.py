"""Known but not said: for every stimulus, whether a probe finds its class at a site, beside whether the model says it.

A stimulus is *encoded* at a site where the out-of-fold prediction of the probe is right, and *said* where the answer is; an
unparsed answer is not. Three things make such a table say too much, and are measured beside it. A probe at chance is right in
one of k cases, so every share stands beside what independent probe and answer would give, class by class, and beside what a
probe at chance would. A single probe is noisy, so ``known`` asks it at several sites. And probe and answer may be right
together because some stimuli are easy for both, so ``dependence`` compares stimuli of the same class, and ``dependence_alike``
those of the same class, type and level; neither proves that the answer reads the site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis import contingency
from analysis.cells import CELLS, KEYS
from analysis.joined import Joined, join
from analysis.parsing import UNPARSED
from analysis.perception import Answers
from probes.intervals import Interval, holm, interval
from probes.over_sites import COMPONENTS
from probes.sweep import SweepResult
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN

BEST, LAST, MOST, EVERY = (
    "right at the best site of every component",
    "right at its last site",
    "right at more than half of its sites",
    "right at all of its sites",
)


@dataclass(frozen=True, repr=False)
class Unsaid(Result):
    """Which stimuli are encoded, and which are said.

    Shares are means of per-class shares, as balanced accuracy is, so that *encoded and said* + *encoded, not said* is the
    probe's balanced accuracy and *encoded and said* + *not encoded, said* the answers'; ``plain`` ones are over all stimuli.
    Every share has ``_low`` and ``_high``, its interval over references, None where there are fewer than two.
    """

    site: str
    """Where ``stimuli`` are told apart."""
    classes: tuple[str, ...]
    n: int
    references: int
    left_out: Mapping[str, int]
    """Stimuli that only the probe (``not asked``) or only the answers (``not probed``) have."""
    template: Mapping[str, Any]
    """The most frequent answer that names a class: ``answer``, its ``share`` of all answers, and of the wrong ones
    ``share_of_wrong``."""
    table: Table = field(repr=False)
    """Rows site × cell: ``share``, ``expected`` (if probe and answer were independent within each class), ``plain`` and
    ``plain_expected`` (independent over all stimuli)."""
    sites: Table = field(repr=False)
    """One row per site: ``encoded``, ``said``, ``not_said_of_encoded``; ``by_chance``, what a probe that is right in one of k
    cases would bring as encoded, not said; ``said_if_encoded``, ``said_if_not_encoded``, ``dependence`` (their difference) and
    ``phi`` within classes, p and Holm's p over sites, ``dependence_alike`` within class, type and level (see
    ``contingency.dependence``); share of the template answer, and of unparsed ones, among *encoded, not said*, and of the
    former among *neither*; and ``same_class``, how often a wrong answer names the class that a wrong probe names, with
    ``_expected`` from their habits and ``_excess`` with its p."""
    known: Table = field(repr=False)
    """The four shares where encoded means more than one probe's word: rows component × rule."""
    by_type: Table = field(repr=False)
    """Rows shown site × type: ``n``, ``references``, the four shares, ``expected`` (of *encoded, not said*) and
    ``not_said_of_encoded``."""
    by_level: Table = field(repr=False)
    """The same by level; distorted stimuli without one are left out."""
    by_class: Table = field(repr=False)
    stimuli: Table = field(repr=False)
    """One row per stimulus: ``id, reference, type, level, label, answer, confidence`` and, at ``site``, ``probe`` (the class it
    names), ``probe_confidence`` and ``cell``; ``sites_right`` of ``sites`` on the way, and ``<component>_right``."""
    n_boot: int
    seed: int

    def row(self, site: str) -> Row:
        """What is known of a site."""
        return next(row for row in self.sites if row["site"] == site)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows of single stimuli, JSON-able."""
        plain = {key: value for key, value in vars(self).items() if key != "stimuli"}
        return {**plain, "classes": list(self.classes), "left_out": dict(self.left_out), "template": dict(self.template)}


def unsaid(
    survival: SweepResult,
    answers: Answers,
    *,
    site: str | None = None,
    shown_sites: Sequence[str] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Unsaid:
    """Join a probe's verdict at every site with the model's answers, by stimulus.

    Args:
        survival: a sweep for the classes that the answers are about; baselines are left out.
        answers: of the same model to the same stimuli. Stimuli that only one side has are counted and left out.
        site: where single stimuli are told apart; by default the best site of the language model, else of the projector, else
            of all. Best is by score on the same stimuli, which flatters it a little.
        shown_sites: of the tables by type, level and class; by default the best site of each component. ``site`` is always
            among them.
        n_boot: resamples of references.
        seed: of the resamples.

    Raises:
        InputError: labels that do not agree, an id answered twice, no stimulus in common, an unknown site, or one reference
            alone.
    """
    both = join(survival, answers, n_boot, seed)
    best = [found for name in COMPONENTS if (found := survival.best(name)) is not None]
    at = site or survival.best("llm") or survival.best("projector") or survival.best() or next(iter(both.sites))
    shown = list(dict.fromkeys((*(best if shown_sites is None else shown_sites), at)))
    if strange := [name for name in shown if name not in both.sites]:
        raise InputError(f"The sweep has no site '{strange[0]}'. Expected one of {', '.join(both.sites)}. Choose one of these.")
    template = _template(both, answers.classes)
    by_type, by_level, by_class = (_by(both, shown, key) for key in ("type", "level", "class"))
    return Unsaid(
        at, tuple(answers.classes), len(both.rows), len(both.draws), both.left_out, template,
        [row for name in both.sites for row in _cell_rows(both, name)], _site_rows(both, template["answer"]),
        _known(both, best), by_type, by_level, by_class, _stimuli(both, at), n_boot, seed,
    )  # fmt: skip


def _cell_rows(both: Joined, site: str) -> Table:
    tables = both.tables(both.hits(site))
    together = tables.sum(0, keepdims=True)
    columns = {
        "share": contingency.shares(tables), "expected": contingency.independent_shares(tables),
        "plain": contingency.shares(together), "plain_expected": contingency.independent_shares(together),
    }  # fmt: skip
    counts = tables.sum(0)[..., 0].ravel()
    return [
        {
            "site": site, "component": both.sites[site]["component"], "dead_end": bool(both.sites[site].get("dead_end")),
            "cell": cell, "n": int(counts[i]), **_flat({name: x.reshape(4, -1)[i] for name, x in columns.items()}),
        }
        for i, cell in enumerate(CELLS)
    ]  # fmt: skip


def _site_rows(both: Joined, template: str | None) -> Table:
    rows = [_site_row(both, site, template) for site in both.sites]
    for name in ("p", "same_class_p"):
        for row, p in zip(rows, holm([row[name] for row in rows]), strict=True):
            row[f"{name}_holm"] = p
    return rows


def _site_row(both: Joined, site: str, template: str | None) -> Row:
    encoded, said = both.hits(site), both.said
    tables = both.tables(encoded)
    share, within = contingency.shares(tables), contingency.dependence(tables)
    alike = contingency.crossed(encoded, said, both.alike, both.groups, both.draws)
    same = _same_class(both, site)
    return {
        "site": site, "component": both.sites[site]["component"], "dead_end": bool(both.sites[site].get("dead_end")),
        "n": len(both.rows),
        **_flat({"encoded": share[0].sum(0), "said": share[:, 0].sum(0), "not_said_of_encoded": _not_said(share)}),
        "by_chance": float(both.chance * share[:, 1, 0].sum()),
        **_flat(within), "p": contingency.against_zero(within["dependence"], both.groups).p,
        **_flat({"dependence_alike": contingency.dependence(alike, by_size=True)["dependence"]}),
        **_flat({"template_of_encoded_not_said": _share_among(both, both.answers == template, encoded & ~said),
                 "template_of_neither": _share_among(both, both.answers == template, ~encoded & ~said),
                 "unparsed_of_encoded_not_said": _share_among(both, both.answers == UNPARSED, encoded & ~said)}),
        **_flat({"same_class": same["same"], "same_class_expected": same["expected"], "same_class_excess": same["excess"]}),
        "same_class_p": contingency.against_zero(same["excess"], both.groups).p,
    }  # fmt: skip


def _same_class(both: Joined, site: str) -> Mapping[str, np.ndarray]:
    names = np.unique(np.concatenate([both.labels, both.probes[site], both.answers]))
    wrong = ~both.hits(site) & ~both.said
    true, probe, said = (np.searchsorted(names, given[wrong]) for given in (both.labels, both.probes[site], both.answers))
    return contingency.same_class(true, probe, said, len(names), both.groups[wrong], both.draws)


def _share_among(both: Joined, part: np.ndarray, own: np.ndarray) -> np.ndarray:
    return contingency.share_of(part[own], both.groups[own], both.draws)


def _template(both: Joined, classes: Sequence[str]) -> dict[str, Any]:
    counts = {name: int(np.sum(both.answers == name)) for name in classes}
    top = max(counts, key=lambda name: counts[name])
    if not counts[top]:
        return {"answer": None}
    told, everything = both.answers == top, np.ones(len(both.rows), bool)
    among = {"share": _share_among(both, told, everything), "share_of_wrong": _share_among(both, told, ~both.said)}
    return {"answer": top, **_flat(among)}


def _known(both: Joined, best: Sequence[str]) -> Table:
    """Stricter senses of encoded."""
    rows = [_known_row(both, "all", BEST, _right(both, best) == len(best), len(best))] if best else []
    for component in COMPONENTS:
        sites = both.on_the_way(component)
        if len(sites) > 1:
            right, m = _right(both, sites), len(sites)
            for rule, encoded in ((LAST, both.hits(sites[-1])), (MOST, right > m / 2), (EVERY, right == m)):
                rows.append(_known_row(both, component, rule, encoded, m))
    return rows


def _known_row(both: Joined, component: str, rule: str, encoded: np.ndarray, sites: int) -> Row:
    return {"component": component, "rule": rule, "sites": sites, **_wide(both, encoded, np.ones(len(both.rows), bool))}


def _right(both: Joined, sites: Sequence[str]) -> np.ndarray:
    """At how many of the sites the probe is right, int (n,)."""
    return np.sum([both.hits(site) for site in sites], axis=0, dtype=int)


def _by(both: Joined, sites: Sequence[str], key: str) -> Table:
    values = both.column(key)
    names = list(dict.fromkeys(value for value in values if value is not None))
    if key == "level":
        names.sort(key=lambda level: (level != CLEAN, level))
    return [{"site": site, key: name, **_wide(both, both.hits(site), values == name)} for site in sites for name in names]


def _wide(both: Joined, encoded: np.ndarray, own: np.ndarray) -> Row:
    """The four shares of some stimuli in one row."""
    tables = both.tables(encoded, own)
    share, expected = contingency.shares(tables), contingency.independent_shares(tables)
    references = len(np.unique(both.groups[own]))
    found = dict(zip(KEYS, share.reshape(4, -1), strict=True))
    found |= {"expected": expected[0, 1], "not_said_of_encoded": _not_said(share)}
    return {"n": int(own.sum()), "references": references, **_flat(found, references > 1)}


def _not_said(share: np.ndarray) -> np.ndarray:
    """What part of the encoded is not said."""
    encoded = share[0].sum(0)
    return np.divide(share[0, 1], encoded, out=np.full_like(encoded, np.nan), where=encoded > 0)


def _stimuli(both: Joined, site: str) -> Table:
    sites = {component: own for component in COMPONENTS if (own := both.on_the_way(component))}
    right = {component: _right(both, own) for component, own in sites.items()}
    cells = 2 * ~both.hits(site) + ~both.said
    return [
        {
            **{key: row[key] for key in ("id", "reference", "type", "level", "label", "answer")},
            "confidence": _confidence(row),
            "probe": str(both.probes[site][i]), "probe_confidence": float(both.certain[site][i]), "cell": CELLS[cells[i]],
            "sites_right": int(sum(own[i] for own in right.values())), "sites": sum(map(len, sites.values())),
            **{f"{component}_right": int(own[i]) for component, own in right.items()},
        }
        for i, row in enumerate(both.rows)
    ]  # fmt: skip


def _confidence(row: Mapping[str, Any]) -> float | None:
    """Of the answer given, in [0, 1], where it is known."""
    found = row.get("confidence")
    return row.get(f"p_{row['answer']}") if found is None else found


def _flat(found: Mapping[str, np.ndarray], ends: bool = True) -> Row:
    """Statistics of each draw as ``name, name_low, name_high``; None where unknown."""
    flat: Row = {}
    for name, values in found.items():
        own = interval(values[0], values[1:]) if ends else Interval(float(values[0]), np.nan, np.nan)
        known = [None if np.isnan(end) else float(end) for end in (own.value, own.low, own.high)]
        flat |= dict(zip((name, f"{name}_low", f"{name}_high"), known, strict=True))
    return flat
