"""Does a model give the same answer twice: asked again, in other words, or with the options in another order?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import comb
from scipy.stats import binom
from scipy.stats import entropy as shannon

from analysis.parsing import UNPARSED
from analysis.repeated import Resampled, divide, resampled, same_length, strings, told
from probes.intervals import Difference, Interval, paired_difference
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table


@dataclass(frozen=True, repr=False)
class Agreement(Result):
    """How far the answers to one image agree; unparsed is an answer like any other, and two unparsed answers agree."""

    images: int
    references: int
    times: int
    """How often each image was asked, m."""
    mode_share: Interval
    """Mean over images of the share of the most frequent answer, 1/m to 1."""
    unanimous: Interval
    """Share of images with one answer only."""
    pairwise: Interval
    """Share of pairs of answers to one image that agree, 0 to 1."""
    kappa: Interval
    """(pairwise − Σp²) / (1 − Σp²), p the shares of the answers over all (Fleiss 1971); NaN if all answers are one and the same."""
    entropy: Interval
    """Mean plug-in entropy per image in bits, 0 to log₂ m. It is biased down, and so is its chance value: compare these two."""
    entropy_corrected: Interval
    """The same plus (distinct − 1) / (2 m ln 2) (Miller 1955), nearer to the truth: for comparing unequal m."""
    distinct: Interval
    """Mean number of different answers per image, 1 to m."""
    unparsed: Interval
    """Share of answers."""
    tied: Interval
    """Share of images without one most frequent answer."""
    chance: Mapping[str, Interval]
    """What drawing each answer from the overall response distribution would give: ``mode_share, unanimous, pairwise, entropy,
    distinct``; of kappa it is 0. Who always says the same agrees, but no better than this."""
    response_distribution: Mapping[str, float]
    vote: Interval | None
    """Accuracy of the most frequent answer; a tie is unparsed, so it is wrong. None without labels, as the next two."""
    single: Interval | None
    """Mean accuracy of single answers."""
    gain: Difference | None
    """vote − single, paired."""
    table: Table = field(repr=False)
    """One row per image: ``mode`` (unparsed when tied), ``tied, mode_share, entropy, distinct``."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows, JSON-able."""
        plain = asdict(replace(self, table=[]))
        return {name: value for name, value in plain.items() if name != "table"}


def agreement(
    answers: Any, groups: Sequence[str] | np.ndarray, labels: Any = None, n_boot: int = 1000, seed: int = 0
) -> Agreement:
    """How far repeated answers agree, beside what independent answers of the same distribution would give.

    Args:
        answers: strings (n, m), at least 2 columns: names of classes, or ``unparsed``.
        groups: (n,) references.
        labels: strings (n,), the right answers; then the majority vote is compared with single answers.
        n_boot: resamples of references.
        seed: of the resamples.

    Raises:
        InputError: no strings, no (n, m) array, m below 2, lengths that differ, fewer than 2 references.
    """
    said = strings(answers, "answers", 2)
    images, times = said.shape
    sample = resampled(groups, images, n_boot, seed)
    names, counts = _counted(said)
    rows = _of_images(counts)
    drawn = sample.means(rows | {"unparsed": (said == UNPARSED).mean(1)})
    shares = sample.sums(counts) / (times * sample.sums(np.ones((images, 1))))
    chance = independent(shares, times)
    drawn["kappa"] = divide(drawn["pairwise"] - chance["pairwise"], 1 - chance["pairwise"])
    mode = np.where(rows["tied"], UNPARSED, names[counts.argmax(1)])
    found: dict[str, Any] = {name: told(draws) for name, draws in drawn.items()}
    return Agreement(
        images, sample.weights.shape[1], times, **found,
        chance={name: told(draws) for name, draws in chance.items()},
        response_distribution={str(name): float(share) for name, share in zip(names, shares[0], strict=True)},
        **_voted(said, mode, labels, sample, groups, n_boot, seed),
        table=[
            {"mode": str(mode[i]), "tied": bool(rows["tied"][i]), "mode_share": float(rows["mode_share"][i]),
             "entropy": float(rows["entropy"][i]), "distinct": int(rows["distinct"][i])}
            for i in range(images)
        ],
    )  # fmt: skip


def independent(shares: np.ndarray, times: int) -> dict[str, np.ndarray]:
    """Exact expectations for answers that are drawn independently from a distribution (sums over the multinomial).

    Args:
        shares: (rows, k) distributions over k answers, each row summing to 1.
        times: answers per image, m, at least 2.

    Returns:
        ``mode_share, unanimous, pairwise, entropy`` (plug-in, bits) and ``distinct``, (rows,) each.
    """
    bits = {j: j / times * np.log2(times / j) for j in range(1, times)}
    return {
        "mode_share": _expected_mode_share(shares, times),
        "unanimous": (shares**times).sum(1),
        "pairwise": (shares**2).sum(1),
        "entropy": np.sum([own * binom.pmf(j, times, shares).sum(1) for j, own in bits.items()], axis=0),
        "distinct": (1 - (1 - shares) ** times).sum(1),
    }


def _expected_mode_share(shares: np.ndarray, times: int) -> np.ndarray:
    """E[greatest count] / m, where E[greatest] = m − Σ P(greatest ≤ cap) over caps from 1 to m − 1.

    ``ways[:, cap − 1, d]`` sums the multinomial over the answers met so far when they share d draws, at most ``cap`` each; one more
    answer multiplies it by C(d, j) pʲ for every j ≤ cap.
    """
    ways = np.zeros((len(shares), times - 1, times + 1))
    ways[:, :, 0] = 1
    for share in shares.T[:, :, None, None]:
        more = ways.copy()
        for j in range(1, times):
            more[:, j - 1 :, j:] += comb(np.arange(j, times + 1), j) * share**j * ways[:, j - 1 :, : times + 1 - j]
        ways = more
    return np.asarray(1 - ways[:, :, times].sum(1) / times)


def _counted(said: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different answers (k,) and how often each image got each of them, int (n, k)."""
    names, codes = np.unique(said, return_inverse=True)
    counts = np.zeros((len(said), len(names)), int)
    np.add.at(counts, (np.arange(len(said))[:, None], codes.reshape(said.shape)), 1)
    return names, counts


def _of_images(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of each image, (n,), from its counts of answers (n, k)."""
    times, most, distinct = int(counts[0].sum()), counts.max(1), (counts > 0).sum(1)
    bits = np.asarray(shannon(counts, base=2, axis=1))
    return {
        "mode_share": most / times,
        "unanimous": distinct == 1,
        "pairwise": (counts * (counts - 1)).sum(1) / (times * (times - 1)),
        "entropy": bits,
        "entropy_corrected": bits + (distinct - 1) / (2 * times * np.log(2)),
        "distinct": distinct,
        "tied": (counts == most[:, None]).sum(1) > 1,
    }


def _voted(
    said: np.ndarray, mode: np.ndarray, labels: Any, sample: Resampled, groups: Any, n_boot: int, seed: int
) -> dict[str, Any]:
    """Accuracy of the vote and of single answers; an answer that is unparsed is never right."""
    if labels is None:
        return {"vote": None, "single": None, "gain": None}
    right = strings(labels, "labels")
    same_length(right, len(said), "labels")
    voted = ((mode == right) & (mode != UNPARSED)).astype(float)
    single = ((said == right[:, None]) & (said != UNPARSED)).mean(1)
    drawn = sample.means({"vote": voted, "single": single})
    return {name: told(draws) for name, draws in drawn.items()} | {
        "gain": paired_difference(single, voted, groups, n_boot, seed)
    }


@dataclass(frozen=True)
class Changed(Interval):
    """Share of answers that differ from the first one, over images and changes."""

    images: int
    references: int
    chance: Interval
    """What answers that have nothing to do with the first would give: 1 − Σpq, p and q the shares of the answers before and after."""
    table: Table
    """One row per change: ``change, changed, low, high``; ``chance`` and ``unparsed`` (after it), each with ``_low`` and ``_high``."""

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return asdict(self)


def changed(
    first: Any, others: Any, groups: Sequence[str] | np.ndarray, n_boot: int = 1000, seed: int = 0,
    names: Sequence[str] | None = None,
) -> Changed:  # fmt: skip
    """Share of answers that differ from the answer to the untouched image, or to the first wording.

    Unparsed is an answer like any other: from a class to unparsed is a change, from unparsed to unparsed is none.

    Args:
        first: strings (n,).
        others: strings (n, c), one column per change.
        groups: (n,) references.
        n_boot: resamples of references.
        seed: of the resamples.
        names: of the c changes; numbered from 1 otherwise.

    Raises:
        InputError: no strings, lengths that differ, fewer than 2 references.
    """
    before, after = strings(first, "first answers"), strings(others, "other answers", 1)
    same_length(before, len(after), "first answers")
    names = [str(i + 1) for i in range(after.shape[1])] if names is None else names
    if len(names) != after.shape[1]:
        raise InputError(
            f"Got {len(names)} names for {after.shape[1]} changes. Expected one per column. Name every change once."
        )
    sample = resampled(groups, len(after), n_boot, seed)
    drawn = [_differing(before, answers, sample) for answers in after.T]
    table = [{"change": name} | _columns(own) for name, own in zip(names, drawn, strict=True)]
    share, chance = (told(np.mean([own[name] for own in drawn], axis=0)) for name in ("changed", "chance"))
    return Changed(share.value, share.low, share.high, len(after), sample.weights.shape[1], chance, table)


def _differing(before: np.ndarray, after: np.ndarray, sample: Resampled) -> dict[str, np.ndarray]:
    """Shares of one change on every resample."""
    kinds = np.unique(np.concatenate([before, after]))
    p, q = (sample.sums(answers[:, None] == kinds) / sample.sums(np.ones((len(after), 1))) for answers in (before, after))
    drawn = sample.means({"changed": before != after, "unparsed": after == UNPARSED})
    return {"changed": drawn["changed"], "chance": 1 - (p * q).sum(1), "unparsed": drawn["unparsed"]}


def _columns(drawn: Mapping[str, np.ndarray]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, draws in drawn.items():
        found, start = told(draws), "" if name == "changed" else f"{name}_"
        row |= {name: found.value, f"{start}low": found.low, f"{start}high": found.high}
    return row
