"""Levels that are declared before they come, and parameters: what every part is asked."""

import pandas as pd
import pytest

import bayesmixed as bm
from bayesmixed import FormulaError, MixedModelRegressor
from helpers.summed_cases import FAST, fit_rows, largest_difference, make_frame

FRAME = make_frame()
SLOPES = "y ~ x + (x | pupil)"
pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")


# ---- levels that were declared and have not come yet

DECLARED = {"categories": {"k": list("abcz")}}


@pytest.mark.parametrize("how", ["partial_fit", "fit", "statistics"])
def test_condition_takes_rows_after_a_level_that_no_row_had(how):
    formula, more = "y ~ x*k + (k | pupil)", FRAME[110:].assign(k="z")
    est = MixedModelRegressor(formula, **DECLARED, **FAST)
    if how == "statistics":
        est.fit(bm.SufficientStatistics.of(formula, FRAME[:70], **DECLARED))
    else:
        getattr(est, how)(FRAME[:70])
    est = est.condition(FRAME[70:110])
    every = pd.concat([FRAME[:110], more])

    assert largest_difference(est.partial_fit(more), fit_rows(formula, every, {}, {})) < 1e-8


def test_a_fit_keeps_the_levels_that_were_declared():
    formula, late = "y ~ x*k + (k | pupil)", FRAME[70:].assign(k="z")
    fitted = fit_rows(formula, FRAME[:70], {}, DECLARED)
    alone = fit_rows(formula, FRAME[:70], {}, {})
    every = pd.concat([FRAME[:70], late])

    assert largest_difference(fitted, alone) == 0
    assert fitted._rows.checksum == alone._rows.checksum
    assert largest_difference(fitted.partial_fit(late), fit_rows(formula, every, {}, {})) < 1e-8


def test_a_column_that_is_missing_is_told_alike_of_every_part():
    messages = []
    for est in (MixedModelRegressor(SLOPES, **FAST), MixedModelRegressor(SLOPES, **FAST).partial_fit(FRAME[:60])):
        with pytest.raises(FormulaError, match="'pupil'") as raised:
            est.partial_fit(FRAME[60:].drop(columns="pupil"))
        messages.append(str(raised.value))

    assert messages[0] == messages[1]
    assert "include_groups" not in messages[0]


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("y ~ k", "k"),
        ("y ~ x*k", "k"),
        ("y ~ (k | pupil)", "k"),
        ("y ~ C(town)", "town"),
        ("y ~ x:C( town ) + x", "town"),
    ],
)
def test_a_category_that_shows_one_level_in_the_first_rows_is_told_to_be_declared(formula, name):
    some = FRAME[(FRAME["k"] == "a") & (FRAME["town"] == 0)]
    cure = rf"These rows have a single level of '{name}'.*state all of them, categories={{'{name}': \[\.\.\.\]}}"
    with pytest.raises(FormulaError, match=cure):
        MixedModelRegressor(formula).partial_fit(some)
    with pytest.raises(FormulaError, match=cure):
        bm.SufficientStatistics.of(formula, some)
    levels = {name: FRAME[name].drop_duplicates().sort_values().tolist()}
    rest = FRAME[~FRAME.index.isin(some.index)]
    est = MixedModelRegressor(formula, categories=levels, **FAST).partial_fit(some).partial_fit(rest)

    assert largest_difference(est, fit_rows(formula, FRAME, {}, {})) < 1e-8


def test_other_errors_of_a_formula_name_no_categories():
    with pytest.raises(FormulaError, match="y ~ log") as raised:
        MixedModelRegressor("y ~ log(x, 2, 3)").partial_fit(FRAME[FRAME["k"] == "a"].assign(x=1.0))

    assert "categories=" not in str(raised.value)


# ---- parameters, asked of every part as fit asks them


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"draws": -5}, ValueError, "The 'draws' parameter of MixedModelRegressor"),
        ({"sampler": "blah"}, ValueError, "The 'sampler' parameter of MixedModelRegressor"),
        ({"formula": "y ~ x + (1 | pupil)"}, FormulaError, r"sums over rows were made for 'y ~ x \+ \(x \| pupil\)'"),
        ({"trials": "z"}, ValueError, "the trials 'z' are for family='binomial'"),
        ({"priors": {"nobody": bm.Normal(0, 1)}}, bm.PriorError, "unknown prior 'nobody'"),
        ({"priors": {"sd_pupil": bm.Normal(0, 1)}}, bm.PriorError, "must have positive support"),
        ({"lkj_eta": {"nobody": 2.0}}, bm.PriorError, "nobody"),
        ({"group_prior": {"nobody": "lkj"}}, ValueError, "nobody"),
        ({"sampler": "nuts"}, bm.SamplerError, "sampler='nuts' needs the rows themselves. Use one of 'auto', 'coll"),
        ({"sampler": "transport"}, bm.SamplerError, "sampler='transport' needs the rows themselves"),
        ({"priors": {"Intercept": bm.HalfNormal(3)}}, bm.SamplerError, "need Normal priors; found 'Intercept': HalfN"),
    ],
)
def test_parameters_that_are_wrong_are_refused_by_the_part(changed, error, message):
    est = MixedModelRegressor(SLOPES, **FAST).partial_fit(FRAME[:60])
    before = {name: est.get_params()[name] for name in changed}
    with pytest.raises(error, match=message):
        est.set_params(**changed).partial_fit(FRAME[60:])
    est.set_params(**before).partial_fit(FRAME[60:])

    assert largest_difference(est, fit_rows(SLOPES, FRAME, {}, {})) < 1e-8


def test_parameters_are_validated_before_the_posterior_is_drawn():
    est = MixedModelRegressor(SLOPES, **FAST).partial_fit(FRAME).set_params(draws=-5)

    with pytest.raises(ValueError, match="The 'draws' parameter of MixedModelRegressor"):
        est.predict(FRAME)


def test_a_response_among_the_columns_is_refused_as_in_fit():
    with pytest.raises(FormulaError, match="X has a column 'y', the name of y"):
        MixedModelRegressor().partial_fit(FRAME[["y", "x"]], FRAME["y"])


def test_a_name_that_wants_backquotes_is_told_as_in_fit():
    odd, messages = FRAME.rename(columns={"x": "a b"}), []
    for method in ("fit", "partial_fit"):
        with pytest.raises(FormulaError, match="backquotes") as raised:
            getattr(MixedModelRegressor("y ~ a b"), method)(odd)
        messages.append(str(raised.value))

    assert messages[0] == messages[1]


def test_a_sampler_that_needs_rows_is_not_the_cure_for_sums_without_them():
    statistics = bm.SufficientStatistics.of(SLOPES, FRAME)
    with pytest.raises(bm.SamplerError, match=r'needs the rows.*Use sampler="auto"\.$'):
        MixedModelRegressor(SLOPES, sampler="nuts").fit(statistics)


def test_a_column_with_a_contrast_is_named_by_itself():
    est = MixedModelRegressor("y ~ C(k, Sum)", **FAST).partial_fit(FRAME)

    with pytest.raises(FormulaError, match=r"categories={'k': \[\.\.\.\]}"):
        est.partial_fit(FRAME[:5].assign(k="z"))
