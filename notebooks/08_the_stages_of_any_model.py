# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which module of a model is which stage?
#
# Put a checkpoint folder or a hub id in place of `"embedded"`; nothing else changes, whatever the family.

# %%
import snellen as sn
from snellen.models import describe_stages

lines, table = describe_stages("embedded", prove=True)
print("\n".join(lines))

# %% [markdown]
# The self-test ran the model once forth and back: every site fired, the answer depends on it, and the image stands where the
# prompt's placeholders are.
#
# ## A large model, from its configuration alone
#
# No weights are loaded: here the default LLaVA-1.5 of 7 billion parameters. Its projector reads the last block but one, so the
# last is a dead end.

# %%
import torch
from transformers import AutoModelForImageTextToText, LlavaConfig

from hooks.stage_table import lines as as_lines
from hooks.stage_table import rows, short

with torch.device("meta"):
    large = AutoModelForImageTextToText.from_config(LlavaConfig())
stages = sn.find_stages(large)
print(short(sum(p.numel() for p in large.parameters())), "parameters; the projector reads", stages.read_layer)
print("\n".join(as_lines(rows(large, stages))))

# %% [markdown]
# ## Whose token is whose
#
# Two images, two prompts of different length. The bookkeeping of a batch tells image, prompt, answer and padding apart, and
# gives every stimulus its own rows at every site.

# %%
import matplotlib.pyplot as plt
import numpy as np

mllm = sn.load("embedded")
stimuli = sn.stimuli.exam_set(references=8, levels=(4, 5), seed=0)
prompts = ["What is it?", "Which distortion does this image show, if any?"]
batch = mllm.inputs([s.image for s in stimuli[:2]], prompts, ["blur", "white noise"])
layout = batch.layout
kinds = np.ones(layout.image.shape, int)
for kind, mask in ((0, layout.padding), (2, layout.image), (3, layout.answer)):
    kinds[mask.numpy()] = kind
figure, ax = plt.subplots(figsize=(9, 1.5), layout="constrained")
colours = plt.matplotlib.colors.ListedColormap(["#ffffff", "#bbbbbb", "#0072B2", "#D55E00"])
ax.imshow(kinds, aspect="auto", cmap=colours, vmin=0, vmax=3, interpolation="none")
ax.set_yticks([0, 1], ["stimulus 1", "stimulus 2"])
ax.set_xlabel("position in the language model's sequence")
names = ("padding", "prompt", "image", "answer")
handles = [plt.matplotlib.patches.Patch(fc=colours(i), ec="#999999", label=name) for i, name in enumerate(names)]
_ = ax.legend(handles=handles, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)

# %% [markdown]
# ## Capture, and change
#
# `sn.capture` reads any sites of a forward pass; `sn.edit` changes what a site passes on, before anything else reads it. Here
# the model first describes 32 images in its own words. Then each site in turn loses what tells the images apart (every image
# token becomes the mean image token of the batch): how much less likely do its own words become?

# %%
from hooks.answer import generate

pictures = [s.image for s in stimuli[:32]]
asked = ["What does this image show?"] * len(pictures)
words = generate(mllm, pictures, asked, progress=False)
inputs = mllm.inputs(pictures, asked, words)
print(words[0], "|", words[8], "|", words[16])


def likelihood() -> float:
    """Mean log-likelihood of the model's own words, nats per token."""
    with torch.no_grad():
        logp = mllm.model(**inputs.tensors).logits[:, :-1].log_softmax(-1)
    targets = inputs.labels[:, 1:]
    spoken = targets >= 0
    return float(logp.gather(2, targets.clamp(min=0)[..., None])[..., 0][spoken].mean())


with sn.capture(mllm, "all") as seen:
    clean = likelihood()

lost = {}
for site in mllm.stages.sites:
    mean = torch.cat(inputs.layout.rows(site, seen[site])).mean(0)
    if site.startswith("llm"):  # only where the image stands
        image = inputs.layout.image[..., None]
        change = lambda own, mean=mean, image=image: torch.where(image, mean, own)  # noqa: E731
    else:
        change = sn.ablate(mean)
    with sn.edit(mllm, {site: change}):
        lost[site] = clean - likelihood()

figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.bar(list(lost), list(lost.values()), color="#0072B2")
ax.set_ylabel("loss of log-likelihood,\nnats per token")
ax.set_title("What its description owes to the image, site by site (embedded, 32 images)")
ax.tick_params(axis="x", rotation=45)

# %% [markdown]
# The image's own positions stop mattering inside the language model once the later positions have read them.

# %% [markdown]
# ## A model that lives outside transformers
#
# Name three places; the same self-test proves them.

# %%
own = sn.load(
    mllm.model,
    mllm.processor,
    stages={
        "vision": "model.vision_tower.encoder.layers.*",
        "projector": "model.multi_modal_projector",
        "llm": "model.language_model.layers.*",
    },
)
print(own.stages.proof.reached, "positions reached per image;", "dead ends:", own.stages.proof.dead or "none")

# %% [markdown]
# What works, and what does not: [which models?](../docs/which-models.md) and the
# [table of families](../docs/families.md).
