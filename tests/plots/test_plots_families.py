"""Pictures of families that are not Gaussian: counts, shares of trials, linear predictors on another scale."""

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest

from bayesmixed import MixedModelClassifier, MixedModelRegressor, plots
from bayesmixed.datasets import load_sleepstudy

matplotlib.use("Agg")  # draw into memory, never open a window
from matplotlib import pyplot as plt

pytestmark = [
    pytest.mark.usefixtures("fake_nuts"),
    pytest.mark.filterwarnings("ignore:Pareto k-hat of the draws of a predicted mean"),
]


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def make_frame(n=90):
    rng = np.random.default_rng(3)
    g, x = np.arange(n) % 6, rng.integers(0, 5, n)
    p = 1 / (1 + np.exp(1 - 0.3 * x - rng.normal(0, 0.5, 6)[g]))
    trials = rng.integers(1, 12, n)
    frame = pd.DataFrame({"x": x, "g": g, "n": trials, "cases": rng.binomial(trials, p)})
    return frame.assign(count=rng.poisson(np.exp(0.4 + 0.1 * x)), size=rng.gamma(3, np.exp(0.2 * x)))


DATA = make_frame()


def fit(left, family, **options):
    """A fit with draws near the data: those made by hand, a quarter as far from zero."""
    est = MixedModelRegressor(f"{left} ~ x + (1 | g)", family=family, sampler="nuts", random_state=0, **options)
    est.set_params(draws=100, chains=2).fit(DATA)
    shrink(est, 0.25)
    return est


def shrink(est, factor):
    """Bring the draws nearer to zero."""
    values = est._posterior.draws.values
    values |= {name: factor * old for name, old in values.items()}


def drawn(artists, label):
    (artist,) = [artist for artist in artists if artist.get_label() == label]
    return artist


def ticks(axis):
    """Those that are seen."""
    low, high = sorted(axis.get_view_interval())
    return [at for at in axis.get_ticklocs() if low <= at <= high]


# rootogram


def bars(ax):
    """Place, lower and upper end of each bar, (n, 3)."""
    (found,) = ax.containers
    assert found.get_label() == "observed, hung from the expected"
    return np.array(
        [[bar.get_x() + bar.get_width() / 2, *sorted([bar.get_y(), bar.get_y() + bar.get_height()])] for bar in found]
    )


@pytest.mark.parametrize(("left", "family"), [("count", "poisson"), ("p(cases, n)", "binomial")])
def test_bars_are_square_roots_of_frequencies_that_hang_from_the_expected(left, family):
    est = fit(left, family)
    observed = DATA["count" if left == "count" else "cases"].to_numpy()
    ax = plots.rootogram(est, DATA, coverage=0.8)
    replicated = est.predict_draws(DATA).values.reshape(200, -1)
    counts, bottom, top = bars(ax).T

    assert counts[0] == 0
    assert np.all(np.diff(counts) == 1)
    assert counts[-1] == max(observed.max(), np.ceil(np.median(replicated.max(axis=1))))
    frequencies = np.array([[np.sum(values == count) for count in counts] for values in replicated])
    np.testing.assert_allclose(top, np.sqrt(frequencies.mean(axis=0)))
    np.testing.assert_allclose(top - bottom, np.sqrt([np.sum(observed == count) for count in counts]))
    np.testing.assert_allclose(drawn(ax.lines, "expected").get_xydata(), np.column_stack([counts, top]))
    band = drawn(ax.patches, "80 % of 200 replications").get_data()
    upper, lower = top - np.sqrt(np.quantile(frequencies, [0.1, 0.9], axis=0))
    np.testing.assert_allclose((band.values, band.baseline), (upper, lower))
    np.testing.assert_allclose(band.edges, [*(counts - 0.5), counts[-1] + 0.5])
    assert ax.get_xlabel() == ("count" if left == "count" else "cases")
    assert ax.get_ylabel() == "square root of the number of rows"


def test_bars_of_a_replication_end_in_the_band_and_others_do_not():
    est = fit("count", "poisson")
    replications = est.predict_draws(DATA, n_draws=20).values.reshape(20, -1)

    def shares_inside(y):
        ax = plots.rootogram(est, DATA, y)
        band = drawn(ax.patches, "90 % of 200 replications").get_data()
        ends = bars(ax)[:, 1]
        plt.close(ax.figure)
        return np.mean((ends >= band.baseline - 1e-9) & (ends <= band.values + 1e-9))

    assert 0.85 < np.mean([shares_inside(values) for values in replications]) < 1
    assert shares_inside(np.where(np.arange(90) < 60, 0, 4)) < 0.6


def test_counts_that_reach_far_share_bars():
    est = fit("count", "poisson")
    y = DATA["count"].to_numpy().copy()
    y[0] = 450
    ax = plots.rootogram(est, DATA, y, n_draws=50)
    places, bottom, top = bars(ax).T

    assert ax.get_xlabel() == "count, 4 counts to a bar"
    assert places[:2].tolist() == [1.5, 5.5]
    assert 100 < len(places) <= 150
    found = [np.sum((y > place - 2) & (y < place + 2)) for place in places]
    np.testing.assert_allclose(np.square(top - bottom), found, atol=1e-9)
    assert sum(found) == len(y)


def test_there_are_a_thousand_replications_or_as_many_as_draws():
    est = fit("count", "poisson")

    assert "90 % of 7 replications" in plots.rootogram(est, DATA, n_draws=7).get_legend_handles_labels()[1]
    est.set_params(draws=600).fit(DATA)
    assert "90 % of 1,000 replications" in plots.rootogram(est, DATA).get_legend_handles_labels()[1]


def test_a_rootogram_is_of_counts():
    est = fit("count", "poisson")
    with pytest.raises(ValueError, match="needs counts, which family='gamma' does not have; use posterior_pred"):
        plots.rootogram(fit("size", "gamma"), DATA)
    with pytest.raises(ValueError, match=r"family='poisson' needs non-negative integers; row 1 of y is 0\.5"):
        plots.rootogram(est, DATA.head(3), [1, 0.5, 2])
    with pytest.raises(ValueError, match="n_draws must be an integer from 1 to 200, got 201"):
        plots.rootogram(est, DATA, n_draws=201)
    with pytest.raises(ValueError, match=r"coverage must be a number in \(0, 1\)"):
        plots.rootogram(est, DATA, coverage=90)
    assert plt.get_fignums() == []


def test_a_rootogram_is_drawn_into_the_axes_that_are_given_or_a_new_figure_with_a_legend():
    est = fit("count", "poisson")
    figure, (left, right) = plt.subplots(1, 2)

    assert plots.rootogram(est, DATA, ax=left) is left
    assert not right.has_data()
    assert figure.legends == []
    (legend,) = plots.rootogram(est, DATA).figure.legends
    expected = ["90 % of 200 replications", "expected", "observed, hung from the expected"]
    assert sorted(text.get_text() for text in legend.get_texts()) == expected


# shares of trials


def test_a_lattice_of_successes_shows_shares():
    est = fit("p(cases, n)", "binomial")
    axes = plots.group_lattice(est, DATA, x="x", coverage=0.8)

    assert axes[0].get_ylabel() == "cases / n"
    for ax in axes:
        mine = DATA[DATA["g"] == int(ax.get_title().removeprefix("g "))].sort_values("x", kind="stable")
        n = mine["n"].to_numpy()
        np.testing.assert_allclose(drawn(ax.lines, "data").get_ydata(), mine["cases"] / n)
        risk = est.predict(mine.assign(n=1))  # the same, whatever the trials
        np.testing.assert_allclose(drawn(ax.lines, "posterior mean").get_ydata(), risk)
        average = est.predict(mine.assign(n=1), include_groups=False)
        np.testing.assert_allclose(drawn(ax.lines, "average g").get_ydata(), average)
        vertices = drawn(ax.collections, "80 % interval, new observation").get_paths()[0].vertices
        np.testing.assert_allclose(
            vertices[1 : len(n) + 1, 1], est.predict_interval(mine, 0.8)[:, 0] / n, rtol=1e-6, atol=1e-12
        )
        assert np.all((np.array(ax.get_ylim()) > -0.2) & (np.array(ax.get_ylim()) < 1.2))
        assert len(ticks(ax.yaxis)) > 2


def test_a_lattice_refuses_a_response_that_the_family_cannot_have():
    est = fit("p(cases, n)", "binomial")

    with pytest.raises(ValueError, match=r"needs non-negative integers; row \d+ of y is 0\.\d+"):
        plots.group_lattice(est, DATA, DATA["cases"] / DATA["n"], x="x")
    with pytest.raises(ValueError, match="at most as many successes as trials; row 0 of y"):
        plots.group_lattice(est, DATA, DATA["n"] + 1, x="x")
    assert plt.get_fignums() == []


# axes


@pytest.mark.parametrize("most", [0, 1, 3, 40])
def test_where_counts_are_drawn_ticks_are_whole(most):
    est = fit("count", "poisson")
    shrink(est, 1e-3)
    est._posterior.draws.values["Intercept"] -= 5 if most < 2 else 0
    y = DATA["count"].clip(upper=1) * most
    axes = [
        plots.rootogram(est, DATA, y).xaxis,
        plots.posterior_predictive(est, DATA, y).xaxis,
        plots.group_lattice(est, DATA, y, x="x")[0].yaxis,
    ]
    _, given = plt.subplots()
    axes.append(plots.group_lattice(est, DATA, y, x="x", levels=[2], axes=given)[0].yaxis)

    for axis in axes:
        assert len(ticks(axis)) > 0
        assert all(at == round(at) for at in ticks(axis))


def test_a_users_scale_keeps_its_ticks():
    est = fit("count", "poisson")
    _, ax = plt.subplots()
    ax.set_yscale("symlog")
    before = ax.yaxis.get_major_locator()
    plots.group_lattice(est, DATA, x="x", levels=[2], axes=ax)

    assert ax.yaxis.get_major_locator() is before


def test_the_lowest_count_has_a_step():
    est = fit("count", "poisson")
    observed = drawn(plots.posterior_predictive(est, DATA).lines, "observed")

    assert observed.get_xdata()[0] < 0
    assert observed.get_ydata()[0] == 0


@pytest.mark.parametrize(
    ("left", "options", "label"),
    [
        ("count", {"family": "poisson"}, "group effect on the log scale"),
        ("p(cases, n)", {"family": "binomial"}, "group effect on the logit scale"),
        ("p(cases, n)", {"family": "binomial", "link": "probit"}, "group effect on the probit scale"),
        ("size", {"family": "lognormal"}, "group effect on the log scale"),
        ("size", {"family": "t"}, "group effect"),
        ("size", {"family": "gaussian"}, "group effect"),
    ],
)
def test_effects_name_the_scale_that_they_are_on(left, options, label):
    assert plots.caterpillar(fit(left, **options))[0].get_xlabel() == label


def test_coefficients_name_the_scale_that_they_are_on():
    frame = load_sleepstudy()
    options = {"family": "lognormal", "draws": 50, "chains": 2, "random_state": 0}
    slopes = MixedModelRegressor("Reaction ~ Days + (Days | Subject)", **options).fit(frame)
    (plane,) = plots.shrinkage(slopes, frame)
    (lines,) = plots.shrinkage(MixedModelRegressor("Reaction ~ Days + (1 | Subject)", **options).fit(frame), frame)

    assert (plane.get_xlabel(), plane.get_ylabel()) == ("Intercept on the log scale", "Days on the log scale")
    assert lines.get_xlabel() == "coefficient on the log scale"


# titles


@pytest.fixture
def long_names():
    rng = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame(
        {name: rng.normal(5, 1, n) for name in ("temperature", "precipitation", "altitude_of_the_site")}
    )
    frame["kind_of_measurement"] = rng.choice(["first", "second", "aVeryLongNameOfALevelWithoutASingleSpaceInIt"], n)
    formula = (
        "y ~ temperature*precipitation + temperature*altitude_of_the_site + temperature*kind_of_measurement + "
        "(temperature | g)"
    )
    return frame.assign(g=np.arange(n) % 8, y=rng.normal(size=n)), formula


@pytest.mark.parametrize("given", [False, True])
def test_titles_do_not_reach_into_the_next_panel(given, long_names):
    frame, formula = long_names
    est = MixedModelRegressor(formula, draws=50, chains=2, random_state=0, sampler="nuts").fit(frame)
    grid = plt.subplots(4, 5, figsize=(13, 12))[1].flat[:14] if given else None
    axes = plots.prior_posterior(est, axes=grid)
    figure = axes[0].figure
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in axes]

    assert len(axes) == 14
    assert any(ax.get_title().count("\n") > 2 for ax in axes)
    for ax, box in zip(axes, boxes, strict=True):
        assert not any(box.overlaps(other) for other in boxes if other is not box), ax.get_title()
        assert box.x0 > 0
        assert box.x1 < figure.bbox.width
    told = " ".join(re.sub(r"\s+", " ", ax.get_title()) for ax in axes)
    assert "beta[temperature] at precipitation = " in told
    assert all(" =\n" not in ax.get_title() and "\n= " not in ax.get_title() for ax in axes)


@pytest.fixture(scope="module")
def classes():
    answers = np.where(DATA["count"] > 1, "many", "few")
    return MixedModelClassifier("x + (1 | g)", draws=100, random_state=0).fit(DATA, answers), answers


def test_a_lattice_of_two_classes_shows_the_probability_of_the_second(classes):
    est, answers = classes
    axes = plots.group_lattice(est, DATA, answers, x="x")

    ax = axes[0]
    level = int(ax.get_title().split()[1])
    mine = DATA[DATA["g"] == level].sort_values("x", kind="stable")
    line = drawn(ax.lines, "posterior mean")
    np.testing.assert_allclose(line.get_ydata(), est.predict_proba(mine)[:, 1])
    assert set(drawn(ax.lines, "data").get_ydata()) == {0.0, 1.0}
    assert [band.get_label() for band in ax.collections] == ["90 % interval, mean"]
    assert ax.get_ylabel() == "P(y = many)"


def test_axes_of_classes_bear_their_names(classes):
    est, answers = classes
    for ax in (plots.posterior_predictive(est, DATA, answers, n_draws=20), plots.rootogram(est, DATA, answers)):
        assert [text.get_text() for text in ax.get_xticklabels()] == ["few", "many"]


def test_least_squares_have_no_place_among_classes(classes):
    with pytest.raises(ValueError, match="not possible on the logit scale of family='bernoulli'"):
        plots.shrinkage(classes[0], DATA, classes[1])
