"""Columns of X under any names: what wants backquotes is named, and of columns of one name a used one is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bayesmixed import FormulaError, MixedModelRegressor, load, plots
from bayesmixed.datasets import load_sleepstudy

DATA = load_sleepstudy()
Y = DATA["Reaction"]
FORMULA = "Days + (Days | Subject)"


def make(formula=FORMULA, **options):
    return MixedModelRegressor(formula, draws=100, random_state=0, **options)


def refusal(formula, frame, y=Y, **options):
    with pytest.raises(FormulaError) as caught:
        make(formula, **options).fit(frame, y)
    return str(caught.value)


NAMES = [
    "days awake",
    "Days-awake",
    "3rd day",
    "Tage (d)",
    "days/week",
    "day:night",
    "%days",
    "days?",
    "Δ days",
    "day no.",
]
PLACES = ["{}", "{} + (1 | Subject)", "1 + ({} | Subject)", "Subject + log({})"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("library", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_a_bare_name_that_is_no_word_is_named_with_the_cure(name, place, library):
    frame = library(DATA.rename(columns={"Days": name}).drop(columns="Reaction"))
    found = refusal(place.replace("{}", name), frame)

    assert f"`{name}`" in found
    assert "backquotes" in found


@pytest.mark.parametrize("name", NAMES)
def test_the_cure_works(name):
    frame = DATA.rename(columns={"Days": name})

    expected = make().fit(DATA, Y).predict(DATA)
    for quoted in (f"`{name}`", f"Q('{name}')"):
        est = make(f"{quoted} + ({quoted} | Subject)").fit(frame, Y)
        np.testing.assert_array_equal(est.predict(frame), expected)


@pytest.mark.parametrize("name", ["Reaction time", "Reaction (ms)", "1st reaction", "Reaction-time"])
def test_a_bare_name_of_the_response_is_named_with_the_cure(name):
    frame = DATA.rename(columns={"Reaction": name})

    assert f"`{name}`" in refusal(f"{name} ~ Days", frame, None)
    assert make(f"`{name}` ~ Days").fit(frame).design_spec_.response == name


def test_a_response_of_another_spelling_is_named_with_the_cure():
    frame = DATA.rename(columns={"Reaction": "Reaction time"})

    assert "`Reaction time`" in refusal("Reaction_time ~ Days", frame, None)


@pytest.mark.parametrize("formula", ["p(no hits, n) ~ x", "p(hits, no tries) ~ x"])
def test_successes_and_trials_are_named_with_the_cure(formula):
    frame = pd.DataFrame({"no hits": [1, 0, 2], "hits": [1, 0, 2], "no tries": 3, "n": 3, "x": [1.0, 2.0, 4.0]})

    assert "backquotes" in refusal(formula, frame, None, family="binomial")


@pytest.mark.parametrize("formula", ["Days", "x0 + x1", "`0`", "1 + 2", "(`0` | `1`)"])
def test_columns_that_are_numbered_get_the_cure(formula):
    frame = pd.DataFrame(DATA[["Days", "Subject"]].to_numpy(), columns=[0, 2])

    assert "X.columns = X.columns.astype(str)" in refusal(formula, frame)


def test_the_cure_of_numbered_columns_works():
    frame = pd.DataFrame(DATA[["Days", "Subject"]].to_numpy())
    frame.columns = frame.columns.astype(str)

    expected = make().fit(DATA, Y).predict(DATA)
    np.testing.assert_array_equal(make("`0` + (`0` | `1`)").fit(frame, Y).predict(frame), expected)


NUMBERED = pd.DataFrame(np.random.default_rng(0).normal(size=(180, 3)))


@pytest.mark.parametrize("names", [[0, 1, 2], pd.date_range("2024-01-01", periods=3), [("a", 1), ("a", 2), ("b", 1)]])
@pytest.mark.parametrize("stored", [False, True])
def test_columns_that_are_no_text_have_to_be_those_of_fit(names, stored, tmp_path):
    """scikit-learn keeps only names that are text, and would take these by position."""
    frame = NUMBERED.set_axis(names, axis=1)
    est = make(None).fit(frame, Y)
    if stored:
        est.save(tmp_path / "numbered.bm")
        est = load(tmp_path / "numbered.bm")
    expected = est.predict(frame)

    assert not hasattr(est, "feature_names_in_")
    np.testing.assert_array_equal(est.predict(frame.to_numpy()), expected)
    for use in (est.predict, lambda X: est.score(X, Y), lambda X: est.condition(X, Y), lambda X: est.partial_fit(X, Y)):
        with pytest.raises(ValueError, match=r"column 0 was called .* in fit and is called .* now\. Put the columns"):
            use(frame.iloc[:, [1, 0, 2]])
    est.fit(NUMBERED.set_axis([5, 6, 7], axis=1), Y)
    np.testing.assert_array_equal(est.predict(NUMBERED.to_numpy()), expected)


def test_names_of_an_earlier_fit_are_forgotten():
    est = make().fit(DATA, Y)
    est.fit(DATA.rename(columns={"Reaction": 0}), Y)

    assert not hasattr(est, "feature_names_in_")


def test_new_rows_without_a_quoted_column_are_told_of_it():
    est = make().fit(DATA, Y)

    with pytest.raises(FormulaError, match=r"has the column 'Days '\. .* `Days `"):
        est.predict(DATA.rename(columns={"Days": "Days "}))


# ---- columns of one name


def twice(*names):
    """Sleepstudy with some columns twice, the second time as text."""
    columns = ["Reaction", "Days", "Subject"]
    other = pd.DataFrame({name: ["?"] * len(DATA) for name in names})
    return pd.concat([DATA[columns].assign(u=1.0, v="a"), other], axis=1)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")
def test_unused_columns_of_one_name_mean_nothing():
    frame = twice("u", "v", "Reaction")
    est, expected = make().fit(frame, Y), make().fit(DATA, Y)

    assert est.n_features_in_ == 8
    assert est.feature_names_in_.tolist() == list(frame.columns)
    np.testing.assert_array_equal(est.predict(frame), expected.predict(DATA))
    np.testing.assert_array_equal(expected.predict_interval(frame), expected.predict_interval(DATA))
    assert est.score(frame, Y) == expected.score(DATA, Y)
    assert est.condition(frame.head(9), Y[:9]).diagnostics_["max_r_hat"] > 0
    assert est.sample_posterior_predictive(frame, Y)["observed_data"]["y"].shape == (180,)
    assert est.loo(frame, Y).n_data_points == 180
    assert len(plots.group_lattice(est, frame, Y, x="Days")) == 18
    assert len(make().build_model(frame, Y).free_RVs) > 0


def test_unused_columns_of_one_name_in_an_arrow_table_mean_nothing():
    table = pa.Table.from_pandas(DATA)
    table = table.append_column("other", pa.array(["a"] * 180)).append_column("other", pa.array([1.0] * 180))
    est = make("Reaction ~ Days + (Days | Subject)").fit(table)

    np.testing.assert_array_equal(est.predict(table), make().fit(DATA, Y).predict(DATA))
    with pytest.raises(FormulaError, match="X has 2 columns called 'Days'"):
        est.predict(table.append_column("Days", pa.array([1.0] * 180)))


def test_unused_columns_of_one_name_beside_arrow_types_mean_nothing():
    frame = DATA.assign(k=pd.array(["a", "b"] * 90, dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))))
    frame = pd.concat([frame, pd.DataFrame({"v": ["a"] * 180}), pd.DataFrame({"v": ["b"] * 180})], axis=1)

    assert make("k + (1 | Subject)").fit(frame, Y).coef_.shape == (1,)


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("Days + (1 | Subject)", "Days"),
        ("u + (Days | Subject)", "Days"),
        ("log(u)", "u"),
        ("(1 | Subject)", "Subject"),
        ("(1 | v:Subject)", "Subject"),
        ("Reaction ~ Days", "Reaction"),
        ("offset(u)", "u"),
    ],
)
def test_a_used_column_that_is_there_twice_is_refused(formula, name):
    y = None if "~" in formula else Y

    assert refusal(formula, twice(name), y) == f"X has 2 columns called {name!r}; give each its own name."


@pytest.mark.parametrize(
    "use",
    [
        lambda est, frame: est.predict(frame),
        lambda est, frame: est.score(frame, Y),
        lambda est, frame: est.condition(frame, Y),
        lambda est, frame: est.loo(frame, Y),
        lambda est, frame: est.predict_draws(frame),
        lambda est, frame: plots.group_lattice(est, frame, Y, x="Days"),
        lambda est, frame: est.build_model(frame, Y),
    ],
)
def test_a_used_column_that_is_there_twice_is_refused_in_new_rows(use):
    est = make().fit(DATA, Y)

    with pytest.raises(FormulaError, match="X has 2 columns called 'Days'; give each its own name"):
        use(est, twice("Days"))


def test_a_response_that_is_there_twice_is_refused_where_it_is_read():
    est = make("Reaction ~ Days").fit(DATA)

    assert est.predict(twice("Reaction")).shape == (180,)
    for use in (est.sample_posterior_predictive, est.score):
        with pytest.raises(FormulaError, match="X has 2 columns called 'Reaction'"):
            use(twice("Reaction"))


def test_without_a_formula_all_columns_are_used():
    frame = pd.concat([DATA[["Days"]], DATA[["Days"]]], axis=1)

    assert "X has 2 columns called 'Days'" in refusal(None, frame)
    with pytest.raises(FormulaError, match="X has 2 columns called 'Days'"):
        make(None).fit(DATA[["Days"]], Y.to_numpy()).predict(frame)


# ---- the response among the columns


@pytest.mark.parametrize("formula", ["Days + m", "Days + log(m) + (1 | Subject)", "Days + (m | Subject)", "s ~ m"])
def test_a_response_that_the_formula_uses_is_refused(formula):
    """A one-sided formula does not say what y is called, and families without residuals fit it silently."""
    frame = DATA.assign(m=np.arange(180) % 4 + 1, s=1)

    for y in (frame["m"], pl.Series("m", frame["m"].to_numpy())):
        assert "the formula uses 'm', which is y" in refusal(formula, frame, y, family="poisson")


def test_an_earlier_value_of_the_response_may_be_used():
    lagged = make("Reaction").fit(DATA.iloc[:-1], Y.iloc[1:])

    np.testing.assert_array_equal(lagged.predict(DATA), make("Reaction").fit(DATA[:-1], Y.to_numpy()[1:]).predict(DATA))


# ---- categories of any kind, from fit to file


@pytest.mark.parametrize(
    "values",
    [
        pd.cut(DATA["Days"], [-1, 2, 5, 9]),
        pd.Categorical(pd.to_datetime("2024-01-01") + pd.to_timedelta(DATA["Days"] // 4, unit="D")),
        pd.Categorical((DATA["Days"] // 4).map({0: "low", 1: 1, 2: 2.5}), ["low", 1, 2.5]),
    ],
)
@pytest.mark.parametrize("formula", ["c + (1 | Subject)", "1 + (c | Subject)"])
def test_a_category_of_any_kind_is_fitted_stored_and_predicted(values, formula, tmp_path):
    frame = DATA.assign(c=values)
    est = make(formula).fit(frame, Y)
    est.save(tmp_path / "c.bm")
    again = load(tmp_path / "c.bm")

    np.testing.assert_array_equal(again.predict(frame.iloc[::7]), est.predict(frame)[::7])
    assert "c[" in str(est)
