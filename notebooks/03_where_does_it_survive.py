# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # At which stages can the distortion still be read?
#
# Put a checkpoint folder or a hub id in place of `"embedded"`, and names of its sites in `some`. Folds, resamples and permutations are by
# reference image, so that the intervals say what other images would give. The same from the shell: `snellen extract`, then
# `snellen probe --out`. Which call answers which question: `docs/probing.md`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import snellen as sn
from analysis.figures import style
from analysis.figures.kinds import draw_types
from analysis.figures.maps import maps_figure
from analysis.figures.probing import draw_bits, draw_differences, draw_probe
from probes.sweep import lost

plt.rcParams["figure.dpi"] = 90
mllm = sn.load("embedded")
stimuli = sn.stimuli.exam_set(references=24, levels=(2, 3, 4, 5), seed=0)
store = sn.extract(mllm, stimuli, progress=False)  # once, for every question below
some = ["vision.0", "vision.2", "vision.5", "projector", "llm.3"]
quick = {"n_boot": 500, "progress": False}  # more, and all sites, for a paper
print(len(store.ids), "stimuli;", ", ".join(store.sites))

# %% [markdown]
# ## The survival curve
#
# A probe per site and class of distortion, with the baselines that a score has to beat: a model of the same architecture that
# has learnt nothing, and plain statistics of the pixels.

# %%
read = mllm.stages.read_layer  # what the projector reads
blank = sn.extract(sn.random_weights(mllm, seed=0), stimuli, [read], progress=False).read(read)
statistics = sn.input_statistics(mllm, stimuli, progress=False)["pixels"]
result = sn.sweep(store, baselines={"random-weights": blank, "pixel-statistics": statistics}, **quick)
with style():
    figure, ax = plt.subplots(figsize=(8.2, 3.5), layout="constrained")
    draw_probe(ax, result.table, "distortion class")
    plt.show()

# %% [markdown]
# One row of the table: `control` is the same probe on labels shuffled within each reference, so its interval should hold `chance`;
# `content` is whether the site tells the references apart. A site that is low in both holds little of anything.

# %%
row = result.row("vision.5")
{name: round(row[name], 3) for name in ("score", "low", "high", "control", "control_low", "control_high", "content", "chance")}

# %% [markdown]
# ## Where is the drop, and is it one?
#
# Three steps along the way, paired over the same stimuli, with Holm's correction. Then every site against the best: filled are
# those that cannot be told from it.

# %%
for step in lost(result, read):
    print(
        f"{step['from']} → {step['to']}: {100 * step['change']:+.0f} points [{100 * step['low']:+.0f}, {100 * step['high']:+.0f}], "
        f"p {step['p_holm']:.2g} after Holm"
    )
component = {row["site"]: row["component"] for row in result.table}
differences = [{**row, "component": component[row["site"]]} for row in result.differences()]
with style():
    figure, ax = plt.subplots(figsize=(8.2, 2.8), layout="constrained")
    draw_differences(ax, differences, result.best_sites())
    plt.show()

# %% [markdown]
# ## Is it more than a control would show?
#
# The control task (Hewitt and Liang 2019) gives each type and level a random class: what a probe scores there, it has learnt by
# heart. Equal dimension asks whether the wider sites only have more to offer.

# %%
selective = sn.control_task(store, sites=some, assignments=2, **quick)
same = sn.equal_dimension(store, sites=some, projections=1, **quick)
for site in some:
    a, b = selective.row(site), same.row(site)
    print(
        f"{site:10} score {a['score']:.2f}, control task {a['control']:.2f}, selectivity {a['selectivity']:+.2f} "
        f"[{a['selectivity_low']:+.2f}, {a['selectivity_high']:+.2f}]; in {same.d} dimensions {b['pca']:.2f}"
    )

# %% [markdown]
# ## In bits
#
# How cheaply the labels are told to somebody who has the activations (online code; Voita and Titov 2020), and how many of the three bits
# a probe can use (Xu et al. 2020). Usable information may rise along the way: a layer can bring out what was there.

# %%
code = sn.description_length(store, sites=some, orders=1, **quick)
usable = sn.usable_information(store, sites=some, **quick)
with style():
    figure, axes = plt.subplots(2, 1, figsize=(7, 4.2), layout="constrained", sharex=True)
    draw_bits(axes, code.table, usable.table)
    plt.show()

# %% [markdown]
# The stimuli that are hardest for a probe at the best site:

# %%
for row in sorted(usable.pvi("vision.2"), key=lambda row: row["pvi"])[:3]:
    print(f"{row['id']}: {row['label']}, {row['pvi']:+.1f} bits, {'right' if row['right'] else 'wrong'}")

# %% [markdown]
# ## How strong, and which types?
#
# A number instead of a class: measured severity (SSIM). A probe that knows the type knows some of the severity (`type_only`);
# `within_type` is free of that.

# %%
severity = sn.severity_sweep(store, "severity", sites=some, **quick)
for row in severity.table:
    print(
        f"{row['site']:10} SRCC {row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}], within a type {row['within_type']:.2f}, "
        f"from the type alone {row['type_only']:.2f}, shuffled {row['control']:+.2f}"
    )

# %% [markdown]
# Each type alone against the clean images of the same references. The number is the mildest level from which on it is detected.

# %%
types = sn.type_sweep(store, sites=some, penalties=(10.0, 100.0), **quick)
with style():
    figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    figure.colorbar(draw_types(ax, types.table), ax=ax, label="AUC against clean", pad=0.1)
    plt.show()

# %% [markdown]
# ## Does it carry over?
#
# Trained on the milder half of every class, tested on the stronger, at references that were not trained on:

# %%
shift = sn.transfer_sweep(store, by="severity", sites=["vision.2", "vision.4"], **quick)
for row in shift.table:
    print(
        f"{row['site']}: {row['score']:.2f} instead of {row['inside']:.2f}, change {row['change']:+.2f} "
        f"[{row['change_low']:+.2f}, {row['change_high']:+.2f}]"
    )

# %% [markdown]
# ## Where in the image?
#
# Distorted in a box only, kept as cells of a grid, and mapped by probes that saw no version of the same reference. Boxes rarely
# touch the edge, so that a map of no image at all ("position": the mean mask of other references) does well; `paired` takes from
# each map that of the clean image of the same reference, so that place and content cancel and 0.5 is chance.

# %%
local = sn.stimuli.exam_set(references=24, levels=(4, 5), seed=1, region="box", measure=False)
cells = sn.extract(mllm, local, ["vision.2", "vision.5", "projector"], "grid:8", progress=False)
maps = sn.distortion_maps(cells, local, rows=3000, penalties=(1000.0,), n_boot=200, progress=False)
for row in maps.table:
    print(
        f"{row['site']:18} AUC of the cells {row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}], "
        f"paired {row['paired']:.2f} [{row['paired_low']:.2f}, {row['paired_high']:.2f}]"
    )
shown = [s for s in local if s.type is not None][3:30:10]
at = [maps.ids.index(s.id) for s in shown]
with style():
    figure = maps_figure(
        shown, {site: maps.maps[site][at] for site in cells.sites}, {site: maps.scores[site]["auc"][at] for site in cells.sites}
    )
    display(figure)  # noqa: F821 - of the notebook

# %% [markdown]
# ## Does the model use it?
#
# Erase the distortion at a site (LEACE; Belrose et al. 2023), fitted to one half of the references, and ask about the other half. An
# answer that is at chance already cannot fall: what moves here is what probes find behind the site. The control takes out as many other
# directions, of as much variance.

# %%
names = np.random.default_rng(0).permutation(sorted({s.reference for s in stimuli}))
erasure = sn.fit_eraser(store, "vision.3", references=names[:12].tolist(), control_seeds=1)
control = {"matched": {"vision.3": erasure.controls["matched-0"]}}
half = [s for s in stimuli if s.reference in set(names[12:])]
after = sn.erased(
    mllm,
    half,
    {"vision.3": erasure},
    controls=control,
    sites=["vision.3", "vision.4"],
    captions=False,
    n_boot=200,
    progress=False,
)
for row in after.table:
    changed = "" if row["changed"] is None else f", {row['changed']:.0%} of the answers become others"
    print(f"{row['condition']:8} answers {row['balanced_accuracy']:.1%}{changed}")
for row in after.probes:
    print(
        f"{row['condition']:8} {row['site']} {row['before']:.2f} → {row['after']:.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
    )
