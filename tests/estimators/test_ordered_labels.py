"""Ordered classes: where their order comes from, folds that lack some, and what scikit-learn is told of them."""

from copy import copy
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.utils import get_tags

from bayesmixed import MixedModelClassifier, load, plots

RNG = np.random.default_rng(8)
N = 180
X = pd.DataFrame({"x": RNG.normal(size=N), "g": np.arange(N) % 9})
CODES = np.searchsorted([-0.8, 1.0], X["x"] + RNG.normal(0, 0.8, 9)[X["g"]] + RNG.logistic(size=N))
WORDS = ("low", "medium", "high")  # not as the alphabet has them
TEXT = np.array(WORDS)[CODES]


def make(**options):
    given = {"family": "cumulative", "draws": 200, "random_state": 0, **options}
    return MixedModelClassifier("x + (1 | g)", **given)


@pytest.fixture(scope="module")
def est():
    return make(classes=WORDS).fit(X, TEXT)


@pytest.mark.parametrize(
    ("y", "options", "classes"),
    [
        (TEXT, {"classes": WORDS}, list(WORDS)),
        (pd.Series(pd.Categorical(TEXT, WORDS, ordered=True)), {}, list(WORDS)),
        (pd.Categorical(TEXT, WORDS, ordered=True), {}, list(WORDS)),  # as pd.cut of an array returns
        (pd.Categorical(CODES, [2, 1, 0], ordered=True), {}, [2, 1, 0]),  # as numbers they would lose their order
        (pd.CategoricalIndex(pd.Categorical(TEXT, WORDS, ordered=True)), {}, list(WORDS)),
        (pd.DataFrame({"y": pd.Categorical(CODES, [2, 1, 0], ordered=True)}), {}, [2, 1, 0]),
        (pl.Series(TEXT, dtype=pl.Enum(WORDS)), {}, list(WORDS)),
        (pl.DataFrame({"y": pl.Series(TEXT, dtype=pl.Enum(WORDS))}), {}, list(WORDS)),
        (pd.Series(pd.Categorical(TEXT, ["none", *WORDS], ordered=True)), {}, ["none", *WORDS]),
        (CODES, {}, [0, 1, 2]),
        (CODES * 2.0, {}, [0.0, 2.0, 4.0]),
        (CODES / 2, {"classes": (0, 0.5, 1)}, [0.0, 0.5, 1.0]),
        (pd.Categorical(CODES), {}, [0, 1, 2]),
        (CODES, {"classes": range(5)}, [0, 1, 2, 3, 4]),
        (CODES, {"classes": (2, 1, 0)}, [2, 1, 0]),
        (CODES > 0, {}, [False, True]),
        (np.where(CODES > 0, "b", "a"), {}, ["a", "b"]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_the_order_is_stated_or_that_of_numbers(y, options, classes):
    fitted = make(**options, draws=60).fit(X, y)

    assert fitted.classes_.tolist() == classes
    assert fitted.predict_proba(X).shape == (N, len(classes))
    assert fitted.idata_["posterior"]["threshold"].to_numpy().tolist() == [
        f"{below}|{above}" for below, above in pairwise(classes)
    ]


@pytest.mark.parametrize(
    "frame",
    [
        X.assign(y=pd.Categorical(TEXT, WORDS, ordered=True)),
        pl.from_pandas(X).with_columns(y=pl.Series(TEXT, dtype=pl.Enum(WORDS))),
    ],
    ids=["pandas", "polars"],
)
def test_the_order_may_be_that_of_the_formulas_column(frame):
    fitted = make(draws=60).set_params(formula="y ~ x + (1 | g)").fit(frame)

    assert fitted.classes_.tolist() == list(WORDS)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (
            TEXT,
            {},
            "the order of the classes 'high', 'low', 'medium' is not stated, and alphabetical order may be wrong",
        ),
        (pd.Series(TEXT, dtype="category"), {}, "the order of the classes .* make y an ordered Categorical"),
        (CODES, {"classes": WORDS}, "text, 'low', 'medium', 'high': .*CalibratedClassifierCV.*; pass integer codes"),
        (CODES, {"classes": set(WORDS)}, "classes must be in order, and a set has no order; pass a tuple"),
        (TEXT, {"classes": ("low", "high")}, "not among the classes 'low', 'high': row .* is 'medium'"),
        (np.full(N, "low"), {"classes": WORDS}, "y holds only one class, 'low'"),
        (X["x"], {}, "Unknown label type: continuous"),
        (np.arange(N), {}, "y holds 180 different numbers, each of which would be a class .* use MixedModelRegressor"),
        (TEXT, {"classes": WORDS, "link": "cloglog"}, "link of family 'cumulative' must be None or one of 'logit', 'p"),
    ],
)
@pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%:UserWarning")  # scikit-learn's
def test_an_order_that_is_not_known_is_refused_with_the_cure(y, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options).fit(X, y)


@pytest.mark.parametrize(
    "classes",
    [list(WORDS), pd.Index(WORDS), np.array(WORDS, dtype=object), range(1, 7, 2)],
    ids=lambda c: type(c).__name__,
)
def test_a_file_keeps_stated_classes_of_any_kind(est, classes, tmp_path):
    copy(est).set_params(classes=classes).save(tmp_path / "est.bm")

    assert load(tmp_path / "est.bm").classes == tuple(classes)


def test_an_order_turned_round_is_the_same_model_turned_round(est):
    turned = make(classes=WORDS[::-1]).fit(X, TEXT)

    assert turned.coef_[0] == pytest.approx(-est.coef_[0], abs=0.1)
    np.testing.assert_allclose(turned.predict_proba(X)[:, ::-1], est.predict_proba(X), atol=0.03)


def test_the_most_probable_class_is_predicted(est):
    p = est.predict_proba(X)

    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(est.predict(X), np.array(WORDS)[p.argmax(axis=1)])
    assert est.score(X, TEXT) == np.mean(est.predict(X) == TEXT)
    assert est.predict_interval(X).shape == (N, 3, 2)
    assert est.predict_interval(X, kind="response").shape == (N, 2)
    interval = est.predict_interval(X.head(2), coverage=0.5)
    draws = est.predict_draws(X.head(2), kind="mean")
    assert draws.dims == ("chain", "draw", "obs", "class")
    assert draws["class"].to_numpy().tolist() == list(WORDS)
    np.testing.assert_allclose(
        interval, draws.quantile([0.25, 0.75], ("chain", "draw")).transpose("obs", "class", "quantile"), rtol=1e-9
    )


def test_three_classes_have_no_log_odds_and_two_have(est):
    assert not hasattr(est, "decision_function")
    assert not hasattr(make(), "decision_function")
    two = make(draws=60).fit(X, CODES > 0)
    np.testing.assert_allclose(expit(two.decision_function(X)), two.predict_proba(X)[:, 1], rtol=1e-9)


def test_it_is_a_classifier_of_several_classes():
    assert get_tags(make()).classifier_tags.multi_class


def test_a_fold_may_lack_a_class():
    """Here the one in the middle: its probability is that which the prior leaves between its neighbours."""
    rows = CODES != 1
    p = make(classes=WORDS).fit(X[rows], TEXT[rows]).predict_proba(X)

    assert p.shape == (N, 3)
    assert 0 < p[:, 1].max() < 0.2


@pytest.mark.numerical
def test_codes_go_through_scikit_learns_constructions():
    folds = list(GroupKFold(3).split(X, CODES, X["g"]))
    p = cross_val_predict(make(), X, CODES, cv=folds, method="predict_proba")
    search = GridSearchCV(make(), {"link": ["logit", "probit"]}, scoring="neg_log_loss", cv=folds).fit(X, CODES)

    assert log_loss(CODES, p) == pytest.approx(-search.cv_results_["mean_test_score"][0], abs=0.01)


def test_text_that_scikit_learn_would_encode_by_the_alphabet_is_refused():
    with pytest.raises(ValueError, match=r"y holds numbers, but the classes are text.*cross_val_predict"):
        cross_val_predict(make(classes=WORDS), X, TEXT, cv=3, method="predict_proba")


def test_a_log_loss_takes_columns_in_the_order_of_sorted_labels(est):
    """As the docstring says."""
    p = est.predict_proba(X)
    expected = -np.mean(est.predict_log_proba(X)[np.arange(N), CODES])

    assert log_loss(TEXT, p[:, np.argsort(est.classes_)]) == pytest.approx(expected)


def test_a_lattice_of_several_classes_is_refused(est):
    with pytest.raises(ValueError, match="group_lattice draws a single mean, but the classes 'low'"):
        plots.group_lattice(est, X, TEXT, x="x")


@pytest.mark.numerical
@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # of few draws
@pytest.mark.parametrize(("K", "lacking"), [(3, []), (5, []), (5, [0]), (5, [2]), (4, [3])])
def test_ordered_classes_that_a_column_separates_are_named(K, lacking):
    classes = np.clip(np.searchsorted(np.linspace(-1, 1, K - 1), X["x"]), 0, K - 1)
    rows = ~np.isin(classes, lacking)
    overlapping = classes.copy()
    overlapping[X["x"][rows].idxmin()] = K - 1

    with pytest.warns(UserWarning, match=r"'x' separate ordered classes from each other without error"):
        make(classes=range(K), draws=60).fit(X[rows].assign(z=1.0), classes[rows])
    make(classes=range(K), draws=60).fit(X[rows], overlapping[rows])  # warns of nothing
