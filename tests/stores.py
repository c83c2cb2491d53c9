"""A store in memory: what probing needs of one on disk."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hooks.activations import Activations


class InMemory:
    """Metadata by id, and values (n, d) by site."""

    rows: Mapping[str, dict[str, Any]]
    values: Mapping[str, np.ndarray]

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.rows)

    def read(self, site: str) -> Activations:
        return Activations(self.ids, self.values[site])

    def metadata(self, id: str) -> dict[str, Any]:
        return self.rows[id]
