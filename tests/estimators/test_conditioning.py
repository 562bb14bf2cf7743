"""Learning from further rows: weights and effects against the dense model of all rows, results against new fits."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import bayesmixed as bm
from bayesmixed import MixedModelRegressor, StudentT
from bayesmixed._compat import dataset
from bayesmixed.chunks import allow
from bayesmixed.design.spec import DesignSpec
from bayesmixed.design.summed.checksum import checksum
from bayesmixed.errors import FormulaError, NewGroupError, SamplerError
from bayesmixed.estimators.inputs import Rows
from bayesmixed.formula.parse import parse
from bayesmixed.gaussian.crossed import Crossed
from bayesmixed.gaussian.nested import Nested
from bayesmixed.posterior.diagnostics import convergence, pareto_k
from bayesmixed.sampling import report
from bayesmixed.sampling.collapsed import state as module
from bayesmixed.sampling.collapsed.assembly import assemble
from bayesmixed.sampling.collapsed.state import State
from bayesmixed.sampling.resampling import resample
from helpers.collapsed_twins import dense_log_likelihood, dense_posterior, make_frame, on_user_scale

FRAME = make_frame()
Y = np.random.default_rng(3).normal(5, 2, 40) + 1.5 * (FRAME["pupil"].to_numpy() % 3)
SHORT = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the chains are short
FAR = pytest.mark.filterwarnings("ignore:(?s).*far outside the data:UserWarning")
WEIGHTED = "condition: the draws were weighted by the new rows"
ANEW = "condition: sampled anew, as "


def fit(formula, frame=FRAME, y=Y, weights=None, seed=0, **options):
    return MixedModelRegressor(formula, random_state=seed, **options).fit(frame, y, weights)


def further(n=6, seed=11, **columns):
    """Rows like the fitted ones, with some columns replaced, and responses like theirs."""
    frame = make_frame(seed=seed)[:n].assign(**columns)
    return frame, np.random.default_rng(seed).normal(6, 2, n)


def values_of(est):
    return est._posterior.draws.values


def means_of(est):
    return est._posterior.draws.means


def state_of(est):
    return est._posterior.draws.state


def design_of(est, frame, y, weights=None):
    return replace(est.design_spec_.apply(frame), y=np.asarray(y, dtype=float), weights=weights)


def both(frame, new):
    return pd.concat([frame, new], ignore_index=True)


# ---- weights and effects at a fixed point, against the dense model of all rows

NEW = [50, 51, 50, 51, 50, 50]
CASES = {
    "a new group": ("x + (x | pupil)", {"pupil": NEW}),
    "known groups": ("x + (z | pupil)", {"pupil": [3, 3, 3, 5, 0, 3]}),
    "known and new groups": ("x + (z || pupil)", {"pupil": [3, 50, 3, 51, 0, 50]}),
    "a new level of one crossed factor": ("x + (1 | pupil) + (1 | item)", {"pupil": 3, "item": [7, 8, 7, 1, 2, 0]}),
    "crossed slopes": ("x + (x | pupil) + (z | item)", {"pupil": NEW, "item": [0, 1, 9, 2, 3, 9]}),
    "three crossed": ("(1 | pupil) + (1 | item) + (1 | task)", {"pupil": NEW, "item": 20, "task": 4}),
    "a new child of a known parent": ("x + (1 | school/pupil)", {"school": 1, "pupil": NEW}),
    "children of a new parent": ("x + (1 | school/pupil)", {"school": 9, "pupil": [1, 2, 1, 2, 3, 3]}),
    "a child of two parents": ("x + (1 | school) + (1 | pupil)", {"pupil": 3, "school": [0, 1, 0, 2, 3, 3]}),
    "categories": ("k*x + (1 | pupil)", {"pupil": NEW, "k": list("aacabb")}),
    "no common effect": ("0 + (x | pupil)", {"pupil": NEW}),
    "offset": ("x + offset(z) + (1 | pupil)", {"pupil": NEW}),
    "far slope": ("x + (year | pupil)", {"pupil": NEW}),
    "learned transformations": ("scale(x) + poly(z, 2) + (center(dose) | pupil)", {"pupil": NEW}),
    "one row": ("x + (1 | pupil)", {"n": 1, "pupil": 50}),
}
WEIGHTS = np.random.default_rng(0).integers(1, 4, 40).astype(float)


@pytest.fixture
def seen(monkeypatch):
    """The log weights that each call of `condition` resamples by."""
    calls = []

    def record(log_weights, u):
        calls.append(log_weights)
        return resample(log_weights, u)

    monkeypatch.setattr(module, "resample", record)
    return calls


def conditioned(case, **options):
    """A short fit, the fit conditioned on the case's rows, and the dense design of all rows."""
    formula, columns = CASES[case]
    weights = options.get("weights")
    est = fit(formula, draws=30, chains=2, **options)
    new, y = further(**columns)
    updated = est.condition(new, y)
    all_weights = None if weights is None else np.append(weights, np.ones(len(new)))
    return est, updated, design_of(updated, both(FRAME, new), np.append(Y, y), all_weights)


def old_rows(design):
    """The first 40 rows, those of the fit, with the levels that these have."""
    groups = []
    for factor in design.groups:
        codes = factor.codes[:40]
        groups.append(replace(factor, codes=codes, Z=factor.Z[:40], levels=factor.levels[: codes.max() + 1]))
    arrays = {name: getattr(design, name) for name in ("X", "offset", "y", "weights")}
    return replace(design, groups=tuple(groups), **{name: a if a is None else a[:40] for name, a in arrays.items()})


def users_points(state, at):
    return [on_user_scale(state.density, state.theta[:, i], state.s[i]) for i in at]


@pytest.mark.numerical
@SHORT
@FAR
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["rows", "weights"])
@pytest.mark.parametrize("case", CASES)
def test_a_draws_weight_is_the_density_of_the_new_rows_given_the_old(case, weights, seen):
    """log p(y_old, y_new | theta, sigma) - log p(y_old | theta, sigma), all effects integrated out by the twin.

    Ours are in units of the response's scale, a constant per row.
    """
    est, _, design = conditioned(case, weights=weights)
    (log_weights,) = seen
    state, before = state_of(est), old_rows(design)
    at = np.unique(state.which)[:: max(1, len(state.s) // 6)]
    ours = [log_weights[state.which == i][0] for i in at]
    dense = [
        dense_log_likelihood(design, est.priors_, *user) - dense_log_likelihood(before, est.priors_, *user)
        for user in users_points(state, at)
    ]

    unit = (design.n_rows - 40) * np.log(state.density.units.scaling.y_scale)
    np.testing.assert_allclose(ours, np.array(dense) + unit, rtol=0, atol=1e-6)
    assert np.ptp(dense) > 0.02


@SHORT
@FAR
@pytest.mark.parametrize("case", CASES)
def test_exact_means_are_those_of_the_dense_posterior_of_all_rows(case):
    """Averaged over the covariances and sigmas that the draws are at."""
    _, updated, design = conditioned(case)
    state, draws = state_of(updated), updated._posterior.draws
    dense = [dense_posterior(design, updated.priors_, *user) for user in users_points(state, range(len(state.s)))]
    share = np.bincount(state.which.ravel()) / state.which.size
    expected = share @ np.array([mean for mean, _ in dense])
    ours = [np.atleast_1d(draws.mean("Intercept"))] if design.has_intercept else []
    ours += [draws.mean("beta")] if design.common_names else []
    ours += [draws.mean(f"b_{factor.name}").ravel() for factor in design.groups]
    spread = np.sqrt(share @ np.array([np.diag(covariance) for _, covariance in dense]))

    assert np.abs((np.concatenate(ours) - expected) / spread).max() < 1e-6


@FAR
@SHORT
@pytest.mark.parametrize(
    "case", ["a new group", "crossed slopes", "a new child of a known parent", "a child of two parents", "far slope"]
)
def test_effects_have_the_moments_of_the_dense_posterior_of_all_rows(case):
    """8000 draws at one point; whitened they are standard normal, within five standard errors."""
    _, updated, design = conditioned(case)
    state, S = state_of(updated), 8000
    alone = State(state.density, state.theta[:, :1], state.s[:1], state.log_joint[:1], np.zeros((4, S // 4), dtype=int))
    made = assemble(updated.design_spec_, alone, 5, np.ones((4, S // 4)), {})
    drawn = [made.flat("Intercept")[:, None], *([made.flat("beta")] if design.common_names else [])]
    drawn = np.hstack([*drawn, *(made.flat(f"b_{factor.name}").reshape(S, -1) for factor in design.groups)]).T
    mean, covariance = dense_posterior(design, updated.priors_, *users_points(state, [0])[0])
    size = np.sqrt(np.diag(covariance))
    root = np.linalg.cholesky(covariance / np.outer(size, size))
    white = np.linalg.solve(root, (drawn - mean[:, None]) / size[:, None])
    error = np.where(np.eye(len(mean)), np.sqrt(2 / S), np.sqrt(1 / S))

    assert np.abs(white.mean(axis=1)).max() < 5 / np.sqrt(S)
    assert np.abs((white @ white.T / S - np.eye(len(mean))) / error).max() < 5


@SHORT
def test_a_child_of_two_parents_is_no_longer_nested():
    est, updated, _ = conditioned("a child of two parents")

    assert isinstance(state_of(est).density.elimination, Nested)
    assert isinstance(state_of(updated).density.elimination, Crossed)


# ---- against fits to all rows


def simulated(kind, seed=0):
    """Data of 12 groups with slopes, of plates by samples, or of casks in batches; and a formula."""
    rng = np.random.default_rng(seed)
    if kind == "groups":
        g, x = np.repeat(np.arange(12), 6), rng.normal(size=72)
        b = rng.normal(size=(12, 2)) * [2.0, 0.7]
        y = 3 + x + b[g, 0] + b[g, 1] * x + rng.normal(size=72)
        return "x + (x | g)", pd.DataFrame({"x": x, "g": g}), y
    if kind == "crossed":
        plate, sample = (index.ravel() for index in np.indices((14, 6)))
        y = 20 + rng.normal(size=14)[plate] + 2 * rng.normal(size=6)[sample] + 0.6 * rng.normal(size=84)
        return "1 + (1 | plate) + (1 | sample)", pd.DataFrame({"plate": plate, "sample": sample}), y
    if kind == "nested":
        batch, cask = np.repeat(np.arange(10), 6), np.tile(np.repeat(np.arange(3), 2), 10)
        y = 60 + rng.normal(size=10)[batch] + 2 * rng.normal(size=30)[3 * batch + cask] + rng.normal(size=60)
        return "1 + (1 | batch/cask)", pd.DataFrame({"batch": batch, "cask": cask}), y
    frame = pd.DataFrame(rng.normal(size=(30, 3)), columns=list("abc"))
    return "a + b*c", frame, 2 + frame["a"].to_numpy() + rng.normal(size=30)


SPLITS = {
    "a new group": ("groups", lambda frame: frame["g"] == 11),
    "further rows of known groups": ("groups", lambda frame: np.arange(72) % 6 == 5),
    "a new plate": ("crossed", lambda frame: frame["plate"] == 13),
    "a new sample": ("crossed", lambda frame: (frame["sample"] == 5) & (frame["plate"] < 8)),
    "cells of known plates": ("crossed", lambda frame: (frame["plate"] + frame["sample"]) % 7 == 0),
    "a new batch": ("nested", lambda frame: frame["batch"] == 9),
    "new casks of known batches": ("nested", lambda frame: (frame["cask"] == 2) & (frame["batch"] > 6)),
    "no groups": ("regression", lambda frame: np.arange(30) > 20),
}


def disagreement(est, other):
    """Largest difference of two fits' means, in standard errors, over all parameters; by the labels of the other."""
    posterior, others = dataset(est.idata_, "posterior"), dataset(other.idata_, "posterior")
    worst = 0.0
    assert list(posterior) == list(others)
    for name in posterior:
        b = others[name].drop_vars(["chain", "draw"])
        a, b = posterior[name].sel(b.coords).values, b.values
        variances = [v.var(axis=(0, 1)) / convergence(v).ess_bulk for v in (a, b)]
        z = (a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / np.sqrt(sum(variances))
        worst = max(worst, float(np.abs(z).max()))
    return worst


@pytest.mark.parametrize("case", SPLITS)
def test_condition_agrees_with_a_fit_to_all_rows_under_the_same_priors(case):
    """Of up to 90 parameters, one beyond 4.5 standard errors would be a chance of 1 in 1600."""
    kind, is_new = SPLITS[case]
    formula, frame, y = simulated(kind)
    new = np.asarray(is_new(frame))
    est = fit(formula, frame[~new], y[~new])
    updated = est.condition(frame[new], y[new])
    refit = fit(formula, frame, y, priors=est.priors_, seed=1)

    assert dataset(updated.idata_, "posterior").sizes == dataset(refit.idata_, "posterior").sizes
    assert disagreement(updated, refit) < 4.5
    assert disagreement(updated, est) > 6, "the new rows tell something"
    assert updated.diagnostics_["max_r_hat"] <= 1.01
    assert min(updated.diagnostics_["min_ess_bulk"], updated.diagnostics_["min_ess_tail"]) >= 400


def test_a_regression_has_the_draws_of_a_fit_to_all_rows():
    """The same seed gives the same numbers: sigma inverts its distribution function, effects are whitened by priors."""
    formula, frame, y = simulated("regression")
    est = fit(formula, frame[:21], y[:21])
    updated, refit = est.condition(frame[21:], y[21:]), fit(formula, frame, y, priors=est.priors_)

    for name, values in values_of(refit).items():
        np.testing.assert_allclose(values_of(updated)[name], values, rtol=1e-5, atol=1e-5 * np.abs(values).mean())
    for name, mean in means_of(refit).items():
        np.testing.assert_allclose(means_of(updated)[name], mean, rtol=1e-5, atol=1e-6)
    assert updated.diagnostics_["reason"] == "condition: independent draws given all rows"
    assert np.abs(values_of(updated)["sigma"] / values_of(est)["sigma"] - 1).mean() > 0.02


@pytest.mark.parametrize("columns", [3, 14])
def test_a_regression_on_an_array_learns_from_any_number_of_rows(columns):
    """Fewer rows than columns before, then one row at a time."""
    X = FRAME[[f"c{i}" for i in range(columns)]].to_numpy()
    est = fit(None, X[:9], Y[:9])
    one_by_one = est
    for i in range(9, 20):
        one_by_one = one_by_one.condition(X[i : i + 1], Y[i : i + 1])
    refit = fit(None, X[:20], Y[:20], priors=est.priors_)

    for name, values in values_of(refit).items():
        np.testing.assert_allclose(
            values_of(one_by_one)[name], values, rtol=1e-5, atol=1e-5 * np.abs(values).mean(), err_msg=name
        )


def test_the_weights_of_the_fit_stay():
    """A row of weight 3 in the fit counts three times, one of weight 0 not at all."""
    formula, frame, y = simulated("groups")
    weights = np.arange(66) % 4 * 1.0
    est = fit(formula, frame[:66], y[:66], weights)
    refit = fit(formula, frame, y, np.append(weights, np.ones(6)), priors=est.priors_, seed=1)

    assert disagreement(est.condition(frame[66:], y[66:]), refit) < 4.5


@pytest.mark.parametrize("case", ["a new group", "cells of known plates", "new casks of known batches"])
def test_two_steps_are_one(case):
    kind, is_new = SPLITS[case]
    formula, frame, y = simulated(kind)
    new = np.flatnonzero(is_new(frame))
    old = np.setdiff1d(np.arange(len(frame)), new)
    est = fit(formula, frame.iloc[old], y[old])
    first, second = np.array_split(new, 2)
    steps = est.condition(frame.iloc[first], y[first]).condition(frame.iloc[second], y[second])
    at_once = est.condition(frame.iloc[new], y[new])

    assert disagreement(steps, at_once) < 4.5
    assert steps._rows.checksum == at_once._rows.checksum
    same_statistics(state_of(steps).density.statistics, state_of(at_once).density.statistics)


def same_statistics(a, b):
    assert a.n == b.n
    for ours, theirs in [(a.VV, b.VV), *zip(a.S, b.S, strict=True), *zip(a.T, b.T, strict=True)]:
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    for key, pairs in a.pairs.items():
        np.testing.assert_array_equal(pairs.first, b.pairs[key].first)
        np.testing.assert_array_equal(pairs.second, b.pairs[key].second)
        np.testing.assert_allclose(pairs.products, b.pairs[key].products, rtol=1e-9, atol=1e-9)


def test_two_steps_of_a_regression_are_one_but_for_rounding():
    formula, frame, y = simulated("regression")
    est = fit(formula, frame[:15], y[:15])
    steps = est.condition(frame[15:17], y[15:17]).condition(frame[17:], y[17:])
    at_once = est.condition(frame[15:], y[15:])

    for name, values in values_of(at_once).items():
        np.testing.assert_allclose(values_of(steps)[name], values, rtol=1e-8, atol=1e-10)


# ---- the old estimator, and the new one


@pytest.fixture(scope="module")
def pair():
    """A fit to pupils of schools, and the same conditioned on a new pupil of a known school and a new school."""
    est = fit("x + (1 | school/pupil)", FRAME.set_axis(np.arange(100, 140)))
    new, y = further(school=[1, 1, 1, 7, 7, 7], pupil=[50, 50, 1, 1, 2, 1])
    before = pickle.dumps(est)
    return est, est.condition(new, y), new, y, before


def test_the_old_estimator_is_left_alone(pair):
    est, _, new, _, before = pair
    then = pickle.loads(before)

    assert est.diagnostics_ == then.diagnostics_
    assert est.design_spec_.state == then.design_spec_.state
    assert est._rows.checksum == then._rows.checksum
    assert list(values_of(est)) == list(values_of(then))
    for name, values in values_of(then).items():
        np.testing.assert_array_equal(values_of(est)[name], values)
    for frame in (FRAME, new):
        np.testing.assert_array_equal(est.predict(frame, return_std=True), then.predict(frame, return_std=True))
        assert est.predict_draws(frame).identical(then.predict_draws(frame))
    assert dataset(est.idata_, "observed_data").sizes["obs"] == 40


def test_the_new_estimator_has_all_that_a_fitted_one_has(pair):
    est, updated, *_ = pair

    assert type(updated) is MixedModelRegressor
    assert set(vars(updated)) == set(vars(est))
    assert updated.get_params() == est.get_params()
    assert updated.priors_ == est.priors_
    assert updated.n_features_in_ == est.n_features_in_
    assert updated.feature_names_in_.tolist() == est.feature_names_in_.tolist()
    assert updated.coef_.shape == est.coef_.shape
    assert updated.coef_[0] != est.coef_[0]
    assert updated.intercept_ == pytest.approx(float(updated._posterior.draws.mean("Intercept")))
    assert {"k_hat", "acceptance", "seconds", "evaluations", "max_r_hat", "min_ess_bulk", "divergences"} < set(
        updated.diagnostics_
    )
    assert updated.diagnostics_["reason"] == WEIGHTED
    assert updated.diagnostics_["sampler"] == "collapsed"
    assert set(updated.diagnostics_["seconds"]) == {"statistics", "weights", "effects"}


def test_the_new_estimator_pickles_clones_and_scores(pair):
    _, updated, new, y, _ = pair
    copy = pickle.loads(pickle.dumps(updated))

    np.testing.assert_array_equal(copy.predict(new, return_std=True), updated.predict(new, return_std=True))
    assert copy.condition(new[:2], y[:2]).diagnostics_["reason"] == WEIGHTED
    assert updated.score(both(FRAME, new), np.append(Y, y)) > 0
    fresh = clone(updated)
    assert fresh.get_params() == updated.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        fresh.predict(new)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        fresh.condition(new, y)


def test_levels_keep_their_codes_and_new_ones_stand_behind(pair):
    est, updated, *_ = pair
    for old, now in zip(est.design_spec_.groups, updated.design_spec_.groups, strict=True):
        assert now.levels[: len(old.levels)].tolist() == old.levels.tolist()
    school, pupil = updated.design_spec_.groups

    assert school.levels.tolist() == [0, 1, 2, 3, 7]
    assert pupil.levels[-3:].tolist() == ["1:50", "7:1", "7:2"]
    assert len(pupil.levels) == len(est.design_spec_.groups[1].levels) + 3


def test_the_posterior_is_labelled_with_the_new_levels_and_rows(pair):
    est, updated, new, y, _ = pair
    posterior, observed = (dataset(updated.idata_, group) for group in ("posterior", "observed_data"))
    for group in updated.design_spec_.groups:
        assert posterior[group.name].values.tolist() == group.levels.tolist()
        assert posterior[f"b_{group.name}"].sizes[group.name] == len(group.levels)

    np.testing.assert_array_equal(observed["y"], np.append(Y, y))
    assert observed["obs"].values.tolist() == [*range(100, 140), *new.index]
    assert posterior.sizes["draw"] == dataset(est.idata_, "posterior").sizes["draw"]
    effects = updated.draw_group_effects("school:pupil", ["1:50", "7:2"])
    assert effects.identical(posterior["b_school:pupil"].sel({"school:pupil": ["1:50", "7:2"]}))


def test_statistics_of_a_resampled_draw_are_its_own(seen):
    """The acceptance is that of its old place in the chain, lp its density given all rows."""
    est = fit("x + (1 | pupil)", draws=500)
    updated = est.condition(*further(pupil=NEW))
    (log_weights,) = seen
    before, after = (dataset(e.idata_, "sample_stats") for e in (est, updated))
    sd, sd_after = (values_of(e)["sd_pupil"][..., 0] for e in (est, updated))
    for chain in range(4):
        for draw in range(0, 500, 25):
            old = np.flatnonzero(sd[chain] == sd_after[chain, draw])
            lp = before["lp"].values[chain, old] + log_weights[chain, old]
            np.testing.assert_allclose(lp, after["lp"].values[chain, draw], rtol=1e-12)
            assert after["acceptance_rate"].values[chain, draw] in before["acceptance_rate"].values[chain, old]

    assert not after["diverging"].any()
    assert updated.diagnostics_["acceptance"] == est.diagnostics_["acceptance"]
    assert updated.diagnostics_["k_hat"] == pareto_k(log_weights.ravel()) < 0.7


def test_new_groups_are_known_afterwards():
    est = fit("x + (1 | pupil)")
    new, _ = further(pupil=50)
    y = np.full(6, 15.0) + np.arange(6) % 2
    updated = est.condition(new, y)
    (before, spread), (after, sure) = (e.predict(new, return_std=True) for e in (est, updated))

    np.testing.assert_array_equal(before, est.predict(new, include_groups=False))
    assert (np.abs(after - y) < np.abs(before - y)).all()
    assert (sure < spread).all()
    assert np.abs(after - updated.predict(new, include_groups=False)).min() > 1
    with pytest.raises(NewGroupError, match="1 level not seen in fit: 50"):
        est.predict(new, new_groups="error")
    np.testing.assert_array_equal(updated.predict(new, new_groups="error"), after)
    with pytest.raises(NewGroupError, match="1 level not seen in fit: 51"):
        updated.predict(new.assign(pupil=51), new_groups="error")


def test_shares_of_variance_are_those_of_all_rows():
    """The averages of z z' over rows add up."""
    formula, frame, y = simulated("groups")
    est = fit(formula, frame[:66], y[:66])
    updated, refit = est.condition(frame[66:], y[66:]), fit(formula, frame, y, priors=est.priors_)

    assert updated._rows.weight == 72
    np.testing.assert_allclose(updated._rows.squares["g"], refit._rows.squares["g"])
    table = updated.variance_components()
    np.testing.assert_allclose(table["share"].sum(), 1)


def test_same_rows_same_draws_and_other_rows_other_draws():
    est = fit("x + (1 | pupil)")
    new, y = further(pupil=50)
    one, again, other = est.condition(new, y), est.condition(new, y), est.condition(new, y + 1)

    for name, values in values_of(one).items():
        np.testing.assert_array_equal(values_of(again)[name], values)
        assert not np.array_equal(values_of(other)[name], values)


def test_the_order_of_the_new_rows_does_not_matter():
    est = fit("x + (1 | pupil) + (1 | item)")
    new, y = further(pupil=[50, 51, 3, 50, 51, 3], item=1)
    order = np.array([3, 1, 5, 0, 4, 2])  # the new pupils appear in the same order
    one, other = est.condition(new, y), est.condition(new.iloc[order], y[order])

    for name, values in values_of(one).items():
        np.testing.assert_allclose(values_of(other)[name], values, rtol=1e-7, atol=1e-9)
    assert one._rows.checksum == other._rows.checksum


def test_a_two_sided_formula_brings_its_response():
    est = fit("y ~ x + (1 | pupil)", FRAME.assign(y=Y), None)
    new, y = further(pupil=50)
    read, given = est.condition(new.assign(y=y)), est.condition(new.assign(y=0.0), y)

    np.testing.assert_array_equal(values_of(read)["sigma"], values_of(given)["sigma"])
    with pytest.raises(FormulaError, match="the formula's response 'y' is not a column of X; pass y"):
        est.condition(new)


@pytest.mark.parametrize("n", [1, 6])
def test_one_row_and_a_constant_response_are_enough(n):
    """Unlike in fit: the old rows have scatter."""
    est = fit("x + (1 | pupil)")
    new, _ = further(n, pupil=50)
    updated = est.condition(new, np.full(n, 6.0))

    assert updated._rows.y.tolist() == [*Y, *[6.0] * n]
    assert updated.diagnostics_["reason"] == WEIGHTED


@pytest.mark.parametrize(
    ("labels", "new", "texts"),
    [
        (["a", "b", "c", "d"], "a longer one", ["a", "b", "c", "d", "a longer one"]),
        ([1.0, 2.0, 3.0, 4.0], 9, [1.0, 2.0, 3.0, 4.0, 9.0]),
        ([1, 2, 3, 4], 9.0, [1, 2, 3, 4, 9]),
        (pd.Categorical([4, 1, 2, 3], [4, 3, 2, 1]), 9, [4, 3, 2, 1, 9]),
        (
            pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]),
            pd.Timestamp("2023-05-05"),
            [*pd.date_range("2024-01-01", periods=4).as_unit("ns").asi8, pd.Timestamp("2023-05-05").value],
        ),
    ],
    ids=["text", "float", "int", "categorical", "date"],
)
def test_new_labels_of_every_type_become_levels(labels, new, texts):
    frame = pd.DataFrame({"x": FRAME["x"], "g": np.asarray(labels)[np.arange(40) % 4]})
    if isinstance(labels, pd.Categorical):
        frame["g"] = pd.Categorical(frame["g"], labels.categories)
    est = fit("x + (1 | g)", frame)
    updated = est.condition(pd.DataFrame({"x": [0.0, 1.0], "g": [new, new]}), [5.0, 6.0])
    levels = updated.design_spec_.groups[0].levels

    assert levels.tolist() == texts
    assert levels.dtype.kind == est.design_spec_.groups[0].levels.dtype.kind
    assert DesignSpec.from_state(updated.design_spec_.state).groups[0].levels.tolist() == texts
    assert dataset(updated.idata_, "posterior")["g"].values.tolist() == texts
    np.testing.assert_array_equal(updated.draw_group_effects("g", [new]), values_of(updated)["b_g"][:, :, -1:])


# ---- what is refused


@pytest.fixture(scope="module")
def est():
    return fit("x + k + (1 | pupil)")


REFUSED = {
    "text for a number": (
        {"pupil": ["3", "4", "5"]},
        None,
        r"'pupil' had int labels in fit \(such as 0\).*'3', '4', '5'",
    ),
    "a new label of another type": ({"pupil": pd.Series([3, "x", 4], dtype=object)}, None, "new levels include 'x'"),
    "booleans": ({"pupil": [True, False, True]}, None, "new levels include True, False; convert the column"),
    "fractions": ({"pupil": [3.0, 3.5, 4.0]}, None, "new levels include 3.5; convert the column"),
    "missing labels": (
        {"pupil": [np.nan, 3, np.nan]},
        None,
        r"grouping factor 'pupil': column 'pupil' has 2 missing labels \(NaN\) in 3 rows",
    ),
    "a missing value": ({"x": [1.0, np.nan, 2.0]}, None, r"column 'x' has 1 missing values \(NaN\) in 3 rows"),
    "an infinite value": ({"x": [1.0, np.inf, 2.0]}, None, r"column 'x' has 1 infinite values"),
    "an unknown category": ({"k": ["a", "zz", "b"]}, None, "'k' has levels not seen in fit: 'zz'"),
    "a missing response": ({}, [1.0, np.nan, np.nan], "y contains NaN or infinity in 2 of 3 rows"),
    "an infinite response": ({}, [1.0, np.inf, 2.0], "y contains NaN or infinity in 1 of 3 rows"),
    "a response of text": ({}, ["1", "2", "3"], "y must be numeric"),
    "too few responses": ({}, [1.0, 2.0], "inconsistent numbers of rows: 3 and 2"),
    "two columns": ({}, np.ones((3, 2)), "y should be a 1d array"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_cannot_be_learned_from_are_refused(case, est):
    columns, y, message = REFUSED[case]
    new, good = further(3)

    with pytest.raises(ValueError, match=message):
        est.condition(new.assign(**columns), good if y is None else y)


def test_text_is_not_a_number_in_the_other_direction_either():
    est = fit("x + (1 | g)", FRAME.assign(g=FRAME["pupil"].astype(str)))

    with pytest.raises(ValueError, match=r"'g' had str labels in fit \(such as '0'\).*new levels include 3"):
        est.condition(FRAME[:2].assign(g=3), Y[:2])


def test_the_type_of_a_part_of_an_interaction_is_checked():
    est = fit("x + (1 | school:pupil)")

    with pytest.raises(ValueError, match=r"column 'pupil' had int labels in fit .*new levels include 'new'"):
        est.condition(FRAME[:2].assign(pupil="new"), Y[:2])


def test_levels_of_an_interaction_with_the_same_text_are_refused():
    frame = FRAME.assign(a=np.tile(["p", "q"], 20), b=np.repeat(["r", "s:t"], 20))
    est = fit("x + (1 | a:b)", frame)

    with pytest.raises(FormulaError, match="factor 'a:b': two levels have the same text because a label contains ':'"):
        est.condition(frame[:2].assign(a="p:s", b="t"), Y[:2])


def test_no_rows_and_no_frame_are_refused(est):
    with pytest.raises(ValueError, match="condition needs at least one row, got a frame of 0 rows"):
        est.condition(FRAME[:0], Y[:0])
    with pytest.raises(FormulaError, match="the formula needs named columns, but X is an array"):
        est.condition(FRAME.to_numpy(), Y)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        est.condition(FRAME)
    with pytest.raises(FormulaError, match="uses 'x', which is not a column of X"):
        est.condition(FRAME.drop(columns="x"), Y)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        fit(None, FRAME[["x", "z"]]).condition(FRAME[["x", "z"]][:0], Y[:0])
    with pytest.raises(ValueError, match="X has 1 features, but MixedModelRegressor is expecting 2"):
        fit(None, FRAME[["x", "z"]].to_numpy()).condition(np.ones((3, 1)), Y[:3])


@SHORT
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sampler": "nuts"}, "sampler='nuts'"),
        ({"priors": {"x": StudentT(3)}}, "common effects need Normal priors to be integrated out; found 'x'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Falling back to NUTS")
@pytest.mark.usefixtures("fake_nuts")
def test_a_fit_by_nuts_cannot_be_conditioned_and_says_why_and_what_to_do(options, reason):
    est = fit("x + (1 | pupil)", draws=50, **options)

    with pytest.raises(
        SamplerError, match=rf"works with .* transport samplers, but this fit used NUTS .{reason}"
    ) as caught:
        est.condition(*further(pupil=50))
    assert "Fit old and new rows together, with priors=est.priors_ for the same model." in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_model_that_has_become_too_large_is_refused():
    """Five items are what the limit allows."""
    with allow(columns=5):
        est = fit("(1 | pupil) + (1 | item)")
        new, y = further(pupil=50, item=1)

        assert est.condition(new, y).diagnostics_["reason"] == WEIGHTED
        message = r"the crossed factors 'item' have 6 effects, more than 5. Fit old and new rows"
        with pytest.raises(SamplerError, match=message):
            est.condition(new.assign(item=9), y)


# ---- where the weights will not do


def test_rows_that_surprise_are_sampled_anew():
    """200 rows far from what the fit expects: its draws have no weight there."""
    formula, frame, y = simulated("groups")
    est = fit(formula, frame, y)
    rng = np.random.default_rng(4)
    new = pd.DataFrame({"x": rng.normal(size=200), "g": np.repeat(np.arange(100, 120), 10)})
    z = 30 + 12 * rng.normal(size=20)[new["g"] - 100] + 9 * rng.normal(size=200)
    updated = est.condition(new, z)
    refit = fit(formula, both(frame, new), np.append(y, z), priors=est.priors_, seed=1)

    assert updated.diagnostics_["reason"].startswith(f"{ANEW}Pareto k-hat of the weights is ")
    assert "(limit 0.7)" in updated.diagnostics_["reason"]
    assert updated.diagnostics_["k_hat"] < 0.7, "of the new run"
    assert {"passes", "modes", "longest_stay"} < set(updated.diagnostics_)
    assert disagreement(updated, refit) < 4.5
    assert len(updated.design_spec_.groups[0].levels) == 32
    assert updated.condition(new[:3], z[:3]).diagnostics_["reason"] == WEIGHTED
    assert updated._rows.checksum == refit._rows.checksum


def test_what_a_warning_complains_of_is_not_accepted(monkeypatch):
    """The draws pass the limits of the warnings, and not limits that more than there are would be needed for."""
    formula, frame, y = simulated("groups")
    est = fit(formula, frame[:66], y[:66])
    assert est.condition(frame[66:], y[66:]).diagnostics_["reason"] == WEIGHTED
    with monkeypatch.context() as few:
        few.setattr(report, "min_ess", lambda shape: 4001.0)
        with pytest.warns(bm.ConvergenceWarning, match="should be above 4001"):  # of the new run, too
            updated = est.condition(frame[66:], y[66:])

    assert updated.diagnostics_["reason"].startswith(f"{ANEW}the effective sample size of ")
    assert disagreement(updated, fit(formula, frame, y, priors=est.priors_, seed=1)) < 4.5


def test_row_by_row_nothing_is_warned_of():
    """Where the weights have become too uneven the sampler runs again, instead of a warning."""
    data = bm.datasets.load_sleepstudy()
    est = bm.MixedModelRegressor("Reaction ~ Days + (1 | Subject)", random_state=0, draws=200).fit(data[:60])
    reasons = []
    for row in range(60, 100):
        est = est.condition(data[row : row + 1])
        reasons.append(est.diagnostics_["reason"])

    assert 0 < sum(reason.startswith(ANEW) for reason in reasons) < 20


@SHORT
@pytest.mark.parametrize(("draws", "chains"), [(1, 1), (3, 2), (30, 1)])
def test_few_draws_are_conditioned_too(draws, chains):
    est = fit("x + (1 | pupil)", draws=draws, chains=chains)
    updated = est.condition(*further(pupil=50))

    assert values_of(updated)["sigma"].shape == (chains, draws)
    assert updated.diagnostics_["reason"].startswith("condition: ")


def test_chains_that_are_not_to_be_trusted_are_refused(monkeypatch):
    """The way out is the same as for NUTS."""
    est = fit("x + (1 | pupil)")

    def fail(*arguments, **options):
        raise np.linalg.LinAlgError("Matrix is not positive definite")

    monkeypatch.setattr(module, "shortcomings", lambda *arguments: ["no draws would do"])
    monkeypatch.setattr(module, "sample_covariances", fail)
    with pytest.raises(SamplerError, match=r"the linear algebra failed: .*Fit old and new rows together"):
        est.condition(*further(pupil=50))


def test_warnings_of_convergence_point_to_the_call_of_condition():
    with pytest.warns(UserWarning, match="is undefined"):
        est = fit("x + (1 | pupil)", draws=1, chains=1)
    with pytest.warns(UserWarning, match=r"R-hat of .* is undefined .*Remedies: raise draws") as caught:
        est.condition(*further(pupil=50))

    assert len(caught) == 1
    assert caught[0].filename == __file__


# ---- resampling


def counts_of(found, n):
    return np.array([np.bincount(row, minlength=n) for row in found])


@pytest.mark.parametrize("u", [1e-16, 0.3, 0.5, 1 - 1e-9])
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_equal_weights_keep_each_draw_once(n, u):
    for log_weight in (0.0, -900.0, 800.0):
        found = resample(np.full((3, n), log_weight), np.full(3, u))
        np.testing.assert_array_equal(found, np.tile(np.arange(n), (3, 1)))


@pytest.mark.parametrize("seed", range(5))
def test_a_draw_is_kept_as_often_as_its_weight_says_but_for_less_than_one(seed):
    """Chain by chain, in ascending order, whatever constant the weights of a chain have."""
    rng = np.random.default_rng(seed)
    log_weights, u = 2 * rng.normal(size=(4, 500)), rng.random(4)
    weights = np.exp(log_weights)
    expected = 500 * weights / weights.sum(axis=1, keepdims=True)
    log_weights += [[-1e4], [0.0], [5e3], [-600.0]]
    found = resample(log_weights, u)

    assert found.shape == (4, 500)
    assert (np.diff(found, axis=1) >= 0).all()
    assert np.abs(counts_of(found, 500) - expected).max() < 1
    for chain in range(4):
        np.testing.assert_array_equal(found[chain], resample(log_weights[[chain]], u[[chain]])[0])


def test_over_all_u_a_draw_is_kept_in_proportion_to_its_weight():
    rng = np.random.default_rng(0)
    log_weights = rng.normal(size=20)
    u = (np.arange(2000) + 0.5) / 2000
    counts = counts_of(resample(np.tile(log_weights, (2000, 1)), u), 20)

    np.testing.assert_allclose(counts.mean(axis=0), 20 * np.exp(log_weights) / np.exp(log_weights).sum(), atol=2e-3)


@pytest.mark.parametrize("u", [1e-16, 0.5, 1 - 1e-9])
def test_a_single_draw_with_weight_is_all_that_is_kept(u):
    for at in (0, 4, 8):
        log_weights = np.full((2, 9), -np.inf)
        log_weights[:, at] = -3.0
        np.testing.assert_array_equal(resample(log_weights, np.full(2, u)), at)


def test_draws_without_weight_are_not_kept():
    """Whether they stand first, last or between."""
    log_weights = np.array([[-np.inf, 0.0, -np.inf, 0.0, -np.inf]])
    for u in (1e-16, 0.4, 1 - 1e-9):
        assert set(resample(log_weights, np.array([u]))[0]) <= {1, 3}


def test_no_weight_at_all_gives_positions_that_exist():
    found = resample(np.full((2, 5), -np.inf), np.array([0.1, 0.9]))

    assert ((found >= 0) & (found < 5)).all()


# ---- effects that are too many to store


@SHORT
@pytest.mark.parametrize("formula", ["x + (x | pupil)", "x + (1 | school/pupil)", "x + (x | pupil) + (1 | item)"])
def test_effects_that_are_not_stored_are_the_same(formula):
    """To the last bit, whether those of the fit were stored or not."""
    new, y = further(pupil=NEW)
    options = {"draws": 200, "chains": 2}
    first = fit(formula, **options)
    stored = first.condition(new, y)
    with allow(stored=0):
        none_stored = fit(formula, **options).condition(new, y), first.condition(new, y)
    for lazy in none_stored:
        (factor,) = lazy._posterior.draws.lazy
        assert f"b_{factor}" not in values_of(lazy)
        assert lazy.diagnostics_["reason"] == stored.diagnostics_["reason"]
        for name, values in values_of(lazy).items():
            np.testing.assert_array_equal(values, values_of(stored)[name])
        for frame in (FRAME, new):
            np.testing.assert_array_equal(lazy.predict(frame), stored.predict(frame))
            assert lazy.predict_draws(frame).identical(stored.predict_draws(frame))
        for group in lazy.design_spec_.groups:
            assert lazy.draw_group_effects(group.name).identical(stored.draw_group_effects(group.name))


# ---- what is kept of the rows


def rows(frame, y, weights=None, formula="x + (z | pupil) + (1 | item)"):
    spec, _ = DesignSpec.learn(parse(formula), FRAME)
    return Rows.of(replace(spec.apply(frame), y=y, weights=weights), np.arange(len(frame)))


def test_rows_of_two_sets_add_up():
    whole, first, rest = (
        rows(FRAME, Y, WEIGHTS),
        rows(FRAME[:13], Y[:13], WEIGHTS[:13]),
        rows(FRAME[13:], Y[13:], WEIGHTS[13:]),
    )
    added = first + rest

    np.testing.assert_array_equal(added.y, whole.y)
    np.testing.assert_array_equal(added.obs, [*range(13), *range(27)])
    assert added.weight == whole.weight == WEIGHTS.sum()
    assert set(added.squares) == {"pupil", "item"}
    for name, square in whole.squares.items():
        np.testing.assert_allclose(added.squares[name], square, rtol=1e-12)
    z = FRAME["z"].to_numpy()
    expected = [[WEIGHTS.sum(), WEIGHTS @ z], [WEIGHTS @ z, WEIGHTS @ z**2]]
    np.testing.assert_allclose(whole.squares["pupil"], expected)
    assert added.checksum == whole.checksum
    assert 0 <= whole.checksum < 2**64
    assert len({added.checksum, first.checksum, rest.checksum}) == 3


def test_labels_that_count_on_are_kept_as_a_range():
    first, rest = rows(FRAME[:13], Y[:13]), rows(FRAME[13:], Y[13:])
    further = replace(rest, obs=np.arange(13, 40))

    assert (first.obs, (first + further).obs) == (range(13), range(40))
    assert isinstance((first + rest).obs, np.ndarray)


def test_a_checksum_does_not_depend_on_the_order_of_rows():
    expected = rows(FRAME, Y, WEIGHTS).checksum
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(40)
        assert rows(FRAME.iloc[order], Y[order], WEIGHTS[order]).checksum == expected


def test_a_checksum_adds_up_over_any_split():
    expected = rows(FRAME, Y).checksum
    parts = [rows(FRAME[i : i + 1], Y[i : i + 1]).checksum for i in range(40)]

    assert sum(parts) % 2**64 == expected


def changed(values, at, to):
    values = np.array(values)
    values[at] = to
    return values


def test_a_checksum_changes_with_any_single_number():
    """By a part in ten thousand million, a column's, a response's, a weight's or a group's; and with their places."""
    x, z, y = FRAME["x"].to_numpy(), FRAME["z"].to_numpy(), Y
    found = [rows(FRAME, y, WEIGHTS).checksum]
    for i in range(0, 40, 4):
        found += [
            rows(FRAME, changed(y, i, y[i] * (1 + 1e-10)), WEIGHTS).checksum,
            rows(FRAME, y, changed(WEIGHTS, i, WEIGHTS[i] * (1 + 1e-10))).checksum,
            rows(FRAME.assign(x=changed(x, i, x[i] * (1 + 1e-10))), y, WEIGHTS).checksum,
            rows(FRAME.assign(z=changed(z, i, z[i] * (1 + 1e-10))), y, WEIGHTS).checksum,
            rows(FRAME.assign(pupil=changed(FRAME["pupil"], i, 77)), y, WEIGHTS).checksum,
            rows(FRAME.assign(item=changed(FRAME["item"], i, (FRAME["item"][i] + 1) % 5)), y, WEIGHTS).checksum,
        ]
    found += [
        rows(FRAME.assign(x=z, z=x), y, WEIGHTS).checksum,
        rows(FRAME.assign(x=y), x, WEIGHTS).checksum,
        rows(FRAME, y).checksum,
        rows(FRAME[1:], y[1:], WEIGHTS[1:]).checksum,
        rows(both(FRAME, FRAME), np.append(y, y), np.append(WEIGHTS, WEIGHTS)).checksum,
        rows(FRAME, changed(y, [3, 4], y[[4, 3]]), WEIGHTS).checksum,
    ]

    assert len(set(found)) == len(found)


def test_a_checksum_leaves_the_last_bit_out():
    y = np.where(np.arange(40) % 2, np.nextafter(Y, np.inf), Y)

    assert rows(FRAME, y).checksum == rows(FRAME, Y).checksum


def test_a_checksum_tells_rows_whose_numbers_are_exchanged_apart():
    """The same numbers column by column, in other combinations; whole numbers, whose last bits are zero."""
    spec, _ = DesignSpec.learn(parse("a + b"), pd.DataFrame({"a": [0.0, 1.0], "b": [0.0, 1.0]}))
    found = set()
    for a in range(4):
        for b in range(4):
            frame = pd.DataFrame({"a": [float(a), 3.0 - a], "b": [float(b), 3.0 - b]})
            found.add(checksum(replace(spec.apply(frame), y=np.array([1.0, 2.0]))))

    assert len(found) == 16


def test_a_zero_has_no_sign():
    frame, negative = FRAME.assign(x=0.0, z=0.0), FRAME.assign(x=-0.0, z=-0.0)

    assert np.signbit(negative["x"]).all()
    assert rows(frame, np.zeros(40)).checksum == rows(negative, -np.zeros(40)).checksum


def test_no_weights_are_weights_of_one():
    assert rows(FRAME, Y).checksum == rows(FRAME, Y, np.ones(40)).checksum


def test_a_frame_without_the_column_of_a_factor_is_refused():
    est = fit("x + (1 | pupil)")

    with pytest.raises(FormulaError, match="uses 'pupil', which is not a column of X"):
        est.condition(FRAME.drop(columns="pupil"), Y)


def test_rows_may_be_labelled_by_dates_in_one_frame_and_numbers_in_the_other():
    dated = FRAME.set_axis(pd.date_range("2024-01-01", periods=40))
    est = fit("x + (1 | pupil)", dated)
    updated = est.condition(*further(pupil=50))

    assert len(updated._rows.obs) == 46
    assert updated.idata_ is not None


def test_after_a_single_row_of_a_spline_all_rows_are_left_out():
    """A spline's columns differ in the last bit between one row and many."""
    est = fit("bs(x, df=5) + (1 | pupil)", FRAME[:39], Y[:39])
    inside = FRAME[39:].assign(x=FRAME["x"][:39].median())
    every = pd.concat([FRAME[:39], inside])
    for x in np.quantile(FRAME["x"][:39], np.linspace(0.02, 0.98, 25)):
        inside = FRAME[39:].assign(x=x)
        every = pd.concat([FRAME[:39], inside])
        est.condition(inside, Y[39:]).loo(every, Y)


def test_minus_infinity_is_no_label():
    est = fit("x + (1 | pupil)")

    with pytest.raises(ValueError, match="new levels include"):
        est.condition(FRAME[:2].assign(pupil=-np.inf), Y[:2])


def test_rows_of_an_array_are_counted_on():
    X = FRAME[["x", "z"]].to_numpy()
    updated = MixedModelRegressor(random_state=0).fit(X[:30], Y[:30]).condition(X[30:], Y[30:])

    assert dataset(updated.idata_, "observed_data")["obs"].values.tolist() == list(range(40))


def test_labels_that_are_new_only_by_how_they_are_written_are_named():
    """They become levels of their own, beside the ones that were meant."""
    est = fit("x + (1 | g)", FRAME.assign(g="s" + FRAME["school"].astype(str)), draws=100)
    frame, y = further(g=["s0 ", "s1 ", "s0 ", "s1 ", "s1 ", "s0 "])

    with pytest.warns(UserWarning, match="'s0 ' differs from the earlier label 's0' only in how it is written"):
        est.condition(frame, y)
