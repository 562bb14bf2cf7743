"""How reaction times grow with lack of sleep, and by how much people differ in it.

The data are lme4's sleepstudy: 18 subjects, ten days, one mean reaction time (ms) per subject and day. Each
subject has its own intercept (the reaction time on day 0) and its own slope (ms per day).

The model comes from a thread on the PyMC forum. Its author fitted independent intercepts and slopes with ease.
Correlated ones, with ``pm.LKJCholeskyCov``, were slow, diverged, and left a posterior to rename and clean by hand.
Here one formula is fitted three times, and the posterior needs no cleaning:

1. independent: intercepts and slopes of the subjects are independent;
2. lkj: they may correlate, the priors are scaled by the data (the default);
3. own priors: they may correlate, the priors are those of the thread, in ms.

The first two take a moment: all effects are integrated out, only variances and the correlation are sampled. The
thread's half-normal prior of the intercept cannot be integrated out, so the third runs NUTS, which must be compiled
first.

The script prints the posterior, a table of the three fits next to lme4's estimates, and predictions for a
subject who was not in the data. It saves three pictures in the folder ``output`` next to this file, and ends
by checking all of this. It takes about a minute:

    python examples/sleepstudy.py
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde

import bayesmixed as bm
from bayesmixed import plots

matplotlib.use("Agg")  # draw to files, never open a window

OUTPUT = Path(__file__).parent / "output"
FORMULA = "Reaction ~ Days + (Days | Subject)"
NEW_SUBJECT = 999  # a label that is not in the data
Z90 = 1.645  # a normal distribution has 90 % of its mass within 1.645 standard deviations

# lmer(Reaction ~ Days + (Days | Subject), sleepstudy) in lme4 1.1-31, REML
LME4 = {
    "Intercept (ms)": 251.405,
    "Days (ms/day)": 10.467,
    "sd of intercepts (ms)": 24.741,
    "sd of slopes (ms/day)": 5.922,
    "correlation": 0.066,
    "sigma (ms)": 25.592,
}

# Okabe & Ito's colours, which colour-blind readers can distinguish
BLUE, ORANGE = "#0072B2", "#D55E00"
CHAIN_COLOURS = [BLUE, ORANGE, "#009E73", "#CC79A7"]
BAND_OF_LINE = {"color": BLUE, "alpha": 0.35, "linewidth": 0}
BAND_OF_OBSERVATION = {"color": BLUE, "alpha": 0.15, "linewidth": 0}


def fit_models(data):
    """Fit the three models; a dict of fitted estimators."""
    own_priors = {
        "Intercept": bm.HalfNormal(100),
        "beta": bm.Normal(0, 100),
        "sd_Subject": bm.HalfNormal(100),
        "sigma": bm.HalfNormal(100),
    }
    models = {
        "independent": bm.MixedModelRegressor(FORMULA, group_prior="independent", random_state=1),
        "lkj": bm.MixedModelRegressor(FORMULA, group_prior="lkj", random_state=2),
        "own priors": bm.MixedModelRegressor(FORMULA, priors=own_priors, lkj_eta=1, sampler="nuts", random_state=3),
    }
    return {name: model.fit(data) for name, model in models.items()}


def main_parameters(model):
    """Posterior draws of the parameters of most interest, each of dims (chain, draw)."""
    posterior = model.idata_["posterior"]
    sd = posterior["sd_Subject"]
    draws = {
        "Intercept (ms)": posterior["Intercept"],
        "Days (ms/day)": posterior["beta"].sel(common_effect="Days"),
        "sd of intercepts (ms)": sd.sel(Subject_effect="Intercept"),
        "sd of slopes (ms/day)": sd.sel(Subject_effect="Days"),
    }
    if "corr_Subject" in posterior:  # independent effects have no correlation
        draws["correlation"] = posterior["corr_Subject"].sel(Subject_pair="Intercept:Days")
    return draws | {"sigma (ms)": posterior["sigma"]}


def parameter_table(models):
    """Posterior mean and sd of the main parameters, with models side by side and lme4's estimates last."""
    columns = {}
    for name, model in models.items():
        parameters = main_parameters(model)
        columns[name, "mean"] = {label: float(draws.mean()) for label, draws in parameters.items()}
        columns[name, "sd"] = {label: float(draws.std()) for label, draws in parameters.items()}
    columns["lme4", "estimate"] = LME4
    return pd.DataFrame(columns, index=list(LME4))


def sampling_table(models):
    """How well sampling went: one row per model."""
    table = pd.DataFrame.from_dict({name: model.diagnostics_ for name, model in models.items()}, orient="index")
    table["seconds"] = [sum(model.diagnostics_["seconds"].values()) for model in models.values()]
    table = table[["sampler", "divergences", "max_r_hat", "min_ess_bulk", "min_ess_tail", "seconds"]]
    return table.astype({"min_ess_bulk": int, "min_ess_tail": int}).round({"max_r_hat": 3, "seconds": 3})


def interval(draws):
    """Lower and upper end of the 90 % interval of each row."""
    low, high = draws.quantile([0.05, 0.95], dim=("chain", "draw")).values
    return low, high


def predict_frame(model, frame, new_groups="sample"):
    """The frame with predictions: mean and std, 90 % intervals of the mean and of a new observation."""
    mean, std = model.predict(frame, return_std=True, new_groups=new_groups)
    mean_low, mean_high = interval(model.predict_draws(frame, kind="mean", new_groups=new_groups))
    low, high = interval(model.predict_draws(frame, kind="response", new_groups=new_groups))
    return frame.assign(mean=mean, std=std, mean_low=mean_low, mean_high=mean_high, low=low, high=high)


def predict_new(model):
    """Predictions for a new subject: one from the population ("sample"), or the average one ("zero")."""
    frame = pd.DataFrame({"Days": np.arange(10), "Subject": NEW_SUBJECT})
    return {mode: predict_frame(model, frame, new_groups=mode) for mode in ("zero", "sample")}


def new_subject_table(new):
    """The new subject on four days in both modes, side by side, in ms."""
    names = {"mean": "mean", "std": "std", "low": "5 %", "high": "95 %"}
    tables = {f'new_groups="{mode}"': frame.set_index("Days").loc[[0, 3, 6, 9]] for mode, frame in new.items()}
    return pd.concat({mode: table[list(names)].rename(columns=names) for mode, table in tables.items()}, axis=1)


def plot_traces(model, path):
    """Densities and traces of all parameters; the subjects' intercepts and slopes have their own panels."""
    split = bm.split_group_effects(model.idata_)  # one variable per group effect
    parameters = {
        "Intercept (ms)": split["Intercept"],
        "beta[Days] (ms/day)": split["beta"].sel(common_effect="Days"),
        "sd_Subject_Intercept (ms)": split["sd_Subject_Intercept"],
        "sd_Subject_Days (ms/day)": split["sd_Subject_Days"],
        "corr_Subject[Intercept:Days]": split["corr_Subject"].sel(Subject_pair="Intercept:Days"),
        "sigma (ms)": split["sigma"],
        "b_Subject_Intercept (ms), a line per subject": split["b_Subject_Intercept"],
        "b_Subject_Days (ms/day), a line per subject": split["b_Subject_Days"],
    }
    figure, axes = plt.subplots(len(parameters), 2, figsize=(12, 14), layout="constrained")
    for (label, draws), (left, right) in zip(parameters.items(), axes, strict=True):
        if "Subject" in draws.dims:
            plot_subjects(draws, left, right)
        else:
            plot_chains(draws, left, right)
        left.set_title(label, loc="left", fontsize=11)
        left.set(yticks=[], ylim=(0, None))
        boundaries = draws.sizes["draw"] * np.arange(draws.sizes["chain"] + 1)
        right.set(xticks=boundaries, xticklabels=[], xlim=boundaries[[0, -1]])
        right.grid(axis="x", color="0.5")
    right.set(xticklabels=boundaries, xlabel="Draw, the four chains one after the other")
    axes[0, 0].legend(frameon=False, fontsize=9)
    figure.suptitle("Posterior densities and traces, correlated intercepts and slopes", fontsize=14)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_chains(draws, left, right):
    """One parameter: a density per chain, and the chains' traces one after the other."""
    n = draws.sizes["draw"]
    for chain, colour in zip(draws["chain"].values, CHAIN_COLOURS, strict=True):
        values = draws.sel(chain=chain).values
        plot_density(left, values, colour, label=f"chain {chain}")
        right.plot(chain * n + np.arange(n), values, color=colour, linewidth=0.4)


def plot_subjects(draws, left, right):
    """One effect of every subject, all chains together: dark to light by posterior mean."""
    pooled = draws.stack(sample=("chain", "draw"))
    order = pooled.mean("sample").argsort().values
    for subject, colour in zip(order, plt.colormaps["viridis"](np.linspace(0, 0.88, len(order))), strict=True):
        values = pooled.isel(Subject=subject).values
        plot_density(left, values, colour)
        right.plot(np.arange(0, len(values), 20), values[::20], color=colour, linewidth=0.5)
    right.set_title("every 20th draw", loc="right", fontsize=9)


def plot_density(axis, values, colour, label=None):
    """A kernel density estimate."""
    x = np.linspace(values.min(), values.max(), 200)
    axis.plot(x, gaussian_kde(values)(x), color=colour, linewidth=1, label=label)


def plot_bands(axis, frame):
    """The posterior mean line, with its band and the band of a new observation."""
    days = frame["Days"]
    axis.fill_between(days, frame["low"], frame["high"], label="90 % interval, new observation", **BAND_OF_OBSERVATION)
    axis.fill_between(days, frame["mean_low"], frame["mean_high"], label="90 % interval, line", **BAND_OF_LINE)
    axis.plot(days, frame["mean"], color=BLUE, linewidth=2, zorder=3, label="posterior mean line")


def plot_subject_lines(model, data, path):
    """One panel per subject, ordered by slope: data, fitted line, 90 % intervals, the average line."""
    axes = plots.group_lattice(model, data, x="Days")
    figure = axes[0].figure
    figure.suptitle("Reaction time (ms) by days of sleep deprivation, subjects ordered by slope", fontsize=14)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_new_subject(known, new, path):
    """The average subject next to one drawn from the population, over the data and the subjects' lines."""
    titles = {
        "zero": 'The average subject (new_groups="zero")',
        "sample": f'Subject {NEW_SUBJECT}, never seen (new_groups="sample")',
    }
    figure, axes = plt.subplots(1, 2, figsize=(12, 6.2), sharex=True, sharey=True, layout="constrained")
    for (mode, frame), axis in zip(new.items(), axes, strict=True):
        plot_bands(axis, frame)
        for sign in (-1, 1):
            edge = frame["mean"] + sign * Z90 * frame["std"]
            axis.plot(frame["Days"], edge, color=ORANGE, linestyle="--", label="predict: mean ± 1.645 std")
        for _, mine in known.groupby("Subject"):
            axis.plot(mine["Days"], mine["mean"], color="0.2", linewidth=0.7, label="fitted lines of the 18 subjects")
        axis.plot(known["Days"], known["Reaction"], "o", color="black", alpha=0.6, markersize=3, label="data")
        axis.set_title(titles[mode], fontsize=13)
        axis.set(xlabel="Days of sleep deprivation", xticks=range(10), xlim=(-0.2, 9.2))
    axes[0].set_ylabel("Reaction time (ms)")
    handles, labels = axes[0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))  # labels that occur several times
    axes[0].legend(once.values(), once.keys(), loc="upper left", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def check(models, known, new):
    """Raise an error if anything above is not as it should be."""
    for name, model in models.items():
        assert model.diagnostics_["divergences"] <= 4, f"{name}: more than 0.1 % of the draws diverged"
        assert model.diagnostics_["max_r_hat"] < 1.02, f"{name}: the chains disagree"
        for label, draws in main_parameters(model).items():
            low, high = interval(draws)
            assert low < LME4[label] < high, f"{name}: {label} is far from lme4's estimate"
        assert abs(model.coef_[0] - 10.5) < 0.5, f"{name}: the slope of Days is {model.coef_[0]:.2f}"
    expected = ["Intercept", "beta", "b_Subject", "sd_Subject", "corr_Subject", "sigma"]
    assert list(models["lkj"].idata_["posterior"].data_vars) == expected
    assert not any(frame.isna().any(axis=None) for frame in (known, *new.values()))
    # one mean, two spreads: "sample" adds the population's
    zero, sample = new["zero"], new["sample"]
    assert np.allclose(zero["mean"], sample["mean"])
    assert (sample["std"] > zero["std"]).all()
    # less is known about a subject never seen than about any who was
    for low, high in (("mean_low", "mean_high"), ("low", "high")):
        widest_known = (known[high] - known[low]).groupby(known["Days"]).max()
        assert ((sample[high] - sample[low]).to_numpy() > widest_known.to_numpy()).all()


def main():
    """Fit, print, draw, check."""
    data = bm.datasets.load_sleepstudy()
    models = fit_models(data)
    lkj = models["lkj"]

    print("The posterior of the lkj model", lkj.idata_["posterior"], sep="\n\n")
    print("\nSampling", sampling_table(models).to_string(), sep="\n\n")
    table = parameter_table(models).to_string(float_format="{:.2f}".format, na_rep="-")
    print("\nPosterior means and sds (lme4: REML, correlated effects)", table, sep="\n\n")

    known, new = predict_frame(lkj, data), predict_new(lkj)
    table = new_subject_table(new).to_string(float_format="{:.0f}".format)
    print(f"\nReaction time (ms) of subject {NEW_SUBJECT}, not in the data", table, sep="\n\n")

    OUTPUT.mkdir(exist_ok=True)
    plot_traces(lkj, OUTPUT / "sleepstudy_traces.png")
    plot_subject_lines(lkj, data, OUTPUT / "sleepstudy_subjects.png")
    plot_new_subject(known, new, OUTPUT / "sleepstudy_new_subject.png")
    print("\nPictures", *sorted(OUTPUT.glob("sleepstudy_*.png")), sep="\n")
    check(models, known, new)
    print("\nAll checks passed.")


if __name__ == "__main__":
    main()
