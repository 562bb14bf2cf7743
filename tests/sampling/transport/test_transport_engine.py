"""The transport sampler from end to end: invariances, gates, refusals, aggregation, new rows, rows left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmixed as bm
from bayesmixed import MixedModelRegressor, SamplerError, StudentT
from bayesmixed._compat import dataset
from bayesmixed.chunks import allow
from bayesmixed.sampling.transport import adaptation, run, target, trajectory
from bayesmixed.sampling.transport.coordinates import Parameters
from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.start import newton, reference_at
from bayesmixed.sampling.transport.working.products import WorkingGaussian
from bayesmixed.sampling.transport.working.rows import Reference
from helpers.transport_twins import make_model, make_rows

FRAME = make_rows()


def fit(family="poisson", formula="x + (1 | a)", frame=FRAME, *, weights=None, **options):
    options = {"random_state": 0, "sampler": "transport", "draws": 500} | options
    if family == "binomial":
        options["trials"] = "n"
    return MixedModelRegressor(formula, family=family, **options).fit(frame, frame[family], weights)


@pytest.fixture(scope="module")
def est():
    return fit()


def test_it_is_what_auto_takes_and_says_what_it_did(est):
    auto = fit(sampler="auto")
    diagnostics = auto.diagnostics_

    np.testing.assert_array_equal(auto.predict(FRAME), est.predict(FRAME))
    assert diagnostics["sampler"] == "transport"
    assert diagnostics["thinning"] == 1
    assert diagnostics["max_r_hat"] < 1.02
    assert 0.8 < diagnostics["acceptance"] < 1
    assert diagnostics["divergences"] == 0
    assert 1 <= diagnostics["gradients_per_draw"] < 5
    assert set(diagnostics["seconds"]) == {"rows", "start", "adapt", "sample"}


def test_the_same_seed_gives_the_same_bits_whatever_is_evaluated_together(est):
    with allow(rows=30, points=50):
        other = fit()

    for name, values in est._posterior.draws.values.items():
        np.testing.assert_array_equal(other._posterior.draws.values[name], values)


def means(est):
    return np.concatenate([est._posterior.draws.mean(name).ravel() for name in est._posterior.draws.values])


def sds(est):
    draws = est._posterior.draws
    return np.concatenate([draws.flat(name).std(axis=0).ravel() for name in draws.values])


@pytest.mark.numerical
def test_shuffled_and_relabelled_rows_give_the_same_posterior(est):
    shuffled = FRAME.sample(frac=1, random_state=3)
    relabelled = shuffled.assign(a=shuffled["a"].map(lambda level: f"level {level}"))
    other = fit(frame=relabelled)

    error = sds(est) / np.sqrt(est.diagnostics_["min_ess_bulk"])
    assert (np.abs(means(other) - means(est)) / error).max() < 5


@pytest.mark.numerical
@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_a_weight_of_two_is_the_row_twice(family):
    weights = np.random.default_rng(0).integers(0, 3, len(FRAME))
    weighted, repeated = fit(family, weights=weights), fit(family, frame=FRAME.loc[FRAME.index.repeat(weights)])

    np.testing.assert_allclose(
        means(weighted), means(repeated), rtol=1e-6
    )  # sums of the same numbers, but for rounding


COARSE = make_rows(400).assign(x=lambda frame: frame["x"].round(), time=lambda frame: frame["time"].round())
FRACTIONS = np.random.default_rng(7).uniform(0.3, 2.0, len(COARSE))


@pytest.mark.parametrize("weights", [None, FRACTIONS], ids=["", "weights"])
@pytest.mark.parametrize("family", ["binomial", "poisson", "negativebinomial"])
def test_rows_that_are_put_together_have_the_density_of_all_but_for_a_constant(family, weights):
    model, design = make_model(family, None, "x + offset(log(time)) + (x | a)", COARSE, weights=weights)
    prepared = Prepared.of(model, design)
    few, every = prepared.rows, prepared.rows_of(design)
    x = np.random.default_rng(1).standard_normal((prepared.parameters.dimension, 5))
    points = prepared.parameters.at(x)
    w = np.random.default_rng(2).standard_normal((few.layout.size, 5))
    found, expected = (
        rows.evaluate(w, points.auxiliary, Reference(np.zeros(rows.n), np.zeros(rows.n))) for rows in (few, every)
    )
    gap = found.residual - expected.residual
    one = points.take(1)
    gaussians = [WorkingGaussian.of(rows, reference_at(rows, one, w[:, :1])) for rows in (few, every)]

    # rows of one place, whatever their response, where the family is summable
    places = COARSE.groupby(["x", "time", "a", *([] if model.family.summable else [family])]).ngroups
    assert few.n == places < every.n == len(COARSE)
    np.testing.assert_allclose(gap, gap[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.by_effect, expected.by_effect, rtol=1e-10, atol=1e-9)
    for name, values in found.by_auxiliary.items():
        np.testing.assert_allclose(values, expected.by_auxiliary[name], rtol=1e-9)
    for name in ("E", "r"):
        np.testing.assert_allclose(*(getattr(gaussian, name) for gaussian in gaussians), rtol=1e-9, atol=1e-9)


def test_what_comes_after_the_fit_is_of_the_rows_that_were_given():
    est = fit("binomial", frame=COARSE, draws=100)
    found = est.loo(COARSE, COARSE["binomial"])

    assert est._posterior.draws.state.prepared.rows.n < len(COARSE) / 2
    assert found.log_likelihood.sizes["obs"] == len(COARSE)
    np.testing.assert_array_equal(dataset(est.idata_, "observed_data")["y"], COARSE["binomial"])


@pytest.mark.numerical
def test_a_wrong_force_costs_acceptance_and_changes_no_moment(monkeypatch, est):
    evaluate = target.Target.evaluate

    def worse(self, x):
        state = evaluate(self, x)
        return replace(state, force=state.force + 0.2 * np.sin(5 * x))

    monkeypatch.setattr(target.Target, "evaluate", worse)
    other = fit(draws=1000)

    assert other.diagnostics_["step_size"] < 0.9 * est.diagnostics_["step_size"]
    error = np.hypot(sds(est) / np.sqrt(est.diagnostics_["min_ess_bulk"]), sds(other) / np.sqrt(400))
    assert (np.abs(means(other) - means(est)) / error).max() < 4


@pytest.mark.numerical
def test_a_wrong_target_is_caught_by_calibration(monkeypatch):
    """Ranks of a true sd among its draws are uniform; where the target tilts towards large ones they are not."""
    frame = pd.DataFrame({"g": np.arange(60) % 10})
    priors = {"Intercept": bm.Normal(1, 0.5), "sd_g": bm.HalfNormal(0.7)}

    def ranks(replications=25):
        found = []
        for seed in range(replications):
            rng = np.random.default_rng(seed)
            intercept, sd = rng.normal(1, 0.5), abs(rng.normal(0, 0.7))
            y = rng.poisson(np.exp(intercept + sd * rng.standard_normal(10)[frame["g"]]))
            made = MixedModelRegressor("(1 | g)", family="poisson", priors=priors, draws=200, random_state=seed)
            found.append((made.fit(frame, y)._posterior.draws.flat("sd_g") < sd).mean())
        return np.array(found)

    right = ranks()
    at = Parameters.at

    def tilted(self, x):
        points = at(self, x)
        return replace(points, log_prior=points.log_prior + 4 * points.x[0])

    monkeypatch.setattr(Parameters, "at", tilted)
    wrong = ranks()

    assert stats.kstest(right, "uniform").pvalue > 0.01
    assert stats.kstest(wrong, "uniform").pvalue < 1e-4


# ---- gates and refusals


def test_where_the_chains_do_not_agree_they_run_on_and_are_thinned(monkeypatch):
    found = iter([["too few"], ["too few"], []])
    monkeypatch.setattr(run, "shortcomings", lambda summary, draws: next(found))
    est = fit(draws=101)

    assert est.diagnostics_["thinning"] == 4
    assert est._posterior.draws.shape == (4, 101)
    assert est._posterior.draws.values["beta"].shape == (4, 101, 1)
    assert est._posterior.draws.sample_stats["acceptance_rate"].shape == (4, 101)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MIN_ACCEPTANCE", 0.999, "acceptance is 0.9"),
        ("MIN_STEP", 5.0, "trajectories need steps of"),
        ("MAX_DIVERGENT", -1.0, "0.0% of the trajectories diverged"),
    ],
)
def test_what_tells_against_the_trajectories_is_said(monkeypatch, name, value, reason):
    monkeypatch.setattr(run, name, value)
    with pytest.raises(SamplerError, match=f'sampler="transport" cannot sample this posterior: {reason}'):
        fit(draws=50)


def test_after_the_last_thinning_it_gives_up_and_nuts_takes_over(monkeypatch, fake_nuts):
    monkeypatch.setattr(run, "shortcomings", lambda summary, draws: ["the chains differ"])
    with pytest.warns(UserWarning, match="Falling back to NUTS, .*: after 16 times as many .* the chains differ"):
        est = fit(sampler="auto", draws=50)

    assert est.diagnostics_["sampler"] == "nuts"
    assert len(fake_nuts) == 1


def test_what_it_is_not_for():
    with pytest.raises(SamplerError, match="does not take family 'gaussian'"):
        fit("gaussian")
    with pytest.raises(SamplerError, match="common effects need Normal priors for the transport sampler; found 'x'"):
        fit(priors={"x": StudentT(3, 0, 1)})
    wide = FRAME.assign(**{f"z{k}": np.random.default_rng(k).normal(size=len(FRAME)) for k in range(6)})
    with pytest.raises(SamplerError, match="28 standard deviations, correlations and auxiliary parameters, more"):
        fit(formula=f"x + ({' + '.join(f'z{k}' for k in range(6))} | a)", frame=wide)
    many = pd.DataFrame({"i": np.arange(700) % 350, "j": np.arange(700) % 349, "x": 0.0})
    many["poisson"] = 1
    with pytest.raises(SamplerError, match="the crossed factors 'j' and the common part have 350 effects, more than"):
        fit(formula="(1 | i) + (1 | j)", frame=many)


def test_chains_that_start_without_density_are_drawn_nearer(monkeypatch):
    tried = []
    evaluate = target.Target.evaluate

    def far(self, x):
        state = evaluate(self, x)
        tried.append(np.abs(x).max())
        return replace(state, residual=np.where(np.abs(x).max(axis=0) > 0.5, -np.inf, state.residual))

    monkeypatch.setattr(target.Target, "evaluate", far)
    monkeypatch.setattr(adaptation, "ROUNDS", ((2, 0),) * 3)
    with pytest.raises(SamplerError):  # every trajectory leaves what little is left
        fit(draws=20)
    assert tried[0] > 1
    assert min(tried[:8]) <= 0.5
    monkeypatch.setattr(adaptation, "START_HALVINGS", 1)
    with pytest.raises(SamplerError, match="the posterior density is zero where its chains should start"):
        fit(draws=20)


def test_the_step_is_adapted_to_the_wanted_acceptance():
    rng, averaging = np.random.default_rng(0), trajectory.DualAveraging()
    for _ in range(4000):
        averaging.learn(float(np.clip(1 - averaging.step**2 / 10 + 0.05 * rng.standard_normal(), 0, 1)))

    assert averaging.frozen == pytest.approx(1.0, rel=0.1)  # where 1 - step^2 / 10 is 0.9


# ---- after the fit


def test_rows_of_known_groups_weigh_the_draws():
    known, new = FRAME.iloc[:-4], FRAME.iloc[-4:]
    est = fit("binomial", frame=known)
    updated, whole = est.condition(new, new["binomial"]), fit("binomial")

    assert updated.diagnostics_["reason"] == "condition: the draws were weighted by the new rows"
    error = np.sqrt(2) * sds(whole) / np.sqrt(300)
    assert (np.abs(means(updated) - means(whole)) / error).max() < 4.5


@pytest.mark.numerical
def test_new_groups_are_sampled_with_all_rows():
    known, new = FRAME[FRAME["a"] < 8], FRAME[FRAME["a"] == 8]
    est = fit("gamma", frame=known)
    updated = est.condition(new, new["gamma"])
    whole = fit("gamma", frame=pd.concat([known, new]), priors=est.priors_)

    assert updated.diagnostics_["reason"] == "condition: sampled anew, as the rows have new groups"
    assert set(updated.diagnostics_["seconds"]) == {"weights", "adapt", "sample"}  # no start
    assert updated.design_spec_.groups[0].levels.tolist() == list(range(9))
    error = np.sqrt(2) * sds(whole) / np.sqrt(300)
    assert (np.abs(means(updated) - means(whole)) / error).max() < 4.5
    again = updated.condition(new.head(2), new["gamma"].head(2))
    assert np.isfinite(again.predict(FRAME)).all()


def test_chains_go_on_from_where_they_ended(monkeypatch):
    """The same effects and parameters at another target; effects of new groups start at their mode."""
    known, new = FRAME[(FRAME["h"] < 4) & (FRAME["a"] < 8)], FRAME[(FRAME["h"] == 4) | (FRAME["a"] == 8)]
    est = fit("poisson", "x + (x | a) + (1 | h)", known, draws=50)
    warm = est._posterior.draws.state.warm
    learn, begun = adaptation._learn, []
    monkeypatch.setattr(adaptation, "_learn", lambda *args: begun.append(args) or learn(*args))
    updated = est.condition(new, new["poisson"])
    (at, state, rounds, *_) = begun[0]
    layout, n = at.rows.layout, len(known)
    expected = layout.placed(warm.w, warm.layout)
    further = layout.placed(np.ones_like(warm.w), warm.layout) == 0

    assert rounds == adaptation.ROUNDS[-1:]
    assert further.sum() == 4 * (2 + 1)  # an intercept and a slope of `a`, an intercept of `h`; four chains
    np.testing.assert_allclose(state.points.x, warm.x, atol=1e-8)
    np.testing.assert_allclose(state.w[~further], expected[~further], atol=1e-8)
    mode = newton(at.rows, at.coordinates.at(np.zeros((len(warm.x), 1))), expected[:, :1])
    np.testing.assert_allclose(state.w[further], np.broadcast_to(mode, state.w.shape)[further], atol=0.05)
    np.testing.assert_array_equal(at.reference.W[:n], warm.reference.W)
    assert at.rows.n == len(updated._posterior.draws.state.warm.reference.W) == len(FRAME)


@pytest.mark.numerical
def test_where_new_rows_have_moved_the_posterior_far_the_sampler_starts_anew():
    known = FRAME[FRAME["a"] < 2]
    est = fit("poisson", frame=known)
    new = pd.concat([FRAME[FRAME["a"] >= 2]] * 20)
    updated = est.condition(new, new["poisson"])

    assert "from a new start, as the fit's chains, continued, need steps of" in updated.diagnostics_["reason"]
    assert "start" in updated.diagnostics_["seconds"]
    assert updated.diagnostics_["max_r_hat"] < 1.02


def test_a_file_keeps_what_condition_needs(tmp_path, est):
    est.save(tmp_path / "est.bm")
    loaded = bm.load(tmp_path / "est.bm")
    for new in (FRAME.head(3), FRAME.head(3).assign(a=99)):
        expected, found = (fitted.condition(new, new["poisson"]).predict(FRAME) for fitted in (est, loaded))
        np.testing.assert_array_equal(found, expected)
