# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How far does distortion information get on its way to the answer?
#
# Everything runs on the small model that ships with Snellen; put a checkpoint folder in place of `"embedded"` to examine
# your own.

# %%
import snellen as sn

mllm = sn.load("embedded")
print(mllm.provenance["class"], mllm.provenance["parameters"])
print(" → ".join(mllm.stages.sites))

# %% [markdown]
# ## What it is shown
#
# Forty source images, each once per class: seven distortions at KADID-10k's published levels, and clean.

# %%
stimuli = sn.stimuli.exam_set(references=40, levels=(2, 3, 4, 5), seed=0)
stimuli

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 8, figsize=(9, 1.7), layout="constrained")
for ax, stimulus in zip(axes, stimuli[:8], strict=True):
    ax.imshow(stimulus.image)
    ax.set_title(f"{(stimulus.type or 'clean').replace('_', ' ')}\n{stimulus.level or ''}", fontsize=6.5)
    ax.axis("off")

# %% [markdown]
# ## What it says
#
# Forced choice: the class whose wording is the likeliest answer. Chance is one in eight.

# %%
answers = sn.ask(mllm, stimuli, progress=False)
print(f"balanced accuracy {answers.balanced_accuracy:.1%} [{answers.balanced_low:.1%}, {answers.balanced_high:.1%}]")
print({name: f"{share:.0%}" for name, share in answers.response_distribution.items()})

# %% [markdown]
# ## What it knows, site by site
#
# One forward pass per image fills the store; a linear probe per site reads it, always tested on references it has not seen.

# %%
store = sn.extract(mllm, stimuli, progress=False)
result = sn.sweep(store, target="distortion", seed=0, progress=False)
for row in result.table:
    print(f"{row['site']:13} {row['score']:6.1%} [{row['low']:.1%}, {row['high']:.1%}]   shuffled {row['control']:.1%}")

# %% [markdown]
# ## The survival curve
#
# The star at the right end is the answer. Where the curve falls, information stops being linearly usable; where the curve
# stays high and the star is low, it is encoded but not said.

# %%
from analysis.figures import draw_survival, style

survival = {"base": result.table, "chance": answers.chance, "majority": answers.majority}
with style():
    draw_survival(plt.subplots(figsize=(8.2, 3.9))[1], survival, answers.as_dict())

# %% [markdown]
# ## A first verdict
#
# From survival alone; `sn.exam` also tunes each component and decides by what cures.

# %%
verdict = sn.decide(result, mllm.stages.read_layer, answers)
print(verdict.component, "—", verdict.sentence)
