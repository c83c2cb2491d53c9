"""One process's way through its batches: compute one while the last is written, halve what does not fit, leave out what is bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from hooks.ahead import Inputs, Maker, Ready
from hooks.load import Mllm
from hooks.meter import Meter
from hooks.outbox import Outbox, Parcel
from hooks.passes import Passes
from hooks.ragged import joined
from hooks.writer import Writer
from stimuli.errors import InputError
from stimuli.types import Stimulus


class Loop:
    """One process's way through its batches."""

    def __init__(self, mllm: Mllm, writer: Writer, dtype: torch.dtype | None, batch_size: int, strict: bool) -> None:
        self._writer, self._dtype, self._strict = writer, dtype, strict
        self._limit = batch_size
        self._outbox = Outbox()
        self.meter = Meter(mllm.device)
        self.left_out: list[tuple[str, str]] = []

    def __call__(self, batches: Iterator[Ready], passes: Passes, maker: Maker, bar: Any) -> None:
        """Compute, and write each batch while the next is computed."""
        with ThreadPoolExecutor(1) as disk:
            writing: Future[None] | None = None
            try:
                while True:
                    with self.meter.wait("stimuli"):
                        ready = next(batches, None)
                    if ready is None:
                        break
                    self._refuse_unplaced(ready, passes, maker)
                    self._refuse_hopeless(ready)
                    stimuli, parcels = self._computed(ready, passes, maker)
                    self._await(writing)
                    writing = disk.submit(self._write, stimuli, parcels, ready.refused)
                    bar.update(len(ready.stimuli) + len(ready.refused))
                self._await(writing)
            finally:
                disk.shutdown(wait=True)
                self.meter.hooks = passes.seconds
                self.summary = self.meter.summary()
                self._writer.close(self.summary)

    def _await(self, writing: Future[None] | None) -> None:
        """Until the batch before is on disk.

        Raises:
            InputError: it cannot be written.
        """
        try:
            with self.meter.wait("disk"):
                if writing is not None:
                    writing.result()
        except OSError as error:
            raise InputError(
                f"Activations cannot be written to {self._writer.folder} ({error}). What was written before is whole. Make room, or "
                "check the folder, and run the same again: it goes on."
            ) from error

    def _refuse_unplaced(self, ready: Ready, passes: Passes, maker: Maker) -> None:
        bad = passes.unplaced(ready.images)
        if bad:
            ready.refused += [(ready.stimuli[i].id, error) for i, error in bad.items()]
            ready.rejected += len(bad)
            good = [i for i in range(len(ready.images)) if i not in bad]
            ready.stimuli, ready.images = [ready.stimuli[i] for i in good], [ready.images[i] for i in good]
            ready.inputs = maker.inputs(ready.images) if good and ready.inputs is not None else None

    def _refuse_hopeless(self, ready: Ready) -> None:
        """A model that takes none of the first images is not going to take the others; files that cannot be read say nothing."""
        if not ready.stimuli and 1 < len(ready.refused) == ready.rejected and not self.meter.images and not self._writer.done:
            id, error = ready.refused[0]
            raise InputError(f"None of the first {len(ready.refused)} stimuli can be shown to the model. '{id}': {error}")

    def _computed(self, ready: Ready, passes: Passes, maker: Maker) -> tuple[list[Stimulus], list[Parcel]]:
        """One batch, in parts that fit into memory; stimuli that do not even fit alone are left out."""
        stimuli: list[Stimulus] = []
        parcels = []
        start = 0
        while start < len(ready.stimuli):
            size = 1 if ready.inputs is None else min(self._limit, len(ready.stimuli) - start)
            chunk = slice(start, start + size)
            sent = self._fits(passes, maker, ready, chunk, ready.inputs if size == len(ready.stimuli) else None)
            if sent is not None:
                stimuli += ready.stimuli[chunk]
                parcels.append(sent)
                start += size
            elif size > 1:
                self._limit = size // 2
            else:
                error = InputError("It does not fit into memory, not even alone in its batch.")
                ready.refused.append((ready.stimuli[start].id, error))
                start += 1
        return stimuli, parcels

    def _fits(self, passes: Passes, maker: Maker, ready: Ready, chunk: slice, inputs: Inputs | None) -> Parcel | None:
        """The rows of some stimuli on their way; None if memory runs out."""
        images, ids = ready.images[chunk], [stimulus.id for stimulus in ready.stimuli[chunk]]
        try:
            values = passes(inputs or maker.inputs(images), images, ids, self.meter)
            return self._outbox.send(values, self._dtype)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        passes.forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _write(self, stimuli: list[Stimulus], parcels: list[Parcel], refused: list[tuple[str, Exception]]) -> None:
        for id, error in refused:
            if self._strict:
                raise error
            self._leave_out(id, str(error))
        bad: dict[int, list[str]] = {}
        start = 0
        for parcel in parcels:
            parcel.wait()
            bad |= {start + i: sites for i, sites in parcel.bad().items()}
            start += len(next(iter(parcel.values.values())))
        for i, sites in bad.items():
            reason = _not_finite(sites)
            if self._strict:
                raise InputError(f"The stimulus '{stimuli[i].id}' was refused: {reason}")
            self._leave_out(stimuli[i].id, reason)
        good = [i for i in range(len(stimuli)) if i not in bad]
        if not good:
            return
        values = {site: joined([parcel.values[site] for parcel in parcels]) for site in parcels[0].values}
        if bad:
            values = {site: value[good] for site, value in values.items()}
        self.meter.bytes += self._writer.batch([stimuli[i].metadata() for i in good], values)
        self.meter.images += len(good)

    def _leave_out(self, id: str, reason: str) -> None:
        self._writer.skip(id, reason)
        self.left_out.append((id, reason))
        self.meter.skipped += 1


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in told or "out of memory" in told


def _not_finite(sites: Sequence[str]) -> str:
    where = ", ".join(sites[:3]) + (f" and {len(sites) - 3} more" if len(sites) > 3 else "")
    return (
        f"its activations hold NaN or infinity at {where}. Load the model in bfloat16 or float32 (dtype=), or leave these sites "
        "out (sites=)."
    )
