"""What ``snellen probe`` probes: a store, or features made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hooks.foreign import Features


def named(store: Path | None, site_names: str | None) -> Path:
    """The folder of a store, where no features are given.

    Raises:
        InputError: there is none, or names are given for its sites.
    """
    from stimuli.errors import InputError

    if store is None:
        raise InputError("Got nothing to probe. Expected a folder that `snellen extract` wrote, or --features FILE. Give one.")
    if site_names is not None:
        raise InputError(f"Got --site-names for {store}, whose sites are named. Leave them out, or choose with --sites.")
    return store


def open_features(store: Path | None, features: Path, labels: Path | None, site_names: str | None) -> Features:
    """Features made elsewhere, instead of a store.

    Raises:
        InputError: both are given, or the features cannot be read.
    """
    from hooks.foreign import read_features
    from stimuli.errors import InputError

    if store is not None:
        raise InputError(f"Got both the activations {store} and --features {features}; expected one of them. Leave one out.")
    return read_features(features, labels, None if site_names is None else site_names.split(","))
