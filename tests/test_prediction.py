"""Predictions on hand-made draws: loop twins, and the laws of new groups."""

import numpy as np
import pandas as pd
import pytest
from conftest import GAUSSIAN, make_posterior
from scipy import stats

from bayesmixed import NewGroupError, new_groups, prediction
from bayesmixed.new_groups import MODES, included_factors, resolve_modes
from bayesmixed.prediction import draw, mean, standard_deviation, thin

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
def test_draws_do_not_depend_on_chunks(fitted, kind, monkeypatch):
    design, modes = fitted.spec.apply(MIXED), modes_of(fitted, "sample")
    whole = draw(fitted, design, modes, kind, np.arange(100))
    monkeypatch.setattr(prediction, "_CHUNK", 1)

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
            r"has 1 level not seen in fit: 'west'\. All labels of the frame are new \('school' held str labels in fit",
        ),
        (MIXED.iloc[[0, 5]], r"grouping factor 'school:pupil' has 1 level not seen in fit: 'east:99'"),
    ]:
        design = fitted.spec.apply(frame)
        with pytest.raises(NewGroupError, match=message):
            new_groups.check_new_levels(design, modes_of(fitted, "error"), frame, fitted.spec)


def test_labels_that_are_new_by_type_alone_are_warned_of(school):
    posterior = make_posterior("x + (x | pupil)", school)[0]
    frame = MIXED.iloc[[0]].assign(pupil="3")
    design = posterior.spec.apply(frame)

    with pytest.warns(UserWarning, match="fit saw int labels, the new data hold str labels"):
        new_groups.check_new_levels(design, modes_of(posterior, "sample"), frame, posterior.spec)


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
