"""Laws of the collapsed posterior, through the estimator: lme4's estimates, invariances, a quadrature.

``lme4.json`` holds the estimates of lme4 1.1-31 (R 4.2.2; REML), for the same data and formulas.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesmixed import HalfNormal, HalfStudentT, MixedModelRegressor, Normal, datasets
from bayesmixed.posterior.diagnostics import convergence
from helpers.collapsed_twins import dense_log_likelihood, learn
from helpers.twins import where_stated

LME4 = json.loads((Path(__file__).parents[2] / "helpers" / "lme4.json").read_text())["fits"]
SLEEP, PENICILLIN = datasets.load_sleepstudy(), datasets.load_penicillin()
FITS = {
    "sleepstudy_corr": ("Reaction ~ Days + (Days | Subject)", SLEEP),
    "sleepstudy_ind": ("Reaction ~ Days + (Days || Subject)", SLEEP),
    "Dyestuff": ("Yield ~ 1 + (1 | Batch)", datasets.load_dyestuff()),
    "Dyestuff2": ("Yield ~ 1 + (1 | Batch)", datasets.load_dyestuff(second=True)),
    "Penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", PENICILLIN),
    "Pastes": ("strength ~ 1 + (1 | batch/cask)", datasets.load_pastes()),
}
FACTORS = {"cask:batch": "batch:cask", "Subject.1": "Subject"}  # lme4's names, ours


def draws_of(est):
    return est._posterior.draws.values


@pytest.fixture(scope="module")
def fits():
    """Fit each model once."""
    return {
        name: MixedModelRegressor(formula, sampler="collapsed", random_state=1).fit(frame)
        for name, (formula, frame) in FITS.items()
    }


def of_varcorr(est, row):
    """Draws of a row of lme4's VarCorr."""
    values = draws_of(est)
    if row["grp"] == "Residual":
        return values["sigma"]
    name = FACTORS.get(row["grp"], row["grp"])
    if "var2" in row:
        return values[f"corr_{name}"][..., 0]
    effects = next(group.effect_names for group in est.design_spec_.groups if group.name == name)
    return values[f"sd_{name}"][..., effects.index(row["var1"].replace("(Intercept)", "Intercept"))]


@pytest.mark.parametrize("name", FITS)
def test_lme4s_estimates_lie_inside_the_posterior(name, fits):
    est = fits[name]
    for row in LME4[name]["varcorr"]:
        low, high = np.quantile(of_varcorr(est, row), [0.025, 0.975])
        assert (0 if row["sdcor"] == 0 else low) <= row["sdcor"] < high, row
    for label, estimate in LME4[name]["fixef"].items():
        draws = draws_of(est)["Intercept" if label == "(Intercept)" else "beta"]
        assert abs(draws.mean() - estimate) < 0.2 * draws.std(), label


@pytest.mark.parametrize("name", FITS)
def test_posterior_sds_of_common_effects_are_near_lme4s_standard_errors(name, fits):
    """Wider, as they know of the covariances' uncertainty: much so with six batches or samples."""
    most = {"Dyestuff": 1.6, "Dyestuff2": 1.6, "Penicillin": 1.6}.get(name, 1.25)
    for label, se in LME4[name]["se"].items():
        draws = draws_of(fits[name])["Intercept" if label == "(Intercept)" else "beta"]
        assert 0.9 < draws.std() / se < most, label


@pytest.mark.parametrize("name", FITS)
def test_chains_converge(name, fits):
    diagnostics = fits[name].diagnostics_

    assert diagnostics["max_r_hat"] <= 1.01
    assert min(diagnostics["min_ess_bulk"], diagnostics["min_ess_tail"]) >= 400
    assert diagnostics["k_hat"] < 0.5
    assert diagnostics["passes"] == 1


@pytest.mark.parametrize("name", FITS)
def test_exact_means_are_the_means_of_the_draws(name, fits):
    draws = fits[name]._posterior.draws
    for variable, mean in draws.means.items():
        values = draws.values[variable]
        error = values.std(axis=(0, 1)) / np.sqrt(convergence(values).ess_bulk)
        assert np.abs((values.mean(axis=(0, 1)) - mean) / error).max() < 4.5, variable


def test_lp_is_the_log_density_of_covariances_and_sigma():
    """Of log sd, log sigma and the correlation's own coordinate, but for a constant; the effects are integrated out."""
    model = learn("Days + (Days | Subject)", SLEEP, y=SLEEP["Reaction"].to_numpy())
    est = MixedModelRegressor("Days + (Days | Subject)", priors=model.priors, random_state=1, draws=500)
    draws = est.fit(SLEEP, SLEEP["Reaction"])._posterior.draws
    rest = []
    for i in range(0, 2000, 100):
        sd, rho = draws.flat("sd_Subject")[i], draws.flat("corr_Subject")[i, 0]
        sigma = draws.flat("sigma")[i]
        expected = dense_log_likelihood(model.design, model.priors, sigma, [(sd, np.array([[1, rho], [rho, 1]]))])
        sd, R = where_stated(model.priors, model.design.groups[0], sd, np.array([[1, rho], [rho, 1]]))
        rho = R[0, 1]
        expected += sum(p.log_density(v) for p, v in zip(model.priors.group_sd["Subject"].values(), sd, strict=True))
        expected += model.priors.auxiliary["sigma"].log_density(sigma) + np.log(sd).sum() + np.log(sigma)
        expected += model.priors.lkj_eta["Subject"] * np.log(1 - rho**2)
        rest.append(draws.sample_stats["lp"].ravel()[i] - expected)

    assert np.ptp(rest) < 1e-6


def test_dyestuff2_equals_the_quadrature():
    """Two dimensions, six batches of five: sd and sigma on a grid, the batch means and the spread being sufficient."""
    frame = FITS["Dyestuff2"][1]
    y = frame["Yield"].to_numpy().reshape(6, 5)
    priors = {"Intercept": Normal(5, 3), "sd_Batch": HalfNormal(3), "sigma": HalfStudentT(4, 4)}
    est = MixedModelRegressor(
        "Yield ~ 1 + (1 | Batch)", priors=priors, draws=4000, random_state=0, sampler="collapsed"
    ).fit(frame)
    tau, sigma = np.meshgrid(np.linspace(0.002, 12, 400), np.linspace(1.5, 9, 300), indexing="ij")
    means = y.mean(axis=1)
    within, between = sigma**2, tau**2 + sigma**2 / 5
    log_p = priors["sd_Batch"].log_density(tau) + priors["sigma"].log_density(sigma)
    log_p -= 12 * np.log(within) + 0.5 * np.square(y - means[:, None]).sum() / within
    # the batch means are normal about the intercept, whose prior is Normal(5, 3)
    precision = 6 / between + 1 / 9
    log_p -= 3 * np.log(between) + 0.5 * np.log(precision) + 0.5 * np.square(means).sum() / between
    log_p += 0.5 * np.square(means.sum() / between + 5 / 9) / precision
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    for name, grid in [("sd_Batch", tau), ("sigma", sigma)]:
        values = draws_of(est)[name].reshape(4, 4000)
        ess = float(convergence(values).ess_bulk)
        mean = (weight * grid).sum()
        sd = np.sqrt((weight * np.square(grid - mean)).sum())
        assert abs(values.mean() - mean) < 4 * sd / np.sqrt(ess), name
        assert values.std() == pytest.approx(sd, rel=0.05), name
        below = weight[grid < np.median(values)].sum()
        assert abs(below - 0.5) < 4 * 0.5 / np.sqrt(ess), name


# ---- invariances


def same(a, b, rename=(), **factors):
    """All draws equal but for rounding; `factors` are the sizes of b's variables over a's."""
    assert list(a) == list(b)
    for name, values in a.items():
        expected = np.asarray(factors.get(name, 1.0)) * values
        np.testing.assert_allclose(b[name], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("name", FITS)
def test_the_order_of_the_rows_does_not_matter(name, fits):
    formula, frame = FITS[name]
    shuffled = frame.sample(frac=1, random_state=0)

    same(draws_of(fits[name]), draws_of(MixedModelRegressor(formula, random_state=1).fit(shuffled)))


def test_names_of_levels_do_not_matter(fits):
    """With other labels in the same order, every draw is the same; with another order, everything but the effects'."""
    label = "s" + SLEEP["Subject"].astype(str)
    same_order = MixedModelRegressor(FITS["sleepstudy_corr"][0], random_state=1).fit(SLEEP.assign(Subject=label))
    same(draws_of(fits["sleepstudy_corr"]), draws_of(same_order))
    turned = MixedModelRegressor(FITS["sleepstudy_corr"][0], random_state=1).fit(
        SLEEP.assign(Subject=-SLEEP["Subject"])
    )
    ours, theirs = ({k: v for k, v in draws_of(e).items() if k != "b_Subject"} for e in (same_order, turned))
    same(ours, theirs)
    means = (e._posterior.draws.means["b_Subject"] for e in (same_order, turned))
    np.testing.assert_allclose(next(means), next(means)[::-1], rtol=1e-6)


def test_the_name_of_a_factor_does_not_matter_to_what_is_sampled(fits):
    renamed = MixedModelRegressor("Reaction ~ Days + (Days | Person)", random_state=1).fit(
        SLEEP.rename(columns={"Subject": "Person"})
    )
    ours, theirs = draws_of(fits["sleepstudy_corr"]), draws_of(renamed)

    for variable in ("Intercept", "beta", "sigma"):
        np.testing.assert_array_equal(ours[variable], theirs[variable])
    np.testing.assert_array_equal(ours["corr_Subject"], theirs["corr_Person"])


@pytest.mark.parametrize("priors", [None, "stated"])
def test_units_of_response_and_slope_scale_the_draws(priors, fits):
    """Milliseconds to seconds, days to hours: the same numbers in other units, default priors scaling along."""
    formula = FITS["sleepstudy_corr"][0]
    in_hours = SLEEP.assign(Days=24 * SLEEP["Days"], Reaction=SLEEP["Reaction"] / 1000)
    given = [None, None]
    if priors:
        given = [
            {
                "Intercept": Normal(250 * y, 100 * y),
                "Days": Normal(0, 20 * y / x),
                "sd_Subject": {"Intercept": HalfNormal(50 * y), "Days": HalfNormal(10 * y / x)},
                "sigma": HalfNormal(40 * y),
            }
            for y, x in [(1, 1), (1 / 1000, 24)]
        ]
    plain, scaled = (
        MixedModelRegressor(formula, priors=p, random_state=1).fit(frame)
        for p, frame in zip(given, (SLEEP, in_hours), strict=True)
    )
    y, slope = 1 / 1000, 1 / 24_000

    pair = [y, slope]
    same(draws_of(plain), draws_of(scaled), Intercept=y, beta=slope, sigma=y, b_Subject=pair, sd_Subject=pair)


def test_a_shift_of_the_response_shifts_the_intercept(fits):
    formula = FITS["sleepstudy_corr"][0]
    shifted = MixedModelRegressor(formula, random_state=1).fit(SLEEP.assign(Reaction=SLEEP["Reaction"] + 1e4))
    ours, theirs = draws_of(fits["sleepstudy_corr"]), draws_of(shifted)

    same(ours, theirs | {"Intercept": theirs["Intercept"] - 1e4})


@pytest.mark.parametrize("name", ["sleepstudy_corr", "Penicillin", "Pastes"])
def test_a_weight_of_two_is_the_row_twice_and_zero_is_no_row(name):
    formula, frame = FITS[name]
    counts = np.random.default_rng(0).integers(0, 3, len(frame))
    weighted = MixedModelRegressor(formula, random_state=1).fit(frame, sample_weight=counts)
    repeated = MixedModelRegressor(formula, random_state=1).fit(frame.loc[np.repeat(frame.index, counts)])

    same(draws_of(weighted), draws_of(repeated))


def test_offset_is_subtracted_from_the_response():
    frame = SLEEP.assign(known=np.linspace(-40, 90, 180))
    with_offset = MixedModelRegressor("Days + offset(known) + (Days | Subject)", random_state=1)
    subtracted = MixedModelRegressor("Days + (Days | Subject)", random_state=1)
    ours = draws_of(with_offset.fit(frame, frame["Reaction"]))

    same(ours, draws_of(subtracted.fit(frame, frame["Reaction"] - frame["known"])))


def test_fitting_under_the_priors_of_a_fit_is_the_same_fit(fits):
    est = fits["sleepstudy_corr"]
    again = MixedModelRegressor(FITS["sleepstudy_corr"][0], priors=est.priors_, random_state=1).fit(SLEEP)

    same(draws_of(est), draws_of(again))


def test_a_slope_far_from_zero_is_the_centred_model_in_other_words():
    """Years of 2000: default priors do not care, the draws are the same but for rounding."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 8)
    year = 2000.0 + np.tile(np.arange(8), 30)
    b = rng.normal(size=(30, 2)) * [2.0, 0.6]
    y = 3 + 0.5 * (year - 2003.5) + b[group, 0] + b[group, 1] * (year - 2003.5) + rng.normal(size=240)
    frame = pd.DataFrame({"y": y, "year": year, "since": year - 2003.5, "g": group})
    far = MixedModelRegressor("y ~ year + (year | g)", random_state=0).fit(frame)
    near = MixedModelRegressor("y ~ since + (since | g)", random_state=0).fit(frame)

    np.testing.assert_allclose(far.predict(frame), near.predict(frame), atol=1e-8)  # sigma is 1
    np.testing.assert_allclose(draws_of(far)["sd_g"][..., 1], draws_of(near)["sd_g"][..., 1], rtol=1e-8)


def test_columns_that_others_determine_share_what_these_say():
    """One slope in two units: each coefficient is told by its prior alone, their sum by the data."""
    frame = SLEEP.assign(Hours=24 * SLEEP["Days"] + 7, never=0.0)
    with pytest.warns(UserWarning, match="'Hours' is a combination of 'Days' and the intercept; 'never' is all zero"):
        both = MixedModelRegressor("Reaction ~ Days + Hours + never + (1 | Subject)", random_state=0).fit(frame)
    alone = MixedModelRegressor("Reaction ~ Days + (1 | Subject)", random_state=0).fit(frame)
    beta, prior = draws_of(both)["beta"].reshape(-1, 3), both.priors_.common["never"]

    np.testing.assert_allclose(both.predict(frame), alone.predict(frame), atol=0.1)  # sigma is 31
    assert both.coef_ @ [1, 24, 0] == pytest.approx(alone.coef_[0], abs=0.02)
    assert beta[:, 0].std() > 20 * (beta @ [1, 24, 0]).std()
    assert prior.sigma == pytest.approx(2.5 * SLEEP["Reaction"].std(ddof=0)), "of y alone"
    assert beta[:, 2].std() == pytest.approx(prior.sigma, rel=0.05)


def test_a_block_that_the_user_states_far_from_its_data_is_fitted_with_a_warning():
    """The prior of a far intercept says little of the slopes, if it is wide."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 8)
    year = 2000.0 + np.tile(np.arange(8), 30)
    b = rng.normal(size=(30, 2)) * [2.0, 0.6]
    y = 3 + 0.5 * (year - 2003.5) + b[group, 0] + b[group, 1] * (year - 2003.5) + rng.normal(size=240)
    frame = pd.DataFrame({"y": y, "year": year, "g": group})
    priors = {"sd_g": {"Intercept": HalfNormal(1e4)}}
    with pytest.warns(UserWarning, match="far outside the data"):
        far = MixedModelRegressor("y ~ year + (year | g)", priors=priors, random_state=0).fit(frame)
    near = MixedModelRegressor("y ~ year + (year | g)", random_state=0).fit(frame)

    np.testing.assert_allclose(far.predict(frame), near.predict(frame), atol=0.1)  # sigma is 1
    ours, theirs = (draws_of(est)["sd_g"][..., 1].ravel() for est in (far, near))
    assert ours.mean() == pytest.approx(theirs.mean(), rel=0.1)
    assert far.diagnostics_["sampler"] == "collapsed"


def test_data_of_one_row_per_group_leave_the_sd_to_the_sum():
    """Only sd^2 + sigma^2 is known: its posterior is about the variance of y, whatever the split."""
    y = np.random.default_rng(0).normal(0, 2, 200)
    with pytest.warns(UserWarning, match="only the priors distinguish its effects"):
        est = MixedModelRegressor("(1 | g)", random_state=0).fit(pd.DataFrame({"g": np.arange(200)}), y)
    total = np.square(draws_of(est)["sd_g"][..., 0]) + np.square(draws_of(est)["sigma"])
    low, high = np.quantile(total, [0.05, 0.95])

    assert low < y.var() < high
    assert high / low == pytest.approx(np.divide(*stats.chi2(200).ppf([0.95, 0.05])), rel=0.15)
