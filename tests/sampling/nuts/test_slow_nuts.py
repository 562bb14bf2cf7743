"""Real NUTS against lme4, for both group priors, both backends, crossed and nested factors.

``lme4.json`` holds the estimates of lme4 1.1-31 (R 4.2.2; REML), for the same data and formulas.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed

from bayesmixed import HalfNormal, MixedModelRegressor, Normal, datasets
from bayesmixed._compat import dataset, import_arviz
from bayesmixed.posterior.diagnostics import convergence

# a warning of ours is no failure here: what a fit must reach is asserted
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")]

LME4 = json.loads((Path(__file__).parents[2] / "helpers" / "lme4.json").read_text())["fits"]
SLEEP = datasets.load_sleepstudy()
FITS = {
    "sleepstudy_corr": ("Reaction ~ Days + (Days | Subject)", SLEEP, {"nuts_backend": "pymc"}),
    "sleepstudy_ind": ("Reaction ~ Days + (Days || Subject)", SLEEP, {"nuts_backend": "nutpie"}),
    "Penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", datasets.load_penicillin(), {"draws": 2000}),
    "Pastes": ("strength ~ 1 + (1 | batch/cask)", datasets.load_pastes(), {}),
}


@pytest.fixture(scope="module")
def fits():
    """Fit each model once."""
    made = {}

    def fit(name):
        if name not in made:
            formula, frame, options = FITS[name]
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                made[name] = MixedModelRegressor(formula, sampler="nuts", random_state=1, **options).fit(frame)
        return made[name]

    return fit


def draws_of(posterior, row):
    """Draws of a row of lme4's VarCorr."""
    factor = {"cask:batch": "batch:cask", "Subject.1": "Subject"}.get(row["grp"], row["grp"])
    rename = {"(Intercept)": "Intercept"}
    if factor == "Residual":
        return posterior["sigma"].values.ravel()
    if "var2" in row:
        pair = f"{rename.get(row['var1'], row['var1'])}:{row['var2']}"
        return posterior[f"corr_{factor}"].sel({f"{factor}_pair": pair}).values.ravel()
    effect = rename.get(row["var1"], row["var1"])
    return posterior[f"sd_{factor}"].sel({f"{factor}_effect": effect}).values.ravel()


@pytest.mark.parametrize("name", FITS)
def test_lme4s_estimates_lie_inside_the_posterior(name, fits):
    posterior = dataset(fits(name).idata_, "posterior")
    for row in LME4[name]["varcorr"]:
        low, high = np.quantile(draws_of(posterior, row), [0.05, 0.95])
        assert low < row["sdcor"] < high, row
    for label, estimate in LME4[name]["fixef"].items():
        draws = posterior["Intercept"] if label == "(Intercept)" else posterior["beta"].sel(common_effect=label)
        assert abs(float(draws.mean()) - estimate) < 0.25 * float(draws.std()), label


@pytest.mark.parametrize("name", ["sleepstudy_corr", "sleepstudy_ind"])
def test_posterior_sds_are_lme4s_standard_errors(name, fits):
    """An inflated posterior fails: 18 subjects leave the priors little to say.

    The intercept is taken at the mean of Days, where its default priors are stated: of 10 balanced rows for each of 18
    subjects its standard error follows from lme4's variances.
    """
    posterior = dataset(fits(name).idata_, "posterior")
    at_mean = posterior["Intercept"] + 4.5 * posterior["beta"].isel(common_effect=0)
    rows = {(row["grp"].split(".")[0], row.get("var1"), row.get("var2")): row for row in LME4[name]["varcorr"]}
    variance = {key: row["vcov"] if "vcov" in row else row["sdcor"] ** 2 for key, row in rows.items()}
    between = variance["Subject", "(Intercept)", None] + 4.5**2 * variance["Subject", "Days", None]
    between += 9 * variance.get(("Subject", "(Intercept)", "Days"), 0.0)
    se = np.sqrt((between + variance["Residual", None, None] / 10) / 18)

    assert 0.8 < float(at_mean.std()) / se < 1.25
    assert 0.8 < float(posterior["beta"].std()) / LME4[name]["se"]["Days"] < 1.25


@pytest.mark.parametrize("name", ["sleepstudy_corr", "sleepstudy_ind"])
def test_fits_of_sleepstudy_converge(name, fits):
    diagnostics = fits(name).diagnostics_

    assert diagnostics["divergences"] <= 4
    assert diagnostics["max_r_hat"] < 1.02
    assert min(diagnostics["min_ess_bulk"], diagnostics["min_ess_tail"]) > 300


@pytest.mark.parametrize("name", ["Penicillin", "Pastes"])
def test_fits_with_two_factors_mix_slower_but_agree_between_chains(name, fits):
    """Intercept and group means trade off; six samples leave a funnel that costs a few draws in thousands."""
    diagnostics = fits(name).diagnostics_

    assert diagnostics["divergences"] <= 40
    assert diagnostics["max_r_hat"] < 1.05
    assert min(diagnostics["min_ess_bulk"], diagnostics["min_ess_tail"]) > 100


@pytest.mark.parametrize("name", ["sleepstudy_corr", "Pastes"])
def test_collapsed_and_nuts_draw_from_the_same_posterior(name, fits):
    formula, frame, _ = FITS[name]
    collapsed = MixedModelRegressor(formula, sampler="collapsed", random_state=1).fit(frame)._posterior.draws

    for variable, theirs in fits(name)._posterior.draws.values.items():
        ours = collapsed.values[variable]
        means, errors = [], []
        for values in (ours, theirs):
            means.append(values.mean(axis=(0, 1)))
            errors.append(values.std(axis=(0, 1)) / np.sqrt(convergence(values).ess_bulk))
        z = (means[0] - means[1]) / np.hypot(*errors)
        ratio = ours.std(axis=(0, 1)) / theirs.std(axis=(0, 1))
        assert np.abs(z).max() < 4, variable
        assert np.all((ratio > 0.85) & (ratio < 1.15)), variable


def test_summary_has_no_nan_and_the_contracts_names(fits):
    summary = import_arviz().summary(fits("sleepstudy_corr").idata_)

    assert not summary.isna().to_numpy().any()
    assert len(summary) == 1 + 1 + 2 + 1 + 1 + 36


@pytest.mark.parametrize("backend", ["pymc", "nutpie"])
def test_same_seed_same_draws_and_silence(backend, capfd):
    options = {"sampler": "nuts", "draws": 30, "tune": 50, "chains": 2, "nuts_backend": backend}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so short a run has not converged
        first, again, other = (
            MixedModelRegressor("Days + (1 | Subject)", random_state=seed, **options).fit(SLEEP, SLEEP["Reaction"])
            for seed in (3, 3, 4)
        )

    stats = {"lp", "acceptance_rate", "diverging", "energy", "tree_depth", "n_steps", "step_size"}
    assert set(dataset(first.idata_, "sample_stats").data_vars) == stats
    assert 0.5 < first.diagnostics_["acceptance"] < 1
    np.testing.assert_array_equal(first._posterior.draws.values["beta"], again._posterior.draws.values["beta"])
    assert not np.array_equal(first._posterior.draws.values["beta"], other._posterior.draws.values["beta"])
    assert capfd.readouterr() == ("", ""), "progressbar=False says nothing"


def fit_in_worker(seed):
    """One short fit, in a process of joblib's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"sampler": "nuts", "draws": 20, "tune": 20, "chains": 2}
        est = MixedModelRegressor("Days + (1 | Subject)", random_state=seed, **options)
        return est.fit(SLEEP, SLEEP["Reaction"]).intercept_


def test_fits_inside_joblib_workers():
    intercepts = Parallel(n_jobs=2)(delayed(fit_in_worker)(seed) for seed in (1, 2))

    assert np.isfinite(intercepts).all()


def test_weights_equal_repeated_rows():
    """Weight 2 is the row twice, weight 0 no row: the same posterior, within Monte Carlo error."""
    counts = np.arange(180) % 3
    repeated = SLEEP.loc[np.repeat(SLEEP.index, counts)]
    est = MixedModelRegressor("Days + (1 | Subject)", sampler="nuts", random_state=0, nuts_backend="nutpie")
    weighted = est.fit(SLEEP, SLEEP["Reaction"], sample_weight=counts)._posterior.draws
    plain = est.fit(repeated, repeated["Reaction"])._posterior.draws

    for name in ("beta", "sigma", "sd_Subject"):
        a, b = weighted.flat(name).ravel(), plain.flat(name).ravel()
        assert abs(a.mean() - b.mean()) < 0.2 * b.std(), name
        assert 0.85 < a.std() / b.std() < 1.18, name


def test_no_groups_equals_the_conjugate_posterior():
    """With a tight sigma the regression has a closed form: Normal(A^-1 c, A^-1)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)) + np.array([5.0, 0.0])
    y = 1 + X @ [2.0, -1.0] + rng.normal(size=40)
    priors = {"Intercept": Normal(0, 3), "beta": Normal(0, 2), "sigma": HalfNormal(1)}
    est = MixedModelRegressor(priors=priors, sampler="nuts", random_state=0, nuts_backend="nutpie")
    draws = est.fit(X, y)._posterior.draws
    theta = np.column_stack([draws.flat("Intercept"), draws.flat("beta")])
    columns = np.column_stack([np.ones(40), X])
    means, covariances = [], []
    for sigma in draws.flat("sigma")[::8]:  # given sigma, averaged over its draws
        A = columns.T @ columns / sigma**2 + np.diag([1 / 9, 1 / 4, 1 / 4])
        covariances.append(np.linalg.inv(A))
        means.append(covariances[-1] @ columns.T @ y / sigma**2)
    expected_sd = np.sqrt(np.diag(np.mean(covariances, axis=0) + np.cov(np.transpose(means))))

    np.testing.assert_allclose(theta.mean(axis=0), np.mean(means, axis=0), atol=0.15 * expected_sd.max())
    np.testing.assert_allclose(theta.std(axis=0), expected_sd, rtol=0.12)
