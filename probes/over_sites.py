"""One measure at every site: what all tables by site have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hooks.activations import Activations
from probes.targets import Readable, Target
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.tables import Table

COMPONENTS = ("vision", "projector", "llm")
BASELINE = "baseline:"


def over_sites(
    store: Readable,
    target: Target,
    measure: Callable[[str, np.ndarray], Mapping[str, Any]],
    *,
    sites: Sequence[str] | None = None,
    baselines: Mapping[str, Activations] | None = None,
    inputs: Mapping[str, Activations] | None = None,
    progress: bool = True,
    desc: str = "probe",
) -> Table:
    """Rows of a measure, one per site; the activations of one site are in memory at a time.

    Args:
        store: the activations.
        target: whose stimuli are read.
        measure: from a site's name and its rows, (n, d), to columns.
        sites: which; all by default.
        baselines: further features by name, measured as ``baseline:NAME`` (``pixel-statistics``, ``random-weights``).
        inputs: features that stand in for the store's at the sites of that name; without ``sites``, also at sites that it lacks.
        progress: show a progress bar.
        desc: what the bar says.

    Returns:
        Rows with ``order``, ``site``, ``component``, ``dim``, what was measured, and ``dead_end``: the model's answer does not
        depend on this site.

    Raises:
        InputError: what ``measure`` refuses, with the site's name.
    """
    given = dict(inputs or {})
    features: dict[str, Activations | None] = dict.fromkeys(
        sites or (*(site for site in given if site not in store.sites), *store.sites)
    )
    features |= {site: value for site, value in given.items() if site in features}
    features |= {f"{BASELINE}{name}": value for name, value in (baselines or {}).items()}
    table: Table = []
    for order, (site, own) in enumerate(tqdm(features.items(), desc=desc, disable=not progress)):
        values = target.rows(own or store.read(site), site)
        try:
            found = measure(site, values)
        except InputError as error:
            raise InputError(f"At site '{site}': {error}") from error
        row = {"order": order, "site": site, "component": component(site), "dim": values.shape[1]}
        table.append({**row, **found, "dead_end": site in getattr(store, "dead_ends", ())})
    return table


def best_site(table: Table, component: str | None = None) -> str | None:
    """The site of the highest score.

    Args:
        table: of ``over_sites``, with ``score``.
        component: whose sites; by default the model's own (``COMPONENTS``), neither what precedes its first weight nor baselines. Where no
            site bears such a name, as in features of another tool, all but baselines.

    Returns:
        The site; dead ends do not count. None if there is none.
    """
    alive = [row for row in table if not row.get("dead_end")]
    own = [row for row in alive if row["component"] in (COMPONENTS if component is None else (component,))]
    if not own and component is None and not any(row["component"] in COMPONENTS for row in table):
        own = [row for row in alive if row["component"] != "baseline"]
    return max(own, key=lambda row: row["score"])["site"] if own else None


def component(site: str) -> str:
    """``vision``, ``projector`` or ``llm``; ``input`` before the first weight, ``baseline`` beside the model."""
    if site.startswith(BASELINE):
        return "baseline"
    name = site.split(".")[0]
    return name if name in COMPONENTS else "input"
