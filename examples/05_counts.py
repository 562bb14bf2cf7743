"""How many ticks does a brood of grouse chicks carry, by altitude, and how much do places differ?

Elston et al. (2001) counted the ticks on 403 chicks in Scotland. Here a row is a brood: the ticks on all of its chicks,
so the number of chicks is an exposure. Counts vary more between broods than a Poisson distribution allows, hence the
negative binomial; each place has its own intercept.

    python examples/05_counts.py
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bayesmixed as bm

OUTPUT = Path(__file__).parent / "output"
FORMULA = "ticks ~ C(YEAR) + center(HEIGHT) + offset(log(chicks)) + (1 | LOCATION)"


def broods():
    """One row per brood: ticks on all of its chicks."""
    chicks = bm.datasets.load_grouseticks()
    by = chicks.groupby("BROOD")
    found = by[["YEAR", "HEIGHT", "LOCATION"]].first()
    return found.assign(ticks=by["TICKS"].sum(), chicks=by.size()).reset_index()


def draw(est, data):
    """Ticks per chick of each brood, and averages over places with 90 % intervals for a brood of four."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True, layout="constrained")
    heights = np.linspace(data["HEIGHT"].min(), data["HEIGHT"].max(), 40)
    for ax, year in zip(axes, (95, 96, 97), strict=True):
        own = data[data["YEAR"] == year]
        rows = pd.DataFrame({"HEIGHT": heights, "YEAR": year, "chicks": 4, "LOCATION": "a new one"})
        low, high = est.predict_interval(rows, coverage=0.9).T / 4
        ax.fill_between(heights, low, high, alpha=0.2, lw=0, label="90 % of new broods of four")
        ax.plot(heights, est.predict(rows) / 4, label="mean over places")
        ax.plot(heights, est.predict(rows, new_groups="zero") / 4, ls="--", label="the average place")
        ax.plot(own["HEIGHT"], own["ticks"] / own["chicks"], ".", color="0.3", label="broods")
        ax.set(title=f"19{year}", xlabel="height (m)")
        ax.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
        ax.set(ylim=(0, 75), yticks=[0, 1, 5, 10, 20, 40, 60])
    axes[0].set_ylabel("ticks per chick")
    axes[-1].legend(fontsize="small")
    OUTPUT.mkdir(exist_ok=True)
    figure.savefig(OUTPUT / "counts.png", dpi=150)
    plt.close(figure)


def main():
    """Fit, answer, check."""
    mpl.use("Agg")
    data = broods()
    est = bm.MixedModelRegressor(FORMULA, family="negativebinomial", random_state=0).fit(data)
    print(est, est.summary().round(3), est.variance_components().round(3), sep="\n\n")

    per_100 = np.exp(100 * est.coef_[list(est.design_spec_.common_names).index("center(HEIGHT)")])
    print(f"\n100 m higher, a chick carries {per_100:.2f} times as many ticks")
    new = pd.DataFrame({"HEIGHT": [450, 450], "YEAR": 96, "chicks": [1, 4], "LOCATION": "a new one"})
    over, at = est.predict(new), est.predict(new, new_groups="zero")
    interval = est.predict_interval(new, coverage=0.9)
    print(f"a chick at 450 m in 1996: {over[0]:.1f} ticks on average over places, {at[0]:.1f} at the average place")
    print(f"a brood of four there, 90 %: {interval[1, 0]:.0f} to {interval[1, 1]:.0f} ticks")
    draw(est, data)

    assert per_100 < 0.3, "fewer ticks high up"
    assert np.isclose(over[1], 4 * over[0]), "four times the chicks, four times the ticks"
    assert over[0] > 1.2 * at[0], "places differ, and the mean over places is above that of the average place"
    assert (interval == np.floor(interval)).all(), "intervals of counts end at counts"
    inside = np.mean(np.all([data["ticks"] >= (ends := est.predict_interval(data).T)[0], data["ticks"] <= ends[1]], 0))
    assert inside > 0.85, "about nine in ten broods, or more, as counts are discrete"


if __name__ == "__main__":
    main()
