# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # If one component alone is taught, does the answer come back?
#
# Put a checkpoint folder or a hub id in place of `"embedded"` (for 7B: `method="lora"`, `micro_batch=4`, `recompute=True`). Two components are
# taught here, for a few steps each; the same from the shell: `snellen tune`, `snellen distance`. Everything else: `docs/tuning.md`.

# %%
import matplotlib.pyplot as plt

import snellen as sn
from analysis.figures import style
from analysis.figures.distance import draw_plane
from analysis.figures.distance_map import distance_map
from analysis.figures.forgetting import draw_forgetting
from analysis.figures.movement import draw_movement
from analysis.figures.tuning import draw_training
from analysis.perception import compare_answers
from analysis.plane import plane
from hooks.words import word_embeddings
from stimuli.questions import question
from tuning.lessons import own_words

plt.rcParams["figure.dpi"] = 90
mllm = sn.load("embedded")
train = sn.stimuli.exam_set(references=48, levels=(3, 4, 5), seed=0, split="train", measure=False)
shown = sn.stimuli.exam_set(references=16, levels=(3, 5), seed=0)  # other references
quick = {"n_boot": 300, "progress": False}
print(len(train), "training stimuli,", len(shown), "to report on")

# %% [markdown]
# ## One component at a time
#
# Nothing but the named component moves: the audit holds a checksum over everything else. `align` draws the visual tokens to the word of
# their distortion, `keep` holds everything else in them where it was. What the untouched model says of the content is replayed.

# %%
said = own_words(mllm, train, 32, progress=False)
common = {"steps": 30, "replays": lambda: said, "progress": False}
tuned = {
    "projector": sn.tune(mllm, train, "projector", **common),
    "vision+constraint": sn.tune(mllm, train, "vision", constraint="align+keep", **common),
}
for name, one in tuned.items():
    audit = one.audit
    print(f"{name}: {audit.n_trained:,} of {audit.n_total:,} numbers trained, everything else unchanged: {audit.unchanged}")
with style():
    figure, axes = plt.subplots(1, 2, figsize=(8.2, 3), layout="constrained")
    draw_training(axes[0], {"arms": {name: {"history": one.history} for name, one in tuned.items()}})
    draw_movement(axes[1], tuned["vision+constraint"].audit.layers())
    plt.show()

# %% [markdown]
# ## Does the answer come back?
#
# The same images before and after, other references than those that were learnt from; the gain is paired over references.

# %%
before = sn.ask(mllm, shown, **quick)
print(f"as loaded: {before.balanced_accuracy:.1%}, chance {before.chance:.1%}")
for name, one in tuned.items():
    after = sn.ask(one.mllm, shown, **quick)
    gain = compare_answers(before, after, 300)
    print(f"{name}: {after.balanced_accuracy:.1%}, gain {gain.value:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]")

# %% [markdown]
# ## What was forgotten?

# %%
knew = sn.knowledge(mllm, shown, **quick)
lost = [
    {"arm": name, **row}
    for name, one in tuned.items()
    for row in sn.forgotten(knew, sn.knowledge(one.mllm, shown, **quick), 300)
]
with style():
    figure, ax = plt.subplots(figsize=(8.2, 3.2), layout="constrained")
    draw_forgetting(ax, lost)
    plt.show()

# %% [markdown]
# ## Distance to the word
#
# How far visual tokens lie from the embedding of the word that names their distortion, per site and class; a positive margin says that the
# right word is the nearest. Changes are paired over references.

# %%
stores = {
    name: sn.extract(model, shown, progress=False)
    for name, model in (("before", mllm), ("after", tuned["vision+constraint"].mllm))
}
near = sn.semantic_distance(mllm, shown, store=stores["before"], **quick)
nearer = sn.semantic_distance(tuned["vision+constraint"].mllm, shown, store=stores["after"], **quick)
change = near.compare(nearer, n_boot=300)
for row in change:
    if row["class"] == "all" and row["site"] == "projector":
        print(f"{row['measure']:12} {row['before']:+.3f} → {row['after']:+.3f}, change [{row['low']:+.3f}, {row['high']:+.3f}]")
with style():
    display(distance_map(change, "margin"))  # noqa: F821 - of the notebook

# %% [markdown]
# The projector's tokens before and after and the words, in one projection that was fitted to all of them: for the eye only. Arrows are the
# means of the classes.

# %%
asked = question("distortion")
first, second = (stores[when].read("projector") for when in ("before", "after"))
labels = [str(label) for label in near.labels]
both = plane(
    first.values,
    second.values,
    word_embeddings(mllm, list(asked.options.values())).cpu().numpy(),
    labels,
    first.ids,
    list(asked.options),
)
with style():
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
    draw_plane(axes, both.as_dict(), list(asked.options))
    plt.show()

# %% [markdown]
# ## What happened to the geometry?
#
# How alike every site is before and after (1 is the same), and how many neighbours the projector keeps.

# %%
shape = sn.geometry(
    stores["before"], stores["after"], stimuli=shown, sites=["vision.3", "vision.5", "projector", "llm.3"], progress=False
)
for row in shape.table:
    if row["measure"] in ("cka", "procrustes") or (row["measure"] == "overlap" and row["k"] == 10):
        print(f"{row['site']:10} {row['measure']:10} {row['model']:6} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")
