"""Do intercepts and slopes correlate, and does it matter? Independent against LKJ-correlated group effects.

One constructor parameter decides: ``group_prior="independent"`` or ``"lkj"``, the default. Both fits take a moment, so
you can simply run both and look:

- sleepstudy, where the correlation is near zero: the two models agree in everything they share;
- a simulated study of 60 schools, where a school that starts low gains much (correlation -0.8): the posterior finds the
  correlation, and the model that allows it predicts the slope of a new school from the level of its first pupils.

Pictures are saved in ``output`` next to this file: prior against posterior, the group effects, how far they are shrunk,
and whether replicated data look like the data.

    python examples/03_independent_or_correlated.py
"""

from pathlib import Path

import arviz as az
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bayesmixed as bm
from bayesmixed import plots

matplotlib.use("Agg")  # draw to files, never open a window

OUTPUT = Path(__file__).parent / "output"
CORRELATION = -0.8


def simulate_schools(seed=0, n_schools=60, n_pupils=8):
    """Test scores by hours of teaching; the level and the gain of a school correlate."""
    rng = np.random.default_rng(seed)
    sds = np.array([8.0, 2.0])
    covariance = np.outer(sds, sds) * [[1, CORRELATION], [CORRELATION, 1]]
    school = np.repeat(np.arange(n_schools), n_pupils)
    hours = np.tile(np.arange(n_pupils), n_schools)
    effects = rng.multivariate_normal([0, 0], covariance, n_schools)[school]
    score = 50 + effects[:, 0] + (3 + effects[:, 1]) * hours + rng.normal(0, 4, len(school))
    return pd.DataFrame({"score": score, "hours": hours, "school": school})


def fit_both(formula, data):
    """Fit the same formula with both group priors."""
    return {
        prior: bm.MixedModelRegressor(formula, group_prior=prior, random_state=1).fit(data)
        for prior in ("independent", "lkj")
    }


def compare(models, data):
    """Posterior means side by side, and ArviZ's comparison by leave-one-out, with the better model first."""
    means = {prior: model.summary().set_index(["variable", "effect"])["mean"] for prior, model in models.items()}
    return pd.DataFrame(means), az.compare({prior: model.loo(data) for prior, model in models.items()})


def error_of_new_schools(model, seed=1):
    """Mean absolute error for late scores of new schools, after learning from their first two hours."""
    new = simulate_schools(seed, n_schools=200).assign(school=lambda frame: frame["school"] + 1000)
    learned = model.condition(new[new["hours"] < 2])
    late = new[new["hours"] >= 6]
    return float((late["score"] - learned.predict(late)).abs().mean())


def draw(model, data, x, name):
    """Save the five pictures of one model."""
    axes = {
        "prior": plots.prior_posterior(model),
        "caterpillar": plots.caterpillar(model),
        "shrinkage": plots.shrinkage(model, data),
        "replicated": plots.posterior_predictive(model, data),
        "lattice": plots.group_lattice(model, data, x=x, levels=model.design_spec_.groups[0].levels[:12].tolist()),
    }
    for what, drawn in axes.items():
        figure = np.ravel(drawn)[0].figure
        figure.savefig(OUTPUT / f"{name}_{what}.png", dpi=130)
        plt.close(figure)


def main():
    """Fit both priors to both data sets, compare, draw, check."""
    OUTPUT.mkdir(exist_ok=True)
    sleep, schools = bm.datasets.load_sleepstudy(), simulate_schools()
    sleepers = fit_both("Reaction ~ Days + (Days | Subject)", sleep)
    pupils = fit_both("score ~ hours + (hours | school)", schools)
    means, ranked = compare(sleepers, sleep)
    print("sleepstudy: posterior means and leave-one-out", means.round(2).to_string(na_rep="-"), ranked, sep="\n\n")
    of_schools, ranked = compare(pupils, schools)
    print("\nschools: the same", of_schools.round(2).to_string(na_rep="-"), ranked, sep="\n\n")
    errors = {prior: error_of_new_schools(model) for prior, model in pupils.items()}
    print("\nnew schools, mean absolute error of hours 6 and 7 after hours 0 and 1")
    print(*(f"{prior}: {error:.1f}" for prior, error in errors.items()), sep="\n")
    draw(sleepers["lkj"], sleep, "Days", "03_sleepstudy")
    draw(pupils["lkj"], schools, "hours", "03_schools")
    print("\npictures", *sorted(OUTPUT.glob("03_*.png")), sep="\n")

    coefficients = means.loc[["Intercept", "beta"]]
    assert ranked.index[0] == "lkj"
    assert np.allclose(coefficients["independent"], coefficients["lkj"], rtol=0.02), "without correlation the two agree"
    predicted = [model.predict(sleep) for model in sleepers.values()]
    assert np.abs(predicted[0] - predicted[1]).max() < 5, "and predict alike, sigma being 26 ms"
    correlation = pupils["lkj"].idata_["posterior"]["corr_school"]
    low, high = np.quantile(correlation, [0.05, 0.95])
    assert low < CORRELATION < high < -0.5, "with one, it is found"
    assert errors["lkj"] < errors["independent"], "and it helps to predict"


if __name__ == "__main__":
    main()
