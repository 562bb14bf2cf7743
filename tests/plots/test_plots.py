"""Pictures, read back as numbers: what is drawn where, in whose Axes, and what is refused."""

import copy
import sys
from dataclasses import replace
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import NotFittedError

from bayesmixed import HalfNormal, MixedModelRegressor, Normal, plots
from bayesmixed.chunks import allow
from bayesmixed.datasets import load_pastes, load_sleepstudy
from bayesmixed.plots.shared import level_texts

matplotlib.use("Agg")  # draw into memory, never open a window
from matplotlib import pyplot as plt

DATA = load_sleepstudy()
FORMULA = "Reaction ~ Days + (Days | Subject)"

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the chains are short


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def fit(formula=FORMULA, frame=DATA, **options):
    return MixedModelRegressor(formula, **{"draws": 250, "chains": 2, "random_state": 0, **options}).fit(frame)


@pytest.fixture(scope="module")
def est():
    return fit()


@pytest.fixture(scope="module")
def pastes():
    return fit("strength ~ 1 + (1 | batch/cask)", load_pastes())


def crossed_frame(n=300):
    """Two factors, a second column, an offset; 40 clinics, most of few rows."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "dose": rng.uniform(0, 4, n).round(1),
            "age": rng.normal(50, 10, n),
            "base": rng.normal(size=n),
            "clinic": rng.integers(0, 40, n),
            "drug": rng.choice(["aspirin", "placebo", "zinc"], n),
        }
    )
    own = rng.normal(size=(40, 2))[frame["clinic"]]
    mean = 1 + 0.5 * frame["dose"] + 0.02 * frame["age"] + frame["base"] + own[:, 0] + own[:, 1] * frame["dose"]
    return frame.assign(gain=mean + pd.factorize(frame["drug"])[0] + rng.normal(size=n))


CROSSED = crossed_frame()


@pytest.fixture(scope="module")
def crossed():
    return fit("gain ~ dose + age + offset(base) + (dose | clinic) + (1 | drug)", CROSSED)


def labelled(artists, label):
    """The one artist of a label."""
    (artist,) = [artist for artist in artists if artist.get_label() == label]
    return artist


def line(ax, label):
    """Places and values of a line, (n, 2)."""
    return labelled(ax.lines, label).get_xydata()


def band(ax, label):
    """Lower and upper ends of a filled band, (n, 2): the polygon runs along one and back along the other."""
    vertices = labelled(ax.collections, label).get_paths()[0].vertices
    n = (len(vertices) - 3) // 2
    return np.column_stack([vertices[1 : n + 1, 1], vertices[n + 2 : 2 * n + 2, 1][::-1]])


def segments(ax, label):
    """Horizontal lines, (n, 3): start, end and height."""
    ends = np.array(labelled(ax.collections, label).get_segments())
    assert np.all(ends[:, 0, 1] == ends[:, 1, 1])
    return np.column_stack([ends[:, :, 0], ends[:, 0, 1]])


def titles(axes):
    return [ax.get_title() for ax in axes]


# group_lattice


def test_a_panel_shows_the_rows_of_its_level_and_their_predictions(est):
    shuffled = DATA.sample(frac=1, random_state=0)
    axes = plots.group_lattice(est, shuffled, x="Days", coverage=0.8)

    assert axes.shape == (18,)
    for ax in axes:
        mine = DATA[DATA["Subject"] == int(ax.get_title().removeprefix("Subject "))].sort_values("Days")
        days = mine["Days"].to_numpy()
        np.testing.assert_array_equal(line(ax, "data"), mine[["Days", "Reaction"]])
        np.testing.assert_allclose(line(ax, "posterior mean"), np.column_stack([days, est.predict(mine)]))
        average = est.predict(mine, include_groups=False)
        np.testing.assert_allclose(line(ax, "average Subject"), np.column_stack([days, average]))
        for label, kind in (("80 % interval, new observation", "response"), ("80 % interval, mean", "mean")):
            np.testing.assert_allclose(band(ax, label), est.predict_interval(mine, 0.8, kind), rtol=1e-6)


def test_the_average_leaves_out_the_panels_factor_alone(crossed):
    axes = plots.group_lattice(crossed, CROSSED, x="dose", factor="drug")

    mine = CROSSED[CROSSED["drug"] == axes[0].get_title().removeprefix("drug ")].sort_values("dose", kind="stable")
    expected = crossed.predict(mine, include_groups=["clinic"])
    np.testing.assert_allclose(line(axes[0], "average drug")[:, 1], expected)


@pytest.mark.parametrize(
    ("formula", "by"),
    [
        ("Reaction ~ Days + (Days | Subject)", "Days"),
        ("Reaction ~ Days + (1 | Subject)", "Intercept"),
        ("Reaction ~ Days + (0 + night | Subject)", None),
    ],
)
def test_panels_are_ordered_by_the_effect_of_x_or_the_intercept_or_as_levels_are(formula, by):
    frame = DATA.assign(night=np.cos(DATA["Days"]))
    est = fit(formula, frame)
    expected = sorted(DATA["Subject"].unique())
    if by is not None:
        table = est.group_effects("Subject")
        expected = table[table["effect"] == by].sort_values("mean")["level"]

    assert titles(plots.group_lattice(est, frame, x="Days")) == [f"Subject {level}" for level in expected]


def test_levels_without_rows_have_no_panel(est):
    few = DATA[DATA["Subject"].isin([308, 309, 335])]

    assert titles(plots.group_lattice(est, few, x="Days")) == ["Subject 335", "Subject 309", "Subject 308"]


@pytest.mark.parametrize(
    ("time", "ticks"),
    [(DATA["Days"], [0, 3, 6, 9]), (DATA["Days"] % 2, [0, 1]), (DATA["Days"] / 6, [0, 0.5, 1, 1.5])],
)
def test_ticks_are_few_and_whole_where_the_numbers_are(time, ticks, est):
    (ax,) = plots.group_lattice(est, DATA.assign(time=time), x="time", levels=[308])

    np.testing.assert_allclose([tick for tick in ax.get_xticks() if 0 <= tick <= time.max()], ticks)


def test_levels_are_drawn_in_the_order_of_the_user(est):
    axes = plots.group_lattice(est, DATA, x="Days", levels=iter([335, 308.0, 309]))

    assert titles(axes) == ["Subject 335", "Subject 308", "Subject 309"]
    assert line(axes[1], "data")[:, 1].tolist() == DATA.loc[DATA["Subject"] == 308, "Reaction"].tolist()


def test_a_nested_level_is_named_by_its_text_or_its_parts():
    frame = load_pastes().assign(hour=np.arange(60) % 7)
    est = fit("strength ~ hour + (1 | batch/cask)", frame)
    axes = plots.group_lattice(est, frame, x="hour", factor="batch:cask", levels=[("B", "a"), "A:c"])

    assert titles(axes) == ["batch:cask B:a", "batch:cask A:c"]
    mine = frame[(frame["batch"] == "B") & (frame["cask"] == "a")]
    np.testing.assert_array_equal(line(axes[0], "data"), mine[["hour", "strength"]].sort_values("hour"))


def test_new_levels_come_last_and_have_the_average_line(est):
    new = DATA.head(20).assign(Subject=np.repeat([1, 335], 10))
    axes = plots.group_lattice(est, new, x="Days")

    assert titles(axes) == ["Subject 335", "Subject 1"]
    np.testing.assert_allclose(line(axes[1], "posterior mean"), line(axes[1], "average Subject"))
    assert titles(plots.group_lattice(est, new, x="Days", levels=[1])) == ["Subject 1"]


def test_a_single_row_has_a_visible_interval(est):
    one, ten = plots.group_lattice(est, DATA.iloc[[0, *range(10, 20)]], x="Days", levels=[308, 309])
    label = "90 % interval, mean"

    assert labelled(one.collections, label).get_linewidth()[0] > 0
    assert labelled(ten.collections, label).get_linewidth()[0] == 0
    assert labelled(one.lines, "posterior mean").get_marker() == "_"
    np.testing.assert_allclose(band(one, label), est.predict_interval(DATA.head(1), kind="mean"), rtol=1e-6)


def test_more_than_thirty_panels_have_to_be_asked_for(crossed):
    with pytest.raises(ValueError, match=r"40 levels of 'clinic', but more than 30 panels .* as levels="):
        plots.group_lattice(crossed, CROSSED, x="dose", factor="clinic")
    assert len(plots.group_lattice(crossed, CROSSED, x="dose", factor="clinic", levels=range(31))) == 31
    few = CROSSED[CROSSED["clinic"] < 30]
    assert len(plots.group_lattice(crossed, few, x="dose", factor="clinic")) == 30


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {},
            {"x": "Dayz"},
            "x must be a numeric column of X, one of 'Reaction', 'Days', 'Subject', got 'Da",
        ),
        ({"who": "me"}, {"x": "who"}, "one of 'Reaction', 'Days', 'Subject', got 'who'"),
        ({"hour": [np.nan, *range(179)]}, {"x": "hour"}, "column 'hour' has 1 missing values"),
        ({}, {"x": "Days", "factor": "Item"}, "must be one of the grouping factors 'Subject', got 'Item'"),
        ({}, {"x": "Days", "levels": [308, 7]}, "X has no rows of 'Subject' 7; it has rows of 308, 309"),
        (
            {},
            {"x": "Days", "levels": "308"},
            "levels must be a list of labels of 'Subject', or None for all, got '308'",
        ),
        ({}, {"x": "Days", "levels": []}, r"levels must be a list .* got \[\]"),
        ({"Subject": [np.nan, *[308] * 179]}, {"x": "Days"}, "1 rows of X have no label of 'Subject'"),
        ({}, {"x": "Days", "coverage": 90}, r"coverage must be a number in \(0, 1\)"),
    ],
)
def test_what_a_lattice_cannot_draw_is_named(change, options, message, est):
    with pytest.raises(ValueError, match=message):
        plots.group_lattice(est, DATA.assign(**change), **options)
    assert plt.get_fignums() == []


def test_levels_that_are_dates_are_written_and_named_as_dates():
    frame = DATA.assign(Subject=pd.Timestamp("2020-01-01") + pd.to_timedelta(DATA["Subject"] - 308, unit="D"))
    est = fit(FORMULA, frame)

    assert titles(plots.group_lattice(est, frame, x="Days", levels=[pd.Timestamp("2020-01-02")])) == [
        "Subject 2020-01-02"
    ]
    with pytest.raises(ValueError, match="it has rows of '2020-01-01'"):
        plots.group_lattice(est, frame.head(10), x="Days", levels=[pd.Timestamp("2020-01-02")])
    assert level_texts((("a", 1), 7)) == ["a:1", "7"]


# caterpillar


@pytest.mark.parametrize("coverage", [0.9, 0.7])
def test_intervals_are_quantiles_of_the_effects_sorted_by_mean(coverage, est):
    axes = plots.caterpillar(est, coverage=coverage)
    draws = est.draw_group_effects("Subject")
    table = est.group_effects("Subject")

    assert titles(axes) == ["Intercept", "Days"]
    for ax, effect in zip(axes, ["Intercept", "Days"], strict=True):
        rows = table[table["effect"] == effect].sort_values("mean")
        np.testing.assert_allclose(line(ax, "posterior mean"), np.column_stack([rows["mean"], range(18)]))
        values = draws.sel(Subject=rows["level"].to_list(), Subject_effect=effect).values.reshape(500, 18)
        for share in (coverage, 0.5):
            ends = np.quantile(values, [(1 - share) / 2, (1 + share) / 2], axis=0)
            expected = np.column_stack([*ends, range(18)])
            np.testing.assert_allclose(segments(ax, f"{share * 100:.0f} % interval"), expected)
        assert [text.get_text() for text in ax.get_yticklabels()] == rows["level"].astype(str).tolist()
        assert ax.get_ylabel() == "Subject"


def test_one_effect_has_one_panel(est):
    axes = plots.caterpillar(est, "Subject", effect="Days")

    assert titles(axes) == ["Days"]
    both = plots.caterpillar(est)
    np.testing.assert_array_equal(line(axes[0], "posterior mean"), line(both[1], "posterior mean"))


def test_the_line_at_zero_is_drawn(est):
    (ax,) = plots.caterpillar(est, effect="Days")

    (zero,) = [drawn for drawn in ax.lines if drawn.get_label() != "posterior mean"]
    assert list(zero.get_xdata()) == [0, 0]


def test_many_levels_are_few_artists_without_names():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(61), 3)})
    frame["y"] = rng.normal(size=61)[frame["g"]] + rng.normal(size=183)
    est = fit("y ~ (1 | g)", frame)
    (whole,) = plots.caterpillar(est)
    with allow(working=500 * 7):  # seven levels at a time
        (ax,) = plots.caterpillar(est)

    assert len(ax.lines) + len(ax.collections) == 4
    assert list(ax.get_yticks()) == []
    assert ax.get_ylabel() == "g (61 levels)"
    np.testing.assert_array_equal(segments(ax, "90 % interval"), segments(whole, "90 % interval"))
    some = fit("y ~ (1 | g)", frame[frame["g"] < 60])
    assert len(plots.caterpillar(some)[0].get_yticklabels()) == 60


def test_names_that_do_not_fit_into_given_axes_are_left_out(est):
    figure = plt.figure(figsize=(4, 0.9))
    (ax,) = plots.caterpillar(est, effect="Days", axes=figure.add_axes([0, 0, 1, 1]))

    assert list(ax.get_yticks()) == []


def test_a_factor_or_effect_that_is_not_there_is_named(est, pastes):
    with pytest.raises(ValueError, match="effect must be one of 'Intercept', 'Days', the effects of 'Subject'"):
        plots.caterpillar(est, effect="Night")
    with pytest.raises(ValueError, match="several grouping factors; pass factor=, one of 'batch', 'batch:cask'"):
        plots.caterpillar(pastes)
    with pytest.raises(ValueError, match="must be one of the grouping factors 'batch', 'batch:cask', got 'cask'"):
        plots.caterpillar(pastes, "cask")
    with pytest.raises(ValueError, match=r"grouping factors \(there are none\)"):
        plots.caterpillar(fit("Reaction ~ Days"))


# posterior_predictive


@pytest.mark.parametrize("n_draws", [1, 3, 50])
def test_lines_are_distribution_functions_of_replications_and_data(n_draws, est):
    ax = plots.posterior_predictive(est, DATA, n_draws=n_draws)
    observed = line(ax, "observed")
    grid = observed[:, 0]

    np.testing.assert_allclose(observed[:, 1], [(DATA["Reaction"] <= at).mean() for at in grid])
    replicated = np.array([drawn.get_ydata() for drawn in ax.lines[:-1]])
    assert len(replicated) == n_draws
    enough = n_draws + n_draws % 2
    draws = est.predict_draws(DATA, n_draws=enough).values.reshape(enough, -1)
    possible = np.mean(draws[:, :, None] <= grid, axis=1)
    found = [np.flatnonzero(np.abs(possible - values).max(axis=1) < 1e-12).tolist() for values in replicated]
    assert all(len(which) == 1 for which in found)
    assert len({which[0] for which in found}) == n_draws
    if n_draws == 50:
        assert sorted(which[0] for which in found) == list(range(50))
        assert replicated[:, -1].tolist() == [1] * 50
        assert (grid[0], grid[-1]) == (
            min(draws.min(), DATA["Reaction"].min()),
            max(draws.max(), DATA["Reaction"].max()),
        )
    _, labels = ax.get_legend_handles_labels()
    assert labels == ["1 replication" if n_draws == 1 else f"{n_draws} replications", "observed"]


def test_an_array_without_a_formula_is_checked_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = X[:, 0] + rng.normal(size=40)
    est = MixedModelRegressor(draws=50, chains=2, random_state=0).fit(X, y)
    ax = plots.posterior_predictive(est, X, y)

    assert ax.get_xlabel() == "y"
    assert line(ax, "observed")[-1, 1] == 1


@pytest.mark.parametrize("n_draws", [0, 501, 2.0, True, "all"])
def test_a_wrong_number_of_replications_is_refused(n_draws, est):
    with pytest.raises(ValueError, match=f"n_draws must be an integer from 1 to 500, got {n_draws!r}"):
        plots.posterior_predictive(est, DATA, n_draws=n_draws)


# shrinkage


def arrows(ax):
    """Tails and heads of the arrows, each (n, 2)."""
    (quiver,) = [artist for artist in ax.collections if type(artist).__name__ == "Quiver"]
    return np.column_stack([quiver.X, quiver.Y]), np.column_stack([quiver.X + quiver.U, quiver.Y + quiver.V])


def test_arrows_run_from_least_squares_to_the_posterior_mean(est):
    (ax,) = plots.shrinkage(est, DATA.sample(frac=1, random_state=0))
    tails, heads = arrows(ax)

    for tail, (subject, mine) in zip(tails, DATA.groupby("Subject"), strict=True):
        columns = np.column_stack([np.ones(10), mine["Days"]])
        np.testing.assert_allclose(tail, np.linalg.lstsq(columns, mine["Reaction"], rcond=None)[0])
        assert str(subject) in [text.get_text() for text in ax.texts]
    means = est.group_coefficients("Subject")["mean"].to_numpy().reshape(18, 2)
    np.testing.assert_allclose(heads, means)
    np.testing.assert_array_equal(line(ax, "no pooling: least squares"), tails)
    np.testing.assert_allclose(line(ax, "partial pooling: posterior mean"), means)
    np.testing.assert_allclose(line(ax, "average Subject"), [[est.intercept_, est.coef_[0]]])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="right")) == ("Intercept", "Days", "")


def test_names_stand_at_the_tails(est):
    (ax,) = plots.shrinkage(est, DATA)
    tails, _ = arrows(ax)

    places = {text.get_text(): text.xy for text in ax.texts}
    assert places == {
        str(subject): tuple(tail) for subject, tail in zip(sorted(set(DATA["Subject"])), tails, strict=True)
    }


def test_the_rest_of_the_model_is_taken_off_at_its_posterior_means(crossed):
    (ax,) = plots.shrinkage(crossed, CROSSED, factor="clinic")
    tails, heads = arrows(ax)

    drug = crossed.group_effects("drug").set_index("level")["mean"]
    common = crossed.common_effects().set_index("effect")["mean"]
    rest = common["age"] * CROSSED["age"] + CROSSED["base"] + CROSSED["drug"].map(drug)
    target = CROSSED["gain"] - rest
    table = crossed.group_coefficients("clinic")
    expected, pooled = [], []
    for clinic, rows in CROSSED.groupby("clinic").groups.items():
        columns = np.column_stack([np.ones(len(rows)), CROSSED.loc[rows, "dose"]])
        own, _, rank, _ = np.linalg.lstsq(columns, target[rows], rcond=None)
        if rank == 2:
            expected.append(own)
            pooled.append(table.loc[table["level"] == clinic, "mean"])
    np.testing.assert_allclose(tails, expected, rtol=1e-6)
    np.testing.assert_allclose(heads, pooled)
    assert len(ax.texts) == 0  # too many to be named


def test_levels_without_a_fit_of_their_own_are_counted(est):
    # one row; rows of one day; no row
    frame = DATA[~DATA["Subject"].isin([308, 309, 310])]
    frame = pd.concat([frame, DATA[DATA["Subject"] == 308].head(1), DATA[DATA["Subject"] == 309].assign(Days=3)])
    (ax,) = plots.shrinkage(est, frame)
    tails, heads = arrows(ax)

    assert ax.get_title(loc="right") == "without a fit of their own: 3 of 18 levels"
    assert len(tails) == 15
    assert np.isfinite(tails).all()
    assert np.isfinite(line(ax, "partial pooling: posterior mean")).all()
    means = est.group_coefficients("Subject")["mean"].to_numpy().reshape(18, 2)
    np.testing.assert_allclose(heads, means[3:])


def test_rows_at_zero_alone_determine_no_slope(est):
    (ax,) = plots.shrinkage(est, DATA.assign(Days=0))

    assert ax.get_title(loc="right") == "without a fit of their own: 18 of 18 levels"


def test_units_do_not_decide_whether_a_fit_is_determined(est):
    frame = DATA.assign(Days=DATA["Days"] * 1e-12)
    (ax,) = plots.shrinkage(fit(frame=frame), frame)
    (in_days,) = plots.shrinkage(est, DATA)

    np.testing.assert_allclose(arrows(ax)[0], arrows(in_days)[0] * [1, 1e12])


def test_one_effect_is_a_line_per_level(pastes):
    frame = load_pastes()
    (ax,) = plots.shrinkage(pastes, frame, factor="batch:cask")

    batch = pastes.group_effects("batch").set_index("level")["mean"]
    left = frame["strength"] - frame["batch"].map(batch)
    own = left.groupby(frame["batch"] + ":" + frame["cask"]).mean()
    table = pastes.group_coefficients("batch:cask").sort_values("mean")
    np.testing.assert_allclose(line(ax, "partial pooling: posterior mean")[:, 0], table["mean"])
    np.testing.assert_allclose(line(ax, "no pooling: least squares"), np.column_stack([own[table["level"]], range(30)]))
    (moves,) = ax.collections
    ends = np.array(moves.get_segments())[:, :, 0]
    np.testing.assert_allclose(ends, np.column_stack([own[table["level"]], table["mean"]]))
    assert [text.get_text() for text in ax.get_yticklabels()] == table["level"].tolist()
    assert line(ax, "average batch:cask")[:, 0].tolist() == [pastes.intercept_] * 2
    assert ax.get_title(loc="left") == "Intercept"


def test_three_effects_have_a_panel_each():
    frame = DATA.assign(night=np.cos(DATA["Days"]))
    est = fit("Reaction ~ Days + (Days + night | Subject)", frame)
    axes = plots.shrinkage(est, frame)

    assert [ax.get_title(loc="left") for ax in axes] == ["Intercept", "Days", "night"]
    assert line(axes[2], "average Subject")[:, 0].tolist() == [0, 0]  # there is no common effect of it
    table = est.group_coefficients("Subject")
    for ax, effect in zip(axes, ["Intercept", "Days", "night"], strict=True):
        expected = np.sort(table.loc[table["effect"] == effect, "mean"])
        np.testing.assert_allclose(line(ax, "partial pooling: posterior mean")[:, 0], expected)


def test_shrinkage_needs_levels_of_the_fit_and_like_columns(est, school):
    with pytest.raises(ValueError, match="10 rows of X have a level of 'Subject' that was not in the fit"):
        plots.shrinkage(est, DATA.replace({"Subject": {308: 7}}))
    frame = school.assign(y=np.random.default_rng(0).normal(size=60))
    with pytest.raises(ValueError, match="effects of the same columns"):
        plots.shrinkage(fit("y ~ k + (0 + k | school)", frame), frame)


# prior_posterior


def prior(ax):
    return line(ax, "prior").T


@pytest.fixture(scope="module")
def blocks():
    """A block of two effects, one of one, and an intercept's prior that is stated at the mean of X."""
    rng = np.random.default_rng(2)
    n = 200
    frame = pd.DataFrame({"u": rng.normal(2, 1, n), "v": rng.normal(-2, 1, n), "g": rng.integers(0, 12, n)})
    frame["y"] = 1 + frame["u"] + rng.normal(size=12)[frame["g"]] + rng.normal(size=n)
    return fit("y ~ u + v + (u | g) + (0 + v | g)", frame, lkj_eta=3.5)


def test_every_parameter_but_the_group_effects_has_a_panel(est, blocks):
    assert titles(plots.prior_posterior(est)) == [
        "Intercept\nat Days = 4.5",
        "beta[Days]",
        "sd_Subject[Intercept]\nat Days = 4.5",
        "sd_Subject[Days]",
        "corr_Subject[Intercept:Days]\nat Days = 4.5",
        "sigma",
    ]
    mean = blocks.priors_.group_swept["g"]["u"]["Intercept"]
    assert titles(plots.prior_posterior(blocks, variables=["sd_g", "corr_g"])) == [
        f"sd_g[Intercept]\nat u = {mean:.5g}",
        "sd_g[u]",
        "sd_g[v]",
        f"corr_g[Intercept:u]\nat u = {mean:.5g}",
    ]
    assert titles(plots.prior_posterior(fit("Reaction ~ (1 | Subject)"), variables="Intercept")) == ["Intercept"]
    assert titles(plots.prior_posterior(fit("Reaction ~ 0 + Days"))) == ["beta[Days]", "sigma"]


def test_bars_are_shares_of_all_draws():
    frame = DATA.assign(night=np.cos(DATA["Days"]))
    est = fit("Reaction ~ Days + night + (Days + night | Subject)", frame)
    est.priors_ = replace(est.priors_, swept={}, group_swept={})  # drawn as they are written
    values = est._posterior.draws.values
    values["sigma"][0, 0] = 1e4  # a draw beyond the picture
    draws = [column for name in values if name != "b_Subject" for column in values[name].reshape(500, -1).T]
    axes = plots.prior_posterior(est)

    for ax, column in zip(axes, draws, strict=True):
        heights, edges, _ = labelled(ax.patches, "posterior").get_data()
        inside = [np.mean((column >= low) & (column < high)) for low, high in pairwise(edges)]
        np.testing.assert_allclose(heights * np.diff(edges), inside, atol=1e-12)
        assert ax.get_xlim() == (edges[0], edges[-1])
        assert np.sum(inside) == pytest.approx(1 - 1 / 500 if ax is axes[-1] else 1)


def test_the_horizontal_axis_keeps_to_what_a_parameter_can_be(est, pastes):
    assert plots.prior_posterior(pastes, variables="sd_batch")[0].get_xlim()[0] == 0
    assert plots.prior_posterior(est, variables="corr_Subject")[0].get_xlim() == (-1, 1)


def test_priors_have_their_densities(est):
    axes = dict(zip(["", "Days", "sd", "slope", "", "sigma"], plots.prior_posterior(est), strict=True))
    priors = est.priors_

    at, density = prior(axes["Days"])
    np.testing.assert_allclose(density, stats.norm.pdf(at, 0, priors.common["Days"].sigma))
    at, density = prior(axes["slope"])
    np.testing.assert_allclose(density, stats.halfnorm.pdf(at, 0, priors.group_sd["Subject"]["Days"].sigma))
    at, density = prior(axes["sigma"])
    np.testing.assert_allclose(density, 2 * stats.t.pdf(at, 4, 0, priors.auxiliary["sigma"].sigma))


def test_the_prior_of_a_correlation_is_that_of_its_own_block(blocks):
    (ax,) = plots.prior_posterior(blocks, variables="corr_g")
    at, density = prior(ax)

    np.testing.assert_allclose(density, stats.beta.pdf((at + 1) / 2, 3.5, 3.5) / 2)  # two of three effects


@pytest.mark.parametrize("eta", [0.7, 2.0])
@pytest.mark.parametrize("priors", [None, {"sd_Subject": HalfNormal(100)}], ids=["swept", "as written"])
def test_prior_draws_have_the_densities_that_are_drawn(priors, eta):
    """With draws of the prior in place of the posterior's, bars and line agree in every panel."""
    frame = DATA.assign(night=np.cos(DATA["Days"]))
    est = fit("Reaction ~ Days*night + (Days + night | Subject)", frame, lkj_eta=eta, priors=priors)
    prior_draws = est.sample_prior(frame.head(1), draws=4000)["prior"]
    values = {name: prior_draws[name].values for name in est._posterior.draws.values}
    est._posterior = replace(est._posterior, draws=replace(est._posterior.draws, values=values))
    axes = plots.prior_posterior(est)

    assert len(axes) == 11
    for ax in axes:
        heights, edges, _ = labelled(ax.patches, "posterior").get_data()
        at, density = prior(ax)
        share = np.cumsum(heights * np.diff(edges))
        share += 1 - share[-1]  # what is below the panel's left end, if anything
        drawn = np.array([np.trapezoid(density[at <= edge], at[at <= edge]) for edge in edges[1:]])
        assert np.abs(share[5:-5] - drawn[5:-5] - np.median(share[5:-5] - drawn[5:-5])).max() < 0.04, ax.get_title()


def test_an_intercept_that_is_stated_at_zero_has_its_own_prior():
    est = fit(priors={"Intercept": Normal(250, 30)})
    at, density = prior(plots.prior_posterior(est)[0])

    np.testing.assert_allclose(density, stats.norm.pdf(at, 250, 30))
    other = copy.deepcopy(est)  # NUTS alone would fit it
    other.priors_ = replace(est.priors_, intercept=HalfNormal(300))
    ax, *_ = plots.prior_posterior(other)
    at, density = prior(ax)
    np.testing.assert_allclose(density, stats.halfnorm.pdf(at, 0, 300))


def test_variables_are_those_of_the_posterior(est):
    names = "'Intercept', 'beta', 'sd_Subject', 'corr_Subject', 'sigma'"
    with pytest.raises(ValueError, match=rf"variables must be a list of some of {names}, got 'b_Subject'"):
        plots.prior_posterior(est, variables="b_Subject")
    with pytest.raises(ValueError, match="variables must be a list"):
        plots.prior_posterior(est, variables=[])


def test_more_than_thirty_parameters_have_to_be_asked_for():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 31))
    est = MixedModelRegressor(draws=50, chains=2, random_state=0).fit(X, rng.normal(size=60))

    with pytest.raises(ValueError, match=r"33 parameters, but more than 30 .* some of 'Intercept', 'beta', 'sigma'"):
        plots.prior_posterior(est)
    assert titles(plots.prior_posterior(est, variables=["sigma"])) == ["sigma"]


# all of them

PICTURES = {
    "group_lattice": (18, lambda est, **options: plots.group_lattice(est, DATA, x="Days", **options)),
    "caterpillar": (2, plots.caterpillar),
    "shrinkage": (1, lambda est, **options: plots.shrinkage(est, DATA, **options)),
    "prior_posterior": (6, plots.prior_posterior),
}


def draw_predictive(est, axes=None):
    return plots.posterior_predictive(est, DATA, ax=axes)


ALL = {name: draw for name, (_, draw) in PICTURES.items()} | {"posterior_predictive": draw_predictive}


@pytest.mark.parametrize("name", PICTURES)
def test_given_axes_of_any_shape_are_used(name, est):
    count, draw = PICTURES[name]
    figure, grid = plt.subplots(2 if count % 2 == 0 else 1, -(-count // 2), squeeze=False)
    before = plt.get_fignums()
    axes = draw(est, axes=grid if count > 1 else grid[0, 0])

    assert isinstance(axes, np.ndarray)
    assert axes.tolist() == grid.ravel().tolist()
    assert plt.get_fignums() == before
    assert figure.legends == []
    assert all(ax.has_data() for ax in axes)
    assert draw(est, axes=list(grid.flat)).tolist() == axes.tolist()
    assert len(axes[0].get_legend_handles_labels()[1]) >= 2


@pytest.mark.parametrize("name", PICTURES)
def test_another_number_of_axes_is_refused(name, est):
    count, draw = PICTURES[name]
    _, grid = plt.subplots(1, count + 1)

    with pytest.raises(ValueError, match=f"expected .*, got {count + 1} of type 'Axes'"):
        draw(est, axes=grid)
    with pytest.raises(ValueError, match="got 1 of type 'dict'"):
        draw(est, axes={"a": grid[0]})
    assert not any(ax.has_data() for ax in grid)


def test_one_axes_is_taken_and_returned(est):
    _, (left, right) = plt.subplots(1, 2)

    assert plots.posterior_predictive(est, DATA, ax=left) is left
    assert not right.has_data()
    with pytest.raises(ValueError, match="expected an Axes, got 2 of type 'Axes'"):
        plots.posterior_predictive(est, DATA, ax=[left, right])


@pytest.mark.parametrize("name", ALL)
def test_a_new_figure_is_drawn_saved_and_closed_with_one_legend(name, est, tmp_path, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("a picture is not shown"))
    before = dict(matplotlib.rcParams), matplotlib.get_backend()
    drawn = np.ravel(ALL[name](est))
    figure = drawn[0].figure
    figure.savefig(tmp_path / "picture.png")

    assert figure.axes == drawn.tolist()
    assert len(figure.legends) == 1
    assert all(ax.get_legend() is None for ax in drawn)
    assert figure.get_layout_engine() is not None
    assert (dict(matplotlib.rcParams), matplotlib.get_backend()) == before
    plt.close(figure)
    assert plt.get_fignums() == []


def test_outer_panels_are_named_and_spare_ones_removed(est):
    axes = plots.group_lattice(est, DATA, x="Days", levels=[308, 309, 310, 330, 331])
    figure = axes[0].figure

    assert len(figure.axes) == 5
    assert [ax.get_xlabel() for ax in axes] == ["", "", "Days", "Days", "Days"]  # the third stands above no panel
    assert [ax.get_ylabel() for ax in axes] == ["Reaction", "", "", "Reaction", ""]
    assert [ax.xaxis.get_tick_params()["labelbottom"] for ax in axes] == [False, False, True, True, True]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "90 % interval, new observation",
        "90 % interval, mean",
        "posterior mean",
        "average Subject",
        "data",
    ]


def test_a_label_above_a_spare_panel_takes_no_room_from_the_others(est):
    gaps = []
    for levels in ([308, 309, 310, 330, 331], [308, 309, 310, 330, 331, 332]):
        axes = plots.group_lattice(est, DATA, x="Days", levels=levels)
        axes[0].figure.draw_without_rendering()
        gaps.append((axes[0].bbox.y0 - axes[3].bbox.y1) / axes[0].figure.dpi)

    assert gaps[0] == pytest.approx(gaps[1], abs=0.02)


def test_the_users_axes_are_all_named(est):
    _, grid = plt.subplots(1, 2)
    axes = plots.group_lattice(est, DATA, x="Days", levels=[308, 309], axes=grid)

    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in axes] == [("Days", "Reaction")] * 2


def test_the_response_is_given_or_taken_from_x(est):
    one_sided = fit_one_sided()
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        plots.posterior_predictive(one_sided, DATA)
    with pytest.raises(ValueError, match="X and y have inconsistent numbers of rows: 180 and 3"):
        plots.posterior_predictive(est, DATA, DATA["Reaction"].head(3))

    ax = plots.posterior_predictive(one_sided, DATA, (DATA["Reaction"] / 1000).rename("seconds"))
    assert ax.get_xlabel() == "seconds"
    np.testing.assert_allclose(line(ax, "observed")[-1], [np.max(ax.get_xlim()), 1])
    assert plots.posterior_predictive(one_sided, DATA, DATA["Reaction"].to_numpy()).get_xlabel() == "y"
    assert plots.posterior_predictive(est, DATA, DATA["Reaction"].to_numpy()).get_xlabel() == "Reaction"
    (given,) = plots.shrinkage(one_sided, DATA, DATA["Reaction"])
    assert len(arrows(given)[0]) == 18


def fit_one_sided():
    return MixedModelRegressor("Days + (Days | Subject)", draws=100, chains=2, random_state=0).fit(
        DATA, DATA["Reaction"]
    )


@pytest.mark.parametrize("name", ALL)
def test_without_matplotlib_the_extra_is_named(name, est, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)

    with pytest.raises(ImportError, match=r'pip install "bayesmixed\[plots\]"'):
        ALL[name](est)


@pytest.mark.parametrize("name", ALL)
def test_an_estimator_that_is_not_fitted_is_refused(name):
    with pytest.raises(NotFittedError):
        ALL[name](MixedModelRegressor(FORMULA))


def test_a_frame_of_another_library_is_drawn(est):
    polars = pytest.importorskip("polars")
    axes = plots.group_lattice(est, polars.DataFrame(DATA.to_dict("list")), x="Days")

    assert titles(axes) == titles(plots.group_lattice(est, DATA, x="Days"))
