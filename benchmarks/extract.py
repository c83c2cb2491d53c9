"""A whole extraction: memory against the number of stimuli, who waits for whom, and how fast a stored site is opened.

Run ``python benchmarks/extract.py [--quick]`` from the repository root. Every extraction runs in a fresh process; its peak
memory is what the system counted. ``waiting for stimuli`` is the share of the time in which the model stood still because no
stimulus was ready: where it is small, the model is the bottleneck and not the code that reads and distorts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

COUNTS = (200, 2000, 20000)


def extracted(count: int, size: str, out: str, threads: int, workers: int | None) -> dict[str, Any]:
    """One extraction of so many built-in stimuli, in this process; what it measured of itself, and the peak memory in MB."""
    import resource

    import torch

    torch.set_num_threads(threads)
    from benchmarks.large import loaded
    from hooks.extract import extract
    from snellen.models import load
    from stimuli.sets import exam_set

    mllm = load("embedded", device="cpu") if size == "embedded" else loaded(size, "cpu", torch.float32)
    shown = exam_set(-(-count // 8), measure=False, in_memory=False)[:count]
    store = extract(mllm, shown, out=out, workers=workers, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**store.runs[-1], "peak_mb": peak / (1024**2 if sys.platform == "darwin" else 1024)}


def measured(**given: Any) -> dict[str, Any]:
    """The same in a fresh process."""
    with tempfile.TemporaryDirectory() as out:
        code = f"import json; from benchmarks.extract import extracted; print(json.dumps(extracted(out={out!r}, **{given!r})))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result


def memory(counts: tuple[int, ...], threads: int) -> list[dict[str, Any]]:
    """Peak memory of extractions of more and more stimuli."""
    rows = []
    for count in counts:
        found = measured(count=count, size="embedded", threads=threads, workers=None)
        rows.append({"stimuli": count, **found})
        print(
            f"  {count:6} stimuli  peak {found['peak_mb']:7.1f} MB  {found['peak_mb'] / rows[0]['peak_mb']:6.3f} x the first   "
            f"{found['images_per_second']:6.1f} per second"
        )
    return rows


def bottleneck(count: int, threads: int) -> list[dict[str, Any]]:
    """Who waits for whom, with models of several sizes (``benchmarks.large``), and with and without workers."""
    rows = []
    for size, shown in (("embedded", 8 * count), ("tiny", 4 * count), ("base", count)):
        for workers in (0, 1):
            found = measured(count=shown, size=size, threads=threads, workers=workers)
            rows.append({"model": size, "workers": workers, **found})
            print(
                f"  {size:9} workers {workers}  {found['images_per_second']:7.1f} per second  model {found['model_share']:5.1%}  "
                f"waiting for stimuli {found['waiting_for_stimuli'] / found['seconds']:5.1%}  "
                f"for disk {found['waiting_for_disk'] / found['seconds']:5.1%}  overhead {found['overhead']:.3f} x"
            )
    return rows


def reading(megabytes: int) -> list[dict[str, Any]]:
    """How long it takes to open a site of a store, as shards of batches and compacted."""
    import numpy as np
    import torch

    from hooks.compact import compact
    from hooks.store import Store
    from hooks.writer import Writer

    rows = []
    with tempfile.TemporaryDirectory() as out:
        writer, count, sites = Writer(out, {"sites": list("abcdefgh")}), 512, "abcdefgh"
        dim = megabytes * 1000**2 // (4 * 8 * count)
        for n in range(8):
            values = {site: torch.randn(count, dim) for site in sites}
            writer.batch([{"id": f"{n}-{i}"} for i in range(count)], values)
        writer.close()
        for name in ("as written", "compacted"):
            if name == "compacted":
                compact(out, progress=False)
            store = Store(out)
            opened, looked = [], []
            for site in sites:
                start = time.perf_counter()
                acts = store.read(site)
                opened.append(time.perf_counter() - start)
                np.asarray(acts.values)
                looked.append(time.perf_counter() - start)
            rows.append(
                {
                    "store": name,
                    "megabytes": megabytes,
                    "open_ms": 1000 * np.median(opened),
                    "array_ms": 1000 * np.median(looked),
                }
            )
            print(
                f"  {megabytes} MB per site, {name:10}  opened in {rows[-1]['open_ms']:6.2f} ms, as one array after "
                f"{rows[-1]['array_ms']:6.2f} ms"
            )
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 and 1,000 stimuli, fewer images (two minutes)")
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    print("a stored site")
    found["reading"] = reading(100)
    print("peak memory (embedded model, all sites, mean-pooled)")
    found["memory"] = memory((200, 1000) if given.quick else COUNTS, given.threads)
    print("who waits for whom")
    found["bottleneck"] = bottleneck(24 if given.quick else 96, given.threads)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
