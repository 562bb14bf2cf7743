"""`MixedModelClassifier`: labels in, probabilities out, and what it refuses."""

import pickle

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit, logit
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.utils import get_tags

import bayesmixed as bm
from bayesmixed import MixedModelClassifier, MixedModelRegressor, NewGroupError
from bayesmixed.design.frames import read_column
from bayesmixed.estimators.labels import learn_classes, positions
from bayesmixed.families import CLASS_FAMILIES

RNG = np.random.default_rng(5)
N = 160
FRAME = pd.DataFrame({"x": RNG.normal(size=N), "g": np.arange(N) % 8})
SECOND = RNG.random(N) < expit(0.4 + FRAME["x"] + RNG.normal(0, 1.5, 8)[FRAME["g"]])
TEXT = np.where(SECOND, "yes", "no")
NEW = FRAME.head(4).assign(g=99)
FORMULA = "x + (1 | g)"


def make(formula=FORMULA, **options):
    return MixedModelClassifier(formula, **{"draws": 250, "random_state": 0, **options})


@pytest.fixture(scope="module")
def est():
    return make().fit(FRAME, TEXT)


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (TEXT, ["no", "yes"]),
        (list(TEXT), ["no", "yes"]),
        (pd.Series(TEXT, dtype="category"), ["no", "yes"]),
        (pd.Series(TEXT).astype("string"), ["no", "yes"]),
        (pd.Series(pd.Categorical(TEXT, ["yes", "no"])), ["no", "yes"]),  # whose order says nothing
        (pd.Series(pd.Categorical(TEXT, ["yes", "maybe", "no"], ordered=True)), ["yes", "no"]),
        (pl.Series(TEXT), ["no", "yes"]),
        (pl.Series(TEXT, dtype=pl.Enum(["yes", "no"])), ["yes", "no"]),
        (SECOND, [False, True]),
        (pd.Series(SECOND, dtype="boolean"), [False, True]),
        (SECOND.astype(object), [False, True]),
        (SECOND.astype(np.int8), [0, 1]),
        (pd.Series(SECOND.astype(int), dtype="Int64"), [0, 1]),
        (SECOND * 2.0 - 1, [-1.0, 1.0]),
    ],
    ids=str,
)
def test_labels_of_any_kind_are_classes_in_their_order(y, classes):
    column = read_column(y, N)
    found = learn_classes(column, None, ordered=False)

    assert list(found) == classes
    assert [type(label) for label in found] == [type(label) for label in classes]
    second = SECOND if classes[1] != "no" else ~SECOND
    np.testing.assert_array_equal(positions(column, found), second)


def test_labels_come_back_as_they_were(est):
    assert est.classes_.tolist() == ["no", "yes"]
    assert set(est.predict(FRAME)) == {"no", "yes"}
    assert make(draws=60).fit(FRAME, SECOND).predict(FRAME).dtype == bool
    assert make(draws=60).fit(FRAME, SECOND.astype(int)).predict(FRAME).dtype == int


def test_stated_classes_turn_the_model_round(est):
    turned = make(classes=["yes", "no"]).fit(FRAME, TEXT)

    assert turned.classes_.tolist() == ["yes", "no"]
    assert turned.coef_[0] == pytest.approx(-est.coef_[0], abs=0.1)
    np.testing.assert_allclose(turned.predict_proba(NEW), est.predict_proba(NEW)[:, ::-1], atol=0.02)


def test_the_formula_may_name_the_column_of_labels(est):
    both = make(f"answer ~ {FORMULA}").fit(FRAME.assign(answer=TEXT))

    np.testing.assert_array_equal(both.predict_proba(NEW), est.predict_proba(NEW))
    assert both.score(FRAME.assign(answer=TEXT)) == est.score(FRAME, TEXT)


def test_a_label_of_weight_zero_is_no_class(est):
    y, weights = TEXT.copy(), np.ones(N)
    y[3], weights[3] = "perhaps", 0
    weighted = make().fit(FRAME, y, sample_weight=weights)

    assert weighted.classes_.tolist() == ["no", "yes"]
    assert weighted.score(FRAME, y, sample_weight=weights) == accuracy_score(
        np.delete(TEXT, 3), weighted.predict(FRAME.drop(index=3))
    )


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (["no"] * N, {}, "y holds only one class, 'no', in all 160 rows"),
        (["no"] * N, {"classes": ["no", "yes"]}, "y holds only one class"),
        (["no"] * N, {"classes": np.array(["no", "yes"])}, "y holds only one class"),
        (TEXT, {"classes": np.array(["maybe", "no", "yes"])}, "Only binary classification .*'maybe', 'no', 'yes'"),
        (np.arange(N) % 3, {}, "Only binary classification is supported .* 3 classes, 0, 1, 2.*OneVsRestClassifier"),
        (np.where(FRAME["x"] > 1, "maybe", TEXT), {}, "Only binary classification .*'maybe', 'no', 'yes'"),
        (FRAME["x"].to_numpy(), {}, "Unknown label type: continuous"),
        (2**53 + np.arange(N) % 2, {}, "y holds classes as large as 9007199254740992, .* make them text"),
        (pd.date_range("2024-01-01", periods=N), {}, "Unknown label type: y must hold only text, .*'Timestamp'"),
        ([1, "a"] * (N // 2), {}, "Unknown label type: y must hold only text, .* 'int', 'str'"),
        ([True, 0] * (N // 2), {}, "only text, only numbers or only booleans, got 'bool', 'int'"),
        ([None, *TEXT[1:]], {}, "Input y contains NaN or infinity in 1 of 160 rows"),
        ([np.inf, *SECOND[1:].astype(float)], {}, "Input y contains NaN or infinity in 1 of 160 rows"),
        (TEXT, {"classes": ["a", "b"]}, "not among the classes 'a', 'b': row 0 is"),
        (TEXT, {"classes": [0, 1]}, "y holds text, but the classes are numbers, 0, 1"),
        (
            SECOND.astype(int),
            {"classes": ["no", "yes"]},
            "y holds numbers, but the classes are text, .*; leave classes=None there, or pass integer codes",
        ),
        (TEXT, {"classes": ["yes"]}, "classes must be two or more different labels"),
        (TEXT, {"classes": ["yes", "yes"]}, "classes must be two or more different labels"),
        (TEXT, {"classes": ["yes", 1]}, "classes must be two or more different labels"),
        (TEXT, {"classes": "yes"}, "'classes' parameter"),
        (TEXT, {"family": "gaussian"}, "family must be .*got 'gaussian' .that family belongs to MixedModelRegressor"),
        (TEXT, {"family": "categorical"}, "nominal responses are not offered"),
        (TEXT, {"link": "log"}, "link of family 'bernoulli' must be None or one of 'logit', 'probit', 'cloglog'"),
        (TEXT[:-1], {}, "inconsistent numbers of rows: 160 and 159"),
        (None, {}, "requires y to be passed, but the target y is None"),
    ],
)
def test_what_is_no_response_of_two_classes_is_refused_with_the_cure(y, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options).fit(FRAME, y)


def test_class_weight_is_refused_with_the_reason():
    with pytest.raises(TypeError, match=r"has no class_weight.*TunedThresholdClassifierCV"):
        MixedModelClassifier(FORMULA, class_weight="balanced")


@pytest.mark.parametrize("family", CLASS_FAMILIES)
def test_a_regressor_of_classes_names_the_classifier(family):
    with pytest.raises(ValueError, match=f"got '{family}' .that family belongs to MixedModelClassifier"):
        MixedModelRegressor(FORMULA, family=family).fit(FRAME, SECOND.astype(float))


def test_a_regressor_of_text_names_the_classifier():
    with pytest.raises(ValueError, match=r"must be numeric.*MixedModelClassifier"):
        MixedModelRegressor(FORMULA).fit(FRAME, TEXT)


def test_scores_and_conditions_know_the_labels_of_the_fit(est):
    with pytest.raises(ValueError, match="not among the classes 'no', 'yes': row 0 is 'perhaps'"):
        est.score(FRAME.head(2), ["perhaps", "no"])
    with pytest.raises(ValueError, match="y holds numbers, but the classes are text"):
        est.score(FRAME, SECOND.astype(int))
    with pytest.raises(ValueError, match="not among the classes"):
        est.condition(FRAME.head(2), ["perhaps", "no"])
    with pytest.raises(ValueError, match="not among the classes"):
        est.loo(FRAME, ["perhaps", *TEXT[1:]])


# -- predictions -------------------------------------------------------------------------------------------------------


def test_probabilities_of_known_groups_average_the_inverse_link_over_the_draws(est):
    eta = est.predict_draws(FRAME, kind="linear")
    p = expit(eta).mean(("chain", "draw"))

    np.testing.assert_allclose(est.predict_proba(FRAME), np.column_stack([1 - p, p]), rtol=1e-10)
    np.testing.assert_allclose(est.predict_draws(FRAME, kind="mean"), expit(eta), rtol=1e-10)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_probabilities_of_new_groups_are_averaged_over_the_population(link):
    est = make(link=link).fit(FRAME, TEXT)
    family, draws = est._posterior.family, est.idata_["posterior"]
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    fixed = draws["Intercept"].to_numpy()[..., None] + draws["beta"].to_numpy() * NEW["x"].iloc[0]
    p = (family.link.inverse(fixed + draws["sd_g"].to_numpy() * nodes).mean((0, 1)) @ weights) / weights.sum()

    assert est.predict_proba(NEW)[0, 1] == pytest.approx(p, abs=1e-5)
    average = est.predict_proba(NEW, new_groups="zero")
    assert average[0, 1] == pytest.approx(family.link.inverse(fixed).mean(), abs=1e-10)
    assert np.all(np.abs(average - 0.5) > np.abs(est.predict_proba(NEW) - 0.5)) or link == "cloglog"


def test_both_classes_keep_their_digits_far_out():
    """Of a probability that is 1 but for 1e-20 the other class has 1e-20, not 0."""
    family = make()._find_family()

    first, second = family.class_probabilities(np.array([[-46.0, 46.0]]))
    np.testing.assert_allclose(first[0], [1.0, expit(-46.0)], rtol=1e-14)
    np.testing.assert_allclose(second[0], [expit(-46.0), 1.0], rtol=1e-14)
    first, second = family.marginal_class_probabilities(np.array([[46.0]]), np.array([[1.0]]))
    assert first[0, 0] == pytest.approx(np.exp(-46.0 + 0.5), rel=1e-9)


def test_predictions_follow_from_the_probabilities(est):
    p = est.predict_proba(FRAME)

    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_array_equal(est.predict(FRAME), np.where(p[:, 1] > 0.5, "yes", "no"))
    np.testing.assert_allclose(est.predict_log_proba(FRAME), np.log(p))
    np.testing.assert_allclose(est.decision_function(FRAME), logit(p[:, 1]))
    assert est.score(FRAME, TEXT) == accuracy_score(TEXT, est.predict(FRAME))
    assert est.score(FRAME, TEXT) > 0.65


def test_intervals_are_of_the_probability_unless_another_kind_is_asked_for(est):
    draws = est.predict_draws(FRAME.head(3), kind="mean")

    interval = est.predict_interval(FRAME.head(3), coverage=0.8)
    np.testing.assert_allclose(interval, draws.quantile([0.1, 0.9], ("chain", "draw")).T, rtol=1e-9)
    np.testing.assert_allclose(est.predict_quantiles(FRAME.head(3), [0.1, 0.9]), interval, rtol=1e-14)
    linear = est.predict_interval(FRAME.head(3), coverage=0.8, kind="linear")
    np.testing.assert_allclose(expit(linear), interval, rtol=1e-6)
    positions_of_classes = est.predict_quantiles(FRAME, [0.02, 0.5, 0.98], kind="response")
    assert set(np.unique(positions_of_classes)) == {0.0, 1.0}
    np.testing.assert_array_equal(est.classes_[positions_of_classes[:, 1].astype(int)], est.predict(FRAME))


def test_draws_of_the_response_are_positions_of_classes(est):
    draws = est.predict_draws(FRAME)

    assert draws.dims == ("chain", "draw", "obs")
    assert set(np.unique(draws)) == {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(("chain", "draw")), est.predict_proba(FRAME)[:, 1], atol=0.08)


def test_a_group_without_a_prediction_has_nan_probabilities_and_no_class(est):
    p = est.predict_proba(pd.concat([NEW.head(1), FRAME.head(1)]), new_groups="nan")

    assert np.isnan(p[0]).all()
    assert np.isfinite(p[1]).all()
    with pytest.raises(ValueError, match="1 of 2 rows have no most probable class"):
        est.predict(pd.concat([NEW.head(1), FRAME.head(1)]), new_groups="nan")
    with pytest.raises(NewGroupError, match="not seen in fit"):
        est.predict(NEW, new_groups="error")


def test_groups_may_be_left_out(est):
    p = est.predict_proba(FRAME[["x"]], include_groups=False)

    eta = est.idata_["posterior"]["Intercept"] + est.idata_["posterior"]["beta"].isel(common_effect=0) * FRAME["x"][0]
    assert p[0, 1] == pytest.approx(float(expit(eta).mean()))


# -- what it shares with the regressor ---------------------------------------------------------------------------------


def test_it_is_the_binomial_model_of_one_trial(est):
    trials = FRAME.assign(n=1)
    binomial = MixedModelRegressor(FORMULA, family="binomial", trials="n", draws=250, random_state=0)
    binomial.fit(trials, SECOND.astype(int))

    np.testing.assert_allclose(est.predict_proba(FRAME)[:, 1], binomial.predict(trials), rtol=1e-6)
    assert est.priors_ == binomial.priors_


def test_it_saves_pickles_conditions_and_shows_itself(est, tmp_path):
    est.save(tmp_path / "est.bm")
    loaded = bm.load(tmp_path / "est.bm")

    assert isinstance(loaded, MixedModelClassifier)
    for other in (loaded, pickle.loads(pickle.dumps(est))):
        np.testing.assert_array_equal(other.predict_proba(NEW), est.predict_proba(NEW))
        np.testing.assert_array_equal(other.classes_, est.classes_)
        assert other.classes_.dtype == est.classes_.dtype
    learned = est.condition(FRAME.head(6), TEXT[:6])
    assert learned.classes_.tolist() == ["no", "yes"]
    assert not np.array_equal(learned.predict_proba(NEW), est.predict_proba(NEW))
    assert "'no', 'yes'" in repr(est)
    assert "bernoulli" in est._repr_html_()


def test_the_container_holds_positions(est):
    np.testing.assert_array_equal(est.idata_["observed_data"]["y"], SECOND)
    checked = est.sample_posterior_predictive(FRAME, TEXT)
    np.testing.assert_array_equal(checked["observed_data"]["y"], SECOND)
    assert set(np.unique(checked["posterior_predictive"]["y"])) == {0.0, 1.0}
    assert set(np.unique(est.sample_prior(FRAME, draws=20)["prior_predictive"]["y"])) <= {0.0, 1.0}


def test_tables_are_those_of_the_linear_predictor(est):
    assert est.common_effects()["effect"].tolist() == ["Intercept", "x"]
    assert est.variance_components()["share"].sum() == pytest.approx(1)
    assert 0 < float(est.bayes_r2(FRAME).mean()) < 1


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_loo_reads_labels(est):
    assert est.loo(FRAME, TEXT).n_data_points == N


def test_separation_by_a_common_column_is_named():
    with pytest.warns(UserWarning, match="'x' separate successes from failures"):
        make("x", draws=100).fit(FRAME, FRAME["x"] > 0)


def test_polars_frames_are_read(est):
    frame = pl.from_pandas(FRAME)

    np.testing.assert_array_equal(make().fit(frame, pl.Series(TEXT)).predict_proba(frame), est.predict_proba(FRAME))
    assert nw.from_native(frame).shape == FRAME.shape


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(?s).*could not link to a BLAS:UserWarning")
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_the_density_in_pymc_is_the_familys_on_both_sides(link):
    model = make(link=link).build_model(FRAME, TEXT, np.arange(N) % 3 + 1.0)
    family = make(link=link)._find_family()
    (log_density,) = model.logp(vars=[model["y"]], sum=False)
    values = model.replace_rvs_by_values([model[name] for name in ("Intercept", "beta", "b_g")])
    evaluate = model.compile_fn([log_density, *values], inputs=model.value_vars, mode="FAST_COMPILE")
    for far in (0.0, 8.0, -8.0, 45.0, -45.0):
        point = {**model.initial_point(), "Intercept_centred_standardised__": np.array(far)}
        found, intercept, beta, b = evaluate({name: point[name] for name in map(str, model.value_vars)})
        eta = intercept + beta * FRAME["x"].to_numpy() + b[FRAME["g"], 0]
        expected = family.log_density(SECOND.astype(float), eta)
        within = expected > -1e300  # the cloglog's overflow
        np.testing.assert_allclose(found[within], expected[within], rtol=1e-8, atol=1e-12)


# -- what it says of itself --------------------------------------------------------------------------------------------


def test_it_is_a_classifier_of_two_classes_with_a_decision_function():
    tags = get_tags(make())

    assert is_classifier(make())
    assert not tags.classifier_tags.multi_class
    assert not tags.classifier_tags.poor_score
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert hasattr(make(), "decision_function")
    with pytest.raises(NotFittedError):
        make().decision_function(FRAME)
    assert "trials" not in make().get_params()
