"""Predictions on hand-made draws: loop twins, and the laws of new groups."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import brentq

from bayesmixed import MixedModelRegressor, NewGroupError
from bayesmixed.chunks import allow
from bayesmixed.prediction import new_groups
from bayesmixed.prediction.new_groups import MODES, included_factors, resolve_modes
from bayesmixed.prediction.predict import bayes_r2, draw, mean, quantiles, standard_deviation, thin
from helpers.made import GAUSSIAN, make_posterior

FORMULA = "x + k + (x | school) + (1 | school:pupil)"
MIXED = pd.DataFrame(
    {
        "x": [0.0, 1.0, 2.0, -1.0, 0.5, 1.5],
        "k": ["a", "b", "c", "a", "b", "c"],
        # known, new, the same new one, another new one, missing, known school with an unseen pupil
        "school": ["east", "west", "west", "far", None, "east"],
        "pupil": [0, 0, 0, 1, 2, 99],
    }
)


@pytest.fixture
def fitted(school):
    return make_posterior(FORMULA, school)[0]


def modes_of(posterior, mode):
    return resolve_modes(mode, posterior.spec)


def linear(posterior, frame, mode="sample", rows=slice(None)):
    design = posterior.spec.apply(frame.iloc[rows])
    return draw(posterior, design, modes_of(posterior, mode), "linear", np.arange(100))


def loop_of_known(posterior, design):
    """eta of known levels, one draw and one row at a time."""
    d = posterior.draws
    eta = np.empty((100, design.n_rows))
    for s in range(100):
        for i in range(design.n_rows):
            eta[s, i] = d.flat("Intercept")[s] + design.X[i] @ d.flat("beta")[s]
            for factor in design.groups:
                eta[s, i] += factor.Z[i] @ d.flat(f"b_{factor.name}")[s, factor.codes[i]]
    return eta


def test_linear_predictor_of_known_levels_equals_the_loop(fitted, school):
    design = fitted.spec.apply(school)

    np.testing.assert_allclose(linear(fitted, school), loop_of_known(fitted, design), atol=1e-12)


def test_mean_is_the_mean_of_the_draws(fitted, school):
    design = fitted.spec.apply(school)
    modes = modes_of(fitted, "sample")

    np.testing.assert_allclose(mean(fitted, design, modes), linear(fitted, school).mean(axis=0), atol=1e-12)


def test_standard_deviation_is_the_law_of_total_variance(fitted, school):
    design = fitted.spec.apply(school)
    variance = np.mean(fitted.draws.flat("sigma") ** 2) + linear(fitted, school).var(axis=0)

    np.testing.assert_allclose(standard_deviation(fitted, design, modes_of(fitted, "zero")), np.sqrt(variance))


def test_standard_deviation_of_a_new_level_adds_the_population(fitted):
    row = MIXED.iloc[[1]]
    design = fitted.spec.apply(row)
    d = fitted.draws
    expected = np.mean(d.flat("sigma") ** 2) + linear(fitted, row, "zero").var()
    for factor in design.groups:
        z = factor.Z[0]
        for s in range(100):
            sd = d.flat(f"sd_{factor.name}")[s]
            R = np.eye(len(sd))
            if factor.pairs:
                R[0, 1] = R[1, 0] = d.flat(f"corr_{factor.name}")[s, 0]
            expected += z @ (np.outer(sd, sd) * R) @ z / 100

    assert standard_deviation(fitted, design, modes_of(fitted, "sample"))[0] ** 2 == pytest.approx(expected)


def test_standard_deviation_of_a_donor_equals_all_donors_enumerated(fitted):
    row = MIXED.iloc[[1]]
    design = fitted.spec.apply(row)
    base = linear(fitted, row, "zero")[:, 0]
    first = fitted.draws.flat("b_school") @ design.groups[0].Z[0]
    second = fitted.draws.flat("b_school:pupil") @ design.groups[1].Z[0]
    eta = base[:, None, None] + first[:, :, None] + second[:, None, :]
    expected = np.mean(fitted.draws.flat("sigma") ** 2) + eta.var()

    modes = modes_of(fitted, "donor")
    assert standard_deviation(fitted, design, modes)[0] ** 2 == pytest.approx(expected)
    assert mean(fitted, design, modes)[0] == pytest.approx(eta.mean())


@pytest.mark.parametrize("mode", ["sample", "zero"])
def test_the_average_new_group_is_the_common_part(fitted, mode):
    design = fitted.spec.apply(MIXED.iloc[[1]])
    common = fitted.spec.apply(MIXED.iloc[[1]], factors=())

    np.testing.assert_allclose(
        mean(fitted, design, modes_of(fitted, mode)), mean(fitted, common, modes_of(fitted, mode)), atol=1e-12
    )


def test_nan_mode_marks_the_rows_with_a_new_level_only(fitted):
    design = fitted.spec.apply(MIXED)
    result = mean(fitted, design, modes_of(fitted, {"school": "nan", "school:pupil": "zero"}))

    np.testing.assert_array_equal(np.isnan(result), [False, True, True, True, True, False])
    drawn = linear(fitted, MIXED, {"school": "nan", "school:pupil": "zero"})
    np.testing.assert_array_equal(np.isnan(drawn).all(axis=0), [False, True, True, True, True, False])


@pytest.mark.parametrize("mode", ["sample", "donor"])
def test_draws_do_not_depend_on_order_or_batch(fitted, mode):
    """Rule 1; the row with a missing label is keyed by its position and left out."""
    frame = MIXED.drop(index=4)
    whole = linear(fitted, frame, mode)

    np.testing.assert_allclose(linear(fitted, frame, mode, slice(None, None, -1))[:, ::-1], whole, atol=1e-12)
    for i in range(len(frame)):
        np.testing.assert_allclose(linear(fitted, frame, mode, slice(i, i + 1))[:, 0], whole[:, i], atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "mean", "response"])
def test_draws_do_not_depend_on_chunks(fitted, kind):
    design, modes = fitted.spec.apply(MIXED), modes_of(fitted, "sample")
    whole = draw(fitted, design, modes, kind, np.arange(100))
    with allow(predictions=1):
        np.testing.assert_allclose(draw(fitted, design, modes, kind, np.arange(100)), whole, atol=1e-12)


@pytest.mark.parametrize("mode", ["sample", "donor"])
def test_rows_of_one_new_level_share_its_effects_and_distinct_levels_do_not(fitted, mode):
    frame = MIXED.iloc[[1, 1, 3]].assign(x=0.0, k="a", pupil=0)
    eta = linear(fitted, frame, {"school": mode, "school:pupil": "zero"})

    np.testing.assert_array_equal(eta[:, 0], eta[:, 1])
    assert not np.allclose(eta[:, 0], eta[:, 2])


def test_equal_labels_of_different_types_are_one_level(school):
    posterior = make_posterior("x + (x | pupil)", school)[0]
    frame = MIXED.iloc[[0]].drop(columns="pupil")
    draws = [linear(posterior, frame.assign(pupil=label)) for label in (308, np.int64(308), 308.0, "309")]
    with_text = linear(posterior, frame.assign(pupil="308"))

    np.testing.assert_array_equal(draws[0], draws[1])
    np.testing.assert_array_equal(draws[0], draws[2])
    assert not np.allclose(draws[0], with_text)


def test_missing_labels_are_levels_of_their_own(fitted):
    """Rule 3."""
    frame = MIXED.iloc[[4, 4]]
    eta = linear(fitted, frame, {"school": "sample", "school:pupil": "zero"})

    assert not np.allclose(eta[:, 0], eta[:, 1])


def test_a_new_levels_effects_have_the_covariance_of_each_draw(school):
    posterior = make_posterior("x + (x | school)", school)[0]
    n = 4000
    zeros = pd.DataFrame({"x": np.zeros(n), "school": [f"new {i}" for i in range(n)]})
    at_zero, at_one = linear(posterior, zeros), linear(posterior, zeros.assign(x=1.0))
    d = posterior.draws
    for s in (0, 57):
        intercepts = at_zero[s] - d.flat("Intercept")[s]
        slopes = at_one[s] - at_zero[s] - d.flat("beta")[s, 0]
        sd, r = d.flat("sd_school")[s], d.flat("corr_school")[s, 0]

        assert stats.kstest(intercepts / sd[0], "norm").pvalue > 1e-4
        assert stats.kstest(slopes / sd[1], "norm").pvalue > 1e-4
        assert np.corrcoef(intercepts, slopes)[0, 1] == pytest.approx(r, abs=0.05)


def test_a_covariance_on_the_boundary_is_drawn_from(school):
    posterior = make_posterior("x + (x | school)", school)[0]
    posterior.draws.values["corr_school"][:] = 1.0
    posterior.draws.values["sd_school"][..., 1] = 0.0
    eta = linear(posterior, MIXED.iloc[[1]])

    assert np.isfinite(eta).all()


def test_a_donors_effects_come_from_one_fitted_level(school):
    posterior = make_posterior("x + (x | school)", school)[0]
    row = pd.DataFrame({"x": [0.0, 1.0], "school": ["west", "west"]})
    eta = linear(posterior, row, "donor")
    d = posterior.draws
    intercepts = eta[:, 0] - d.flat("Intercept")
    slopes = eta[:, 1] - eta[:, 0] - d.flat("beta")[:, 0]
    distance = np.abs(d.flat("b_school") - np.stack([intercepts, slopes], axis=1)[:, None, :]).max(axis=2)

    np.testing.assert_allclose(distance.min(axis=1), 0, atol=1e-12)
    assert set(distance.argmin(axis=1)) == {0, 1, 2}


def test_each_factor_is_decided_on_its_own(fitted):
    """Rule 4: a known school with an unseen pupil keeps the school's effect."""
    row = MIXED.iloc[[5]]
    eta = linear(fitted, row, {"school": "error", "school:pupil": "zero"})
    d = fitted.draws
    design = fitted.spec.apply(row)
    expected = d.flat("Intercept") + d.flat("beta") @ design.X[0] + d.flat("b_school")[:, 0] @ design.groups[0].Z[0]

    np.testing.assert_allclose(eta[:, 0], expected, atol=1e-12)


def test_response_scatters_about_the_mean_by_sigma(fitted):
    frame = pd.concat([MIXED.iloc[[0]]] * 3000, ignore_index=True)
    design, modes = fitted.spec.apply(frame), modes_of(fitted, "sample")
    keep = np.arange(0, 100, 25)
    response = draw(fitted, design, modes, "response", keep)
    centre = draw(fitted, design, modes, "mean", keep)
    noise = (response - centre) / fitted.draws.flat("sigma")[keep][:, None]

    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(noise) - np.eye(4)).max() < 0.08


def test_thinned_draws_are_some_of_the_draws(fitted):
    design, modes = fitted.spec.apply(MIXED), modes_of(fitted, "sample")
    every = draw(fitted, design, modes, "response", np.arange(100))
    some = draw(fitted, design, modes, "response", np.array([3, 50, 99]))

    np.testing.assert_array_equal(some, every[[3, 50, 99]])


def test_thinning_is_even_over_draws():
    np.testing.assert_array_equal(thin((4, 1000), 8), [0, 500])
    np.testing.assert_array_equal(thin((2, 10), None), np.arange(10))
    np.testing.assert_array_equal(thin((2, 10), 20), np.arange(10))


@pytest.mark.parametrize("n_draws", [0, 3, 42, -2])
def test_a_number_of_draws_that_cannot_be_had_is_refused(n_draws):
    with pytest.raises(ValueError, match="n_draws must be a multiple of the number of chains, 2, and at most 40"):
        thin((2, 20), n_draws)


def test_error_mode_names_factor_and_labels(fitted):
    for frame, message in [
        (MIXED.iloc[:4], r"grouping factor 'school' has 2 levels not seen in fit: 'west', 'far'\. Use new_groups="),
        (MIXED.iloc[[0, 4]], r"grouping factor 'school' has 1 missing label in 2 rows"),
        (
            MIXED.iloc[[1]],
            r"has 1 level not seen in fit: 'west'\. All labels of the frame are new \('school' had str labels in fit",
        ),
        (MIXED.iloc[[0, 5]], r"grouping factor 'school:pupil' has 1 level not seen in fit: 'east:99'"),
    ]:
        design = fitted.spec.apply(frame)
        with pytest.raises(NewGroupError, match=message):
            new_groups.check_new_levels(design, modes_of(fitted, "error"), fitted.spec.read(frame), fitted.spec)


def test_labels_that_are_new_by_type_alone_are_warned_of(school):
    posterior = make_posterior("x + (x | pupil)", school)[0]
    frame = MIXED.iloc[[0]].assign(pupil="3")
    design = posterior.spec.apply(frame)

    with pytest.warns(UserWarning, match="fit saw int labels, but the new data hold str labels"):
        new_groups.check_new_levels(design, modes_of(posterior, "sample"), posterior.spec.read(frame), posterior.spec)


def test_modes_are_resolved_per_factor(fitted):
    assert modes_of(fitted, "zero") == {"school": "zero", "school:pupil": "zero"}
    assert modes_of(fitted, {"school": "donor"}) == {"school": "donor", "school:pupil": "sample"}
    overridden = resolve_modes("error", fitted.spec, {"school": "zero"})
    assert overridden == {"school": "zero", "school:pupil": "error"}, "a call's dict leaves the rest as it was"
    with pytest.raises(ValueError, match="new_groups names 'Site'"):
        modes_of(fitted, {"Site": "zero"})
    for wrong in ("average", {"school": "average"}):
        with pytest.raises(ValueError, match="new_groups must be one of 'sample', 'donor', 'zero', 'nan', 'error'"):
            modes_of(fitted, wrong)


def test_included_factors(fitted):
    assert included_factors(fitted.spec, True) == ("school", "school:pupil")
    assert included_factors(fitted.spec, False) == ()
    assert included_factors(fitted.spec, ["school:pupil"]) == ("school:pupil",)
    with pytest.raises(ValueError, match="include_groups names 'Site'; the grouping factors are 'school'"):
        included_factors(fitted.spec, ["Site"])
    with pytest.raises(ValueError, match="must be True, False or a list"):
        included_factors(fitted.spec, "school")


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "error"])
@pytest.mark.parametrize("formula", ["x", "0 + x", "(1 | school)", "x + offset(x) + (0 + x | school)"])
def test_every_shape_of_model_predicts(formula, mode, school):
    posterior = make_posterior(formula, school)[0]
    design = posterior.spec.apply(MIXED.iloc[:4])
    modes = modes_of(posterior, mode)

    assert mean(posterior, design, modes).shape == standard_deviation(posterior, design, modes).shape == (4,)
    assert draw(posterior, design, modes, "response", np.arange(10)).shape == (10, 4)


def test_predicting_no_rows(fitted):
    design = fitted.spec.apply(MIXED.iloc[:0])

    assert mean(fitted, design, modes_of(fitted, "sample")).shape == (0,)
    assert draw(fitted, design, modes_of(fitted, "sample"), "response", np.arange(10)).shape == (10, 0)
    assert GAUSSIAN.auxiliary == ("sigma",)


# ---- quantiles and intervals

P = np.array([0.01, 0.05, 0.5, 0.8, 0.99])


@pytest.fixture
def even(fitted):
    """Draws whose sigma is of the size of their scatter, as in a posterior."""
    sigma = fitted.draws.values["sigma"]
    sigma[:] = np.random.default_rng(5).uniform(1.5, 2.5, sigma.shape)
    return fitted


def quantiles_of(posterior, frame, mode="sample", *, kind="response", p=P, factors=None):
    design = posterior.spec.apply(frame, factors)
    return quantiles(posterior, design, modes_of(posterior, mode), kind, np.asarray(p))


def added_variance(posterior, factor, i):
    """z'Sigma z of row i at every draw, from sds and correlations."""
    result = np.empty(100)
    for s in range(100):
        sd = posterior.draws.flat(f"sd_{factor.name}")[s]
        R = np.eye(len(sd))
        for k, (a, b) in enumerate(factor.pairs):
            R[a, b] = R[b, a] = posterior.draws.flat(f"corr_{factor.name}")[s, k]
        result[s] = factor.Z[i] @ (np.outer(sd, sd) * R) @ factor.Z[i]
    return result


def loop_of_quantiles(eta, sd):
    """Roots of the mean of normal distribution functions, (rows, len(P)), row by row and one by one."""
    rows = []
    for i in range(eta.shape[1]):
        width = 20 * (np.abs(eta[:, i]).max() + sd[:, i].max())
        rows.append(
            [brentq(lambda t, p=p, i=i: stats.norm.cdf(t, eta[:, i], sd[:, i]).mean() - p, -width, width) for p in P]
        )
    return np.array(rows)


@pytest.mark.parametrize("mode", ["sample", {"school": "sample", "school:pupil": "zero"}, "zero", "donor"])
def test_response_quantiles_are_those_of_the_mixture_of_all_draws(even, mode):
    """New sampled levels are normal with variance z'Sigma z, and two of them add up; donors are drawn."""
    design, modes = even.spec.apply(MIXED), modes_of(even, mode)
    not_sampled = {name: "zero" if of == "sample" else of for name, of in modes.items()}
    variance = np.tile(even.draws.flat("sigma")[:, None] ** 2, (1, len(MIXED)))
    for factor in design.groups:
        for i in np.flatnonzero(new_groups.is_new(factor)):
            variance[:, i] += added_variance(even, factor, i) * (modes[factor.name] == "sample")
    expected = loop_of_quantiles(linear(even, MIXED, not_sampled), np.sqrt(variance))

    np.testing.assert_allclose(quantiles_of(even, MIXED, mode), expected, atol=2e-5)


def test_response_quantiles_of_new_groups_are_those_of_many_draws(even):
    """As many distinct new levels as rows; the share of draws below a quantile is its probability."""
    n = 3000
    frame = pd.DataFrame({"x": 1.0, "k": "b", "school": [f"new {i}" for i in range(n)], "pupil": 0})
    sample = draw(even, even.spec.apply(frame), modes_of(even, "sample"), "response", np.arange(100))
    standard_error = np.sqrt(P * (1 - P) / sample.size)

    for p, quantile, se in zip(P, quantiles_of(even, frame.head(1))[0], standard_error, strict=True):
        assert np.mean(sample < quantile) == pytest.approx(p, abs=4 * se)


def test_response_quantiles_scatter_as_the_standard_deviation_says(even):
    """The variance of the response is the integral of the squared quantile function."""
    p = (np.arange(4000) + 0.5) / 4000
    frame = MIXED.iloc[[0, 1]]
    whole = quantiles_of(even, frame, p=p)

    sd = standard_deviation(even, even.spec.apply(frame), modes_of(even, "sample"))
    np.testing.assert_allclose(whole.std(axis=1), sd, rtol=5e-3)
    np.testing.assert_allclose(
        whole.mean(axis=1), mean(even, even.spec.apply(frame), modes_of(even, "sample")), atol=1e-3
    )


@pytest.mark.parametrize("mode", ["sample", "donor", "zero", "nan"])
@pytest.mark.parametrize("kind", ["mean", "linear"])
def test_quantiles_of_the_mean_are_those_of_its_draws(fitted, kind, mode):
    design, modes = fitted.spec.apply(MIXED), modes_of(fitted, mode)
    drawn = draw(fitted, design, modes, kind, np.arange(100))
    expected = [[np.interp(p * 99, np.arange(100), np.sort(drawn[:, i])) for p in P] for i in range(len(MIXED))]

    np.testing.assert_allclose(quantiles_of(fitted, MIXED, mode, kind=kind), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["response", "mean", "linear"])
def test_quantiles_are_nan_where_the_row_is(even, kind):
    mode = {"school": "nan", "school:pupil": "zero"}
    found = quantiles_of(even, MIXED, mode, kind=kind)

    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [False, True, True, True, True, False])
    np.testing.assert_allclose(found[[0, 5]], quantiles_of(even, MIXED.iloc[[0, 5]], mode, kind=kind), rtol=1e-10)


@pytest.mark.parametrize("kind", ["response", "mean", "linear"])
def test_quantiles_do_not_depend_on_chunks_or_on_which_others_are_asked_for(even, kind):
    whole = quantiles_of(even, MIXED, kind=kind)
    with allow(predictions=1):
        np.testing.assert_allclose(quantiles_of(even, MIXED, kind=kind), whole, rtol=1e-10)
    one_by_one = [quantiles_of(even, MIXED, kind=kind, p=[p])[:, 0] for p in P]
    np.testing.assert_allclose(np.transpose(one_by_one), whole, rtol=1e-10)


def test_quantiles_without_groups_are_those_of_the_common_part(even):
    """Neither known nor new effects, nor their variance."""
    eta = draw(even, even.spec.apply(MIXED, ()), modes_of(even, "sample"), "linear", np.arange(100))
    sigma = np.tile(even.draws.flat("sigma")[:, None], (1, len(MIXED)))

    np.testing.assert_allclose(quantiles_of(even, MIXED, factors=()), loop_of_quantiles(eta, sigma), atol=2e-5)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "error"])
@pytest.mark.parametrize("formula", ["x", "0 + x", "(1 | school)", "x + offset(x) + (0 + x | school)"])
def test_every_shape_of_model_has_quantiles(formula, mode, school):
    posterior = make_posterior(formula, school)[0]
    found = quantiles_of(posterior, MIXED.iloc[[0, 5]], mode)

    assert found.shape == (2, len(P))
    assert np.all(np.diff(found) > 0)
    assert quantiles_of(posterior, MIXED.iloc[:0], mode).shape == (0, len(P))


@pytest.mark.parametrize("what", ["response quantiles", "mean quantiles", "draws"])
def test_working_memory_does_not_grow_with_rows(even, what):
    """Beyond the array that is returned, at one size of chunks."""
    modes = modes_of(even, "sample")

    def peak(copies):
        design = even.spec.apply(pd.concat([MIXED] * copies, ignore_index=True))
        tracemalloc.start()
        try:
            if what == "draws":
                result = draw(even, design, modes, "response", np.arange(100))
            else:
                result = quantiles(even, design, modes, what.split()[0], np.array([0.1, 0.9]))
            return tracemalloc.get_traced_memory()[1] - result.nbytes
        finally:
            tracemalloc.stop()

    with allow(predictions=20_000):
        peak(1)  # what is loaded or cached at the first call is not working memory
        few, many = peak(100), peak(1000)
    assert few > 20_000 * 8, "a chunk is in it"
    assert many < 1.1 * few


# ---- Bayesian R²


@pytest.mark.parametrize("mode", ["sample", "donor", "zero"])
def test_bayes_r2_is_that_of_the_loop(fitted, mode):
    """Variances over rows with n - 1; the residual variance is the model's."""
    design, modes = fitted.spec.apply(MIXED), modes_of(fitted, mode)
    mu = draw(fitted, design, modes, "mean", np.arange(100))
    expected = []
    for s in range(100):
        explained = sum((mu[s] - sum(mu[s]) / 6) ** 2) / 5
        expected.append(explained / (explained + fitted.draws.flat("sigma")[s] ** 2))

    np.testing.assert_allclose(bayes_r2(fitted, design, modes), expected, rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 250])
def test_bayes_r2_does_not_depend_on_chunks(fitted, chunk):
    design, modes = fitted.spec.apply(MIXED), modes_of(fitted, "sample")
    whole = bayes_r2(fitted, design, modes)
    with allow(predictions=chunk):
        np.testing.assert_allclose(bayes_r2(fitted, design, modes), whole, rtol=1e-12)


def test_bayes_r2_does_not_depend_on_the_zero_of_the_response(fitted, school):
    """Sums of squares of numbers near 1e8 would keep no digit."""
    design, modes = fitted.spec.apply(school), modes_of(fitted, "sample")
    expected = bayes_r2(fitted, design, modes)
    fitted.draws.values["Intercept"] += 1e8

    np.testing.assert_allclose(bayes_r2(fitted, design, modes), expected, rtol=1e-6)


# ---- what is asked for


@pytest.fixture
def est(fake_sampler, school):
    y = np.random.default_rng(0).normal(size=len(school))
    return MixedModelRegressor("x + (1 | school)", draws=20, chains=2, random_state=0).fit(school, y)


@pytest.mark.parametrize("kind", ["response", "mean", "linear"])
def test_an_interval_is_the_quantiles_at_its_tails(est, kind):
    low, high = est.predict_interval(MIXED, 0.5, kind).T

    np.testing.assert_array_equal(np.transpose([low, high]), est.predict_quantiles(MIXED, [0.25, 0.75], kind))
    assert np.all(low < high)
    np.testing.assert_array_equal(est.predict_interval(MIXED), est.predict_interval(MIXED, 0.9, "response"))
    wider = est.predict_interval(MIXED, 0.6, kind)
    assert np.all((wider[:, 0] < low) & (high < wider[:, 1]))


def test_quantiles_have_a_column_each_in_the_order_asked_for(est):
    found = est.predict_quantiles(MIXED, [0.9, 0.1, 0.5])

    np.testing.assert_allclose(found[:, [1, 2, 0]], est.predict_quantiles(MIXED, (0.1, 0.5, 0.9)), rtol=1e-10)
    one = est.predict_quantiles(MIXED, 0.5)
    assert one.shape == (6, 1)
    np.testing.assert_allclose(one, found[:, [2]], rtol=1e-10)
    assert est.predict_quantiles(MIXED, []).shape == (6, 0)


def test_intervals_take_groups_and_modes_as_predict_does(est):
    bare = MIXED.drop(columns="school")

    np.testing.assert_allclose(
        est.predict_interval(bare, include_groups=False),
        est.predict_quantiles(bare, [0.05, 0.95], include_groups=False),
    )
    new = MIXED.iloc[1:4]
    np.testing.assert_allclose(
        est.predict_interval(new, new_groups="zero"), est.predict_interval(new, include_groups=False), rtol=1e-10
    )
    assert np.isnan(est.predict_interval(new, new_groups="nan")).all()


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 1.5, np.nan, [0.1, 1.0], [[0.1, 0.9]], np.full((1, 1), 0.5)])
def test_quantiles_that_are_no_list_of_probabilities_are_refused(est, quantile):
    with pytest.raises(ValueError, match=r"quantiles must be probabilities in \(0, 1\), such as \[0.05, 0.95\], got"):
        est.predict_quantiles(MIXED, quantile)


@pytest.mark.parametrize("coverage", [0, 1, 90, -0.5, np.nan, "0.9", [0.9], None])
def test_a_coverage_that_is_no_probability_is_refused(est, coverage):
    with pytest.raises(ValueError, match=r"coverage must be a number in \(0, 1\), such as 0.9 for 90 % intervals, got"):
        est.predict_interval(MIXED, coverage)


@pytest.mark.parametrize("method", ["predict_draws", "predict_interval", "predict_quantiles"])
@pytest.mark.parametrize("kind", ["median", "Response", None])
def test_an_unknown_kind_is_refused(est, method, kind):
    further = {"predict_quantiles": {"quantiles": 0.5}}.get(method, {})

    with pytest.raises(ValueError, match="kind must be one of 'response', 'mean', 'linear', got"):
        getattr(est, method)(MIXED, kind=kind, **further)
