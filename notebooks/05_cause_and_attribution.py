# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The model says noise. Because of the noise?
#
# A probe would only tell that the noise is encoded. Here the model is taken apart while it answers: features are exchanged, attention is
# cut, states are read, pixels are hidden and directions added, each beside a control. The same from the shell: `snellen patch`,
# `knockout`, `lens`, `attribute`, `steer`. Everything else: `docs/cause.md`.
#
# Only a model that answers has causes to look for, and neither shipped patient does. This one has the encoder of `embedded-template` and a
# language model that was taught to say what it sees. In its place: a model of yours that answers, such as `sn.tune(…).mllm`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt

import snellen as sn
from analysis.figures import style
from analysis.figures.attribution import draw_leaders, draw_overlay
from analysis.figures.knockout import draw_knockout
from analysis.figures.lens import lens_figure
from analysis.figures.patching import patching_map
from analysis.figures.steering import draw_dose_response
from snellen.embedded import healthy
from stimuli.pairs import pairs
from stimuli.regions import Region
from stimuli.taxonomy import taxonomy

plt.rcParams["figure.dpi"] = 90
kept = Path(sn.__file__).parents[1] / "benchmarks" / "healthy-1.safetensors"  # of the checkout that snellen was installed from
assert kept.is_file(), f"{kept} is not there: run this from a checkout, or put a model of yours in the place of mllm"
mllm = sn.load(healthy.SHIPPED)
mllm = mllm.with_model(healthy.healthy(healthy.BASES[0], kept.parent, kept=kept))
classes = (
    "noise",
    "brightness",
    "contrast",
    "colorfulness",
)  # what it was found to say of local distortions, on other references
label = taxonomy("paper8").label
region = Region("any", (0.2, 0.4), seed=1)  # shape, and share of the image
shown = sn.stimuli.exam_set(references=10, levels=(5,), seed=1, region=region, measure=False)
shown = [s for s in shown if label(s) in (*classes, "clean")]
quick = {"n_boot": 500, "progress": False}
answers = sn.ask(mllm, shown, **quick)
print(f"{len(shown)} images; balanced accuracy {answers.balanced_accuracy:.0%}, chance {answers.chance:.1%}")
for name in (*classes, "clean"):
    own = [row for row in answers.table if row["label"] == name]
    print(f"{name:12} {sum(row['correct'] for row in own)} of {len(own)} right")

# %% [markdown]
# ## One minimal pair
#
# Every image is distorted in a part only, so that it is known where the answer should come from, and its clean twin is the same image but for
# that part. Noise is the example that is drawn; what is measured below is of all four classes.

# %%
pair = next(p for p in pairs(shown) if label(p.after) == "noise")
said = {row["id"]: row for row in answers.table}
with style():
    figure, axes = plt.subplots(1, 3, figsize=(8.2, 2.4), layout="constrained", width_ratios=(1, 1, 1.6))
    for ax, one in zip(axes, (pair.before, pair.after), strict=False):
        ax.imshow(one.image)
        ax.set_title(f"{label(one)}: it says “{said[one.id]['answer']}”", fontsize=8.5)
        ax.set_axis_off()
    axes[1].contour(pair.after.mask, levels=[0.5], colors="white", linestyles="--", linewidths=1.1)
    for at, (one, colour) in enumerate(((pair.before, "#777777"), (pair.after, "#0072B2"))):
        bars = [said[one.id][f"p_{name}"] for name in (*classes, "clean")]
        axes[2].bar([x + 0.4 * at for x in range(len(bars))], bars, 0.4, color=colour, label=label(one))
    axes[2].set_xticks([x + 0.2 for x in range(len(bars))], (*classes, "clean"), fontsize=7)
    axes[2].set_ylabel("p(answer)")
    axes[2].legend(title="shown", fontsize=7, title_fontsize=7)
    plt.show()

# %% [markdown]
# ## Which features decide?
#
# The clean image is computed with the distorted twin's features at some tokens of one site. Recovery is the share of the way to the twin's
# answer; `region` are the tokens that look mostly at the distorted part, `last` is the position that the answer is said from. The control
# takes the features from a stranger: another reference, and another class.

# %%
some = ["vision.embed", "vision.2", "vision.5", "projector", "llm.0", "llm.1", "llm.3"]
sets = ("image", "region", "last")
exchanged = sn.patch(mllm, pairs(shown), sites=some, sets=sets, directions=("forward",), **quick)
row = exchanged.row("vision.5", "region")
print(
    f"vision.5, region: p(right) {row['low']:.2f} → {row['patched']:.2f}, of the twin {row['high']:.2f}; recovery {row['recovery']:.2f} "
    f"[{row['recovery_low']:.2f}, {row['recovery_high']:.2f}], of a stranger's features {row['recovery_control']:+.2f}"
)
with style():
    display(patching_map(exchanged))  # noqa: F821 - of the notebook

# %% [markdown]
# What tells distorted from clean enters at the tokens of the distorted part, spreads over the whole image within the encoder, and moves
# from there to the last position in the first layers of the language model.
#
# *What it does not show:* how. All that the distortion changed is exchanged together, whatever of it is used; and an image half clean and half
# distorted inside is something the model has never computed.
#
# ## By which way does it get there?
#
# Attention from some positions to others is cut, in one layer at a time and in all of them. The control cuts as many pairs elsewhere.

# %%
cut = sn.knockout(mllm, shown, **quick)
with style():
    figure, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    draw_knockout(ax, cut.table)
    plt.show()

# %% [markdown]
# The last position needs to look at the image itself: with that cut in all layers, its answer falls most of the way to chance. Of single
# layers only the first matters, and the later ones make most of it good. That the question looks at the image changes nothing.
#
# *What it does not show:* which way is taken when none is closed. Others may step in for a cut one, as the later layers do here, so that a small
# change of one layer does not mean a small part in the answer.
#
# ## From which layer on could it be said?
#
# Every state is read with the model's own output head. Better is up.

# %%
read = sn.lens(mllm, shown, **quick)
with style():
    display(lens_figure(read.table))  # noqa: F821 - of the notebook

# %% [markdown]
# *What it does not show:* that something is missing. What cannot be said from a site yet may be encoded there in other directions, as patching
# has just shown of the projector; a tuned lens (`sn.tune_lens`) finds some of them, probes more.
#
# ## Where in the image does it come from?
#
# Three methods say which part of the image speaks for the right answer and against “clean”: the gradient, attention weighted by it
# (`relevancy`), and superpixels hidden one by one (`image-mask`). The mask says which part should. `edges` knows no model, and hollow
# diamonds are the same maps held against other references' masks: what shape and place alone are worth.

# %%
methods = ("gradient", "relevancy", "image-mask", "edges")
found = sn.attribute(mllm, shown, methods=methods, curves=False, **quick)
for row in found.table:
    beyond = "" if row["beyond"] is None else f", beyond other masks {row['beyond']:+.2f} (p {row['p_holm']:.2g} after Holm)"
    print(f"{row['method']:10} AUC {row['auc']:.2f} [{row['auc_low']:.2f}, {row['auc_high']:.2f}]{beyond}")
image = {s.id: s for s in shown}
some = [at for at, id in enumerate(found.ids) if label(image[id]) == "noise"][:2]
with style():
    figure, axes = plt.subplots(2, len(methods), figsize=(6.6, 3.6), layout="constrained")
    for at, own in zip(some, axes, strict=True):
        stimulus = image[found.ids[at]]
        for ax, method in zip(own, methods, strict=True):
            draw_overlay(ax, stimulus.image, found.maps[method][at], stimulus.mask, title="" if at > some[0] else method)
    plt.show()
    figure, ax = plt.subplots(figsize=(7.5, 2.4), layout="constrained")
    draw_leaders(ax, found)
    plt.show()

# %% [markdown]
# *What it does not show:* which method is right in general. The truth here is where the distortion is, and what the encoder found there has been
# spread over the image before it is said: a map can miss the mask because it is wrong or because the model looks elsewhere. `sn.sanity` asks
# whether the maps change at all as weights are randomised.
#
# ## Does the direction make it say so?
#
# The difference between the class means of other references is added to the projector's image tokens of clean images. Random directions are as
# long, and descriptions tell what is left of the content.

# %%
clean = [s for s in shown if s.type is None]
others = sn.stimuli.exam_set(references=16, levels=(5,), seed=0, split="train", measure=False)
steered = sn.dose_response(
    mllm,
    clean,
    others,
    site="projector",
    shown="clean",
    classes=classes,
    doses=(0, 0.5, 1, 2, 4),
    kinds=("means",),
    controls=("random",),
    content=(0, 0.5, 1, 2, 4),
    **quick,
)
with style():
    figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.4), layout="constrained")
    draw_dose_response(axes[0], steered.table)
    draw_dose_response(axes[1], steered.table, value="shape", classes=())
    plt.show()
print(*steered.notes, sep="\n")

# %% [markdown]
# *What it does not show:* that the model finds the class by this direction when nobody adds it. It is enough to be said; whether it is needed is
# what erasing asks (`sn.fit_eraser`, `sn.erased`). And what is said at doses that destroy the content is said of no image.
#
# ## So, because of the noise?
#
# Five ways of asking, each with its own blind spot, are worth more than one: where they enter, features of the distorted part nearly suffice;
# the way to the last position is needed; the word can be said from then on; and a direction that was learnt on other images makes a clean
# image noisy. Maps of pixels say least here: some find the part better than shape and place explain, none finds it well. Where ways of
# asking disagree, that is the finding.
