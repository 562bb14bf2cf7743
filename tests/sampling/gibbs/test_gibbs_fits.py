"""Whole fits by the Gibbs sampler: the posterior of the dense one, what it stores, and what it refuses."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bayesmixed as bm
from bayesmixed import HalfNormal, MixedModelRegressor, Normal, StudentT, SufficientStatistics
from bayesmixed._compat import dataset
from bayesmixed.chunks import allow
from bayesmixed.errors import SamplerError
from bayesmixed.sampling.choose import SAMPLERS
from bayesmixed.sampling.gibbs.proposal import Spread
from bayesmixed.sampling.report import summarise


def crossed(J1=80, J2=70, n=1500, *, seed=0, slopes=False, third=0):
    """Two crossed factors of many levels, perhaps with slopes and a third factor."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n), "a": rng.integers(0, J1, n), "b": rng.integers(0, J2, n)})
    y = 1 + 0.5 * frame["x"] + rng.normal(0, 0.6, J1)[frame["a"]] + rng.normal(0, 0.4, J2)[frame["b"]]
    if slopes:
        y += frame["x"] * (rng.normal(0, 0.3, J1)[frame["a"]] + rng.normal(0, 0.2, J2)[frame["b"]])
    if third:
        frame["c"] = rng.integers(0, third, n)
        y += rng.normal(0, 0.5, third)[frame["c"]]
    return frame, (y + rng.normal(size=n)).rename("y")


def fit(formula, frame, y, weights=None, **options):
    given = {"random_state": 0, "sampler": "gibbs", **options}
    return MixedModelRegressor(formula, **given).fit(frame, y, sample_weight=weights)


@pytest.fixture(scope="module")
def data():
    return crossed()


@pytest.fixture(scope="module")
def est(data):
    return fit("x + (1 | a) + (1 | b)", *data, sampler="auto")


MODELS = {
    "two crossed": ("x + (1 | a) + (1 | b)", {}, {}),
    "slopes": ("x + (x | a) + (x | b)", {"slopes": True, "J1": 40, "J2": 34, "n": 900}, {}),
    "a small third": ("x + (1 | a) + (1 | b) + (1 | c)", {"third": 6}, {}),
    "a large third": ("x + (1 | a) + (1 | b) + (1 | c)", {"third": 75}, {}),
    "one large": ("x + (1 | a) + (1 | b)", {"J2": 9}, {}),
    "nothing shared": ("0 + (1 | a) + (1 | b)", {}, {}),
    "own priors": (
        "x + (1 | a) + (1 | b)",
        {},
        {"priors": {"sd_a": HalfNormal(0.3), "sigma": bm.Exponential(2), "x": Normal(0, 0.1), "sd_b": bm.Gamma(2, 4)}},
    ),
}


def scalars(est):
    """Draws (chain, draw) of every parameter, and of one effect in ten."""
    found = {}
    for name, values in est._posterior.draws.values.items():
        flat = values.reshape(*values.shape[:2], -1)
        for k in range(0, flat.shape[2], 10 if name.startswith("b_") else 1):
            found[f"{name}{k}"] = flat[:, :, k]
    return found


def quartiles(draws):
    """Their distance."""
    low, high = np.quantile(draws, [0.25, 0.75])
    return high - low


def assert_same_posterior(a, b):
    """Means within their Monte Carlo errors, and spreads."""
    first, second = scalars(a), scalars(b)
    assert first.keys() == second.keys()
    z = []
    for name, draws in first.items():
        errors = []
        for values in (draws, second[name]):
            ess = bm.posterior.diagnostics.convergence(values).ess_bulk
            errors.append(values.var() / ess)
        z.append((draws.mean() - second[name].mean()) / np.sqrt(sum(errors)))
        np.testing.assert_allclose(quartiles(draws), quartiles(second[name]), rtol=0.15)
    assert np.abs(z).max() < 4.5
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.5


@pytest.mark.parametrize(
    "case",
    [
        name if name in ("two crossed", "a small third") else pytest.param(name, marks=pytest.mark.numerical)
        for name in MODELS
    ],
)
def test_the_posterior_is_that_of_the_dense_sampler(case):
    formula, data, options = MODELS[case]
    frame, y = crossed(**data)

    assert_same_posterior(
        fit(formula, frame, y, **options),
        fit(formula, frame, y, sampler="collapsed", random_state=7, draws=400, **options),
    )


@pytest.mark.numerical
def test_exact_means_are_closer_to_the_dense_ones_than_the_draws_are(data, est):
    long = fit("x + (1 | a) + (1 | b)", *data, sampler="collapsed", draws=4000)
    for name in ("b_a", "b_b", "beta", "Intercept"):
        exact = long._posterior.draws.mean(name)
        averaged = np.abs(est._posterior.draws.means[name] - exact).mean()
        assert averaged < 0.8 * np.abs(est._posterior.draws.flat(name).mean(axis=0) - exact).mean() + 1e-3, name


@pytest.mark.numerical
def test_auto_takes_the_gibbs_sampler_for_large_crossed_designs_alone(data, est):
    frame, y = data
    assert est.diagnostics_["sampler"] == "gibbs"
    assert est.diagnostics_["reason"] == "sampler='auto'"
    few = frame.assign(b=frame["b"] % 20)
    nested = frame.assign(b=frame["a"].astype(str) + frame["b"].astype(str).str[-1])
    also_nested = frame.assign(c=frame["a"].astype(str) + frame["x"].gt(0).astype(str))
    for formula, rows in (
        ("x + (1 | a) + (1 | b)", few),
        ("x + (1 | a) + (1 | b)", nested),
        ("x + (1 | a) + (1 | b) + (1 | c)", also_nested),
        ("x + (1 | a)", frame),
    ):
        assert fit(formula, rows, y, sampler="auto", draws=250).diagnostics_["sampler"] == "collapsed"


def test_a_named_dense_sampler_goes_to_its_own_limit(data):
    assert fit("x + (1 | a) + (1 | b)", *data, sampler="collapsed", draws=250).diagnostics_["sampler"] == "collapsed"


def test_auto_goes_on_to_the_dense_sampler_where_the_chains_do_not_agree(data, monkeypatch):
    monkeypatch.setattr("bayesmixed.sampling.gibbs.run.shortcomings", lambda *a: ["R-hat of 'b_a' is 2"])
    found = fit("x + (1 | a) + (1 | b)", *data, sampler="auto", draws=50).diagnostics_

    assert found["sampler"] == "collapsed"
    assert found["reason"] == "after 4 times as many sweeps R-hat of 'b_a' is 2"
    with pytest.raises(SamplerError, match="after 4 times as many sweeps"):
        fit("x + (1 | a) + (1 | b)", *data, draws=50)


@pytest.mark.numerical
def test_it_runs_once_more_where_the_first_draws_say_too_little(data, monkeypatch):
    answers = iter([["too little"], []])
    monkeypatch.setattr("bayesmixed.sampling.gibbs.run.shortcomings", lambda *a: next(answers))
    est = fit("x + (1 | a) + (1 | b)", *data, draws=101)

    assert est.diagnostics_["thinning"] == 4
    assert est.diagnostics_["sweeps"] == 101 + 4 * 101
    assert est._posterior.draws.shape == (4, 101)
    kept = est._posterior.draws.values["b_a"]
    assert (np.diff(kept, axis=1) != 0).any(axis=(0, 2, 3)).all()


@pytest.mark.numerical
def test_proposals_are_fitted_to_the_first_draws_before_it_runs_once_more(data, monkeypatch):
    answers, fitted = iter([["too little"], []]), []

    def spread(points, wider):
        fitted.append(points.shape)
        return Spread.fitted(points, wider)

    monkeypatch.setattr("bayesmixed.sampling.gibbs.run.shortcomings", lambda *a: next(answers))
    monkeypatch.setattr("bayesmixed.sampling.gibbs.run.Spread", SimpleNamespace(fitted=spread))
    est = fit("x + (1 | a) + (1 | b)", *data, draws=500)

    assert fitted == [(2, 4 * 500)] * 2
    assert_same_posterior(est, fit("x + (1 | a) + (1 | b)", *data, sampler="collapsed", random_state=7))


def test_what_stands_in_the_way_is_named(data):
    with pytest.raises(SamplerError, match="common effects need Normal priors to be drawn exactly"):
        fit("x + (1 | a) + (1 | b)", *data, priors={"x": StudentT(3, 0, 1)})
    with pytest.raises(SamplerError, match="no group effects"):
        fit("x", *data)
    with pytest.raises(SamplerError, match="the gibbs sampler does not take family 'poisson'"):
        fit("x + (1 | a)", data[0], np.arange(len(data[0])) % 3, family="poisson")
    frame = data[0].assign(**{f"z{k}": np.random.default_rng(k + 10).normal(size=1500) for k in range(6)})
    with pytest.raises(SamplerError, match="36 standard deviations and correlations, more than 21"):
        fit(f"({'+'.join(f'z{k}' for k in range(6))} + x | a) + (1 | b)", frame, data[1])
    assert "gibbs" in SAMPLERS


def test_the_same_seed_gives_the_same_draws(data, est):
    again = fit("x + (1 | a) + (1 | b)", *data)
    other = fit("x + (1 | a) + (1 | b)", *data, random_state=1, draws=10)

    for name, values in est._posterior.draws.values.items():
        np.testing.assert_array_equal(again._posterior.draws.values[name], values)
        assert (other._posterior.draws.values[name] != values[:, :10]).any()


@pytest.mark.numerical
def test_weights_are_rows_that_are_repeated(data):
    frame, y = (part.iloc[:700] for part in data)
    weights = np.arange(700) % 3 + 1
    rows = np.repeat(np.arange(700), weights)
    a = fit("x + (1 | a) + (x | b)", frame, y, weights=weights)
    b = fit("x + (1 | a) + (x | b)", frame.iloc[rows], y.iloc[rows])

    for name in ("sigma", "sd_a", "b_a"):
        np.testing.assert_allclose(
            a._posterior.draws.values[name], b._posterior.draws.values[name], rtol=1e-4, atol=1e-5
        )


@pytest.mark.numerical
def test_lognormal_responses_are_sampled_on_the_log_scale(data, est):
    frame, y = data
    log = fit("x + (1 | a) + (1 | b)", frame, np.exp(y), family="lognormal")

    for name in ("beta", "sd_a", "sigma"):
        np.testing.assert_allclose(log._posterior.draws.values[name], est._posterior.draws.values[name], rtol=1e-6)


@pytest.mark.numerical
@pytest.mark.parametrize("ratio", [1e3, 3e5])  # sigma has a floor of 1e-6 sd(y)
def test_a_small_sigma_beside_large_effects_is_found(ratio):
    rng = np.random.default_rng(3)
    frame, _ = crossed()
    truth = rng.normal(size=80), rng.normal(size=70)
    noise = rng.normal(size=len(frame)) / ratio
    est = fit("(1 | a) + (1 | b)", frame, truth[0][frame["a"]] + truth[1][frame["b"]] + noise)

    sigma = est._posterior.draws.flat("sigma")
    degrees = len(frame) - 149
    Z = np.hstack([pd.get_dummies(frame["a"]), pd.get_dummies(frame["b"])]).astype(float)
    residual = noise - Z @ np.linalg.lstsq(Z, noise, rcond=None)[0]
    np.testing.assert_allclose(sigma.mean(), np.sqrt(residual @ residual / degrees), rtol=0.01)
    np.testing.assert_allclose(sigma.std() / sigma.mean(), 1 / np.sqrt(2 * degrees), rtol=0.15)


@pytest.mark.numerical
def test_no_spread_between_groups_is_no_trouble():
    frame, _ = crossed()
    y = np.random.default_rng(4).normal(size=len(frame))

    assert_same_posterior(
        fit("x + (1 | a) + (1 | b)", frame, y),
        fit("x + (1 | a) + (1 | b)", frame, y, sampler="collapsed", random_state=5),
    )


@pytest.mark.numerical
def test_a_far_slope_and_swept_priors_are_those_of_the_dense_sampler():
    frame, y = crossed(40, 34, 900, slopes=True)
    frame = frame.assign(x=frame["x"] + 2000.0)
    assert_same_posterior(
        fit("x + (x | a) + (1 | b)", frame, y), fit("x + (x | a) + (1 | b)", frame, y, sampler="collapsed")
    )


def test_diagnostics_say_how_the_chains_moved(est):
    found = est.diagnostics_
    assert 0.3 < found["moved"] < 1
    assert 0 < found["rate"] < 0.8
    assert found["sweeps"] == 1000
    assert found["divergences"] == 0
    assert set(found["seconds"]) == {"statistics", "start", "warm-up", "rate", "sample"}
    stats = dataset(est.idata_, "sample_stats")
    assert float(stats["acceptance_rate"].mean()) == pytest.approx(found["moved"])
    assert stats["lp"].shape == (4, 1000)


@pytest.mark.numerical
def test_the_log_density_of_a_draw_is_the_joint_one(est, data):
    """Up to a constant: of sigma, sds and the smaller factor's effects, the rest integrated out."""
    from scipy import stats

    frame, y = data
    draws, priors = est._posterior.draws, est.priors_
    lp, density = draws.sample_stats["lp"][0, :6], []
    Z = {name: pd.get_dummies(frame[name]).to_numpy(float) for name in ("a", "b")}
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    for s in range(6):
        one = {name: values[0, s] for name, values in draws.values.items()}
        sd_a, sd_b, sigma = one["sd_a"][0], one["sd_b"][0], one["sigma"]
        # the intercept's default prior is of the centred columns
        centred = X.copy()
        centred[:, 1] -= X[:, 1].mean()
        V = centred @ np.diag([priors.intercept.sigma**2, priors.common["x"].sigma ** 2]) @ centred.T
        V += sd_a**2 * Z["a"] @ Z["a"].T + sigma**2 * np.eye(len(frame))
        b = one["b_b"][:, 0]
        value = stats.multivariate_normal(np.full(len(y), priors.intercept.mu), V).logpdf(y - Z["b"] @ b)
        value += stats.norm(0, sd_b).logpdf(b).sum()
        value += priors.group_sd["a"]["Intercept"].log_density(sd_a) + priors.group_sd["b"]["Intercept"].log_density(
            sd_b
        )
        value += priors.auxiliary["sigma"].log_density(sigma) + np.log(sd_a) + np.log(sd_b) + np.log(sigma)
        density.append(float(value))
    np.testing.assert_allclose(np.diff(lp), np.diff(density), rtol=1e-6, atol=1e-5)


@pytest.mark.numerical
@pytest.mark.parametrize("formula", ["x + (1 | a) + (1 | b)", "x + (x | a) + (x || b)", "0 + (1 | a) + (1 | b)"])
def test_effects_that_are_not_stored_are_those_that_would_have_been(formula):
    frame, y = crossed(slopes=True)
    with allow(stored=0):
        lazy = fit(formula, frame, y, draws=100)
    source, draws = lazy._posterior.draws.lazy["a"], lazy._posterior.draws
    assert "b_a" not in draws.values
    assert draws.values["b_b"].shape[:3] == (4, 100, 70)
    every = source.draw(np.arange(80))
    some = np.array([3, 71, 4])
    np.testing.assert_array_equal(source.draw(some), every[:, some])
    levels = np.random.default_rng(0).integers(0, 80, 400)
    np.testing.assert_array_equal(source.draw_each(levels), every[np.arange(400), levels])
    # they are draws given the rest: the response less everything is noise of size sigma
    eta = np.zeros((400, len(frame)))
    if "beta" in draws.values:
        eta = draws.flat("Intercept")[:, None] + draws.flat("beta") * frame["x"].to_numpy()
    X = np.column_stack([np.ones(len(frame)), frame["x"]])[:, : every.shape[2]]
    for effects, codes in ((every, frame["a"]), (draws.flat("b_b"), frame["b"])):
        eta = eta + (effects[:, codes] * X).sum(axis=2)
    residual = (y.to_numpy() - eta) / draws.flat("sigma")[:, None]
    np.testing.assert_allclose(np.square(residual).sum(axis=1).mean() / len(y), 1.0, atol=0.02)
    np.testing.assert_allclose(source.mean, every.mean(axis=0), atol=6 / np.sqrt(400) * every.std(axis=0).max())


def test_replayed_effects_are_the_chains_own(data, monkeypatch):
    """Bit for bit but for rounding: the run's own effects, kept aside."""
    from bayesmixed.sampling.gibbs import run

    seen = []
    store = run.Kept.store
    monkeypatch.setattr(
        run.Kept,
        "store",
        lambda self, at, chains, sampler: (store(self, at, chains, sampler), seen.append(chains.effects(1))),
    )
    with allow(stored=0):
        est = fit("x + (1 | a) + (1 | b)", *data, draws=30, chains=2)
    units = est._posterior.draws.lazy["a"].density.units
    own = np.stack([units.group_effects(0, b)[:, :, :2] for b in seen])  # (draw, q, J, chain)
    replayed = est._posterior.draws.effects("a", np.arange(80)).reshape(2, 30, 80, 1)

    np.testing.assert_allclose(replayed, own.transpose(3, 0, 2, 1), rtol=1e-8, atol=1e-10)


@pytest.mark.numerical
def test_new_rows_are_learned_from_as_if_they_had_been_there(data):
    frame, y = data
    old, new = slice(0, 1200), slice(1200, None)
    more = frame.iloc[new].copy()
    more.loc[more.index[:40], "a"] = 500
    y = y + 0.7 * pd.concat([frame.iloc[old], more])["a"].eq(500)
    first = fit("x + (1 | a) + (1 | b)", frame.iloc[old], y.iloc[old])
    both = first.condition(more, y.iloc[new])
    whole = fit("x + (1 | a) + (1 | b)", pd.concat([frame.iloc[old], more]), y, priors=first.priors_, random_state=2)

    assert both.diagnostics_["sampler"] == "gibbs"
    assert both.diagnostics_["reason"] == "condition: sampled anew, with the statistics of all rows"
    assert_same_posterior(both, whole)


@pytest.mark.slow
def test_rows_are_left_out_as_by_the_dense_sampler(data):
    frame, y = (part.iloc[:600] for part in data)
    a = fit("x + (1 | a) + (x | b)", frame, y).loo(frame, y)
    b = fit("x + (1 | a) + (x | b)", frame, y, sampler="collapsed").loo(frame, y)

    def elpd(result):
        return float(getattr(result, "elpd_loo", getattr(result, "elpd", None)))

    np.testing.assert_allclose(elpd(a), elpd(b), atol=1.5)


@pytest.mark.numerical
@pytest.mark.filterwarnings("ignore::bayesmixed.errors.ConvergenceWarning")
@pytest.mark.parametrize("chains", [1, 2, 5])
def test_as_many_chains_as_asked_for_are_kept(data, chains):
    est = fit("x + (1 | a) + (1 | b)", *data, draws=200, chains=chains)

    assert est._posterior.draws.shape == (chains, 200)


@pytest.fixture(scope="module")
def movers():
    """Workers, few of whom change firms."""
    rng = np.random.default_rng(0)
    workers, firms, years = 300, 70, 4
    home = rng.integers(0, firms, workers)
    w = np.repeat(np.arange(workers), years)
    moved = (rng.uniform(size=workers) < 0.1)[w] & (np.tile(np.arange(years), workers) >= 2)
    f = np.unique(np.where(moved, rng.integers(0, firms, workers)[w], home[w]), return_inverse=True)[1]
    y = rng.normal(0, 0.8, workers)[w] + rng.normal(0, 0.5, firms)[f] + 0.3 * rng.normal(size=len(w))
    return pd.DataFrame({"w": w, "f": f}), y


@pytest.fixture(scope="module")
def nearly_nested(movers):
    return fit("(1 | w) + (1 | f)", *movers, sampler="auto")


@pytest.fixture(scope="module")
def dense_movers(movers):
    return fit("(1 | w) + (1 | f)", *movers, sampler="collapsed")


@pytest.mark.numerical
def test_nearly_nested_factors_take_the_step_that_moves_all_effects(nearly_nested, dense_movers):
    found = nearly_nested.diagnostics_
    assert found["sampler"] == "gibbs"
    assert found["rate"] > 0.8
    assert found["iterations"] > 1
    assert summarise(nearly_nested._posterior.draws)["min_ess_bulk"] > 800
    assert_same_posterior(nearly_nested, dense_movers)


def test_stored_effects_are_a_draw_of_their_joint_posterior(movers, nearly_nested, dense_movers):
    """The trap: effects that the step has moved beside those that belong to the effects before it."""
    frame, _ = movers

    def sums(est):
        draws = est._posterior.draws
        return draws.flat("b_w")[:, frame["w"], 0] + draws.flat("b_f")[:, frame["f"], 0]

    ratio = sums(nearly_nested).std(axis=0) / sums(dense_movers).std(axis=0)
    apart = np.hypot(*(dense_movers._posterior.draws.flat(f"b_{g}")[:, frame[g], 0].std(axis=0) for g in ("w", "f")))
    assert np.abs(ratio - 1).max() < 0.1
    assert (apart / sums(dense_movers).std(axis=0)).mean() > 1.5  # what a pair of strangers would have


@pytest.mark.numerical
def test_new_rows_may_make_another_factor_the_largest():
    """Which then stands elsewhere among the large ones, beside rows of the first fit."""
    rng = np.random.default_rng(4)
    home, years = rng.integers(0, 84, 90), 8
    w = np.repeat(np.arange(90), years)
    f = np.where(rng.uniform(size=len(w)) < 0.25, rng.integers(0, 84, len(w)), home[w])
    y = rng.normal(0, 0.5, 90)[w] + rng.normal(0, 0.5, 84)[f] + 0.5 * rng.normal(size=len(w))
    frame = pd.DataFrame({"w": w, "f": f})
    more = pd.DataFrame({"w": rng.integers(0, 90, 90), "f": 1000 + np.repeat(np.arange(30), 3)})
    new = np.repeat(rng.normal(0, 0.5, 30), 3) + 0.5 * rng.normal(size=90)
    first = fit("(1 | w) + (1 | f)", frame, y)
    both = first.condition(more, new)
    rows, response = pd.concat([frame, more]), np.append(y, new)
    whole = fit("(1 | w) + (1 | f)", rows, response, sampler="collapsed", priors=first.priors_, draws=400)

    assert len(frame["w"].unique()) > len(frame["f"].unique())
    assert both.diagnostics_["iterations"] > 1
    assert_same_posterior(both, whole)


@pytest.mark.numerical
def test_new_rows_may_make_a_small_factor_large():
    rng = np.random.default_rng(5)
    n = 900
    frame = pd.DataFrame({"a": rng.integers(0, 90, n), "b": rng.integers(0, 75, n), "c": rng.integers(0, 50, n)})
    y = rng.normal(0, 0.5, 90)[frame["a"]] + rng.normal(0, 0.5, 50)[frame["c"]] + rng.normal(size=n)
    more = frame.iloc[:60].assign(c=50 + np.arange(60) // 2)
    first = fit("(1 | a) + (1 | b) + (1 | c)", frame, y)
    both = first.condition(more, y[:60])
    whole = fit(
        "(1 | a) + (1 | b) + (1 | c)",
        pd.concat([frame, more]),
        np.append(y, y[:60]),
        sampler="collapsed",
        priors=first.priors_,
        draws=400,
    )

    assert_same_posterior(both, whole)


@pytest.mark.numerical
def test_effects_that_one_factor_gains_and_another_loses_are_drawn_where_sigma_is_small():
    """Of workers and firms: what the rows do not tell apart has its whole spread, also at sds of 1e5 times sigma."""
    rng = np.random.default_rng(0)
    home = rng.integers(0, 100, 120)
    w = np.repeat(np.arange(120), 4)
    f = np.where(rng.uniform(size=len(w)) < 0.3, rng.integers(0, 100, len(w)), home[w])
    frame = pd.DataFrame({"w": w, "f": np.unique(f, return_inverse=True)[1]})
    signal = rng.normal(size=120)[w] + rng.normal(size=100)[frame["f"]]
    noise = rng.normal(size=len(w))
    near, far = (fit("(1 | w) + (1 | f)", frame, signal + noise / ratio) for ratio in (1e3, 1e5))

    assert far.diagnostics_["iterations"] > near.diagnostics_["iterations"]
    for name in ("sd_w", "sd_f"):
        a, b = (est._posterior.draws.flat(name) for est in (near, far))
        np.testing.assert_allclose(a.mean(), b.mean(), rtol=0.02)
        np.testing.assert_allclose(a.std(), b.std(), rtol=0.15)
    spreads = [est._posterior.draws.flat("b_f").std(axis=0) for est in (near, far)]
    np.testing.assert_allclose(spreads[0], spreads[1], rtol=0.15)


def rooms(n=2500, rooms=200, schools=70, items=75, sds=(2.0, 0.4, 0.5)):
    """Classes, each of one school, who answer items; the classes differ more than anything else."""
    rng = np.random.default_rng(0)
    school_of = np.concatenate([np.arange(schools), rng.integers(0, schools, rooms - schools)])
    frame = pd.DataFrame({"room": rng.integers(0, rooms, n), "item": rng.integers(0, items, n)})
    frame["school"] = school_of[frame["room"]]
    many = rooms, schools, items
    y = sum(rng.normal(0, sd, J)[frame[f]] for f, J, sd in zip(("room", "school", "item"), many, sds, strict=True))
    return frame, y + 0.5 * rng.normal(size=n)


@pytest.mark.numerical
def test_a_factor_that_is_nested_in_another_is_sampled_with_it_as_one_block():
    frame, y = rooms()
    est = fit("(1 | room) + (1 | school) + (1 | item)", frame, y)

    assert est.diagnostics_["sampler"] == "gibbs"
    assert_same_posterior(est, fit("(1 | room) + (1 | school) + (1 | item)", frame, y, sampler="collapsed", draws=400))


@pytest.mark.numerical
def test_auto_takes_nested_factors_beside_crossed_ones_where_there_are_many_effects():
    frame, y = rooms(schools=100, items=160)

    found = fit("(1 | room) + (1 | school) + (1 | item)", frame, y, sampler="auto", draws=100).diagnostics_
    assert found["sampler"] == "gibbs"


def test_more_effects_than_memory_holds_are_refused(data):
    with (
        allow(kept=100_000),
        pytest.raises(SamplerError, match="4,000 draws of the 70 effects of 'b' must all be kept"),
    ):
        fit("x + (1 | a) + (1 | b)", *data)


@pytest.mark.numerical
def test_sums_over_pairs_of_levels_are_enough_for_the_step(movers, nearly_nested):
    """Of two factors without slopes; of others they do not say which rows there are."""
    frame, y = movers
    frame = frame.assign(y=y, x=np.arange(len(y)) % 7)
    found = fit(None, SufficientStatistics.of("y ~ (1 | w) + (1 | f)", frame), None, sampler="auto")

    assert found.diagnostics_["iterations"] > 1
    for name, draws in nearly_nested._posterior.draws.values.items():
        np.testing.assert_allclose(found._posterior.draws.values[name], draws, atol=1e-8)
    with pytest.raises(SamplerError, match="slopes or more than two factors: that needs the rows"):
        fit(None, SufficientStatistics.of("y ~ (x | w) + (1 | f)", frame), None, sampler="gibbs")


@pytest.mark.parametrize("stored", [0, 10**9])
def test_a_saved_fit_comes_back(data, tmp_path, stored):
    frame, y = data
    with allow(stored=stored):
        est = fit("x + (1 | a) + (1 | b)", frame, y, draws=100)
    est.save(tmp_path / "est.bm")
    loaded = bm.load(tmp_path / "est.bm")
    new = frame.iloc[:30].assign(a=999)

    for rows in (frame.iloc[:50], new):
        np.testing.assert_array_equal(est.predict(rows), loaded.predict(rows))
        np.testing.assert_array_equal(est.predict_draws(rows), loaded.predict_draws(rows))
    np.testing.assert_array_equal(est.draw_group_effects("a", [3, 1]), loaded.draw_group_effects("a", [3, 1]))
    assert dataset(est.idata_, "posterior").identical(dataset(loaded.idata_, "posterior"))
    a, b = (one.condition(new, y.iloc[:30])._posterior.draws for one in (est, loaded))
    np.testing.assert_array_equal(a.values["b_b"], b.values["b_b"])
