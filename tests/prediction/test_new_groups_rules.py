"""The seven rules of predicting groups that fit has not seen, through the estimator, on collapsed fits."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayesmixed import FormulaError, MixedModelRegressor, NewGroupError
from bayesmixed._compat import dataset
from bayesmixed.chunks import allow
from bayesmixed.prediction import predict as prediction
from helpers.twins import in_new_process

N, DRAWS = 240, 500
SCHOOLS = ["east", "hill", "lake", "north", "south", "west"]
FORMULA = "y ~ x + k + (x | school) + (1 | school:pupil) + (1 | item)"
SAMPLED = ["sample", "donor"]
# a short chain is enough for a law, and nothing here says that a type was changed by mistake
pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")


def make_data():
    """Items crossed with pupils nested in schools; no school but east has a pupil 3."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=N),
            "k": rng.choice(["a", "b", "c"], N),
            "school": np.repeat(SCHOOLS, 40),
            "pupil": np.tile(np.repeat(np.arange(4), 10), 6),
            "item": 301 + np.arange(N) % 6,
        }
    )
    frame["pupil"] = frame["pupil"].where((frame["school"] == "east") | (frame["pupil"] < 3), 0)
    school = pd.factorize(frame["school"])[0]
    effects = rng.normal(size=(6, 2)) * [2, 0.5]
    y = 5 + frame["x"] + effects[school, 0] + effects[school, 1] * frame["x"]
    y += rng.normal(size=(6, 4))[school, frame["pupil"]] + rng.normal(size=6)[frame["item"] - 301]
    return frame.assign(y=y + rng.normal(size=N))


DATA = make_data()
KNOWN = DATA.iloc[[0, 45, 130, 239]].drop(columns="y").reset_index(drop=True)
# by row: nothing new; a new school, with a pupil of its own, twice; another one; a new item; an unseen pair
NEW = pd.DataFrame(
    {
        "x": [0.0, 1.0, -2.0, 0.5, 1.5, 1.0, 0.3],
        "k": ["a", "b", "c", "a", "b", "c", "a"],
        "school": ["east", "moor", "moor", "far", "lake", "west", "moor"],
        "pupil": [0, 0, 0, 1, 2, 3, 1],
        "item": [301, 302, 303, 304, 400, 305, 400],
    }
)
MISSING = NEW.assign(school=["east", None, "moor", None, "lake", "west", None])
PREDICTORS = {
    "draws": lambda est, X: np.asarray(est.predict_draws(X, kind="mean")).reshape(DRAWS, -1).T,
    "mean quantiles": lambda est, X: est.predict_quantiles(X, [0.1, 0.5, 0.9], kind="mean"),
    "response quantiles": lambda est, X: est.predict_quantiles(X, [0.1, 0.5, 0.9]),
    "mean and std": lambda est, X: np.stack(est.predict(X, return_std=True), axis=1),
}


def fit(formula=FORMULA, frame=DATA, **options):
    return MixedModelRegressor(formula, **{"draws": 250, "chains": 2, "random_state": 2, **options}).fit(frame)


@pytest.fixture(scope="module")
def est():
    return fit()


@pytest.fixture(scope="module")
def by_item():
    """One factor of integer labels, with an intercept and a slope."""
    return fit("y ~ x + (x | item)")


def with_mode(est, mode):
    """The same fit under another mode for new groups."""
    copy = pickle.loads(pickle.dumps(est))
    return copy.set_params(new_groups=mode)


def linear(est, X, mode=None, **options):
    """Draws of the linear predictor, (rows, draws)."""
    return np.asarray(est.predict_draws(X, kind="linear", new_groups=mode, **options)).reshape(DRAWS, -1).T


def effect_of_new(est, X, mode="sample"):
    """What the effects of new levels add to each row, (rows, draws)."""
    return linear(est, X, mode) - linear(est, X, "zero")


def assert_distinct(added, mode):
    """Effects of levels of one factor, (levels, draws), under a key each: now and then two have the same donor."""
    if mode == "sample":
        assert np.abs(np.corrcoef(stats.rankdata(added, axis=1)) - np.eye(len(added))).max() < 5 / np.sqrt(DRAWS)
    else:
        same = (added[:, None] == added).mean(axis=2)
        assert np.abs(same[np.triu_indices(len(added), 1)] - 1 / 6).max() < 0.1


def variable(est, name):
    """A variable of the posterior, (draws, ...)."""
    values = dataset(est.idata_, "posterior")[name].values
    return values.reshape(DRAWS, *values.shape[2:])


# ---- rule 1: a new level's draws depend on its key alone


@pytest.mark.parametrize("mode", SAMPLED)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_row_does_not_depend_on_the_order_of_rows(predictor, mode, est):
    predict, est = PREDICTORS[predictor], with_mode(est, mode)
    order = [4, 2, 0, 6, 5, 1, 3]

    np.testing.assert_allclose(predict(est, NEW.iloc[order]), predict(est, NEW)[order], rtol=1e-10)


@pytest.mark.parametrize("mode", SAMPLED)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_row_does_not_depend_on_the_batch(predictor, mode, est):
    predict, est = PREDICTORS[predictor], with_mode(est, mode)
    alone = np.concatenate([predict(est, NEW.iloc[[i]]) for i in range(len(NEW))])
    among_others = predict(est, pd.concat([DATA, NEW.assign(school="bay"), NEW]))[-len(NEW) :]

    np.testing.assert_allclose(alone, predict(est, NEW), rtol=1e-10)
    np.testing.assert_allclose(among_others, alone, rtol=1e-10)


@pytest.mark.parametrize("mode", SAMPLED)
@pytest.mark.parametrize("chunk", [1, 3 * DRAWS])
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_row_does_not_depend_on_chunks(predictor, chunk, mode, est):
    predict, est = PREDICTORS[predictor], with_mode(est, mode)
    whole = predict(est, MISSING)
    with allow(predictions=chunk):
        np.testing.assert_allclose(predict(est, MISSING), whole, rtol=1e-10)


@pytest.mark.parametrize("mode", SAMPLED)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_row_does_not_depend_on_what_was_predicted_before(predictor, mode, est):
    predict, est = PREDICTORS[predictor], with_mode(est, mode)
    first = predict(est, NEW)
    predict(est, NEW.assign(school="bay", item=999))
    est.predict_draws(NEW.head(3), n_draws=10)

    np.testing.assert_array_equal(predict(est, NEW), first)


def test_a_row_does_not_depend_on_the_process(est, tmp_path, monkeypatch):
    """Python's hash of a text differs between processes; it is not used."""
    path = tmp_path / "fit.pickle"
    path.write_bytes(pickle.dumps(est))
    code = (
        "import json, pathlib, pickle, sys\n"
        "import pandas as pd\n"
        "path, rows, modes = json.load(sys.stdin)\n"
        "est = pickle.loads(pathlib.Path(path).read_bytes())\n"
        "draws = [est.predict_draws(pd.DataFrame(rows), new_groups=m, n_draws=20).values.tolist() for m in modes]\n"
        "print(json.dumps([hash('moor'), draws]))"
    )
    monkeypatch.setenv("PYTHONHASHSEED", "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1")
    hashed, draws = in_new_process(code, [str(path), NEW.to_dict("list"), SAMPLED])

    assert hashed != hash("moor")
    np.testing.assert_allclose(draws, [est.predict_draws(NEW, new_groups=m, n_draws=20) for m in SAMPLED], rtol=1e-12)


def test_the_key_has_the_seed_of_the_fit(by_item):
    """Whatever the posterior, which the other seed changes too: standard normals that are drawn differ."""
    X = pd.DataFrame({"x": [0.0], "item": [400]})
    scaled = [effect_of_new(e, X)[0] / variable(e, "sd_item")[:, 0] for e in (by_item, fit("y ~ x + (x | item)"))]
    other = fit("y ~ x + (x | item)", random_state=3)

    np.testing.assert_array_equal(scaled[0], scaled[1])
    assert abs(np.corrcoef(scaled[0], effect_of_new(other, X)[0] / variable(other, "sd_item")[:, 0])[0, 1]) < 0.2


def test_the_key_has_the_factor(est):
    """One label in two factors is two levels."""
    frame = DATA.assign(club=DATA["item"].astype(str))
    est = fit("y ~ x + (1 | school) + (1 | club)", frame)
    X = frame.head(1).assign(school="moor", club="moor")
    both = [
        effect_of_new(est, X, {"school": a, "club": b})[0] / variable(est, f"sd_{name}")[:, 0]
        for name, a, b in [("school", "sample", "zero"), ("club", "zero", "sample")]
    ]

    assert abs(np.corrcoef(*both)[0, 1]) < 0.2


def test_the_key_has_the_draw(by_item):
    """Effects scaled by their sd are independent standard normals over draws."""
    z = effect_of_new(by_item, pd.DataFrame({"x": [0.0], "item": [400]}))[0] / variable(by_item, "sd_item")[:, 0]

    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.2


@pytest.mark.parametrize("mode", SAMPLED)
@pytest.mark.parametrize(
    "label",
    [
        np.int64(308),
        np.int16(308),
        np.uint16(308),
        308.0,
        np.float32(308),
        pd.array([308], dtype="Int64"),
        pd.array([308], dtype="Float64"),
        pd.Categorical([308]),
        pd.Series([308], dtype=object),
        pd.Series([308.0], dtype=object),
        pd.Series([np.int64(308)], dtype=object),
    ],
    ids=lambda label: f"{type(label).__name__} {getattr(label, 'dtype', '')}",
)
def test_equal_numbers_are_one_label(label, mode, by_item):
    X = pd.DataFrame({"x": [0.7], "item": [308]})

    np.testing.assert_array_equal(linear(by_item, X.assign(item=label), mode), linear(by_item, X, mode))


@pytest.mark.parametrize("mode", SAMPLED)
def test_a_number_is_the_same_label_beside_a_missing_one(mode, by_item):
    """pandas makes integers beside a missing value floats."""
    X = pd.DataFrame({"x": [0.7, 0.7, 0.7], "item": [308, 301, np.nan]})

    np.testing.assert_array_equal(linear(by_item, X, mode)[:2], linear(by_item, X.head(2).astype({"item": int}), mode))


@pytest.mark.parametrize("mode", SAMPLED)
@pytest.mark.parametrize("other", ["308", "308.0", "i:308"])
def test_a_text_is_another_label_than_a_number(other, mode, by_item):
    X = pd.DataFrame({"x": 0.7, "item": pd.Series([308, other, 308.0, other], dtype=object)})
    together, alone = linear(by_item, X, mode), linear(by_item, X.iloc[[1]].assign(item=other), mode)

    np.testing.assert_array_equal(together[0], together[2])
    np.testing.assert_array_equal(together[1], together[3])
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-12)
    assert_distinct(effect_of_new(by_item, X, mode)[:2], mode)


@pytest.mark.parametrize("mode", SAMPLED)
def test_rows_of_one_new_label_share_its_effects(mode, by_item):
    """The effects, not their sum with the slope's column."""
    X = pd.DataFrame({"x": [0.0, 1.0, 3.0, 0.0], "item": 400})
    at_0, at_1, at_3, again = effect_of_new(by_item, X, mode)

    np.testing.assert_array_equal(at_0, again)
    np.testing.assert_allclose(at_3, at_0 + 3 * (at_1 - at_0), atol=1e-12)
    assert not np.allclose(at_0, at_1)


@pytest.mark.parametrize("mode", SAMPLED)
def test_distinct_labels_differ(mode, by_item):
    added = effect_of_new(by_item, pd.DataFrame({"x": 0.0, "item": 1000 + np.arange(60)}), mode)

    assert_distinct(added, mode)


@pytest.mark.parametrize("mode", SAMPLED)
def test_missing_labels_are_keyed_by_row(mode, by_item):
    """The first exception: the same at a position, whatever the other rows and the kind of nothing."""
    X = pd.DataFrame({"x": 0.7, "item": pd.Series([301, None, 302, None, 400], dtype=object)})
    other = pd.DataFrame({"x": 0.7, "item": pd.Series([303, pd.NA, 999, np.nan], dtype=object)})
    first = effect_of_new(by_item, X, mode)

    np.testing.assert_allclose(effect_of_new(by_item, other, mode)[[1, 3]], first[[1, 3]], atol=1e-12)
    assert_distinct(first[[1, 3]], mode)
    moved = effect_of_new(by_item, X.iloc[[1]], mode)[0]
    assert_distinct(np.stack([moved, first[1]]), mode)


def test_the_noise_of_the_response_is_keyed_by_row(est):
    """The second exception."""

    def noise(X):
        both = [np.asarray(est.predict_draws(X, kind=kind)).reshape(DRAWS, -1) for kind in ("response", "mean")]
        return ((both[0] - both[1]) / variable(est, "sigma")[:, None]).T

    first = noise(NEW)
    np.testing.assert_allclose(noise(MISSING), first, atol=1e-9)
    np.testing.assert_allclose(noise(KNOWN), first[:4], atol=1e-9)
    rho = np.corrcoef(noise(NEW.iloc[[1] * 60]))
    assert np.abs(rho[np.triu_indices(60, 1)]).max() < 5 / np.sqrt(DRAWS), "rows of one label have noise of their own"


@pytest.mark.parametrize("function", ["predict_interval", "predict_quantiles", "std"])
def test_the_noise_is_integrated_where_no_draws_are_returned(function, est):
    """Equal rows have equal intervals and deviations; so have rows of distinct new or missing labels."""
    predict = {
        "predict_interval": lambda X: est.predict_interval(X, 0.8),
        "predict_quantiles": lambda X: est.predict_quantiles(X, [0.01, 0.5, 0.7]),
        "std": lambda X: est.predict(X, return_std=True)[1][:, None],
    }[function]
    X = NEW.iloc[[1] * 6].assign(school=["moor", "far", None, "moor", None, "bay"], item=[302] * 6)
    result = predict(X)

    np.testing.assert_allclose(result, np.tile(result[0], (6, 1)), rtol=1e-10)


def test_intervals_of_missing_labels_do_not_depend_on_their_row(est):
    order = [3, 1, 6, 0, 2, 5, 4]
    quantiles = est.predict_quantiles(MISSING, [0.05, 0.5, 0.95])

    np.testing.assert_allclose(
        est.predict_quantiles(MISSING.iloc[order], [0.05, 0.5, 0.95]), quantiles[order], rtol=1e-10
    )
    for i in range(len(MISSING)):
        np.testing.assert_allclose(est.predict_interval(MISSING.iloc[[i]]), quantiles[[i]][:, [0, 2]], rtol=1e-10)


# ---- rule 2: point predictions are exact


def test_predicting_a_sampled_level_is_predicting_the_average_group(est):
    np.testing.assert_array_equal(est.predict(MISSING), est.predict(MISSING, new_groups="zero"))
    all_new = NEW.assign(school=["moor"] * 7, item=999)
    np.testing.assert_allclose(est.predict(all_new), est.predict(NEW, include_groups=False), rtol=1e-12)


@pytest.mark.parametrize("mode", SAMPLED)
def test_predicting_a_new_level_has_no_monte_carlo_noise(mode, est):
    """Distinct labels have distinct draws and one mean."""
    X = NEW.iloc[[3] * 5].assign(school=["moor", "far", "bay", None, None], item=[400, 401, 402, 403, 404])
    predicted = est.predict(X, new_groups=mode)

    np.testing.assert_allclose(predicted, np.full(5, predicted[0]), rtol=1e-12)
    assert np.ptp(linear(est, X, mode).mean(axis=1)) > 1e-3


def test_predicting_a_donor_is_predicting_the_mean_over_fitted_levels(est):
    X = NEW.iloc[[1, 3]].assign(item=[301, 304])
    b = est.group_effects("school").pivot(index="level", columns="effect", values="mean")
    pairs = est.group_effects("school:pupil")["mean"].mean()
    added = est.predict(X, new_groups="donor") - est.predict(X, new_groups="zero")

    np.testing.assert_allclose(added, b["Intercept"].mean() + b["x"].mean() * X["x"] + pairs, atol=1e-12)


def test_predicting_a_donor_is_predicting_every_fitted_level_in_turn(by_item):
    X = pd.DataFrame({"x": [0.0, 1.3], "item": [400, 401]})
    in_turn = [by_item.predict(X.assign(item=item)) for item in range(301, 307)]

    np.testing.assert_allclose(by_item.predict(X, new_groups="donor"), np.mean(in_turn, axis=0), rtol=1e-12)


# ---- rule 3: a missing label


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA, pd.NaT], ids=str)
def test_a_missing_label_is_a_new_level_under_the_same_mode(nothing, by_item):
    X = pd.DataFrame({"x": 0.7, "item": pd.Series([301, nothing, nothing], dtype=object)})
    known = linear(by_item, X.head(1).astype({"item": int}))[0]
    zero = linear(by_item, X, include_groups=False)[0]

    np.testing.assert_allclose(linear(by_item, X, "zero"), [known, zero, zero], rtol=1e-12)
    np.testing.assert_array_equal(np.isnan(linear(by_item, X, "nan")).all(axis=1), [False, True, True])
    with pytest.raises(NewGroupError, match=r"grouping factor 'item' has 2 missing labels in 3 rows\."):
        by_item.predict(X, new_groups="error")
    for mode in SAMPLED:
        added = effect_of_new(by_item, X, mode)
        assert np.all(added[0] == 0)
        assert_distinct(added[1:], mode)


def test_a_missing_part_makes_the_pair_new(est):
    X = KNOWN.iloc[[0, 0]].astype({"pupil": object}).assign(pupil=[0, None], item=[301, 301])
    added = effect_of_new(est, X, {"school": "error", "item": "error"})

    assert np.all(added[0] == 0)
    assert np.all(added[1] != 0)
    with pytest.raises(NewGroupError, match="grouping factor 'school:pupil' has 1 missing label in 2 rows"):
        est.predict(X, new_groups={"school:pupil": "error"})


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA])
@pytest.mark.parametrize(
    ("column", "factor", "rows", "count"),
    [("item", "item", [3, 17], 2), ("school", "school", [0], 1), ("pupil", "school:pupil", [5, 6, 7], 3)],
)
def test_a_missing_label_in_fit_is_an_error_with_column_and_count(column, factor, rows, count, nothing):
    frame = DATA.astype({column: object})
    frame.loc[rows, column] = nothing

    with pytest.raises(
        ValueError, match=rf"grouping factor '{factor}': column '{column}' has {count} missing labels .* in 240 rows"
    ):
        fit(frame=frame)


# ---- rule 4: each factor is decided on its own


def test_a_known_school_keeps_its_effect_beside_a_new_pupil(est):
    X = KNOWN.iloc[[0]].assign(pupil=77)
    b = est.group_effects("school").set_index(["level", "effect"])["mean"]["east"]
    items = est.group_effects("item").set_index("level")["mean"]
    common = est.predict(X, include_groups=False)[0]
    expected = common + b["Intercept"] + b["x"] * X["x"][0] + items[X["item"][0]]

    for mode in ("sample", "zero"):
        modes = {"school": "error", "item": "error", "school:pupil": mode}
        assert est.predict(X, new_groups=modes)[0] == pytest.approx(expected, rel=1e-12)
    added = effect_of_new(est, X, {"school:pupil": "sample"})[0] / variable(est, "sd_school:pupil")[:, 0]
    assert stats.kstest(added, "norm").pvalue > 1e-3, "the pupil's effect is drawn, and nothing else"


def test_a_known_item_keeps_its_effect_beside_a_new_school(est):
    X = NEW.iloc[[1]].assign(item=302)
    item = est.group_effects("item").set_index("level")["mean"][302]

    assert est.predict(X)[0] - est.predict(X, include_groups=False)[0] == pytest.approx(item, rel=1e-9)


def test_an_unseen_pair_of_known_parts_is_new(est):
    """Only east has a pupil 3."""
    X = KNOWN.iloc[[0, 1]].assign(school=["east", "west"], pupil=3)
    added = effect_of_new(est, X)

    assert np.all(added[0] == 0)
    assert np.all(added[1] != 0)
    with pytest.raises(NewGroupError, match=r"'school:pupil' has 1 level not seen in fit: 'west:3'\. Use new_groups="):
        est.predict(X, new_groups="error")


def test_pairs_that_share_a_part_are_distinct_levels(est):
    X = KNOWN.iloc[[0] * 4].assign(school=["hill", "lake", "hill", "hill"], pupil=[3, 3, 4, 3])
    hill, lake, other, again = effect_of_new(est, X)

    np.testing.assert_array_equal(hill, again)
    assert_distinct(np.stack([hill, lake, other]), "sample")


def test_nested_factors_are_decided_one_by_one():
    """school/pupil is school and school:pupil."""
    nested, spelled = fit("y ~ x + (1 | school/pupil)"), fit("y ~ x + (1 | school) + (1 | school:pupil)")

    np.testing.assert_array_equal(linear(nested, NEW), linear(spelled, NEW))
    assert np.all(effect_of_new(nested, NEW, {"school:pupil": "zero"})[[0, 4, 5]] == 0)
    assert np.all(effect_of_new(nested, NEW, {"school": "zero"})[[1, 2, 3, 5, 6]] != 0)


def test_effects_of_two_new_levels_add_up(est):
    parts = ["school", "school:pupil", "item"]
    zero = dict.fromkeys(parts, "zero")
    each = [effect_of_new(est, NEW, zero | {part: "sample"}) for part in parts]

    np.testing.assert_allclose(effect_of_new(est, NEW), sum(each), atol=1e-12)
    for part, of_part in zip(parts, each, strict=True):
        new = {"school": [1, 2, 3, 6], "school:pupil": [1, 2, 3, 5, 6], "item": [4, 6]}[part]
        assert np.flatnonzero(np.any(of_part != 0, axis=1)).tolist() == new


# ---- rule 5: a frame in which everything is new


def test_an_error_on_an_all_new_frame_shows_both_types(est, by_item):
    X = pd.DataFrame({"x": [0.0, 1.0], "item": ["301", "302"]})
    with pytest.raises(
        NewGroupError,
        match=r"'item' has 2 levels not seen in fit: '301', '302'\. All labels of the frame are new "
        r"\('item' had int labels in fit and now has dtype (str|object)\)",
    ):
        by_item.predict(X, new_groups="error")
    with pytest.raises(
        NewGroupError,
        match=r"'school:pupil' has 1 level.*'school' had str labels in fit and now has dtype int64; "
        r"'pupil' had int labels in fit and now has dtype float64",
    ):
        est.predict(KNOWN.head(1).assign(school=1, pupil=0.5), new_groups={"school:pupil": "error"})


def test_an_error_on_a_frame_with_a_known_level_does_not_show_types(by_item):
    X = pd.DataFrame({"x": 0.0, "item": [301, 400]})

    with pytest.raises(NewGroupError, match=r"not seen in fit: 400\. Use new_groups=\"sample\""):
        by_item.predict(X, new_groups="error")


def test_labels_that_are_new_by_their_type_alone_are_warned_of(by_item):
    X = pd.DataFrame({"x": [0.0, 1.0], "item": ["301", "302"]})

    with pytest.warns(UserWarning, match="All labels of 'item' are new.*fit saw int labels, but the new data hold str"):
        by_item.predict(X)


# ---- rule 6: a new level of a common categorical effect


@pytest.mark.parametrize("mode", ["sample", "donor", "zero", "nan", "error"])
@pytest.mark.parametrize("include_groups", [True, False, ["item"]])
def test_a_new_level_of_a_common_effect_is_an_error_whatever_the_mode(include_groups, mode, est):
    message = r"'k' has levels not seen in fit: 'd', 'e' \(known levels: 'a', 'b', 'c'\)"
    X = DATA.head(3).assign(k=["d", "a", "e"])

    for method in (est.predict, est.predict_draws, est.predict_interval, est.bayes_r2):
        with pytest.raises(FormulaError, match=message):
            method(X, include_groups=include_groups, new_groups=mode)


@pytest.mark.parametrize("kind", [str, "category"])
def test_data_with_some_of_the_known_levels_work(kind, est):
    """One level alone, too: it is not taken for the first of the fit."""
    for level in ("a", "b", "c"):
        rows = DATA["k"] == level
        some = DATA[rows].astype({"k": kind})

        np.testing.assert_allclose(est.predict(some), est.predict(DATA)[rows], rtol=1e-12)


# ---- rule 7: the drawn effects


def effects_of(est, X, factor, mode, keep=None):
    """Texts of the new levels and their effects, (draws, levels, q), as `predict_draws` hands them out."""
    design = est.design_spec_.apply(X)
    group = next(group for group in design.groups if group.name == factor)
    return prediction.new_group_effects(est._posterior, group, mode, np.arange(DRAWS) if keep is None else keep)


@pytest.mark.parametrize("mode", ["sample", "donor", "zero"])
@pytest.mark.parametrize("factor", ["school", "school:pupil", "item"])
def test_the_effects_handed_out_are_those_in_the_draws(factor, mode, est):
    """z'effects is what the draws have beside those of the average group."""
    X = MISSING.assign(item=[301, 302, np.nan, 304, 400, 305, 401])
    modes = dict.fromkeys(["school", "school:pupil", "item"], "zero")
    added = effect_of_new(est, X, modes | {factor: mode})
    texts, effects = effects_of(est, X, factor, mode)
    label = {
        "item": X["item"].astype("Int64"),
        "school": X["school"],
        "school:pupil": X["school"] + ":" + X["pupil"].astype(str),
    }[factor]
    Z = np.column_stack([np.ones(7), X["x"]]) if factor == "school" else np.ones((7, 1))

    rows = []
    for i in range(7):
        text = f"missing in row {i}" if pd.isna(label[i]) else str(label[i])
        expected = np.zeros(DRAWS)
        if text in texts:
            expected = effects[:, texts.index(text)] @ Z[i]
            rows.append(i)
        np.testing.assert_allclose(added[i], expected, atol=1e-11)
    assert rows == {"school": [1, 2, 3, 6], "school:pupil": [1, 2, 3, 5, 6], "item": [2, 4, 6]}[factor]


def test_missing_levels_are_named_by_their_row(est):
    assert sorted(effects_of(est, MISSING, "school", "sample")[0]) == [
        "missing in row 1",
        "missing in row 3",
        "missing in row 6",
        "moor",
    ]


def test_effects_of_thinned_draws_are_some_of_the_effects(est):
    keep = np.array([0, 7, 499])
    texts, every = effects_of(est, MISSING, "school", "sample")
    thinned_texts, some = effects_of(est, MISSING, "school", "sample", keep)

    assert thinned_texts == texts
    np.testing.assert_array_equal(some, every[keep])


def test_effects_are_zero_nan_or_a_donors_by_the_mode(est):
    assert np.all(effects_of(est, NEW, "school", "zero")[1] == 0)
    assert np.isnan(effects_of(est, NEW, "school", "nan")[1]).all()
    donated = effects_of(est, NEW, "school", "donor")[1]
    distance = np.abs(donated[:, :, None] - variable(est, "b_school")[:, None]).max(axis=-1)
    np.testing.assert_array_equal(distance.min(axis=2), 0)
    assert set(distance.argmin(axis=2).ravel()) == set(range(6))


def test_a_factor_without_new_levels_has_no_effects_to_hand_out(est):
    texts, effects = effects_of(est, KNOWN, "school", "sample")

    assert texts == []
    assert effects.shape == (DRAWS, 0, 2)


# ---- modes by factor and by call


def test_a_call_overrides_the_constructor_factor_by_factor(est):
    """A dict leaves the other factors as they were."""
    strict = with_mode(est, {"school": "error", "item": "nan"})
    X = NEW.iloc[[0, 4]]  # a new item

    predicted = strict.predict(X)
    np.testing.assert_array_equal(np.isnan(predicted), [False, True])
    np.testing.assert_array_equal(np.isnan(strict.predict(X, new_groups={"item": "zero"})), False)
    np.testing.assert_array_equal(strict.predict(X, new_groups={"school": "zero"}), predicted)
    with pytest.raises(NewGroupError, match="'school' has 1 level not seen in fit: 'moor'"):
        strict.predict(NEW.iloc[[1]], new_groups={"item": "zero"})
    with pytest.raises(NewGroupError, match="'item' has 1 level not seen in fit: 400"):
        strict.predict(X, new_groups="error")
    assert strict.new_groups == {"school": "error", "item": "nan"}


@pytest.mark.parametrize(
    "predict",
    [
        lambda est, X, mode: est.predict(X, new_groups=mode),
        lambda est, X, mode: est.predict_draws(X, new_groups=mode),
        lambda est, X, mode: est.predict_interval(X, new_groups=mode),
        lambda est, X, mode: est.predict_quantiles(X, 0.5, new_groups=mode),
        lambda est, X, mode: est.bayes_r2(X, new_groups=mode),
    ],
)
def test_every_prediction_obeys_the_mode(predict, est):
    for factor, message in [("school", "'moor', 'far'"), ("school:pupil", "'west:3'"), ("item", "400")]:
        with pytest.raises(NewGroupError, match=f"grouping factor '{factor}' has .* not seen in fit: .*{message}"):
            predict(est, NEW, {factor: "error"})
        predict(est, KNOWN, {factor: "error"})
    with pytest.raises(ValueError, match="new_groups names 'club'"):
        predict(est, NEW, {"club": "zero"})
    with pytest.raises(ValueError, match="new_groups must be one of 'sample', 'donor', 'zero', 'nan', 'error'"):
        predict(est, NEW, "average")


def test_an_excluded_factor_is_not_asked_for_its_mode(est):
    X = NEW.drop(columns=["item", "pupil"])

    np.testing.assert_allclose(
        est.predict(X.iloc[[0]], include_groups=["school"], new_groups="error"),
        est.predict(KNOWN.iloc[[0]].assign(x=0.0, k="a"), include_groups=["school"]),
    )
    with pytest.raises(NewGroupError, match="'school' has 2 levels"):
        est.predict(X, include_groups=["school"], new_groups="error")


@pytest.mark.parametrize("kind", ["linear", "mean", "response"])
def test_draws_are_handed_out_with_their_effects_labelled(kind, est):
    draws, effects = est.predict_draws(NEW, kind=kind, return_new_groups=True)

    assert draws.equals(est.predict_draws(NEW, kind=kind))
    assert list(effects) == ["school", "school:pupil", "item"]
    for factor, levels in [
        ("school", ["moor", "far"]),
        ("school:pupil", ["moor:0", "far:1", "west:3", "moor:1"]),
        ("item", ["400"]),
    ]:
        of = effects[factor]
        assert of.dims == ("chain", "draw", factor, f"{factor}_effect")
        assert of.name == f"b_{factor}"
        assert set(of[factor].values) == set(levels)
        assert of[f"{factor}_effect"].values.tolist() == (["Intercept", "x"] if factor == "school" else ["Intercept"])
        assert of["chain"].values.tolist() == [0, 1]
        assert of["draw"].values.tolist() == list(range(250))


@pytest.mark.parametrize("mode", ["sample", "donor"])
def test_a_new_row_differs_from_the_average_group_by_its_effects(mode, est):
    draws, effects = est.predict_draws(NEW, kind="linear", new_groups=mode, return_new_groups=True)
    added = draws - est.predict_draws(NEW, kind="linear", new_groups="zero")
    school, pupil = effects["school"], effects["school:pupil"]
    row = NEW.iloc[1]

    expected = school.sel(school="moor", school_effect="Intercept") + row["x"] * school.sel(
        school="moor", school_effect="x"
    )
    expected = expected + pupil.sel({"school:pupil": "moor:0", "school:pupil_effect": "Intercept"})
    np.testing.assert_allclose(added.isel(obs=1), expected, atol=1e-11)
    np.testing.assert_allclose(added.isel(obs=0), 0)


def test_thinned_effects_are_those_of_the_thinned_draws(est):
    every = est.predict_draws(MISSING, return_new_groups=True)
    some = est.predict_draws(MISSING, n_draws=10, return_new_groups=True)

    assert some[0].equals(every[0].sel(draw=some[0]["draw"]))
    for factor, of in some[1].items():
        assert of.sizes["draw"] == 5
        assert of.equals(every[1][factor].sel(draw=of["draw"]))


def test_effects_of_missing_labels_are_named_by_row(est):
    effects = est.predict_draws(MISSING, return_new_groups=True)[1]["school"]

    assert set(effects["school"].values) == {"moor", "missing in row 1", "missing in row 3", "missing in row 6"}


def test_effects_under_the_modes_that_draw_nothing(est):
    for mode, value in [("zero", 0.0), ("nan", np.nan)]:
        effects = est.predict_draws(NEW, new_groups=mode, return_new_groups=True)[1]
        for of in effects.values():
            assert of.size > 0
            np.testing.assert_array_equal(of, np.full(of.shape, value))


def test_without_new_levels_the_effects_are_empty(est):
    _, effects = est.predict_draws(KNOWN, return_new_groups=True)

    assert {factor: of.shape for factor, of in effects.items()} == {
        "school": (2, 250, 0, 2),
        "school:pupil": (2, 250, 0, 1),
        "item": (2, 250, 0, 1),
    }
    assert list(est.predict_draws(NEW, include_groups=["item"], return_new_groups=True)[1]) == ["item"]
    assert est.predict_draws(NEW[["x", "k"]], include_groups=False, return_new_groups=True)[1] == {}


def test_one_factor_with_one_effect_is_handed_out():
    """Labels are named by their text, an integer as such whatever the column's type."""
    est = fit("y ~ x + (1 | item)")
    X = pd.DataFrame({"x": 0.0, "item": [400, 301]})
    effects = est.predict_draws(X, return_new_groups=True)[1]["item"]

    assert effects["item"].values.tolist() == ["400"]
    assert effects["item_effect"].values.tolist() == ["Intercept"]
