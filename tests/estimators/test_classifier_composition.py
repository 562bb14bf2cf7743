"""The classifier as a part of scikit-learn's constructions; the data have text labels and groups."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    StratifiedGroupKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayesmixed import HalfNormal, MixedModelClassifier

RNG = np.random.default_rng(2)
N = 240
X = pd.DataFrame({"x": RNG.normal(size=N), "g": [f"g{i}" for i in np.arange(N) % 12]})
EFFECT = dict(zip(sorted(X["g"].unique()), RNG.normal(0, 1.5, 12), strict=True))
SECOND = RNG.random(N) < expit(0.5 + 1.2 * X["x"] + X["g"].map(EFFECT))
Y = pd.Series(np.where(SECOND, "yes", "no"))
FORMULA = "x + (1 | g)"
ROWS = StratifiedGroupKFold(3)


def make(formula=FORMULA, **options):
    return MixedModelClassifier(formula, draws=200, random_state=0, **options)


@pytest.mark.numerical
def test_probabilities_of_folds_are_those_of_each_folds_fit():
    """scikit-learn puts codes in place of text here; their order is the alphabet's, as that of the classes."""
    folds = list(ROWS.split(X, Y, X["g"]))
    p = cross_val_predict(make(), X, Y, cv=folds, method="predict_proba")

    train, test = folds[0]
    np.testing.assert_array_equal(p[test], make().fit(X.iloc[train], Y.iloc[train]).predict_proba(X.iloc[test]))
    assert roc_auc_score(Y, p[:, 1]) > 0.65  # groups that no fold's fit has seen


def test_text_in_a_stated_order_is_refused_where_scikit_learn_encodes_it():
    with pytest.raises(ValueError, match=r"y holds numbers, but the classes are text.*cross_val_predict"):
        cross_val_predict(make(classes=["no", "yes"]), X, Y, cv=ROWS, groups=X["g"], method="predict_proba")


@pytest.mark.numerical
def test_a_grid_is_searched_by_log_loss():
    grid = {"link": ["logit", "probit"], "priors": [{"sd_g": HalfNormal(0.01)}, None]}
    search = GridSearchCV(make(), grid, scoring="neg_log_loss", cv=GroupKFold(2)).fit(X, Y, groups=X["g"])

    assert -0.7 < search.best_score_ < -0.3
    best = search.best_estimator_
    assert -log_loss(Y, best.predict_proba(X)) > search.best_score_  # of groups that were seen
    np.testing.assert_array_equal(search.predict(X), best.predict(X))


@pytest.mark.numerical
@pytest.mark.parametrize(
    ("scoring", "above"), [("roc_auc", 0.65), ("neg_brier_score", -0.26), ("balanced_accuracy", 0.5), ("accuracy", 0.5)]
)
def test_scores_are_those_of_groups_that_no_fold_has_seen(scoring, above):
    scores = cross_val_score(make(), X, SECOND, cv=GroupKFold(2), groups=X["g"], scoring=scoring)

    assert scores.mean() > above


@pytest.mark.numerical
def test_it_is_calibrated_by_folds_of_whole_groups():
    folds = list(GroupKFold(3).split(X, Y, X["g"]))
    calibrated = CalibratedClassifierCV(make(), cv=folds).fit(X, Y)

    p = calibrated.predict_proba(X.assign(g="new"))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert calibrated.classes_.tolist() == ["no", "yes"]
    assert np.corrcoef(p[:, 1], X["x"])[0, 1] > 0.9


@pytest.mark.numerical
def test_a_threshold_is_tuned():
    rare = X["x"] + (Y == "yes") > 1.6
    tuned = TunedThresholdClassifierCV(make("(1 | g)"), scoring="balanced_accuracy", cv=3).fit(X, rare)
    fixed = FixedThresholdClassifier(make("(1 | g)"), threshold=0.01, response_method="predict_proba").fit(X, rare)

    assert 0 < tuned.best_threshold_ < 0.5
    plain = make("(1 | g)").fit(X, rare)
    assert balanced_accuracy_score(rare, tuned.predict(X)) >= balanced_accuracy_score(rare, plain.predict(X))
    np.testing.assert_array_equal(fixed.predict(X), plain.predict_proba(X)[:, 1] >= 0.01)


@pytest.mark.numerical
def test_three_classes_without_an_order_are_one_against_the_rest():
    three = np.where(X["x"] + RNG.normal(0, 0.5, N) > 0.8, "far", Y)
    rest = OneVsRestClassifier(make()).fit(X, three)

    assert rest.classes_.tolist() == ["far", "no", "yes"]
    p = rest.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.mean(rest.predict(X) == three) > 0.6


def test_it_stands_at_the_end_of_a_pipeline_and_is_cloned():
    columns = ColumnTransformer(
        [("num", StandardScaler(), ["x"])], remainder="passthrough", verbose_feature_names_out=False
    )
    pipe = make_pipeline(columns, make(classes=np.array(["no", "yes"]))).set_output(transform="pandas")
    copy = clone(pipe).fit(X, Y)

    assert copy.predict_proba(X).shape == (N, 2)
    assert copy.decision_function(X).shape == (N,)
    assert copy.score(X, Y) > 0.7
