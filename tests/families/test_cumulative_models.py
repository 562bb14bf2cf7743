"""Ordered responses through the estimator: the posterior's names, predictions, tables, priors, files, conditioning."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmixed as bm
from bayesmixed import FormulaError, LogNormal, MixedModelClassifier, Normal, PriorError, SamplerError, StudentT, plots
from bayesmixed._compat import dataset
from bayesmixed.estimators.after_fit import conditional_log_density
from bayesmixed.estimators.inputs import learn
from helpers.ordered_twins import CLASSES

MODE = "FAST_COMPILE"  # in Python: nothing is compiled
FORMULA = "x + (x | g)"
SCIPYS = {"logit": stats.logistic, "probit": stats.norm}
ENDS = np.array([-1.5, -0.4, 0.6, 2.0])


def make_data(n=240, J=12, seed=0):
    rng = np.random.default_rng(seed)
    g, x = np.arange(n) % J, rng.normal(size=n)
    latent = 0.8 * x + rng.normal(0, 0.7, J)[g] + rng.normal(0, 0.3, J)[g] * x + rng.logistic(size=n)
    return pd.DataFrame({"x": x + 3, "g": g, "y": np.array(CLASSES)[np.searchsorted(ENDS, latent)]})


DATA = make_data()


def make(link=None, formula=FORMULA, **options):
    given = {"classes": CLASSES, "random_state": 0, "draws": 250, **options}
    return MixedModelClassifier(formula, family="cumulative", link=link, **given)


@cache
def fitted(link=None):
    return make(link).fit(DATA, DATA["y"])


def linear_of(est, rows):
    """Draws of the linear predictor of known groups without thresholds, (S, n), and the thresholds, (S, 4)."""
    draws = est._posterior.draws
    b, x = draws.flat("b_g")[:, rows["g"]], rows["x"].to_numpy()
    return draws.flat("beta") * x + b[:, :, 0] + b[:, :, 1] * x, draws.flat("thresholds")


def probabilities(link, thresholds, eta):
    """Of each class, (S, n, 5), by differences of the distribution function."""
    below = SCIPYS[link].cdf(thresholds[:, None] - eta[:, :, None])
    ends = np.zeros((*below.shape[:2], 1)), np.ones((*below.shape[:2], 1))
    return np.diff(np.concatenate([ends[0], below, ends[1]], axis=2), axis=2)


# ---- the posterior


def test_the_posterior_has_thresholds_in_place_of_an_intercept():
    est = fitted()
    posterior = dataset(est.idata_, "posterior")

    assert list(posterior.data_vars) == ["thresholds", "beta", "b_g", "sd_g", "corr_g"]
    assert posterior["thresholds"].dims == ("chain", "draw", "threshold")
    assert posterior["threshold"].values.tolist() == ["none|little", "little|some", "some|much", "much|all"]
    assert (np.diff(posterior["thresholds"].values) > 0).all()
    assert est.diagnostics_["sampler"] == "transport"
    assert est.intercept_ == 0
    assert est.classes_.tolist() == list(CLASSES)


def test_the_fit_finds_what_the_data_were_made_with():
    table = fitted().common_effects()
    truth = [*(ENDS + 0.8 * 3), 0.8]  # at x = 0, which is three from where the data were made

    assert (np.abs(table["mean"] - truth) < 3 * table["sd"]).all()


def test_a_column_is_coded_as_beside_an_intercept_and_none_is_refused():
    rows = DATA.assign(k=np.array(["a", "b", "c"])[np.arange(len(DATA)) % 3])
    est = make(formula="k + (1 | g)", sampler="transport").fit(rows, rows["y"])
    assert est.common_effects()["effect"].tolist()[4:] == ["k[b]", "k[c]"]
    with pytest.raises(FormulaError, match=r"thresholds in place of an intercept.*write the formula without '0 \+'"):
        make(formula="0 + x + (1 | g)").fit(DATA, DATA["y"])


@pytest.mark.parametrize("name", ["threshold", "thresholds", "gaps"])
def test_a_factor_that_is_called_as_a_variable_is_refused(name):
    with pytest.raises(FormulaError, match=f"would add '{name}' to the posterior"):
        make(formula=f"x + (1 | {name})").fit(DATA.rename(columns={"g": name}), DATA["y"])


# ---- predictions


@pytest.mark.numerical
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_probabilities_of_known_groups_are_averages_over_draws(link):
    est, rows = fitted(link), DATA.head(7)
    eta, thresholds = linear_of(est, rows)
    each = probabilities(link, thresholds, eta)

    np.testing.assert_allclose(est.predict_proba(rows), each.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(est.predict_draws(rows, kind="mean").values.reshape(each.shape), each, atol=1e-12)
    np.testing.assert_allclose(est.predict_draws(rows, kind="linear").values.reshape(eta.shape), eta)
    expected = np.quantile(each, [0.05, 0.95], axis=0).transpose(1, 2, 0)
    np.testing.assert_allclose(est.predict_interval(rows), expected, atol=1e-12)
    assert est.predict(rows).tolist() == np.array(CLASSES)[each.mean(axis=0).argmax(axis=1)].tolist()


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_a_new_group_integrates_the_probability_below_each_threshold(link):
    est, rows = fitted(link), DATA.head(3).assign(g=99)
    draws, x = est._posterior.draws, rows["x"].to_numpy()
    sd, R = draws.flat("sd_g"), draws.flat("corr_g")[:, 0]
    v = sd[:, :1] ** 2 + x**2 * sd[:, 1:] ** 2 + 2 * x * (sd[:, 0] * sd[:, 1] * R)[:, None]
    m, thresholds = draws.flat("beta") * x, draws.flat("thresholds")
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    nodes = zip(z, weight, strict=True)
    expected = sum(w * probabilities(link, thresholds, m + np.sqrt(v) * own) for own, w in nodes) / weight.sum()

    np.testing.assert_allclose(est.predict_proba(rows), expected.mean(axis=0), atol=1e-5)
    average = probabilities(link, thresholds, m).mean(axis=0)
    np.testing.assert_allclose(est.predict_proba(rows, new_groups="zero"), average, atol=1e-12)
    assert np.isnan(est.predict_proba(rows, new_groups="nan")).all()
    with pytest.raises(ValueError, match="no most probable class"):
        est.predict(rows, new_groups="nan")


def test_responses_are_classes_whose_shares_are_the_probabilities():
    est, rows = fitted(), DATA.head(4)
    drawn = est.predict_draws(rows).values.reshape(-1, 4)
    shares = np.array([(drawn == k).mean(axis=0) for k in range(5)]).T

    np.testing.assert_allclose(shares, est.predict_proba(rows), atol=4 * np.sqrt(0.25 / len(drawn)))
    eta, thresholds = linear_of(est, rows)
    below = np.cumsum(probabilities("logit", thresholds, eta).mean(axis=0), axis=1)
    for p in (0.05, 0.5, 0.95):
        quantile = est.predict_quantiles(rows, p, kind="response")[:, 0]
        np.testing.assert_array_equal(quantile, (below < p).sum(axis=1))
    predictive = est.sample_posterior_predictive(rows)["posterior_predictive"]["y"]
    assert set(np.unique(predictive)) <= set(range(5))


def test_there_is_no_r2_of_classes():
    with pytest.raises(ValueError, match="bayes_r2 needs a response with a single mean"):
        fitted().bayes_r2(DATA, DATA["y"])


def test_the_log_density_given_the_effects_is_that_of_the_reported_thresholds():
    est, keep = fitted(), np.arange(0, 1000, 100)
    y = np.array([CLASSES.index(label) for label in DATA["y"]])
    design = replace(est.design_spec_.apply(DATA), y=y.astype(float))
    eta, thresholds = linear_of(est, DATA)
    expected = np.log(probabilities("logit", thresholds[keep], eta[keep])[:, np.arange(len(y)), y])

    np.testing.assert_allclose(conditional_log_density(est._posterior, design, keep), expected, atol=1e-9)


# ---- tables


def test_tables_have_a_row_for_each_threshold():
    est = fitted()
    names = ["none|little", "little|some", "some|much", "much|all"]

    assert est.common_effects()["effect"].tolist() == [*names, "x"]
    summary = est.summary()
    assert summary["variable"].tolist() == ["thresholds"] * 4 + ["beta", "sd_g", "sd_g", "corr_g"]
    assert summary["effect"].tolist()[:4] == names
    components = est.variance_components()
    assert components["component"].tolist() == ["sd", "sd", "correlation", "residual"]
    assert components["mean"].iloc[-1] == pytest.approx(np.pi / np.sqrt(3))
    coefficients = est.group_coefficients("g")
    effects, beta = est.group_effects("g")["mean"], est._posterior.draws.mean("beta")[0]
    np.testing.assert_allclose(coefficients["mean"], effects + np.tile([0.0, beta], 12))


# ---- priors


def shares_below():
    counts = DATA["y"].value_counts().reindex(CLASSES).to_numpy() + 0.5
    return np.cumsum(counts)[:-1] / counts.sum()


def test_default_priors_are_printed_where_they_are_stated():
    est, c = fitted(), stats.logistic.ppf(shares_below())
    text = str(est.priors_)

    assert re.search(
        rf"^thresholds\[some\|much\] at x = {DATA['x'].mean():.5g} +Normal\({c[2]:.4g}, 2\.5\)$", text, re.M
    )
    for k, name in enumerate(CLASSES[1:-1]):
        assert re.search(rf"^gaps\[{name}\] +LogNormal\({np.log(c[k + 1] - c[k]):.4g}, 1\)$", text, re.M)
    assert "Intercept " not in text


def priors_of(est, y):
    """Those of the model that `fit` would sample."""
    learned = learn(est, DATA, y, None, reset=None)
    return est._model(learned.model, learned.design).priors


def resolved(priors, **options):
    return priors_of(make(priors=priors, **options), DATA["y"])


def test_a_users_prior_is_one_of_the_middle_threshold_at_zero():
    for key in ("thresholds", "thresholds[some|much]"):
        priors = resolved({key: Normal(1, 0.5)})
        assert priors.intercept == Normal(-1, 0.5)
        assert "thresholds[some|much]  Normal(1, 0.5)" in re.sub(" {3,}", "  ", str(priors))
    assert resolved({"thresholds": {"some|much": StudentT(3, -2, 1)}}).intercept == StudentT(3, 2, 1)
    with pytest.raises(SamplerError, match="common effects need Normal priors for the transport sampler"):
        make(priors={"thresholds": StudentT(3, -2, 1)}, sampler="transport").fit(DATA, DATA["y"])


def test_a_users_priors_of_the_gaps_are_one_for_all_or_one_for_each():
    one, other = LogNormal(0, 0.3), bm.Gamma(2, 1)
    default = resolved(None).auxiliary

    assert set(resolved({"gaps": one}).auxiliary.values()) == {one}
    for given in ({"gaps": {"some": other}}, {"gaps[some]": other}):
        assert resolved(given).auxiliary == default | {"gaps[some]": other}


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ({"Intercept": Normal()}, r"thresholds instead of an Intercept; write priors=\{'thresholds': ...\}"),
        ({"thresholds": {"none|little": Normal()}}, "only the middle threshold, 'some|much', has a prior"),
        ({"thresholds": bm.HalfNormal(1)}, "of the middle threshold must be Normal or StudentT, got HalfNormal"),
        ({"thresholds[none|little]": Normal()}, "unknown prior 'thresholds.none|little.'; valid names: 'thresholds'"),
        ({"gaps": {"all": LogNormal()}}, "prior 'gaps' names 'all', but its entries are 'little', 'some', 'much'"),
        ({"gaps": Normal()}, r"prior of 'gaps\[little\]' must have positive support"),
        ({"gaps": LogNormal(), "gaps[some]": LogNormal(1)}, r"'gaps\[some\]' has two priors"),
        ({"gaps[some]": LogNormal(), "gaps": LogNormal(1)}, r"'gaps\[some\]' has two priors"),
        ({"thresholds": Normal(), "thresholds[some|much]": Normal(1)}, "has two priors"),
        (
            {"thresholds[some|much] at x = 3": Normal()},
            r"names a place.*replace\(est.priors_, intercept=Normal\(...\), the prior of the negated threshold",
        ),
    ],
)
def test_priors_of_what_is_not_there_are_refused(priors, message):
    with pytest.raises(PriorError, match=message):
        resolved(priors)


def test_gaps_of_numbers_are_named_by_these_or_by_their_text():
    def of_codes(key):
        est = make(classes=range(5), priors={"gaps": {key: LogNormal(-1, 0.4)}})
        return priors_of(est, [CLASSES.index(label) for label in DATA["y"]])

    assert of_codes(2) == of_codes("2")
    assert of_codes(2).auxiliary["gaps[2]"] == LogNormal(-1, 0.4)


def test_the_priors_of_a_fit_are_taken_and_those_of_other_classes_are_not():
    priors = fitted().priors_
    assert resolved(priors) == priors
    with pytest.raises(PriorError, match="belong to another model"):
        resolved(priors, classes=("none", "little", "some", "much", "all", "more"))
    with pytest.raises(PriorError, match="must be Normal or StudentT"):
        resolved(replace(priors, intercept=bm.HalfNormal(1)))


def test_prior_draws_follow_the_priors():
    est = make(priors={"thresholds": Normal(1, 0.5), "gaps": LogNormal(-1, 0.4)}).fit(DATA, DATA["y"])
    prior = est.sample_prior(DATA.head(5), draws=4000)
    thresholds = prior["prior"]["thresholds"].values[0]
    gaps = np.diff(thresholds, axis=1)

    assert stats.kstest(thresholds[:, 2], stats.norm(1, 0.5).cdf).pvalue > 1e-3
    for gap in gaps.T:
        assert stats.kstest(gap, stats.lognorm(0.4, scale=np.exp(-1)).cdf).pvalue > 1e-3
    assert set(np.unique(prior["prior_predictive"]["y"])) <= set(range(5))


def test_the_plot_of_the_priors_shows_the_middle_threshold_and_the_gaps():
    axes = plots.prior_posterior(fitted(), variables=["thresholds", "gaps"])
    titles = [ax.get_title() for ax in axes]

    assert titles == [f"thresholds[some|much]\nat x = {DATA['x'].mean():.5g}"] + [f"gaps[{k}]" for k in CLASSES[1:-1]]
    draws = fitted()._posterior.draws
    centre = draws.flat("thresholds")[:, 2] - DATA["x"].mean() * draws.flat("beta")[:, 0]
    low, high = axes[0].get_xlim()
    assert low < centre.min() + 0.3 * np.ptp(centre)
    assert high > centre.max() - 0.3 * np.ptp(centre)


# ---- after the fit


def test_a_file_keeps_the_model(tmp_path):
    est = fitted("probit")
    est.save(tmp_path / "ordered.bm")
    loaded = bm.load(tmp_path / "ordered.bm")

    np.testing.assert_array_equal(loaded.predict_proba(DATA), est.predict_proba(DATA))
    assert loaded.priors_ == est.priors_
    assert str(loaded.priors_) == str(est.priors_)
    assert loaded.classes_.tolist() == list(CLASSES)
    assert loaded.condition(DATA.head(2), DATA["y"].head(2)).diagnostics_["sampler"] == "transport"


@pytest.mark.numerical
def test_conditioning_on_rows_of_known_groups_is_the_fit_of_all_rows():
    first, last = DATA.iloc[:-2], DATA.iloc[-2:]
    est = make(draws=2000).fit(first, first["y"])
    updated = est.condition(last, last["y"])
    whole = make(draws=2000, priors=est.priors_).fit(DATA, DATA["y"])
    table, expected = updated.summary(), whole.summary()
    z = (table["mean"] - expected["mean"]) / np.sqrt(
        table["sd"] ** 2 / table["ess_bulk"] + expected["sd"] ** 2 / expected["ess_bulk"]
    )

    assert "weighted by the new rows" in updated.diagnostics_["reason"]
    assert np.abs(z).max() < 4


@pytest.mark.numerical
def test_conditioning_on_a_new_group_samples_anew():
    new = DATA.head(6).assign(g=77)
    updated = fitted().condition(new, new["y"])

    assert "sampled anew" in updated.diagnostics_["reason"]
    assert 77 in updated.group_effects("g")["level"].tolist()


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_loo_leaves_rows_out():
    est = fitted()
    found = est.loo(DATA, DATA["y"])
    log_likelihood = found.log_likelihood

    assert log_likelihood.attrs["effects"] == "integrated"
    assert (log_likelihood.values < 0).all()
    assert found.n_data_points == len(DATA)


# ---- corners


@pytest.mark.numerical
@pytest.mark.parametrize("missing", [["none"], ["all"], ["some"], ["none", "much"]])
def test_classes_that_no_row_has_keep_their_thresholds_apart(missing):
    rows = DATA[~DATA["y"].isin(missing)]
    est = make(formula="x + (1 | g)").fit(rows, rows["y"])

    assert est.diagnostics_["sampler"] == "transport"
    p = est.predict_proba(rows)
    assert p.shape == (len(rows), 5)
    assert 0 < p[:, [CLASSES.index(name) for name in missing]].mean() < 0.1


def test_two_ordered_classes_are_bernoullis():
    y = np.where(np.isin(DATA["y"], ["much", "all"]), "high", "low")
    options = {"random_state": 0, "draws": 100, "classes": ["low", "high"]}
    ours = MixedModelClassifier("x + (1 | g)", family="cumulative", **options)
    theirs = MixedModelClassifier("x + (1 | g)", **options)
    for est in (ours, theirs):
        est.fit(DATA, y)

    draws = ours._posterior.draws
    np.testing.assert_allclose(
        draws.flat("thresholds")[:, 0], -theirs._posterior.draws.flat("Intercept"), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(ours.predict_proba(DATA), theirs.predict_proba(DATA), rtol=1e-6)
    assert "gaps" not in str(ours.priors_)


@pytest.mark.numerical
def test_a_row_of_weight_two_is_the_row_twice():
    weights = np.arange(len(DATA)) % 3
    twice = DATA.loc[np.repeat(DATA.index, weights)]
    one = make(draws=100, formula="x + (1 | g)").fit(DATA, DATA["y"], sample_weight=weights)
    other = make(draws=100, formula="x + (1 | g)").fit(twice, twice["y"])

    np.testing.assert_allclose(
        one._posterior.draws.flat("thresholds"), other._posterior.draws.flat("thresholds"), rtol=1e-5
    )


# ---- PyMC


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
def test_the_model_in_pymc_has_the_thresholds():
    import pymc as pm

    model = make().build_model(DATA.head(60), DATA["y"].head(60))
    assert {"thresholds", "beta", "sd_g", "b_g", "gaps"} <= set(model.named_vars)
    with model:
        drawn = pm.sample_prior_predictive(30, random_seed=0, compile_kwargs={"mode": MODE})
    prior = drawn["prior"]
    thresholds = prior["thresholds"].values
    assert (np.diff(thresholds, axis=-1) > 0).all()
    np.testing.assert_allclose(np.diff(thresholds, axis=-1), prior["gaps"].values)
    np.testing.assert_allclose(thresholds[..., 2], -prior["Intercept"].values)
    assert prior["thresholds"].dims == ("chain", "draw", "threshold")
    response = drawn["prior_predictive"]["y"].values
    assert response.shape == (1, 30, 60)
    assert set(np.unique(response)) <= set(range(5))


@pytest.mark.slow
def test_nuts_and_transport_agree():
    tables = [make(sampler=own, draws=500).fit(DATA, DATA["y"]).summary() for own in ("transport", "nuts")]
    error = np.sqrt(sum(np.square(table["sd"]) / table["ess_bulk"] for table in tables))
    z = (tables[0]["mean"] - tables[1]["mean"]) / error

    assert np.abs(z).max() < 4
