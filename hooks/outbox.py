"""From the device to the processor's memory, beside the next forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from hooks.ragged import Ragged, Rows


@dataclass(frozen=True)
class Parcel:
    """Rows on their way."""

    values: dict[str, Rows]
    finite: dict[str, torch.Tensor]
    """Site to bool per row: whether its sum is finite, which is quick to tell; ``bad`` looks again where it is not."""
    events: tuple[torch.cuda.Event, ...] = ()

    def wait(self) -> None:
        """Until everything has arrived."""
        for event in self.events:
            event.synchronize()

    def bad(self) -> dict[int, list[str]]:
        """Stimuli (by place) with NaN or infinity, and the sites where."""
        found: dict[int, list[str]] = {}
        for site, finite in self.finite.items():
            if not bool(finite.all()):
                value = self.values[site]
                rows = value.rows if isinstance(value, Ragged) else value
                finite = torch.isfinite(rows).flatten(1).all(1)
                shares = finite.split(value.counts) if isinstance(value, Ragged) else finite
                for i, share in enumerate(shares):
                    if not bool(share.all()):
                        found.setdefault(i, []).append(site)
        return found


class Outbox:
    """Sends rows off a GPU on a stream of its own, so that the next pass starts at once; on a CPU it hands them over."""

    def __init__(self) -> None:
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def send(self, values: Mapping[str, Rows], dtype: torch.dtype | None) -> Parcel:
        """Rows in the type they are to be stored in, on their way to the processor's memory.

        Args:
            values: site to rows, on any devices.
            dtype: to store vectors and rows in; None leaves them as they are.
        """
        rows = {site: value.rows if isinstance(value, Ragged) else value for site, value in values.items()}
        rows = {site: row if dtype is None else row.to(dtype) for site, row in rows.items()}
        finite = {site: torch.isfinite(row.flatten(1).sum(1, dtype=torch.float32)) for site, row in rows.items()}
        devices = {row.device for row in rows.values() if row.is_cuda}
        for device in devices:
            stream = self._streams.setdefault(device, torch.cuda.Stream(device))
            stream.wait_stream(torch.cuda.current_stream(device))
        moved = {site: self._move(row) for site, row in rows.items()}
        told = {site: self._move(row) for site, row in finite.items()}
        sent: dict[str, Rows] = {
            site: Ragged(moved[site], value.counts) if isinstance(value, Ragged) else moved[site]
            for site, value in values.items()
        }
        return Parcel(sent, told, tuple(self._streams[device].record_event() for device in devices))

    def _move(self, value: torch.Tensor) -> torch.Tensor:
        if not value.is_cuda:
            return value.cpu()
        stream = self._streams[value.device]
        with torch.cuda.stream(stream):
            target = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            target.copy_(value, non_blocking=True)
        value.record_stream(stream)
        return target
