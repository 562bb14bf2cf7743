"""Data at the corners: nearly perfect fits, slopes far from zero, huge numbers, huge weights, tiny requests."""

import warnings
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from bayesmixed import HalfNormal, MixedModelRegressor, Normal
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.errors import SamplerError
from bayesmixed.gaussian import units
from bayesmixed.sampling.collapsed.search import locate
from helpers.collapsed_twins import learn

GROUPS = pd.DataFrame({"g": np.repeat(np.arange(8), 5)})


def collapsed(formula, frame, y, **options):
    return MixedModelRegressor(formula, sampler="collapsed", random_state=0, **options).fit(frame, y)


@pytest.mark.parametrize("noise", [1e-5, 3e-5])
def test_groups_that_leave_no_residual_are_refused_by_name(noise):
    """There lambda = sd / sigma runs to the edge of what can be computed, where a posterior would be cut."""
    y = GROUPS["g"] + noise * np.random.default_rng(0).normal(size=40)

    with pytest.raises(SamplerError, match="of the draws have a group sd of more than 60,000 times sigma"):
        collapsed("(1 | g)", GROUPS, y)


def test_groups_that_leave_a_small_residual_are_fitted():
    y = GROUPS["g"] + 1e-2 * np.random.default_rng(0).normal(size=40)
    est = collapsed("(1 | g)", GROUPS, y)

    assert est._posterior.draws.mean("sigma") == pytest.approx(1e-2, rel=0.3)
    np.testing.assert_allclose(est.predict(GROUPS), GROUPS["g"], atol=0.02)


@pytest.mark.filterwarnings("ignore:.*far outside the data:UserWarning")
def test_both_modes_of_a_far_slope_are_found():
    """The prior of the correlation, stated at year 0, puts a second mode at a slope sd of a thousandth."""
    rng = np.random.default_rng(4)
    g, year = np.repeat(np.arange(18), 10), np.tile(np.arange(10), 18)
    slope = 0.5 + 0.28 * rng.normal(size=18)
    y = 10 + 2 * rng.normal(size=18)[g] + slope[g] * (year - 4.5) + rng.normal(size=180)
    frame = pd.DataFrame({"g": g, "year": year + 2000})
    at_zero = {"sd_g": {"Intercept": HalfNormal(5000)}}  # the user's: the default is stated at the mean
    model = learn("year + (year | g)", frame, y=y, lkj_eta=2.0, user=at_zero)
    _, modes, _ = locate(model.density, lambda n: None)

    assert sorted(round(float(mode.x[1])) for mode in modes) == [-6, 0]


@pytest.mark.filterwarnings("ignore:.*far outside the data:UserWarning")
def test_where_a_far_slope_is_sampled_does_not_matter(monkeypatch):
    """At zero or at the slope's mean, six standard deviations away: one posterior, two systems of coordinates."""
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(40), 20), rng.normal(size=800)
    y = 1 + rng.normal(size=40)[g] + (0.5 + 0.5 * rng.normal(size=40)[g]) * x + rng.normal(size=800)
    frame = pd.DataFrame({"g": g, "x": x + 6})
    found = []
    for limit in (3.0, 30.0):
        monkeypatch.setattr(units, "_FAR", limit)
        draws = collapsed("x + (x | g)", frame, y, priors={"sd_g": HalfNormal(10)})._posterior.draws
        found.append({name: draws.flat(name) for name in ("sd_g", "corr_g", "sigma", "b_g")})
    for name, at_mean in found[0].items():
        at_zero = found[1][name]
        error = np.hypot(at_mean.std(axis=0), at_zero.std(axis=0)) / np.sqrt(1000)
        assert (np.abs(at_mean.mean(axis=0) - at_zero.mean(axis=0)) < 4.5 * error).all(), name


def test_columns_of_a_billion():
    """Seconds since 1970, and a tight prior of the intercept at X = 0."""
    rng = np.random.default_rng(0)
    t = 1.6e9 + rng.normal(size=(40, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est = collapsed(None, t, rng.normal(size=40), priors={"Intercept": Normal(0, 10)})

    assert np.isfinite(est.predict(t)).all()
    assert abs(est.intercept_) < 40


def test_huge_weights_are_as_many_rows():
    """sigma is known to four digits: steps for derivatives follow its spread."""
    rng = np.random.default_rng(0)
    frame = GROUPS.assign(x=rng.normal(size=40))
    y = frame["x"] + rng.normal(size=40)
    est = MixedModelRegressor("x + (1 | g)", sampler="collapsed", random_state=0)
    est.fit(frame, y, sample_weight=np.full(40, 1e6))
    sigma = est._posterior.draws.flat("sigma")

    assert est.diagnostics_["acceptance"] > 0.5
    assert sigma.std() / sigma.mean() == pytest.approx(1 / np.sqrt(2 * 4e7), rel=0.1)


def test_a_column_of_zeros_left_of_a_bar_is_named_and_nothing_else_is_said():
    frame = GROUPS.assign(z=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "some columns are not identified")
        est = collapsed("(0 + z | g)", frame, np.random.default_rng(0).normal(size=40))

    assert np.isfinite(est._posterior.draws.flat("sd_g")).all()


@pytest.mark.parametrize(("draws", "chains"), [(1, 1), (3, 2), (1, 4)])
@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")
def test_a_handful_of_draws_is_judged_by_a_thousand_proposals(draws, chains):
    df = load_sleepstudy()
    est = collapsed("Days + (Days | Subject)", df, df["Reaction"], draws=draws, chains=chains)

    assert est._posterior.draws.shape == (chains, draws)
    assert est.diagnostics_["proposals_per_draw"] * draws * chains >= 1000


def test_coef_is_not_a_view_of_the_posterior():
    df = load_sleepstudy()
    est = collapsed("Days + (1 | Subject)", df, df["Reaction"])
    before = est.predict(df)
    est.coef_[:] = 0

    np.testing.assert_array_equal(est.predict(df), before)


@pytest.mark.parametrize("levels", [308, "308"])
def test_levels_have_to_be_a_list(levels):
    df = load_sleepstudy()
    est = collapsed("Days + (1 | Subject)", df, df["Reaction"])

    with pytest.raises(
        ValueError, match=f"levels must be a list of labels of 'Subject', or None for all, got {levels!r}"
    ):
        est.draw_group_effects("Subject", levels)


def test_levels_are_looked_up_as_labels():
    """Integers and floats alike, dates as Timestamps, pairs as tuples."""
    day = pd.to_datetime("2020-01-01") + pd.to_timedelta(GROUPS["g"], unit="D")
    frame = GROUPS.assign(day=day, h=np.tile(["u", "v"], 20))
    y = np.random.default_rng(0).normal(size=40)
    by_day = collapsed("(1 | day)", frame, y)
    by_pair = collapsed("(1 | g:h)", frame, y)

    assert by_day.draw_group_effects("day", [pd.Timestamp("2020-01-03")]).shape == (4, 1000, 1, 1)
    np.testing.assert_array_equal(
        by_pair.draw_group_effects("g:h", [(3, "v"), "0:u"]), by_pair.draw_group_effects("g:h", ["3:v", (0, "u")])
    )
    np.testing.assert_array_equal(
        collapsed("(1 | g)", frame, y).draw_group_effects("g", [3.0]),
        collapsed("(1 | g)", frame, y).draw_group_effects("g", [3]),
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("formula", ["k + (k | g)", "(k | h) + (k | g)", "k*x + (k | g) + (1 | h)"])
def test_no_fit_warns_of_numbers(seed, formula):
    """Far out in the tails points lose their pivots: a refusal may come of it, a NumPy warning never."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(40, 200))
    frame = pd.DataFrame({"g": rng.integers(0, 9, n), "h": rng.integers(0, 5, n), "k": rng.choice(list("abcdef"), n)})
    frame["x"] = rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)
    y = 10.0 ** rng.integers(-3, 4) * (rng.normal(size=n) + rng.choice([0, 1e3]) * (frame["g"] % 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        with suppress(SamplerError):
            collapsed(formula, frame, y, draws=50)


@pytest.mark.numerical
@pytest.mark.parametrize("p", [12, 19, 30])
def test_as_many_common_columns_as_rows_are_sampled_as_quadrature_has_it(p):
    """The common effects may fit every row: log(sigma) has an exponential tail to the left, and no maximum far out."""
    rng = np.random.default_rng(p)
    n, names = 20, [f"x{k}" for k in range(p)]
    frame = pd.DataFrame(rng.normal(size=(n, p)), columns=names).assign(g=np.arange(n) % 5)
    y = frame["x0"] + rng.normal(size=5)[frame["g"]] + rng.normal(size=n)
    formula = f"{' + '.join(names)} + (1 | g)"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="some columns are not identified")
        est = collapsed(formula, frame, y)
    density = est._posterior.draws.state.density
    theta, s = (axis.ravel() for axis in np.meshgrid(np.linspace(-14, 11, 251), np.linspace(-11, 3, 281)))
    log_joint = density.log_joint(theta[None], s)
    weight = np.exp(log_joint - log_joint.max())
    log_sigma = np.log(est._posterior.draws.values["sigma"] / density.units.scaling.y_scale)
    error = log_sigma.std() / np.sqrt(est.diagnostics_["min_ess_bulk"])

    assert est.diagnostics_["k_hat"] < 0.5
    assert abs(log_sigma.mean() - np.average(s, weights=weight)) < 4 * error
    for at in (-3.0, -1.0):
        assert np.mean(log_sigma < at) == pytest.approx(weight[s < at].sum() / weight.sum(), abs=0.03)
