"""How do I drop a mixed model into a scikit-learn pipeline, and cross-validate it by group?

The estimator works with all of scikit-learn: here a `ColumnTransformer` standardises a column, a `Pipeline` passes a
frame on to the model (`set_output`), and the whole is cross-validated and used in a grid search.

Two questions have two answers. Folds of rows ask how well new days of *known* subjects are predicted; folds of
subjects (`GroupKFold`) ask the same for subjects *never seen*. This needs no setting: new groups are drawn from the
fitted population. The grouping column is part of X, so no metadata has to be routed. No model can know the level of a
person never seen: R² of all three is near 0 for new subjects, and what a mixed model adds is an honest interval
(see the next example).

    python examples/01_pipeline.py
"""

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bayesmixed as bm


def make_pipe(formula):
    """Days in standard deviations, then the model; columns keep their names."""
    scale = ColumnTransformer(
        [("scale", StandardScaler(), ["Days"])], remainder="passthrough", verbose_feature_names_out=False
    )
    return make_pipeline(scale, bm.MixedModelRegressor(formula, random_state=0)).set_output(transform="pandas")


def cross_validate(models, X, y, groups):
    """Mean R² of each model, for new rows of known subjects and for new subjects."""
    rows, subjects = KFold(6, shuffle=True, random_state=0), GroupKFold(6)
    table = {}
    for name, (model, columns) in models.items():
        table[name] = {
            "known subjects": cross_val_score(model, X[columns], y, cv=rows).mean(),
            "new subjects": cross_val_score(model, X[columns], y, cv=subjects, groups=groups).mean(),
        }
    return pd.DataFrame(table).T


def main():
    """Cross-validate, search, check."""
    data = bm.datasets.load_sleepstudy()
    X, y, groups = data[["Days", "Subject"]], data["Reaction"], data["Subject"]
    models = {
        "linear regression": (LinearRegression(), ["Days"]),
        "intercepts": (make_pipe("Days + (1 | Subject)"), ["Days", "Subject"]),
        "intercepts and slopes": (make_pipe("Days + (Days | Subject)"), ["Days", "Subject"]),
    }
    table = cross_validate(models, X, y, groups)
    print("Mean R² of 6 folds", table.round(2), sep="\n\n")

    # parameters of a step are searched under its name; dicts of priors are values like any others
    grid = {
        "mixedmodelregressor__formula": ["Days + (1 | Subject)", "Days + (Days | Subject)"],
        "mixedmodelregressor__priors": [None, {"sd_Subject": bm.HalfNormal(20)}],
    }
    search = GridSearchCV(models["intercepts and slopes"][0], grid, cv=KFold(6, shuffle=True, random_state=0)).fit(X, y)
    print("\nThe best of four candidates for known subjects", search.best_params_, sep="\n\n")
    print("\nIts last step, fitted", search.best_estimator_[-1], sep="\n\n")

    r2 = table["known subjects"]
    assert r2["intercepts and slopes"] > r2["intercepts"] > r2["linear regression"]
    assert (table["new subjects"] < table["known subjects"])[1:].all()
    assert search.best_params_["mixedmodelregressor__formula"] == "Days + (Days | Subject)"


if __name__ == "__main__":
    main()
