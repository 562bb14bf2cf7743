"""The density of each row given all others against the dense one, and `loo` against fits without the row."""

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

from bayesmixed import MixedModelRegressor, Normal
from bayesmixed._compat import dataset, import_arviz
from bayesmixed.chunks import allow
from bayesmixed.estimators import after_fit
from bayesmixed.gaussian.crossed import Crossed
from bayesmixed.gaussian.effects import Points
from bayesmixed.gaussian.leave_one_out import leave_one_out
from bayesmixed.gaussian.nested import Nested
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.diagnostics import convergence
from bayesmixed.posterior.draws import Draws
from bayesmixed.sampling.collapsed.regression import Regression, Rotated
from helpers.collapsed_twins import dense_log_likelihood, effects_prior, learn, make_frame, on_user_scale, random_points

FRAME = make_frame()
Y = pd.Series(np.random.default_rng(3).normal(5, 2, 40) + 1.5 * (FRAME["pupil"] % 3))
COUNTS = np.random.default_rng(0).integers(1, 4, 40).astype(float)
NESTED = {
    "one effect": "x + (1 | pupil)",
    "two effects": "x + (z | pupil)",
    "three effects": "x + k + (z + x | pupil)",
    "independent effects": "x + (z || pupil)",
    "nested": "x + (1 | town/pupil)",
    "nested slopes": "x + (z | town) + (x | pupil)",
    "three nested": "x + (1 | town/school/pupil)",
    "no common effect": "0 + (1 | pupil)",
    "intercept alone": "(1 | pupil)",
    "slope alone": "0 + x + (0 + x | pupil)",
    "categorical common effect": "k*x + (1 | pupil)",
    "one row per group": "x + (1 | single)",
    "balanced": "x + (x | balanced)",
    "offset": "offset(z) + x + (1 | pupil)",
    "far slope": "x + (year | pupil)",
    "many common effects": " + ".join(f"c{i}" for i in range(14)) + " + (1 | pupil)",
}
CROSSED = {
    "crossed": "x + (1 | pupil) + (1 | item)",
    "crossed slopes": "x + (z | pupil) + (x | item)",
    "crossed, three and two effects": "x + (z + x | school) + (z | item)",
    "three crossed": "x + (1 | pupil) + (1 | item) + (1 | task)",
    "crossed and nested": "x + (z | pupil) + (x | item) + (1 | town)",
    "crossed, no common effect": "0 + (x | pupil) + (1 | item)",
    "crossed, offset": "k + offset(z) + (1 | pupil) + (0 + x | item)",
    "crossed, far slope": "x + (year | pupil) + (1 | item)",
}
CASES = NESTED | CROSSED
TOLERANCE = {"far slope": 1e-7, "crossed, far slope": 1e-7}

pytestmark = [
    pytest.mark.filterwarnings("ignore:(?s).*far outside the data:UserWarning"),
    pytest.mark.filterwarnings("ignore:grouping factor .* has as many levels as rows:UserWarning"),
    pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning"),  # of ArviZ: small data
]


def draws_of_sigma(values):
    """Draws of sigma alone, in one chain."""
    return Draws({"sigma": np.array(values)[None]}, {}, {})


def rows_of(design, rows):
    """Some rows of a design, in the given order."""
    groups = tuple(replace(factor, codes=factor.codes[rows], Z=factor.Z[rows]) for factor in design.groups)
    arrays = {name: getattr(design, name) for name in ("X", "offset", "y", "weights")}
    return replace(design, groups=groups, **{name: a if a is None else a[rows] for name, a in arrays.items()})


def dense_leave_one_out(design, priors, sigma, groups):
    """log p(y) - log p(y without row i), for every row."""
    every = dense_log_likelihood(design, priors, sigma, groups)
    rest = [rows_of(design, np.arange(design.n_rows) != i) for i in range(design.n_rows)]
    return every - np.array([dense_log_likelihood(some, priors, sigma, groups) for some in rest])


def at_points(model, n=3, seed=0, center=-0.7):
    """Densities at random points by the package and by the twin, each (n, rows)."""
    theta, s = random_points(model.density, n, seed, center)
    points = Points(model.density.covariances.at(theta).roots, s, np.arange(n))
    found = leave_one_out(model.density, points, model.design)
    users = [on_user_scale(model.density, theta[:, i], s[i]) for i in range(n)]
    return found, np.array([dense_leave_one_out(model.design, model.priors, *user) for user in users])


# ---- the densities, with groups


@pytest.mark.numerical
@pytest.mark.parametrize("weights", [None, COUNTS], ids=["rows", "weights"])
@pytest.mark.parametrize("case", CASES)
def test_density_given_all_other_rows_is_the_dense_one(case, weights):
    """A row of weight w is left out with all its copies."""
    model = learn(CASES[case], FRAME, weights=weights)
    found, expected = at_points(model, n=2)

    assert isinstance(model.density.elimination, Nested if case in NESTED else Crossed)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE.get(case, 1e-9))


@pytest.mark.parametrize("center", [-12.0, -4.0, 3.0, 6.0])
@pytest.mark.parametrize("case", ["one effect", "nested", "one row per group", "crossed", "crossed slopes"])
def test_densities_at_the_edges_of_the_covariances_are_the_dense_ones(case, center):
    """Where effects vanish, and where a row all but determines its own group's effect."""
    found, expected = at_points(learn(CASES[case], FRAME), n=2, center=center)

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["two effects", "nested slopes", "crossed slopes"])
def test_the_order_of_the_rows_does_not_matter(case):
    model = learn(CASES[case], FRAME, weights=COUNTS)
    theta, s = random_points(model.density, 3)
    points = Points(model.density.covariances.at(theta).roots, s, np.arange(3))
    order = np.random.default_rng(1).permutation(40)
    found, shuffled = (leave_one_out(model.density, points, d) for d in (model.design, rows_of(model.design, order)))

    np.testing.assert_allclose(shuffled, found[:, order], rtol=1e-12, atol=1e-12)


@pytest.mark.numerical
@pytest.mark.parametrize("case", ["two effects", "nested slopes", "three nested", "crossed slopes", "three crossed"])
def test_chunks_of_rows_and_points_do_not_matter(case):
    model = learn(CASES[case], FRAME)
    expected, _ = at_points(model, n=5)
    with allow(points=1, working=1):
        assert list(model.density.chunks(2)) == [slice(0, 1), slice(1, 2)]
        one_by_one, _ = at_points(model, n=5)
    with allow(points=1, working=200):
        some, _ = at_points(model, n=5)

    np.testing.assert_allclose(one_by_one, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(some, expected, rtol=1e-11, atol=1e-11)


def test_every_draw_has_the_densities_of_its_point():
    model = learn(CASES["crossed"], FRAME)
    theta, s = random_points(model.density, 3)
    roots = model.density.covariances.at(theta).roots
    which = np.array([2, 0, 0, 1, 2])
    once = leave_one_out(model.density, Points(roots, s, np.arange(3)), model.design)

    np.testing.assert_array_equal(leave_one_out(model.density, Points(roots, s, which), model.design), once[which])


@pytest.mark.parametrize("case", ["two effects", "nested", "crossed slopes"])
def test_a_row_of_weight_w_is_left_out_as_w_rows_are(case):
    """The twin has the rows repeated, and leaves all copies of one out."""
    model = learn(CASES[case], FRAME, weights=COUNTS)
    theta, s = random_points(model.density, 1)
    points = Points(model.density.covariances.at(theta).roots, s, np.arange(1))
    found = leave_one_out(model.density, points, model.design)[0]
    copies = np.repeat(np.arange(40), COUNTS.astype(int))
    user = on_user_scale(model.density, theta[:, 0], s[0])
    plain = replace(model.design, weights=None)
    every = dense_log_likelihood(rows_of(plain, copies), model.priors, *user)
    rest = [dense_log_likelihood(rows_of(plain, copies[copies != i]), model.priors, *user) for i in range(40)]

    np.testing.assert_allclose(found, every - np.array(rest), rtol=0, atol=1e-8)


# ---- the densities, without groups


REGRESSIONS = {
    "two columns": ("x + z", {}),
    "intercept alone": ("1", {}),
    "no intercept": ("0 + x", {}),
    "categories": ("k*x", {}),
    "offset": ("x + offset(z)", {}),
    "far column": ("year + x", {}),
    "weights": ("x + z", {"weights": COUNTS}),
    "stated priors": ("x + k", {"user": {"Intercept": Normal(3, 0.5), "x": Normal(2, 0.1)}}),
    "more columns than rows": (" + ".join(f"c{i}" for i in range(14)), {"rows": 9}),
    "more columns than rows, weights": (" + ".join(f"c{i}" for i in range(14)), {"rows": 9, "weights": COUNTS[:9]}),
    "two rows": ("x", {"rows": 2}),
}


@pytest.mark.parametrize("case", REGRESSIONS)
def test_density_of_a_regression_given_all_other_rows_is_the_dense_one(case):
    formula, options = REGRESSIONS[case]
    rows, settings = options.get("rows", 40), {k: v for k, v in options.items() if k != "rows"}
    # a density with groups is learned along, and not used
    design, priors, _ = learn(f"{formula} + (1 | pupil)", FRAME.iloc[:rows], **settings)
    design = replace(design, groups=())
    units = Units.learn(design, priors)
    regression = Regression(Rotated.of(design, priors, units), units, priors.auxiliary["sigma"])
    sigma = np.array([0.3, 1.0, 2.5])
    found = regression.leave_one_out(draws_of_sigma(sigma), design, np.arange(3))
    expected = np.array([dense_leave_one_out(design, priors, value, []) for value in sigma])

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


# ---- loo


def fit(formula, frame=FRAME, y=Y, weights=None, seed=0, **options):
    return MixedModelRegressor(formula, random_state=seed, **options).fit(frame, y, weights)


def rowwise(result):
    """Expected log density of each row, whatever ArviZ calls it."""
    return (result["loo_i"] if "loo_i" in dir(result) else result.elpd_i).values


def total(result):
    return float(result["elpd_loo"] if "elpd_loo" in dir(result) else result.elpd)


def raw_estimate(log_p):
    """Expected log densities with raw weights, 1 / p, of draws (chain, draw, obs), and their standard errors.

    A mean of 1 / p over draws is as sure as its spread over the root of its effective sample size.
    """
    draws = log_p.shape[0] * log_p.shape[1]
    log_mean = logsumexp(-log_p, axis=(0, 1)) - np.log(draws)
    inverse = np.exp(-log_p - log_mean)
    return -log_mean, inverse.std(axis=(0, 1)) / np.sqrt(convergence(inverse).ess_bulk)


def fitted_design(est, frame, y):
    return replace(est.design_spec_.apply(frame), y=np.asarray(y, dtype=float))


def dense_at_draw(est, frame, y, chain, draw):
    """The twin's densities at a draw of the labelled posterior: sds, correlations and sigma on the user's scale."""
    at = dataset(est.idata_, "posterior").isel(chain=chain, draw=draw)
    design, groups = fitted_design(est, frame, y), []
    for factor in design.groups:
        R = np.eye(len(factor.effect_names))
        for k, (i, j) in enumerate(factor.pairs):
            R[i, j] = R[j, i] = at[f"corr_{factor.name}"].values[k]
        groups.append((at[f"sd_{factor.name}"].values, R))
    return dense_leave_one_out(design, est.priors_, float(at["sigma"]), groups)


@pytest.mark.parametrize("formula", ["x + (x | pupil)", "x + (1 | pupil) + (1 | item)", "x + z"])
def test_the_log_likelihood_of_a_draw_is_the_dense_density(formula):
    est = fit(formula, draws=500)
    log_likelihood = est.loo(FRAME, Y).log_likelihood
    for chain, draw in [(0, 0), (3, 499), (1, 237)]:
        expected = dense_at_draw(est, FRAME, Y, chain, draw)
        np.testing.assert_allclose(log_likelihood.sel(chain=chain, draw=draw), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("formula", ["x + (x | pupil)", "x + (1 | pupil) + (1 | item)", "x + z"])
def test_loo_is_the_mean_over_draws_weighted_by_one_over_the_density(formula):
    """Smoothing the largest weights moves an estimate by less than what either is unsure of."""
    result = fit(formula).loo(FRAME, Y)
    raw, error = raw_estimate(result.log_likelihood.values)

    assert np.abs(rowwise(result) - raw).max() < 0.03
    assert np.abs((rowwise(result) - raw) / error).max() < 2
    assert total(result) == pytest.approx(rowwise(result).sum(), abs=1e-9)
    assert int(result.n_data_points) == 40


def test_the_log_likelihood_is_labelled():
    frame = FRAME.set_axis([f"row {i}" for i in range(40)])
    log_likelihood = fit("x + (1 | pupil)", frame, Y, draws=500, chains=3).loo(frame, Y).log_likelihood

    assert log_likelihood.name == "y"
    assert log_likelihood.dims == ("chain", "draw", "obs")
    assert log_likelihood.shape == (3, 500, 40)
    assert log_likelihood["obs"].values.tolist() == frame.index.tolist()
    np.testing.assert_array_equal(log_likelihood["draw"], np.arange(500))
    assert log_likelihood.attrs["effects"] == "integrated"
    assert "valid for LOO, not for WAIC" in log_likelihood.attrs["use"]


def test_a_two_sided_formula_brings_its_response():
    frame = FRAME.assign(y=Y)
    named, given = fit("y ~ x + (1 | pupil)", frame, None).loo(frame), fit("x + (1 | pupil)").loo(FRAME, Y)

    np.testing.assert_array_equal(rowwise(named), rowwise(given))


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # pandas 3 to ArviZ 0.x
def test_arviz_compares_formulas():
    """The pupils' steps are in the data; the item's are not."""
    pupil, item = (fit(formula).loo(FRAME, Y) for formula in ("x + (1 | pupil)", "x + (1 | item)"))
    exactly = {} if version("arviz").startswith("0.") else {"round_to": "none"}
    table = import_arviz().compare({"item": item, "pupil": pupil}, **exactly)
    difference = rowwise(pupil) - rowwise(item)

    assert table.index.tolist() == ["pupil", "item"]
    assert abs(float(table["elpd_diff"].iloc[1])) == pytest.approx(difference.sum(), rel=1e-6)
    assert float(table["dse"].iloc[1]) == pytest.approx(np.sqrt(40) * difference.std(), abs=0.1)


@pytest.mark.parametrize(
    "formula", ["x + (x | pupil)", "x + (1 | town/pupil)", "scale(x) + (1 | pupil) + (1 | item)", "poly(x, 2)"]
)
def test_rows_may_come_in_any_order(formula):
    est = fit(formula, weights=COUNTS, draws=500)
    order = np.random.default_rng(1).permutation(40)
    one = est.loo(FRAME, Y, COUNTS)
    other = est.loo(FRAME.iloc[order], Y.iloc[order], COUNTS[order])

    np.testing.assert_allclose(rowwise(other), rowwise(one)[order], rtol=0, atol=1e-9)
    assert other.log_likelihood["obs"].values.tolist() == order.tolist()


def test_loo_leaves_the_fit_alone():
    est = fit("x + (x | pupil)")
    before = {name: values.copy() for name, values in est._posterior.draws.values.items()}
    mean = est.predict(FRAME)
    first, again = est.loo(FRAME, Y), est.loo(FRAME, Y)

    np.testing.assert_array_equal(rowwise(first), rowwise(again))
    np.testing.assert_array_equal(est.predict(FRAME), mean)
    for name, values in before.items():
        np.testing.assert_array_equal(est._posterior.draws.values[name], values)


def with_value(values, at, value):
    changed = values.copy()
    changed.iloc[at] = value
    return changed


OTHER_ROWS = {
    "a row less": lambda: (FRAME.iloc[1:], Y.iloc[1:], COUNTS[1:]),
    "a row twice": lambda: (pd.concat([FRAME, FRAME[:1]]), pd.concat([Y, Y[:1]]), np.append(COUNTS, COUNTS[0])),
    "one response": lambda: (FRAME, with_value(Y, 7, Y[7] * (1 + 1e-10)), COUNTS),
    "two responses exchanged": lambda: (FRAME, with_value(with_value(Y, 3, Y[4]), 4, Y[3]), COUNTS),
    "one number": lambda: (FRAME.assign(x=with_value(FRAME["x"], 7, 0.0)), Y, COUNTS),
    "one slope's number": lambda: (FRAME.assign(z=with_value(FRAME["z"], 7, 0.0)), Y, COUNTS),
    "one group": lambda: (FRAME.assign(pupil=with_value(FRAME["pupil"], 0, FRAME["pupil"][0] ^ 1)), Y, COUNTS),
    "a new group": lambda: (FRAME.assign(pupil=with_value(FRAME["pupil"], 0, 99)), Y, COUNTS),
    "one weight": lambda: (FRAME, Y, np.append(COUNTS[:-1], COUNTS[-1] + 1)),
    "no weights": lambda: (FRAME, Y, None),
    "a weight of zero": lambda: (FRAME, Y, np.append(0.0, COUNTS[1:])),
}


@pytest.fixture(scope="module")
def weighted():
    return fit("x + (z | pupil)", weights=COUNTS)


@pytest.mark.parametrize("case", OTHER_ROWS)
def test_other_rows_than_those_of_the_fit_are_refused(case, weighted):
    frame, y, weights = OTHER_ROWS[case]()

    with pytest.raises(ValueError, match=r"loo needs the rows of the fit, (all|but .* were not in fit: 99)"):
        weighted.loo(frame, y, weights)


def test_rows_of_weight_zero_are_no_rows(weighted):
    """As in fit they are not looked at; neither are columns that the formula does not use."""
    frame = pd.concat([FRAME.assign(c0=0.0), FRAME[:2]], ignore_index=True)
    y, weights = np.append(Y, [np.nan, 7.0]), np.append(COUNTS, [0.0, 0.0])
    padded = weighted.loo(frame, y, weights)

    np.testing.assert_array_equal(rowwise(padded), rowwise(weighted.loo(FRAME, Y, COUNTS)))
    assert padded.log_likelihood.sizes["obs"] == 40


def test_weights_of_one_are_no_weights():
    est = fit("x + (z | pupil)")

    np.testing.assert_allclose(rowwise(est.loo(FRAME, Y, np.ones(40))), rowwise(est.loo(FRAME, Y)), rtol=0, atol=1e-9)


def test_before_fit_there_is_nothing_to_leave_out():
    with pytest.raises(ValueError, match="not fitted yet"):
        MixedModelRegressor("x + (1 | pupil)").loo(FRAME, Y)


@pytest.mark.parametrize(
    ("numbers", "per_chain"),
    [(20_000_000, 250), (40 * 600, 150), (0, 100), (40 * 482, 120), (40 * 399, 100), (40 * 10**6, 250)],
)
def test_draws_are_thinned_to_bound_the_numbers(numbers, per_chain):
    """Evenly, and by the coordinate of the posterior; 400 draws are kept whatever the rows."""
    est = fit("x + (1 | pupil)", draws=250)
    every = est.loo(FRAME, Y).log_likelihood
    with allow(stored=numbers):
        thinned = est.loo(FRAME, Y).log_likelihood
    steps = np.diff(thinned["draw"].values)

    assert thinned.shape == (4, per_chain, 40)
    assert set(steps) <= {250 // per_chain, -(-250 // per_chain)}
    np.testing.assert_allclose(thinned, every.sel(draw=thinned["draw"]), rtol=1e-12)


@pytest.mark.parametrize(("formula", "numbers"), [("x + (x | pupil)", 20_000_000), ("x + (x | pupil)", 0), ("x", 0)])
def test_arviz_is_told_what_share_of_the_draws_is_effective(formula, numbers, monkeypatch):
    """That of the covariances, sigma and common effects; kept draws are worth at most their number."""
    est = fit(formula)
    told = []
    arviz_loo = after_fit._compat.loo
    monkeypatch.setattr(after_fit._compat, "loo", lambda data, reff: told.append(reff) or arviz_loo(data, reff))
    with allow(stored=numbers):
        kept = est.loo(FRAME, Y).log_likelihood.sizes["draw"] * 4

    assert told == [pytest.approx(min(1, est.summary()["ess_bulk"].mean() / kept))]
    assert told[0] == 1 if numbers == 0 else 0.3 < told[0] < 0.9


# ---- after condition


@pytest.mark.parametrize(
    "formula", ["x + (x | pupil)", "x + (1 | town/pupil)", "x + (1 | pupil) + (1 | item)", "x + z", "poly(x, 2) + z"]
)
def test_after_condition_all_rows_in_one_frame_are_left_out(formula):
    """The density at a draw is exactly that of all rows; the estimate is that of a fit to all of them."""
    order = np.argsort(FRAME["pupil"], kind="stable").to_numpy()  # the last rows are of new pupils
    old, new = order[:33], order[33:]
    first = fit(formula, FRAME.iloc[old], Y.iloc[old])
    est = first.condition(FRAME.iloc[new], Y.iloc[new])
    result = est.loo(FRAME, Y)
    exact = dense_at_draw(est, FRAME, Y, 2, 77)

    np.testing.assert_allclose(result.log_likelihood.sel(chain=2, draw=77), exact, rtol=0, atol=1e-7)
    if "poly" not in formula:  # whose columns are those of the first fit
        again = fit(formula, priors=first.priors_, seed=1).loo(FRAME, Y)
        error = np.hypot(raw_estimate(result.log_likelihood.values)[1], raw_estimate(again.log_likelihood.values)[1])
        assert np.abs((rowwise(result) - rowwise(again)) / error).max() < 4.5
    for rows in (old, new):
        with pytest.raises(ValueError, match="After condition, pass all rows so far in one frame"):
            est.loo(FRAME.iloc[rows], Y.iloc[rows])
    with pytest.raises(ValueError, match="loo needs the rows of the fit"):
        first.loo(FRAME, Y)


def test_rows_learned_later_have_weights_of_one():
    est = fit("x + (1 | pupil)", FRAME[:33], Y[:33], COUNTS[:33]).condition(FRAME[33:], Y[33:])
    result = est.loo(FRAME, Y, np.append(COUNTS[:33], np.ones(7)))
    design = replace(fitted_design(est, FRAME, Y), weights=np.append(COUNTS[:33], np.ones(7)))
    posterior = dataset(est.idata_, "posterior").isel(chain=1, draw=9)
    user = float(posterior["sigma"]), [(posterior["sd_pupil"].values, np.eye(1))]
    expected = dense_leave_one_out(design, est.priors_, *user)

    np.testing.assert_allclose(result.log_likelihood.sel(chain=1, draw=9), expected, rtol=0, atol=1e-7)
    with pytest.raises(ValueError, match="loo needs the rows of the fit"):
        est.loo(FRAME, Y, COUNTS)


# ---- NUTS


@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")
@pytest.mark.parametrize("weights", [None, COUNTS], ids=["rows", "weights"])
@pytest.mark.usefixtures("fake_nuts")
def test_a_fit_by_nuts_has_the_density_given_its_effects(weights):
    est = fit("x + (x | pupil)", weights=weights, sampler="nuts", draws=100, chains=2)
    log_likelihood = est.loo(FRAME, Y, weights).log_likelihood
    eta = est.predict_draws(FRAME, kind="linear")
    sigma = dataset(est.idata_, "posterior")["sigma"].values[..., None]
    expected = stats.norm(eta.values, sigma).logpdf(Y.to_numpy()) * (1 if weights is None else weights)

    np.testing.assert_allclose(log_likelihood, expected, rtol=1e-10, atol=1e-10)
    assert log_likelihood.attrs["effects"] == "conditional"
    assert "for WAIC" in log_likelihood.attrs["use"]
    assert "not for WAIC" not in log_likelihood.attrs["use"]


@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")
@pytest.mark.usefixtures("fake_nuts")
def test_other_rows_than_those_of_a_fit_by_nuts_are_refused():
    est = fit("x + (x | pupil)", sampler="nuts", draws=100, chains=2)

    with pytest.raises(ValueError, match="loo needs the rows of the fit"):
        est.loo(FRAME[1:], Y[1:])


# ---- what it is for


def small_groups():
    """Twelve groups, half of them of a single row."""
    rng = np.random.default_rng(8)
    g = np.concatenate([np.arange(6), np.repeat(np.arange(6, 12), 3)])
    return pd.DataFrame({"g": g, "y": 2 * rng.normal(size=12)[g] + 0.7 * rng.normal(size=24)})


def test_integrating_the_effects_out_makes_the_weights_even():
    """A group's only row shapes its effect, so that the effect's draws say little of what the group is without it."""
    frame = small_groups()
    est = fit("y ~ 1 + (1 | g)", frame, None)
    posterior = est._posterior
    given_effects = replace(posterior, draws=replace(posterior.draws, state=None))
    design = fitted_design(est, frame, frame["y"])
    with pytest.warns(UserWarning, match="Pareto"):
        conditional = after_fit.loo(given_effects, design, np.arange(24), progressbar=False)
    integrated = est.loo(frame)
    k, k_conditional = (np.asarray(result.pareto_k)[:6] for result in (integrated, conditional))

    assert np.asarray(integrated.pareto_k).max() < 0.7  # 0.29 to 0.61 in twelve fits, by chance
    assert np.median(k_conditional) > 0.7
    assert (k < k_conditional).all()
    assert conditional.log_likelihood.attrs["effects"] == "conditional"


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x"])
def test_loo_is_the_density_of_each_row_in_a_fit_without_it(formula):
    """Twelve fits under the priors of all rows; both sides are as sure as their effective sample sizes say."""
    rng = np.random.default_rng(10)
    g = np.repeat(np.arange(4), 3)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=12)})
    frame["y"] = rng.normal(size=4)[g] + frame["x"] + 0.8 * rng.normal(size=12)
    est = fit(formula, frame, None, draws=4000)
    result = est.loo(frame)
    _, error = raw_estimate(result.log_likelihood.values)
    exact, exact_error = np.empty(12), np.empty(12)
    for i in range(12):
        without = fit(formula, frame.drop(index=i), None, priors=est.priors_, seed=i + 1)
        eta = without.predict_draws(frame.loc[[i]], kind="linear").values[..., 0]
        density = stats.norm(eta, without._posterior.draws.values["sigma"]).pdf(frame["y"][i])
        exact[i] = np.log(density.mean())
        exact_error[i] = density.std() / density.mean() / np.sqrt(convergence(density).ess_bulk)

    assert np.abs((rowwise(result) - exact) / np.hypot(error, exact_error)).max() < 4
    assert np.hypot(error, exact_error).max() < 0.1
    assert np.ptp(exact) > 1


def test_with_more_columns_than_rows_the_densities_hold_for_any_sigma():
    """Where sigma is far below the columns' part, too: the inverse of y's covariance then does not depend on it."""
    columns = [f"c{i}" for i in range(14)]
    est = fit(None, FRAME[columns][:9], Y[:9])
    design = replace(est.design_spec_.apply(FRAME[columns][:9]), y=Y[:9].to_numpy())
    load, mean, prior = effects_prior(design, est.priors_, [])
    for sigma in (1.0, 0.1, 0.01, 1e-3):
        K = np.linalg.inv(load @ prior @ load.T + sigma**2 * np.eye(9))
        variance, residual = 1 / np.diag(K), K @ (design.response - load @ mean)
        expected = -0.5 * np.log(2 * np.pi * variance) - 0.5 * residual**2 * variance
        found = est._posterior.draws.state.leave_one_out(draws_of_sigma([sigma]), design, np.arange(1))[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert rowwise(est.loo(FRAME[columns][:9], Y[:9])).min() > -10


def test_nearly_noiseless_crossed_factors_with_levels_of_one_row_are_left_out_too():
    rng = np.random.default_rng(0)
    p, task = FRAME["pupil"].to_numpy(), FRAME["task"].to_numpy()
    frame = pd.DataFrame({"p": p, "i": task})
    y = rng.normal(size=12)[p] + rng.normal(size=9)[task] + 1e-4 * rng.normal(size=40)
    for noise in (1e-2, 1e-3, 1e-4):
        rng = np.random.default_rng(0)
        y = rng.normal(size=12)[p] + rng.normal(size=9)[task] + noise * rng.normal(size=40)
        assert rowwise(fit("1 + (1 | p) + (1 | i)", frame, y).loo(frame, y)).min() > -10
