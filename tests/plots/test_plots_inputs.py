"""Pictures of unusual input: dollars in names, weights, axes that share nothing, rows that cannot be drawn."""

import matplotlib
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from bayesmixed import MixedModelRegressor, plots
from bayesmixed.datasets import load_sleepstudy

matplotlib.use("Agg")  # draw into memory, never open a window
from matplotlib import pyplot as plt

DATA = load_sleepstudy()
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


def fit(formula=FORMULA, frame=DATA, **options):
    return MixedModelRegressor(formula, random_state=0).fit(frame, **options)


@pytest.fixture(scope="module")
def est():
    return fit()


def drawn_texts(figure):
    """All texts of a figure, as they stand on the canvas."""
    figure.canvas.draw()
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert not any(text.get_text().replace(r"\$", "").count("$") for text in texts), "nothing is a formula"
    return [text.get_text().replace(r"\$", "$") for text in texts]


def test_a_dollar_is_a_dollar():
    """matplotlib would set what stands between two of them as a formula, or fail at it."""
    frame = DATA.assign(income=np.array(["$10-$20", "$10_$", "$$", "$1^$2"])[DATA["Subject"] % 4])
    frame = frame.rename(columns={"Days": "$Days$"})
    model = fit("Reaction ~ `$Days$` + (`$Days$` | income)", frame)

    names = {f"income {level}" for level in frame["income"].unique()}
    assert names <= set(drawn_texts(plots.group_lattice(model, frame, x="$Days$")[0].figure))
    assert set(frame["income"]) <= set(drawn_texts(plots.caterpillar(model)[0].figure))
    assert {"$Days$", *frame["income"]} <= set(drawn_texts(plots.shrinkage(model, frame)[0].figure))
    assert "beta[$Days$]" in drawn_texts(plots.prior_posterior(model)[0].figure)


def test_no_pooling_is_weighted_as_the_fit_is():
    """Rows of large weight leave the priors nothing to say: nothing is shrunk."""
    weights = np.where(DATA["Days"] < 5, 1000, 1)
    weights[::10] = 0
    model = fit("Reaction ~ Days + (1 | Subject)", sample_weight=weights)
    (ax,) = plots.shrinkage(model, DATA, sample_weight=weights)
    own, pooled = (line.get_xdata() for line in ax.lines[:2])
    rows = DATA.assign(w=weights, rest=DATA["Reaction"] - model.coef_[0] * DATA["Days"])
    by_hand = rows.groupby("Subject")[["w", "rest"]].apply(lambda mine: np.average(mine["rest"], weights=mine["w"]))

    np.testing.assert_allclose(np.sort(own), np.sort(by_hand), rtol=1e-9)
    np.testing.assert_allclose(own, pooled, atol=0.1)
    with pytest.raises(ValueError, match=r"the rows of the fit had weights, .* pass sample_weight"):
        plots.shrinkage(model, DATA)


def test_panels_of_given_axes_have_one_scale(est):
    _, axes = plt.subplots(2, 1)
    plots.group_lattice(est, DATA, x="Days", levels=[335, 308], axes=axes)

    assert axes[0].get_ylim() == axes[1].get_ylim()
    for ax in axes:
        low, high = ax.get_ylim()
        assert low < DATA["Reaction"][DATA["Subject"].isin([335, 308])].min()
        assert high > DATA["Reaction"][DATA["Subject"].isin([335, 308])].max()


@pytest.mark.parametrize("column", [DATA["Days"].astype(object), DATA["Days"].astype("int64[pyarrow]")])
def test_x_may_be_any_column_that_the_formula_takes_for_numbers(column, est):
    frame = DATA.assign(Days=column)

    np.testing.assert_array_equal(plots.group_lattice(est, frame, x="Days")[0].lines[-1].get_xdata(), range(10))


DRAW = {
    "lattice": lambda est, X: plots.group_lattice(est, X, x="Days"),
    "shrinkage": plots.shrinkage,
    "predictive": plots.posterior_predictive,
}


@pytest.mark.parametrize("picture", DRAW)
def test_no_rows_cannot_be_drawn(picture, est):
    with pytest.raises(ValueError, match="X has no rows to draw"):
        DRAW[picture](est, DATA.head(0))
    assert plt.get_fignums() == []


def test_rows_without_replications_are_counted(est):
    model = MixedModelRegressor(FORMULA, new_groups="nan", random_state=0).fit(DATA)

    with pytest.raises(ValueError, match="10 rows of X have no replications"):
        plots.posterior_predictive(model, DATA.replace({"Subject": {308: 999}}))
    assert plt.get_fignums() == []


def test_variables_that_are_no_list_are_refused(est):
    with pytest.raises(ValueError, match="variables must be a list of some of"):
        plots.prior_posterior(est, variables=3)


@pytest.mark.parametrize("draw", [plots.caterpillar, plots.prior_posterior, lambda pipe: plots.shrinkage(pipe, DATA)])
def test_of_a_pipeline_the_last_step_is_asked_for(draw):
    pipe = make_pipeline(FunctionTransformer(), MixedModelRegressor(FORMULA, random_state=0)).fit(DATA)

    with pytest.raises(TypeError, match=r"got a Pipeline; for a pipeline, pass pipe\[-1\]"):
        draw(pipe)
    assert len(plots.caterpillar(pipe[-1])) == 2
