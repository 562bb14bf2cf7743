"""Every family through the estimator: the model in PyMC, fits, predictions, tables, files; what is refused."""

import re
import warnings
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import r2_score

import bayesmixed as bm
from bayesmixed import Gamma, LogNormal, MixedModelRegressor
from bayesmixed._compat import dataset
from bayesmixed.design.spec import DesignSpec
from bayesmixed.distributions import Truncated
from bayesmixed.families import FAMILIES, get_family
from bayesmixed.families.base import Response
from bayesmixed.formula.parse import parse
from bayesmixed.priors.resolve import resolve_priors
from helpers.made import with_responses

MODE = "FAST_COMPILE"  # in Python: nothing is compiled
FAMILY_LINKS = [(name, link) for name in FAMILIES for link in FAMILIES[name].links]
# lowest and highest linear predictor: beyond where a probability rounds to 0 or 1; with the log link, as far as the
# negative binomial of PyMC 5 keeps 8 digits
FAR = {"identity": (-30, 30), "log": (-15, 30), "logit": (-50, 50), "probit": (-60, 60), "cloglog": (-60, 8)}
HAND_MADE = pytest.mark.filterwarnings(
    "ignore:Falling back to NUTS",
    "ignore:Pareto k-hat of the draws of a predicted mean",
    "ignore:the predictive standard deviation is infinite",
)


def make_data(n=120, J=12, seed=0):
    """A column for each family, named after it."""
    rng = np.random.default_rng(seed)
    g, x = np.arange(n) % J, rng.normal(size=n)
    eta = 0.3 + 0.5 * x + rng.normal(0, 0.5, J)[g]
    frame = pd.DataFrame({"x": x, "g": g, "n": rng.integers(1, 12, n), "time": rng.uniform(1, 5, n)})
    return with_responses(frame, eta, rng)


DATA = make_data()


def make(name, link=None, formula="x + (x | g)", **options):
    trials = {"trials": "n"} if FAMILIES[name].counts_trials else {}
    return MixedModelRegressor(formula, family=name, link=link, random_state=0, draws=500, **trials, **options)


def fitted(name, link=None, **options):
    return make(name, link, **options).fit(DATA, DATA[name])


def eta_of(est, rows):
    """Draws of the linear predictor of known groups, (S, n)."""
    draws = est._posterior.draws
    b, x = draws.flat("b_g")[:, rows["g"]], rows["x"].to_numpy()
    return draws.flat("Intercept")[:, None] + draws.flat("beta") * x + b[:, :, 0] + b[:, :, 1] * x


def arguments_of(est, rows):
    """Draws of the family's further parameters, each (S, 1), and the trials."""
    family = est._posterior.family
    found = {name: est._posterior.draws.flat(name)[:, None] for name in family.auxiliary}
    return found | ({"trials": rows["n"].to_numpy(float)} if family.counts_trials else {})


# ---- the model in PyMC


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_the_density_of_the_response_in_pymc_is_the_familys(name, link):
    rows, family = DATA.head(40), get_family(name, link)
    weights = np.arange(40) % 3 + 0.5
    model = make(name, link).build_model(rows, rows[name], weights)
    names = ["Intercept", "beta", "b_g", *family.auxiliary]
    values = model.replace_rvs_by_values([model[own] for own in names])
    (log_density,) = model.logp(vars=[model["y"]], sum=False)
    weighted = model.logp(vars=[model["weights"]]) if "weights" in model.named_vars else None
    outputs = [log_density, *values] if weighted is None else [log_density, weighted, *values]
    evaluate = model.compile_fn(outputs, inputs=model.value_vars, on_unused_input="ignore", mode=MODE)
    start = model.initial_point()
    rng = np.random.default_rng(1)
    for _ in range(3):
        point = {key: np.asarray(v + rng.normal(scale=0.2, size=np.shape(v))) for key, v in start.items()}
        found, potential, intercept, beta, b, *auxiliary = evaluate(point)
        eta = intercept + beta * rows["x"] + b[rows["g"], 0] + b[rows["g"], 1] * rows["x"]
        own = dict(zip(family.auxiliary, auxiliary, strict=True))
        own |= {"trials": rows["n"].to_numpy(float)} if family.counts_trials else {}
        expected = family.log_density(rows[name].to_numpy(float), eta.to_numpy(), **own)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(potential, np.sum((weights - 1) * expected), rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_the_density_of_the_response_in_pymc_and_its_slope_are_the_familys_far_out(name, link):
    import pymc as pm
    import pytensor
    import pytensor.tensor as pt
    from pymc.pytensorf import rewrite_pregrad

    family, rows = get_family(name, link), DATA.head(8)
    y = rows[name].to_numpy(float)[:, None]
    own = {parameter: np.array(1.7) for parameter in family.auxiliary}
    own |= {"trials": rows["n"].to_numpy(float)[:, None]} if family.counts_trials else {}
    at = np.linspace(*FAR[link], 241)
    if name == "beta":  # whose shapes have to be numbers above 0
        at = at[np.min(family._shapes(at, own["kappa"]), axis=0) > 1e-300]
    at = np.tile(at, (8, 1))
    eta = pt.matrix("eta")
    distribution, parameters = family.pymc(pm, eta, {key: pt.as_tensor(value) for key, value in own.items()})
    # as PyMC and nutpie do before they take the gradient
    log_density = rewrite_pregrad(pm.logp(distribution.dist(**parameters), np.broadcast_to(y, at.shape)))
    found, slope = pytensor.function([eta], [log_density, pt.grad(log_density.sum(), eta)], mode=MODE)(at)

    np.testing.assert_allclose(found, family.log_density(y, at, **own), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(slope, family.derivatives(y, at, **own)[1], rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize(("name", "link"), [pair for pair in FAMILY_LINKS if pair[0] in ("beta", "binomial")])
def test_responses_that_pymc_draws_scatter_about_the_mean(name, link):
    import pymc as pm

    family = get_family(name, link)
    own = {"trials": np.array([1.0, 8.0, 8.0, 3.0])} if family.counts_trials else {"kappa": np.array(3.0)}
    eta = np.array([-2.0, -0.3, 0.4, 1.5])
    distribution, parameters = family.pymc(pm, eta, own)
    drawn = pm.draw(distribution.dist(**parameters), 20_000, random_seed=0, mode=MODE)
    error = (drawn.mean(axis=0) - family.mean(eta, **own)) / np.sqrt(family.variance(eta, **own) / 20_000)

    assert np.abs(error).max() < 4
    np.testing.assert_allclose(drawn.var(axis=0), family.variance(eta, **own), rtol=0.1)
    with make(name, link).build_model(DATA.head(20), DATA[name].head(20)):
        prior = pm.sample_prior_predictive(50, random_seed=0, compile_kwargs={"mode": MODE})
    response = prior["prior_predictive"]["y"].values[0]
    assert response.shape == (50, 20)
    assert (response >= 0).all()
    assert (response <= (DATA["n"].to_numpy()[:20] if family.counts_trials else 1)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].auxiliary])
def test_the_priors_of_further_parameters_in_pymc_are_those_that_are_printed(name):
    """Up to a constant: that of a prior above a bound is left out."""
    est = make(name, formula="x")
    model = est.build_model(DATA, DATA[name])
    for own, prior in default_auxiliary(name).items():
        value = model.rvs_to_values[model[own]]
        log_density = model.compile_logp(vars=[model[own]], jacobian=False, mode=MODE)
        evaluate = model.compile_fn(
            model.replace_rvs_by_values([model[own]]), inputs=[value], on_unused_input="ignore", mode=MODE
        )
        start, gaps = model.initial_point(), []
        for shift in (-0.7, 0.0, 0.9):
            point = start | {value.name: np.asarray(start[value.name] + shift)}
            (at,) = evaluate({value.name: point[value.name]})
            gaps.append(float(log_density(point)) - float(prior.log_density(np.asarray(at))))
        assert np.ptp(gaps) < 1e-8


def default_auxiliary(name):
    family, y = get_family(name), DATA[name].to_numpy()
    scale = 1.4826 * np.median(np.abs(y - np.median(y))) if name == "t" else np.std(family.working(y))
    response = Response(y, None, None, None, True, 0.0, 1.0)
    return family.auxiliary_priors(float(scale) if family.collapses or name == "t" else 1.0, response)


# ---- predictions, on draws made by hand


@HAND_MADE
@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_predictions_of_known_groups_are_averages_over_draws(name, link, fake_nuts):
    est, rows = fitted(name, link, sampler="nuts"), DATA.head(6)
    if name == "beta":  # wild draws have quantiles that a double cannot tell from one
        tame = {key: 0.3 * values + (2 if key == "kappa" else 0) for key, values in est._posterior.draws.values.items()}
        est._posterior = _with_draws(est, tame)
    family, eta, own = est._posterior.family, eta_of(est, rows), arguments_of(est, rows)
    mean, variance = family.mean(eta, **own), family.variance(eta, **own)

    np.testing.assert_allclose(est.predict(rows), np.broadcast_to(mean, eta.shape).mean(axis=0), rtol=1e-9)
    expected = np.sqrt(np.broadcast_to(mean, eta.shape).var(axis=0) + np.broadcast_to(variance, eta.shape).mean(axis=0))
    np.testing.assert_allclose(est.predict(rows, return_std=True)[1], expected, rtol=1e-6)
    drawn = est.predict_draws(rows).values.reshape(-1, 6)
    assert np.isfinite(drawn).all()
    family.check(drawn[:, 0])
    for p, found in zip((0.05, 0.5, 0.95), est.predict_quantiles(rows, [0.05, 0.5, 0.95]).T, strict=True):
        below = np.broadcast_to(family.cdf(found, eta, **own), eta.shape).mean(axis=0)
        if family.discrete:
            before = np.broadcast_to(family.cdf(found - 1, eta, **own), eta.shape).mean(axis=0)
            assert (below >= p - 1e-9).all()
            assert (before < p).all()
        else:
            np.testing.assert_allclose(below, p, atol=1e-5)


@HAND_MADE
@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_the_mean_of_a_new_group_is_that_of_brute_force_draws(name, link, fake_nuts):
    """A million groups from the populations of ten draws, against the marginal mean at these draws."""
    est, row = fitted(name, link, sampler="nuts"), DATA.head(1).assign(g=99)
    draws, family = est._posterior.draws, est._posterior.family
    small = {key: values[:1, :10] * (0.4 if key == "sd_g" else 1) for key, values in draws.values.items()}
    est._posterior = _with_draws(est, small)
    rng, found = np.random.default_rng(2), []
    for s in range(10):
        sd, R = small["sd_g"][0, s], small["corr_g"][0, s, 0]
        b = rng.multivariate_normal([0, 0], [[sd[0] ** 2, R * sd[0] * sd[1]], [R * sd[0] * sd[1], sd[1] ** 2]], 100_000)
        x = row["x"].to_numpy()
        eta = small["Intercept"][0, s] + small["beta"][0, s] * x + b[:, 0] + b[:, 1] * x
        own = {key: small[key][0, s] for key in family.auxiliary}
        own |= {"trials": row["n"].to_numpy(float)} if family.counts_trials else {}
        values = family.mean(eta, **own)
        found.append((values.mean(), values.var() / len(values)))
    mean, variance = np.array(found).T

    assert abs(est.predict(row)[0] - mean.mean()) < 4.5 * np.sqrt(variance.sum()) / 10


def _with_draws(est, values):
    return replace(est._posterior, draws=replace(est._posterior.draws, values=values))


@HAND_MADE
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("mode", ["sample", "donor", "zero", "nan", "error"])
def test_modes_of_new_groups_are_those_of_the_gaussian(name, mode, fake_nuts):
    est, rows = fitted(name, sampler="nuts"), DATA.head(3).assign(g=[0, 98, 99])
    if mode == "error":
        with pytest.raises(bm.NewGroupError, match="'g' has 2 levels not seen in fit: 98, 99"):
            est.predict(rows, new_groups=mode)
        return
    mean, interval = est.predict(rows, new_groups=mode), est.predict_interval(rows, new_groups=mode)

    assert np.isnan(mean).tolist() == [False, mode == "nan", mode == "nan"]
    assert np.isnan(interval[:, 0]).tolist() == [False, mode == "nan", mode == "nan"]
    one = est.predict_draws(rows, new_groups=mode).values[..., 1]
    other = est.predict_draws(rows.iloc[::-1], new_groups=mode, kind="linear").values[..., 1]
    np.testing.assert_array_equal(np.isnan(one), np.isnan(other))


@HAND_MADE
@pytest.mark.parametrize(("name", "link"), FAMILY_LINKS)
def test_a_fit_is_shown_tabulated_and_kept(name, link, fake_nuts, tmp_path):
    est = fitted(name, link, sampler="nuts")
    family = est._posterior.family
    assert f"{name}, {link} link" in repr(est)
    assert est.summary()["variable"].tolist()[5:] == list(family.auxiliary)
    table = est.variance_components()
    assert table["share"].sum() == pytest.approx(1)
    assert table["component"].tolist()[3:] == ["auxiliary"] * (0 if family.collapses else len(family.auxiliary)) + [
        "residual"
    ]
    prior = est.sample_prior(DATA.head(5), draws=200)
    assert set(dataset(prior, "prior").data_vars) == {"Intercept", "beta", "sd_g", "corr_g", "b_g", *family.auxiliary}
    est.save(tmp_path / "fit.bm")
    loaded = bm.load(tmp_path / "fit.bm")
    np.testing.assert_array_equal(loaded.predict_interval(DATA.head(9)), est.predict_interval(DATA.head(9)))
    assert loaded.priors_ == est.priors_
    assert clone(loaded).get_params() == est.get_params()
    assert 0 <= float(est.bayes_r2(DATA).mean()) <= 1


# ---- log-normal: the Gaussian one of the logarithm


def test_a_lognormal_fit_is_the_gaussian_one_of_the_logarithm():
    log_y = np.log(DATA["lognormal"])
    est, other = fitted("lognormal"), make("gaussian").fit(DATA, log_y)
    rows = DATA.head(8).assign(g=[0, 1, 2, 3, 4, 97, 98, 99])

    assert est.diagnostics_["sampler"] == "collapsed"
    for name, values in other._posterior.draws.values.items():
        np.testing.assert_allclose(est._posterior.draws.values[name], values, rtol=1e-9)
    np.testing.assert_allclose(est.predict_interval(rows), np.exp(other.predict_interval(rows)), rtol=1e-7)
    np.testing.assert_allclose(
        est.predict_interval(rows, kind="linear"), other.predict_interval(rows, kind="linear"), rtol=1e-9
    )
    np.testing.assert_allclose(est.predict_draws(rows), np.exp(other.predict_draws(rows)), rtol=1e-9)
    pd.testing.assert_frame_equal(est.variance_components(), other.variance_components(), rtol=1e-9)
    ours, theirs = est.loo(DATA, DATA["lognormal"]), other.loo(DATA, log_y)
    np.testing.assert_allclose(
        ours.log_likelihood.values, theirs.log_likelihood.values - log_y.to_numpy(), rtol=1e-9, atol=1e-9
    )


def test_a_lognormal_fit_is_conditioned_on_further_rows():
    known, new = DATA.head(100), DATA.tail(20)
    est = make("lognormal").fit(known, known["lognormal"]).condition(new, new["lognormal"])
    other = make("gaussian").fit(known, np.log(known["lognormal"])).condition(new, np.log(new["lognormal"]))

    np.testing.assert_allclose(est._posterior.draws.values["sigma"], other._posterior.draws.values["sigma"], rtol=1e-8)


def test_the_mean_of_a_lognormal_response_is_above_its_median():
    est, row = fitted("lognormal"), DATA.head(1)
    draws = est._posterior.draws
    expected = np.exp(eta_of(est, row)[:, 0] + draws.flat("sigma") ** 2 / 2).mean()

    assert est.predict(row)[0] == pytest.approx(expected)
    assert est.predict(row)[0] > est.predict_quantiles(row, 0.5)[0, 0]


# ---- trials, exposure, weights, priors


@HAND_MADE
def test_successes_and_trials_may_stand_in_the_formula(fake_nuts):
    one = fitted("binomial", sampler="nuts")
    two = MixedModelRegressor(
        "p(binomial, n) ~ x + (x | g)", family="binomial", sampler="nuts", random_state=0, draws=500
    )
    two.fit(DATA)

    np.testing.assert_array_equal(one.predict(DATA), two.predict(DATA))
    assert two.design_spec_.columns == ("x", "binomial", "n", "g")
    other = DATA["binomial"].to_numpy()[::-1].clip(max=DATA["n"])
    np.testing.assert_array_equal(clone(two).fit(DATA, other)._rows.y, other)
    shares, weights = DATA["binomial"] / DATA["n"], DATA["n"]
    expected = r2_score(shares, one.predict(DATA) / DATA["n"], sample_weight=weights)
    assert one.score(DATA, DATA["binomial"]) == pytest.approx(expected)
    assert two.score(DATA) == pytest.approx(expected)
    with pytest.raises(ValueError, match="needs non-negative integers"):
        one.score(DATA, shares)


@HAND_MADE
def test_a_prediction_needs_the_trials(fake_nuts):
    est = fitted("binomial", sampler="nuts")
    twice = DATA.head(3).assign(n=2 * DATA["n"].head(3))

    np.testing.assert_allclose(est.predict(twice), 2 * est.predict(DATA.head(3)))
    with pytest.raises(bm.FormulaError, match=r"'n', which is not a column of X .* It holds the numbers of trials"):
        est.predict(DATA.drop(columns="n"))
    with pytest.raises(ValueError, match="a whole number of trials, at least 1, in each row; row 1 of the trials is 0"):
        est.predict(DATA.head(3).assign(n=[1, 0, 2]))


@HAND_MADE
@pytest.mark.parametrize("formula", ["x + (x | g)", "p(binomial, n) ~ x + (x | g)"])
def test_a_linear_predictor_does_not_need_the_trials(formula, fake_nuts):
    trials = None if "~" in formula else "n"
    est = MixedModelRegressor(formula, family="binomial", trials=trials, sampler="nuts", random_state=0, draws=500)
    est.fit(DATA, DATA["binomial"])
    rows = DATA.head(6)
    bare = rows[["x", "g"]]

    eta = est.predict_draws(bare, kind="linear").values.reshape(-1, 6)
    np.testing.assert_allclose(eta, eta_of(est, rows), rtol=1e-9)
    expected = np.quantile(eta, [0.1, 0.9], axis=0).T
    np.testing.assert_allclose(est.predict_quantiles(bare, [0.1, 0.9], "linear"), expected, rtol=1e-9)
    np.testing.assert_allclose(est.predict_interval(bare, 0.8, "linear"), expected, rtol=1e-9)
    for kind in ("mean", "response"):
        for predict in (est.predict_draws, est.predict_interval):
            with pytest.raises(bm.FormulaError, match="It holds the numbers of trials"):
                predict(bare, kind=kind)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "poisson", "trials": "n"}, "the trials 'n' are for family='binomial', not for family='poisson'"),
        ({"family": "binomial"}, "needs each row's number of trials: .* neither is given"),
        ({"family": "binomial", "formula": None, "trials": "n"}, "there is no formula"),
        ({"family": "binomial", "formula": None}, "there is no formula"),
        ({"family": "binomial", "formula": "p(binomial, n) ~ x", "trials": "n"}, "both are given"),
        ({"family": "gamma", "formula": "p(binomial, n) ~ x"}, "the trials 'n' are for family='binomial'"),
        ({"family": "binomial", "trials": "k"}, "'k', which is not a column of X"),
        ({"family": "binomial", "trials": "text"}, "column 'text' must hold the number of trials"),
        ({"family": "poisson", "link": "probit"}, "link of family 'poisson' must be None or 'log'"),
    ],
)
def test_trials_and_links_that_do_not_fit_are_refused(options, message):
    frame = DATA[["x", "g", "n", "binomial"]].assign(text="a")
    est = MixedModelRegressor(**{"formula": "x", **options})
    with pytest.raises(ValueError, match=message):
        est.fit(frame if est.formula else frame[["x", "n"]], frame["binomial"])


@HAND_MADE
def test_an_exposure_is_an_offset(fake_nuts):
    """Twice the exposure, twice the mean; without the column there is no prediction."""
    est = make("poisson", formula="x + (x | g) + offset(log(time))", sampler="nuts").fit(DATA, DATA["poisson"])
    rows = DATA.head(3)

    np.testing.assert_allclose(est.predict(rows.assign(time=2 * rows["time"])), 2 * est.predict(rows))
    rate = (DATA["poisson"].sum() + 0.5) / DATA["time"].sum()
    assert est.priors_.intercept.mu == pytest.approx(np.log(rate))
    with pytest.raises(bm.FormulaError, match="uses 'time', which is not a column"):
        est.predict(rows.drop(columns="time"))


@HAND_MADE
def test_priors_of_further_parameters_are_the_users(fake_nuts):
    est = fitted("t", sampler="nuts", priors={"nu": Gamma(3, 0.5), "sigma": LogNormal(0, 1)})

    assert est.priors_.auxiliary == {"nu": Truncated(Gamma(3, 0.5), 1.0), "sigma": LogNormal(0, 1)}
    assert re.search(r"^nu +Gamma\(3, 0.5\) above 1$", str(est.priors_), re.MULTILINE)
    assert (dataset(est.sample_prior(DATA, draws=400), "prior")["nu"].values > 1).all()
    again = fitted("t", sampler="nuts", priors=est.priors_)
    assert again.priors_ == est.priors_


@HAND_MADE
def test_counts_may_be_constant_and_zero(fake_nuts):
    est = make("poisson", formula="x + (1 | g)", sampler="nuts").fit(DATA, np.zeros(120))

    assert est.priors_.intercept.mu == pytest.approx(np.log(0.5 / 120))


@HAND_MADE
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (lambda d: np.where(d["x"] > 0, d["n"], 0), "the common effects 'x' separate successes from failures"),
        (lambda d: d["n"], "y holds only successes: the priors decide how far"),
        (lambda d: 0 * d["n"], "y holds only failures"),
    ],
)
def test_separation_is_named_in_one_warning_and_fitted(y, message, fake_nuts):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make("binomial", sampler="nuts").fit(DATA, y(DATA))

    assert [str(w.message)[: len(message)] for w in caught if "NUTS" not in str(w.message)] == [message]


@HAND_MADE
def test_shares_that_overlap_are_not_separated(fake_nuts):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted("binomial", sampler="nuts")

    assert not caught


def test_the_warning_of_a_mean_that_may_not_exist(fake_nuts):
    """A standard deviation of three on the log scale: the mean over new groups is made up by a few draws."""
    est, row = fitted("poisson", sampler="nuts"), DATA.head(1).assign(g=99)
    small = dict(est._posterior.draws.values)
    small["sd_g"] = stats.halfcauchy.rvs(size=small["sd_g"].shape, random_state=0)
    est._posterior = _with_draws(est, small)
    with np.errstate(over="ignore"), pytest.warns(UserWarning, match=r"k-hat .* may not exist.*predict_quantiles"):
        est.predict(row)


@HAND_MADE
def test_condition_and_loo_of_nuts(fake_nuts):
    est = fitted("poisson", sampler="nuts")
    with pytest.raises(bm.SamplerError, match=r"condition works with .* transport samplers, but this fit used NUTS"):
        est.condition(DATA.head(3), DATA["poisson"].head(3))


# ---- corners


def design_of(formula, **options):
    return DesignSpec.learn(parse(formula), DATA, **options)[1]


@HAND_MADE
@pytest.mark.parametrize("eta", [36.9, 40.0, 300.0, 800.0])
def test_counts_beyond_what_a_double_tells_apart_have_quantiles(eta, fake_nuts):
    """From 2^53 on; where the mean overflows they are infinite."""
    est = make("poisson", formula="x + (1 | g)", sampler="nuts").fit(DATA, DATA["poisson"])
    values = {key: 0 * of for key, of in est._posterior.draws.values.items()}
    est._posterior = _with_draws(est, values | {"Intercept": values["Intercept"] + eta})
    is_finite = eta < 700
    with nullcontext() if is_finite else pytest.warns(UserWarning, match="predictions of 1 of 1 rows are not finite"):
        low, high = est.predict_interval(DATA.head(1))[0]

    if is_finite:
        expected = np.exp(eta) + stats.norm.ppf([0.05, 0.95]) * np.exp(eta / 2)  # SciPy has none
        np.testing.assert_allclose([low, high], expected, rtol=1e-12)
    else:
        assert low == high == np.inf


def test_a_file_keeps_the_family_of_the_fit_whatever_the_parameters_say_now(tmp_path):
    est = fitted("lognormal")
    expected = est.predict(DATA)
    est.set_params(family="gaussian").save(tmp_path / "fit.bm")

    np.testing.assert_array_equal(bm.load(tmp_path / "fit.bm").predict(DATA), expected)


def test_new_rows_have_to_be_in_the_support():
    est = fitted("lognormal")
    with pytest.raises(ValueError, match="family='lognormal' needs positive numbers; row 1 of y is 0"):
        est.condition(DATA.head(3), [1.0, 0.0, 2.0])


def test_condition_takes_weights_as_numbers_of_rows():
    known, new = DATA.head(100), DATA.tail(20)
    est = make("lognormal").fit(known, known["lognormal"])
    weights = np.arange(20) % 3
    one = est.condition(new, new["lognormal"], weights)
    repeated = new.loc[new.index.repeat(weights)]
    two = est.condition(repeated, repeated["lognormal"])

    for name, values in one._posterior.draws.values.items():
        np.testing.assert_allclose(two._posterior.draws.values[name], values, rtol=1e-6, atol=1e-9)


@HAND_MADE
@pytest.mark.parametrize("name", FAMILIES)
def test_no_rows_and_rows_without_a_prediction_are_predicted_in_silence(name, fake_nuts):
    est = fitted(name, sampler="nuts")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="the predictive standard deviation is infinite")
        assert est.predict(DATA.head(0)).shape == (0,)
        assert est.predict_interval(DATA.head(0)).shape == (0, 2)
        new = DATA.head(2).assign(g=99)
        assert np.isnan(est.predict(new, new_groups="nan", return_std=True)).all()
        assert np.isnan(est.predict_draws(new, new_groups="nan")).all()


@HAND_MADE
@pytest.mark.parametrize("name", FAMILIES)
def test_tables_take_a_weight_of_two_as_the_row_twice(name, fake_nuts):
    rows = DATA.head(40)
    weights = np.arange(40) % 3 + 1
    repeated = rows.loc[rows.index.repeat(weights)]
    one = make(name, formula="x + (1 | g)", sampler="nuts").fit(rows, rows[name], sample_weight=weights)
    two = make(name, formula="x + (1 | g)", sampler="nuts").fit(repeated, repeated[name])

    pd.testing.assert_frame_equal(one.variance_components(), two.variance_components())
    assert one.priors_.rows == two.priors_.rows


def test_a_prior_of_nu_keeps_its_bound_in_priors_that_are_passed_whole():
    family, design = get_family("t"), design_of("x + (1 | g)", y=DATA["t"].to_numpy())
    priors = resolve_priors(design, family)
    changed = replace(priors, auxiliary={**priors.auxiliary, "nu": Gamma(2, 2)})

    assert resolve_priors(design, family, priors) is priors
    assert resolve_priors(design, family, changed).auxiliary["nu"] == Truncated(Gamma(2, 2), 1.0)


def test_some_rows_of_a_design_have_all_that_belongs_to_a_row():
    y, weights = DATA["binomial"].to_numpy(float), np.ones(120)
    some = design_of("x + offset(time) + (1 | g)", trials="n", y=y, weights=weights).take(np.arange(5))
    of_rows = {name: value for name, value in vars(some).items() if isinstance(value, np.ndarray)}

    assert set(of_rows) == {"X", "offset", "y", "weights", "trials"}
    assert {len(value) for value in of_rows.values()} == {5}


@HAND_MADE
@pytest.mark.parametrize("name", ["poisson", "binomial", "negativebinomial"])
def test_an_effect_of_each_row_is_what_counts_vary_by(name, fake_nuts):
    frame = DATA.assign(row=np.arange(120))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(name, formula="x + (1 | row)", sampler="nuts").fit(frame, frame[name])
