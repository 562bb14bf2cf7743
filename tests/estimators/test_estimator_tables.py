"""Tables, Bayesian R², prior and posterior predictive draws, as a fitted estimator gives them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import NotFittedError

from bayesmixed import Exponential, HalfNormal, MixedModelRegressor, Normal
from bayesmixed._compat import dataset, import_arviz
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.posterior.draws import covariance_factor

DATA = load_sleepstudy()
FORMULA = "Reaction ~ Days + (Days | Subject)"
NUMBERS = ["mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat"]
NEW = DATA.iloc[[0, 1, 0, 5, 9]].assign(Subject=[999, 999, 308, 1000, 999]).drop(columns="Reaction")

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the chains are short


def fit(formula=FORMULA, frame=DATA, **options):
    return MixedModelRegressor(formula, **{"draws": 300, "chains": 2, "random_state": 0, **options}).fit(frame)


@pytest.fixture(scope="module")
def est():
    return fit()


@pytest.fixture(scope="module")
def crossed():
    """Two factors, one with a slope that has no common effect, one with independent effects."""
    rng = np.random.default_rng(3)
    n = 200
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(0.5, 2, n),
            "k": rng.choice(["a", "b"], n),
            "item": rng.integers(1, 7, n),
            "site": rng.choice(["north", "east", "west", "south"], n),
        }
    )
    y = 2 + frame["x"] + rng.normal(size=7)[frame["item"]] + pd.factorize(frame["site"])[0] * frame["x"] / 2
    return fit("y ~ x + k + (z | item) + (x || site)", frame.assign(y=y + rng.normal(size=n)))


def posterior(est):
    return dataset(est.idata_, "posterior")


def group(container, name):
    return dataset(container, name)


def groups(container):
    """Names of a container's groups."""
    names = container.groups() if callable(container.groups) else container.groups
    return {name.strip("/") for name in names} - {""}


def draws_of(est):
    """Draws of every parameter but the group effects, by (variable, effect), from `idata_`; (chain, draw) each."""
    found = {}
    for name, values in posterior(est).data_vars.items():
        if not name.startswith("b_"):
            effects = values[values.dims[2]].values.tolist() if values.ndim == 3 else [None]
            for k, effect in enumerate(effects):
                found[name, effect] = values.values[..., k] if effect is not None else values.values
    return found


def effects_of(est, factor):
    """Draws of a factor's effects by (level, effect), from `idata_`."""
    values = posterior(est)[f"b_{factor}"]
    levels, effects = (values[dim].values.tolist() for dim in values.dims[2:])
    return {(j, k): values.values[..., a, b] for a, j in enumerate(levels) for b, k in enumerate(effects)}


def arviz_summary(est):
    """ArviZ's own table, indexed by its names."""
    az = import_arviz()
    if az.__version__.startswith("0."):
        return az.summary(est.idata_, round_to="none")
    # 1.x takes the ESS of the tails at ci_prob and 1 - ci_prob, 0.x and we at 0.95 and 0.05
    with az.rc_context({"stats.ci_prob": 0.95}):
        return az.summary(est.idata_, round_to="none")


# ---- tables


def test_columns_are_those_of_the_contract(est):
    assert list(est.summary()) == ["variable", "factor", "effect", *NUMBERS]
    assert list(est.common_effects()) == ["effect", *NUMBERS]
    assert list(est.group_effects("Subject")) == ["factor", "level", "effect", *NUMBERS]
    assert list(est.group_coefficients("Subject")) == ["factor", "level", "effect", *NUMBERS]
    assert list(est.variance_components()) == ["factor", "component", "effect", *NUMBERS, "share"]
    assert list(est.group_covariance("Subject")) == ["factor", "effect_1", "effect_2", *NUMBERS]


def test_a_summary_has_the_variables_of_the_posterior_in_their_order(crossed):
    rows = [(name, effect or "") for name, effect in draws_of(crossed)]
    table = crossed.summary()
    names = table["variable"].tolist()

    effect = table["effect"].where(table["variable"] != "Intercept", "")
    assert list(zip(names, effect, strict=True)) == rows
    assert table["effect"][0] == "Intercept"
    assert dict(zip(names, table["factor"], strict=True)) == {
        **{"Intercept": "", "beta": "", "sd_item": "item", "sd_site": "site", "corr_item": "item", "sigma": ""}
    }


@pytest.mark.parametrize("coverage", [0.9, 0.5])
def test_numbers_are_those_of_the_draws_in_idata(crossed, coverage):
    """A sd over draws with n - 1 and quantiles; ESS and R-hat are compared with ArviZ's below."""
    values = list(draws_of(crossed).values())
    table = crossed.summary(coverage)
    tails = [(1 - coverage) / 2, (1 + coverage) / 2]

    np.testing.assert_allclose(table["sd"], [v.std(ddof=1) for v in values], rtol=1e-10)
    np.testing.assert_allclose(table[["lower", "upper"]], [np.quantile(v, tails) for v in values], rtol=1e-10)
    np.testing.assert_allclose(table["mean"][4:], [v.mean() for v in values[4:]], rtol=1e-10)


def test_every_table_has_the_numbers_of_one_parameter(crossed):
    """The tables are views of one another, whatever the coverage."""
    summary = crossed.summary(0.6).set_index(["variable", "effect"])
    common = crossed.common_effects(0.6)
    components = crossed.variance_components(0.6)
    prefix = components["component"].map({"sd": "sd_", "correlation": "corr_", "residual": "sigma"})
    variable = prefix + components["factor"]

    pd.testing.assert_frame_equal(common[NUMBERS], summary[NUMBERS][: len(common)].reset_index(drop=True))
    pd.testing.assert_frame_equal(
        components[NUMBERS], summary.loc[list(zip(variable, components["effect"], strict=True))].reset_index()[NUMBERS]
    )
    assert len(common) + len(components) == len(summary)


def test_numbers_equal_arvizs(crossed):
    az = arviz_summary(crossed)
    summary, by_level = crossed.summary(), crossed.group_effects("item")
    inside = [f"[{row.effect}]" if row.variable not in ("Intercept", "sigma") else "" for row in summary.itertuples()]
    names = (summary["variable"] + inside).tolist()
    effects = [f"b_item[{row.level}, {row.effect}]" for row in by_level.itertuples()]

    for table, index in [(summary, names), (by_level, effects)]:
        expected = az.loc[index]
        for column in ("sd", "ess_bulk", "ess_tail", "r_hat"):
            np.testing.assert_allclose(table[column], expected[column].astype(float), rtol=1e-6, err_msg=column)
    not_exact = ~summary["variable"].isin(["Intercept", "beta"])
    np.testing.assert_allclose(summary["mean"][not_exact], az.loc[names, "mean"].astype(float)[not_exact.to_numpy()])


def test_means_are_the_exact_ones_of_predictions(est):
    """They have no Monte Carlo noise: near those of the draws, and not the same."""
    table = est.common_effects().set_index("effect")["mean"]

    assert table["Intercept"] == est.intercept_
    assert table["Days"] == est.coef_[0]
    assert est.summary()["mean"][:2].tolist() == table.tolist()
    of_draws = posterior(est)["beta"].values
    assert table["Days"] != of_draws.mean()
    assert table["Days"] == pytest.approx(of_draws.mean(), abs=5 * of_draws.std() / np.sqrt(600))


def test_coefficients_are_the_lines_that_predict(est):
    lines = est.group_coefficients("Subject").pivot(index="level", columns="effect", values="mean").loc[DATA["Subject"]]

    np.testing.assert_allclose(lines["Intercept"] + lines["Days"] * DATA["Days"].to_numpy(), est.predict(DATA))


@pytest.mark.parametrize("factor", ["item", "site"])
def test_coefficients_are_common_plus_group_effects_draw_by_draw(crossed, factor):
    """z has no common effect: its coefficient is the group effect alone."""
    common = {
        "Intercept": posterior(crossed)["Intercept"].values,
        "x": posterior(crossed)["beta"].values[..., 0],
        "z": 0,
    }
    rows = {(level, k): b + common[k] for (level, k), b in effects_of(crossed, factor).items()}
    table = crossed.group_coefficients(factor, 0.8)

    assert list(zip(table["level"], table["effect"], strict=True)) == list(rows)
    for column, of in [
        ("sd", lambda v: v.std(ddof=1)),
        ("lower", lambda v: np.quantile(v, 0.1)),
        ("upper", lambda v: np.quantile(v, 0.9)),
    ]:
        np.testing.assert_allclose(table[column], [of(values) for values in rows.values()], rtol=1e-9)
    means = crossed.group_effects(factor)["mean"]
    exact = {"Intercept": crossed.intercept_, "x": crossed.coef_[0], "z": 0.0}
    np.testing.assert_allclose(table["mean"], means + table["effect"].map(exact), rtol=1e-12)


def test_group_effects_are_those_of_idata(crossed):
    rows = effects_of(crossed, "site")
    table = crossed.group_effects("site", 0.8)

    assert list(zip(table["level"], table["effect"], strict=True)) == list(rows)
    np.testing.assert_allclose(table["sd"], [values.std(ddof=1) for values in rows.values()], rtol=1e-10)
    np.testing.assert_allclose(table["upper"], [np.quantile(values, 0.9) for values in rows.values()], rtol=1e-9)
    assert crossed.group_effects("item")["level"].dtype == np.int64


def test_a_covariance_is_the_product_of_sds_and_correlation(crossed):
    of = draws_of(crossed)
    sd, sd_z, corr = of["sd_item", "Intercept"], of["sd_item", "z"], of["corr_item", "Intercept:z"]
    table = crossed.group_covariance("item")

    assert table[["effect_1", "effect_2"]].to_numpy().tolist() == [
        ["Intercept", "Intercept"],
        ["z", "Intercept"],
        ["z", "z"],
    ]
    np.testing.assert_allclose(table["mean"], [np.mean(v) for v in (sd**2, sd * sd_z * corr, sd_z**2)], rtol=1e-10)
    independent = crossed.group_covariance("site").set_index(["effect_1", "effect_2"]).loc[("x", "Intercept")]
    assert independent[["mean", "sd", "lower", "upper"]].tolist() == [0, 0, 0, 0]


def test_shares_of_the_variance_sum_to_one(est, crossed):
    for fitted in (est, crossed, est.condition(DATA.head(3).assign(Subject=1))):
        table = fitted.variance_components()
        assert table["share"].sum() == pytest.approx(1, abs=1e-12)
        assert table["share"].isna().tolist() == (table["component"] == "correlation").tolist()


def test_a_share_is_averaged_over_the_rows_of_the_fit(est):
    """The residual's, row by row and draw by draw; after `condition` over all rows so far."""

    def expected(fitted, frame):
        L = covariance_factor(fitted._posterior.draws, fitted.design_spec_.groups[0])
        z = np.column_stack([np.ones(len(frame)), frame["Days"]])
        of_groups = np.mean([np.sum((L.transpose(0, 2, 1) @ row) ** 2, axis=1) for row in z], axis=0)
        noise = fitted._posterior.draws.flat("sigma") ** 2
        return np.mean(noise / (noise + of_groups))

    more = pd.DataFrame({"Days": [50.0, 60.0], "Subject": [308, 1], "Reaction": [300.0, 310.0]})
    updated = est.condition(more)
    weighted = MixedModelRegressor(FORMULA, draws=300, chains=2, random_state=0).fit(
        DATA, sample_weight=1 + (DATA["Days"] == 9)
    )

    assert est.variance_components()["share"].iloc[-1] == pytest.approx(expected(est, DATA), rel=1e-9)
    rows = pd.concat([DATA, more])
    assert updated.variance_components()["share"].iloc[-1] == pytest.approx(expected(updated, rows), rel=1e-9)
    rows = pd.concat([DATA, DATA[DATA["Days"] == 9]])
    assert weighted.variance_components()["share"].iloc[-1] == pytest.approx(expected(weighted, rows), rel=1e-9)


def test_tables_include_levels_that_were_conditioned_on(est):
    more = DATA.head(4).assign(Subject=[1, 1, 308, 1])
    updated = est.condition(more)

    for table in (updated.group_effects("Subject"), updated.group_coefficients("Subject")):
        assert table["level"].tolist() == [*DATA["Subject"].drop_duplicates().repeat(2), 1, 1]
        assert np.isfinite(table[NUMBERS]).all(axis=None)
    assert 1 not in est.group_effects("Subject")["level"].tolist(), "the first fit is left alone"
    lines = updated.group_coefficients("Subject").pivot(index="level", columns="effect", values="mean").loc[[1]]
    X = pd.DataFrame({"Days": [0.0, 1.0], "Subject": 1})
    np.testing.assert_allclose(updated.predict(X), lines["Intercept"].iloc[0] + lines["Days"].iloc[0] * X["Days"])
    assert posterior(updated)["Subject"].values.tolist()[-1] == 1
    assert updated.common_effects()["mean"].tolist() == [updated.intercept_, updated.coef_[0]]


def test_models_that_lack_a_part_have_tables_without_it():
    frame = DATA.assign(Days=DATA["Days"] - 4.5)
    no_intercept = fit("Reaction ~ 0 + Days + (1 | Subject)", frame)
    assert no_intercept.common_effects()["effect"].tolist() == ["Days"]
    assert set(no_intercept.group_coefficients("Subject")["effect"]) == {"Intercept"}
    no_groups = MixedModelRegressor(None, draws=300, chains=2, random_state=0).fit(frame[["Days"]], frame["Reaction"])
    assert no_groups.summary()["variable"].tolist() == ["Intercept", "beta", "sigma"]
    assert no_groups.variance_components()["share"].tolist() == [1.0]
    with pytest.raises(ValueError, match=r"grouping factors \(there are none\), got 'Subject'"):
        no_groups.group_effects("Subject")


@pytest.mark.parametrize("method", ["group_effects", "group_coefficients", "group_covariance", "draw_group_effects"])
def test_an_unknown_factor_is_refused(est, method):
    with pytest.raises(ValueError, match="factor must be one of the grouping factors 'Subject', got 'Site'"):
        getattr(est, method)("Site")


@pytest.mark.parametrize("coverage", [0, 1, 95, "0.9"])
def test_a_coverage_that_is_no_probability_is_refused(est, coverage):
    for table in (est.summary, est.common_effects, est.variance_components):
        with pytest.raises(ValueError, match=r"coverage must be a number in \(0, 1\)"):
            table(coverage)
    for table in (est.group_effects, est.group_coefficients, est.group_covariance):
        with pytest.raises(ValueError, match=r"coverage must be a number in \(0, 1\)"):
            table("Subject", coverage)


CALLS = {
    "predict": (DATA,),
    "predict_interval": (DATA,),
    "predict_quantiles": (DATA, 0.5),
    "predict_draws": (DATA,),
    "bayes_r2": (DATA,),
    "sample_prior": (DATA,),
    "sample_posterior_predictive": (DATA,),
    "score": (DATA,),
    "condition": (DATA,),
    "loo": (DATA,),
    "summary": (),
    "common_effects": (),
    "group_effects": ("Subject",),
    "group_coefficients": ("Subject",),
    "variance_components": (),
    "group_covariance": ("Subject",),
    "draw_group_effects": ("Subject",),
}


@pytest.mark.parametrize("method", CALLS)
def test_before_fit_there_is_nothing_to_show(method):
    with pytest.raises(NotFittedError, match="This MixedModelRegressor instance is not fitted yet"):
        getattr(MixedModelRegressor(FORMULA), method)(*CALLS[method])


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution:UserWarning")  # loo, of few draws
@pytest.mark.parametrize("method", CALLS)
def test_no_method_edits_the_fit(est, method):
    """Neither its posterior, nor the container of it, nor the attributes."""
    idata, state = est.idata_, {name: id(value) for name, value in vars(est).items()}
    before = {name: values.copy() for name, values in est._posterior.draws.values.items()}
    variables = {name: list(group(idata, name)) for name in groups(idata)}
    getattr(est, method)(*CALLS[method])

    assert est.idata_ is idata
    assert {name: list(group(idata, name)) for name in groups(idata)} == variables
    assert {name: id(value) for name, value in vars(est).items()} == state
    for name, values in before.items():
        np.testing.assert_array_equal(est._posterior.draws.values[name], values)


# ---- Bayesian R²


def r2_of_loop(est, X, **options):
    mu = est.predict_draws(X, kind="mean", **options).values
    sigma = posterior(est)["sigma"].values
    found = np.empty(sigma.shape)
    for chain, draw in np.ndindex(*sigma.shape):
        explained = mu[chain, draw].var(ddof=1)
        found[chain, draw] = explained / (explained + sigma[chain, draw] ** 2)
    return found


def test_bayes_r2_is_the_share_of_the_variance_that_the_mean_explains(est):
    found = est.bayes_r2(DATA)

    assert found.dims == ("chain", "draw")
    assert found.shape == (2, 300)
    assert found.name == "bayes_r2"
    assert found["chain"].values.tolist() == [0, 1]
    assert found["draw"].values.tolist() == list(range(300))
    np.testing.assert_allclose(found, r2_of_loop(est, DATA), rtol=1e-10)
    np.testing.assert_array_equal(est.bayes_r2(DATA, DATA["Reaction"] * 2), found)


def test_bayes_r2_takes_groups_and_modes_as_predict_does(est):
    bare = DATA[["Days"]]
    without = est.bayes_r2(bare, include_groups=False)

    np.testing.assert_allclose(without, r2_of_loop(est, bare, include_groups=False), rtol=1e-10)
    assert without.mean() < est.bayes_r2(DATA).mean() - 0.2
    for mode in ("sample", "donor"):
        np.testing.assert_allclose(
            est.bayes_r2(NEW, new_groups=mode), r2_of_loop(est, NEW, new_groups=mode), rtol=1e-10
        )
    np.testing.assert_allclose(
        est.bayes_r2(DATA.assign(Subject=1), new_groups="zero"), est.bayes_r2(DATA, include_groups=False), rtol=1e-9
    )


def test_bayes_r2_needs_two_rows(est):
    for n in (0, 1):
        with pytest.raises(ValueError, match=f"bayes_r2 needs at least 2 rows for a variance over rows, got {n}"):
            est.bayes_r2(DATA.head(n))
    assert est.bayes_r2(DATA.head(2)).shape == (2, 300)


# ---- draws from the prior


def test_prior_draws_have_the_names_of_the_posterior(crossed):
    X = pd.DataFrame({"x": [0.0, 1.0], "z": 1.0, "k": "a", "item": [1, 99], "site": "east"}, index=["r1", "r2"])
    found = crossed.sample_prior(X, draws=40)
    prior, y = group(found, "prior"), group(found, "prior_predictive")["y"]

    assert groups(found) == {"prior", "prior_predictive"}
    assert list(prior) == list(posterior(crossed))
    for name, values in prior.data_vars.items():
        assert values.dims == posterior(crossed)[name].dims
        assert values.shape == (1, 40, *posterior(crossed)[name].shape[2:])
    for name in prior.coords:
        if name not in ("chain", "draw"):
            np.testing.assert_array_equal(prior[name], posterior(crossed)[name])
    assert y.dims == ("chain", "draw", "obs")
    assert y.shape == (1, 40, 2)
    assert y["obs"].values.tolist() == ["r1", "r2"]
    assert type(found) is type(crossed.idata_)
    assert found.attrs["bayesmixed_schema"] == "1"


def test_prior_draws_follow_the_priors():
    priors = {
        "Intercept": Normal(200, 10),
        "beta": Normal(3, 2),
        "sd_Subject": Exponential(0.1),
        "sigma": HalfNormal(7),
    }
    prior = group(fit(priors=priors).sample_prior(DATA, draws=2000), "prior")

    for name, distribution in [
        ("Intercept", stats.norm(200, 10)),
        ("beta", stats.norm(3, 2)),
        ("sigma", stats.halfnorm(scale=7)),
    ]:
        assert stats.kstest(prior[name].values.ravel(), distribution.cdf).pvalue > 1e-3, name
    for k in range(2):
        assert stats.kstest(prior["sd_Subject"].values[0, :, k], stats.expon(scale=10).cdf).pvalue > 1e-3
    z = prior["b_Subject"].values[0] / prior["sd_Subject"].values[0][:, None]
    assert stats.kstest(z[:, 3, 0], "norm").pvalue > 1e-3


def test_default_prior_draws_have_the_scale_of_the_data(est):
    """priors_ says which: the intercept's is that at the centre of the columns."""
    prior = group(est.sample_prior(DATA, draws=2000), "prior")
    at_centre = prior["Intercept"].values + 4.5 * prior["beta"].values[..., 0]
    y = DATA["Reaction"]

    assert stats.kstest(at_centre.ravel(), stats.norm(y.mean(), 2.5 * y.std(ddof=0)).cdf).pvalue > 1e-3
    assert np.median(prior["sigma"]) == pytest.approx(stats.t(4).ppf(0.75) * y.std(ddof=0), rel=0.1)


def prior_noise(est):
    """Scaled noise of the prior predictive draws of the training rows, (draws, rows); known levels have effects."""
    found = est.sample_prior(DATA, draws=400)
    prior = group(found, "prior")
    b = prior["b_Subject"].sel(Subject=DATA["Subject"].to_numpy()).values[0]
    days = DATA["Days"].to_numpy()
    mean = prior["Intercept"].values[0][:, None] + prior["beta"].values[0] * days + b[..., 0] + b[..., 1] * days
    return (group(found, "prior_predictive")["y"].values[0] - mean) / prior["sigma"].values[0][:, None]


def test_prior_predictive_draws_are_the_model_at_the_prior_draws(est):
    noise = prior_noise(est)

    assert stats.kstest(noise[:, :20].ravel(), "norm").pvalue > 1e-3
    rho = np.corrcoef(noise.T)
    assert np.abs(rho[np.triu_indices(180, 1)]).max() < 6 / np.sqrt(400)
    assert abs(np.corrcoef(noise[:, 0], prior_noise(fit(random_state=1))[:, 0])[0, 1]) < 0.2, "the seed is in its key"


def test_prior_predictive_draws_of_new_levels_follow_the_rules_of_new_groups(est):
    """A new level's draws depend on its label alone and have the draw's covariance; rows of a label share them."""
    known = pd.DataFrame({"Days": [0.0], "Subject": [308]})
    prior = group(est.sample_prior(known, draws=400), "prior")
    intercept, sd = prior["Intercept"].values[0], prior["sd_Subject"].values[0, :, 0]
    slope, of_308 = prior["beta"].values[0, :, 0], prior["b_Subject"].sel(Subject=308).values[0, :, 0]

    def first_row(X):
        return group(est.sample_prior(X, draws=400), "prior_predictive")["y"].values[0, :, 0]

    noise = first_row(known) - intercept - of_308  # keyed by row: the same in every first row

    def added(X):
        return first_row(X) - intercept - slope * X["Days"].iloc[0] - noise

    new = known.assign(Subject=999)
    of_999 = added(new)
    assert stats.kstest(of_999 / sd, "norm").pvalue > 1e-3
    np.testing.assert_allclose(added(pd.concat([new, NEW])), of_999, atol=1e-9)
    assert abs(stats.spearmanr(added(new.assign(Subject=1000)) / sd, of_999 / sd)[0]) < 0.2
    # the label's own line: what it adds after 3 days is what it adds at 0 and 3 times what a day adds
    after = {days: added(new.assign(Days=float(days))) for days in (1, 3)}
    np.testing.assert_allclose(after[3], of_999 + 3 * (after[1] - of_999), atol=1e-8)
    assert stats.kstest((after[1] - of_999) / prior["sd_Subject"].values[0, :, 1], "norm").pvalue > 1e-3
    strict = fit(new_groups="error")
    assert group(strict.sample_prior(NEW, draws=5), "prior_predictive")["y"].shape == (1, 5, 5)


def test_prior_draws_are_reproducible(est):
    first, again = (est.sample_prior(NEW, draws=30) for _ in range(2))
    other = fit(random_state=1).sample_prior(NEW, draws=30)

    for name in ("prior", "prior_predictive"):
        assert group(first, name).equals(group(again, name))
        assert not group(first, name).equals(group(other, name))
    many = group(est.sample_prior(NEW, draws=50), "prior")
    assert many.isel(draw=slice(30)).equals(group(first, "prior")), "the first do not change when more are asked for"


def test_prior_draws_are_500_unless_told(est):
    assert group(est.sample_prior(NEW), "prior")["sigma"].shape == (1, 500)
    assert group(est.sample_prior(NEW, draws=np.int64(3)), "prior")["sigma"].shape == (1, 3)


@pytest.mark.parametrize("draws", [0, -1, 2.5, "many", None, [10]])
def test_a_number_of_prior_draws_that_is_none_is_refused(est, draws):
    with pytest.raises(ValueError, match="draws must be a positive integer, got"):
        est.sample_prior(DATA, draws)


@pytest.mark.parametrize(
    "formula", ["Reaction ~ Days", "Reaction ~ 0 + Days + (0 + Days | Subject)", "Reaction ~ 1", None]
)
def test_prior_draws_of_every_shape_of_model(formula):
    X = DATA if formula else DATA[["Days"]]
    est = MixedModelRegressor(formula, draws=300, chains=2, random_state=0).fit(X, DATA["Reaction"])
    found = est.sample_prior(X.head(3), draws=7)

    assert list(group(found, "prior")) == list(posterior(est))
    assert group(found, "prior_predictive")["y"].shape == (1, 7, 3)


def test_prior_draws_after_condition_have_the_new_levels(est):
    updated = est.condition(DATA.head(3).assign(Subject=1))
    prior = group(updated.sample_prior(DATA.head(1), draws=5), "prior")

    np.testing.assert_array_equal(prior["Subject"], posterior(updated)["Subject"])
    whole = group(est.sample_prior(DATA.head(1), draws=5), "prior")["b_Subject"]
    np.testing.assert_array_equal(prior["b_Subject"].sel(Subject=whole["Subject"]), whole)


# ---- draws of responses from the posterior


def test_posterior_predictive_draws_are_those_of_predict_draws(est):
    frame = NEW.set_index(pd.Index(list("abcde")))
    found = est.sample_posterior_predictive(frame)
    y = group(found, "posterior_predictive")["y"]

    assert groups(found) == {"posterior", "sample_stats", "posterior_predictive"}
    assert y.dims == ("chain", "draw", "obs")
    assert y["obs"].values.tolist() == list("abcde")
    np.testing.assert_array_equal(y, est.predict_draws(frame, kind="response"))
    assert group(found, "posterior").equals(posterior(est))
    assert group(found, "sample_stats").equals(group(est.idata_, "sample_stats"))
    assert type(found) is type(est.idata_)
    assert found is not est.idata_


def test_posterior_predictive_draws_stand_beside_the_observed_response(est):
    observed = group(est.sample_posterior_predictive(DATA), "observed_data")["y"]
    np.testing.assert_array_equal(observed, DATA["Reaction"])
    given = group(est.sample_posterior_predictive(DATA.head(3), [1, 2, 3]), "observed_data")["y"]
    assert given.values.tolist() == [1.0, 2.0, 3.0], "what is given wins over the column"

    one_sided = MixedModelRegressor("Days + (1 | Subject)", draws=300, chains=2, random_state=0)
    one_sided.fit(DATA, DATA["Reaction"])
    assert "observed_data" not in groups(one_sided.sample_posterior_predictive(DATA))
    shown = one_sided.sample_posterior_predictive(DATA, DATA["Reaction"])
    np.testing.assert_array_equal(group(shown, "observed_data")["y"], DATA["Reaction"])
    np.testing.assert_array_equal(group(shown, "observed_data")["obs"], group(shown, "posterior_predictive")["obs"])
    with pytest.raises(ValueError, match="inconsistent numbers of rows"):
        one_sided.sample_posterior_predictive(DATA, DATA["Reaction"].head(5))


def test_posterior_predictive_draws_obey_the_mode_of_new_groups():
    strict = fit(new_groups="error")
    with pytest.raises(ValueError, match="'Subject' has 2 levels not seen in fit: 999, 1000"):
        strict.sample_posterior_predictive(NEW)
    zero = fit(new_groups="zero").sample_posterior_predictive(NEW)
    expected = strict.predict_draws(NEW, new_groups="zero")
    np.testing.assert_array_equal(group(zero, "posterior_predictive")["y"], expected)


@pytest.mark.parametrize("make", ["sample_prior", "sample_posterior_predictive"])
def test_files_keep_what_was_drawn(est, make, tmp_path):
    found = getattr(est, make)(NEW)
    found.to_netcdf(tmp_path / "drawn.nc")
    again = import_arviz().from_netcdf(tmp_path / "drawn.nc")

    assert groups(again) == groups(found)
    for name in groups(found):
        assert group(again, name).equals(group(found, name))


@pytest.mark.parametrize(
    ("formula", "names"),
    [("k + (0 + k | g)", r"'k\[b\]', 'k\[c\]'"), ("0 + k + (k | g)", r"'k\[a\]'"), ("x:k + (k:x | g)", r"'x:k\[a\]'")],
)
def test_effects_of_unlike_columns_are_not_added(formula, names):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"k": np.tile(["a", "b", "c"], 20), "g": np.repeat(np.arange(6), 10), "x": rng.normal(size=60)}
    )
    est = MixedModelRegressor(formula, group_prior="independent", draws=250, random_state=0)
    est.fit(frame, rng.normal(size=60) + frame["g"] + (frame["k"] == "b"))

    with pytest.raises(ValueError, match=f"the common effects have {names}.* the same way on both sides"):
        est.group_coefficients("g")
    assert len(est.group_effects("g"))


def test_editing_a_container_does_not_edit_the_fit():
    frame = load_sleepstudy()
    est = MixedModelRegressor("Days + (Days | Subject)", draws=250, random_state=0).fit(frame, frame["Reaction"])
    before = est.predict_interval(frame)
    for container in (est.idata_, est.sample_posterior_predictive(frame)):
        dataset(container, "posterior")["beta"].values[:] = 0

    np.testing.assert_array_equal(est.predict_interval(frame), before)
