"""What would you do, and what do you do, when it is somebody else's fault? Answers no, perhaps, yes are ordered.

316 persons answered 24 questions on verbal aggression (De Boeck & Wilson, 2004). The model has one scale of readiness
with two thresholds on it, crossed effects of persons and questions, and probabilities for a person who has not been
asked. The picture shows these next to the shares among all persons.

    python examples/08_ordered.py
"""

from itertools import product
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bayesmixed as bm

OUTPUT = Path(__file__).parent / "output"
FORMULA = "resp ~ btype + situ + mode + (1 | id) + (1 | item)"
COLOURS = ["#d9d9d9", "#9ecae1", "#2171b5"]


def main():
    """Fit, look at thresholds and effects, predict a new person."""
    mpl.use("Agg")
    data = bm.datasets.load_verbagg()
    est = bm.MixedModelClassifier(FORMULA, family="cumulative", random_state=0).fit(data)
    effects = est.common_effects()
    print(est, effects.round(2), est.variance_components().round(2), sep="\n\n")

    combinations = list(product(["curse", "scold", "shout"], ["want", "do"]))
    new = pd.DataFrame(combinations, columns=["btype", "mode"]).assign(situ="other", id="new", item="new")
    p = est.predict_proba(new)
    asked = data[data["situ"] == "other"].groupby(["btype", "mode"])["resp"].value_counts(normalize=True).unstack()
    shares = asked.loc[combinations, est.classes_].to_numpy()
    table = pd.DataFrame(np.column_stack([p, shares]).round(2), pd.MultiIndex.from_tuples(combinations))
    table.columns = [*est.classes_, *(f"share {label}" for label in est.classes_)]
    print("\nSomebody else's fault: a new person, and the shares of those who were asked", table, sep="\n\n")

    fig, ax = plt.subplots(figsize=(7.4, 3.6), layout="constrained")
    at, ends = np.arange(len(new)), est.predict_interval(new, coverage=0.5)
    for beside, values, name in ((-0.2, p, "predicted"), (0.2, shares, "observed")):
        below = np.zeros(len(new))
        for k, (label, colour) in enumerate(zip(est.classes_, COLOURS, strict=True)):
            known = {"label": label} if name == "predicted" else {"hatch": "//", "edgecolor": "white"}
            ax.bar(at + beside, values[:, k], 0.36, below, color=colour, **known)
            below += values[:, k]
    ax.set_xticks(at, [f"{what}\n{mode}" for what, mode in combinations])
    ax.set(ylabel="probability (hatched: share of answers)", ylim=(0, 1))
    fig.legend(loc="outside upper center", ncols=3)
    OUTPUT.mkdir(exist_ok=True)
    fig.savefig(OUTPUT / "ordered.png", dpi=150)
    low, high = ends[0, 2]
    print(f"\nTo want to curse, half of all persons say yes with a probability between {low:.2f} and {high:.2f}")

    # estimates by clmm from the R package ordinal
    theirs = {"no|perhaps": -1.005, "perhaps|yes": 0.840, "btype[scold]": -0.925, "btype[shout]": -1.936}
    theirs |= {"situ[self]": -1.119, "mode[want]": 0.688}
    for effect, mean, sd in effects[["effect", "mean", "sd"]].itertuples(index=False):
        assert abs(mean - theirs[effect]) < 0.3 * sd, f"{effect} is close to clmm's estimate"
    assert np.abs(p - shares).max() < 0.12, "probabilities for a new person are close to the shares among all"


if __name__ == "__main__":
    main()
