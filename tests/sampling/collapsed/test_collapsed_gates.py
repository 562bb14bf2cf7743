"""A proposal that does not cover the posterior: its chains show it, and nobody gets them."""

from dataclasses import replace

import numpy as np
import pytest

from bayesmixed import MixedModelRegressor
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.errors import SamplerError
from bayesmixed.posterior.diagnostics import convergence
from bayesmixed.sampling.collapsed import search
from bayesmixed.sampling.collapsed.search import Run, Shape, sample_covariances
from bayesmixed.sampling.independence.proposal import Pool
from helpers.collapsed_twins import learn

DATA = load_sleepstudy()
FORMULA = "Days + (Days | Subject)"


def shrink(proposal, by):
    """The same place, scales divided."""
    return replace(proposal, roots=proposal.roots / by)


def shift(proposal, by):
    """Some standard deviations off in every direction."""
    return replace(proposal, means=proposal.means + by * np.sqrt(np.diag(proposal.roots[0] @ proposal.roots[0].T)))


BAD = {
    "50 times too narrow": lambda proposal: shrink(proposal, 50),
    "narrow, in one flank": lambda proposal: shift(shrink(proposal, 10), 20),
    "as wide, in one flank": lambda proposal: shift(proposal, 3),
    "as wide, beside the posterior": lambda proposal: shift(proposal, 5),
}


@pytest.fixture
def spoil(monkeypatch):
    """Make every fitted proposal a bad one."""

    def use(change):
        fit = Pool.fit

        def bad(self, previous):
            proposal, covariance = fit(self, previous)
            return change(proposal), covariance

        monkeypatch.setattr(Pool, "fit", bad)

    return use


def chains_of_sleepstudy():
    """The run of chains, and R-hat of every coordinate of its points."""
    density = learn(FORMULA, DATA, y=DATA["Reaction"].to_numpy()).density
    rng = np.random.default_rng(0)
    sampled = sample_covariances(density, draws=500, chains=4, rng=rng, advance=lambda n: None)
    points = np.vstack([sampled.run.evaluated.theta, sampled.run.evaluated.s])[:, sampled.run.chains.state]
    return sampled, convergence(np.moveaxis(points, 0, -1)).r_hat


def test_a_good_proposal_passes():
    sampled, r_hat = chains_of_sleepstudy()
    run = sampled.run

    assert r_hat.max() < 1.01
    assert run.refusal == ""
    assert run.wanted
    assert sampled.passes == 1
    assert run.k_hat < 0.5
    assert run.acceptance > 0.4


@pytest.mark.parametrize("case", BAD)
def test_chains_of_a_bad_proposal_disagree_and_are_refused(case, spoil):
    spoil(BAD[case])
    sampled, r_hat = chains_of_sleepstudy()

    assert r_hat.max() > 1.05
    for gate in ("Pareto k-hat is ", "acceptance is ", "a point is expected to last "):
        assert gate in sampled.run.refusal
    assert sampled.passes == search.PASSES, "it has tried to learn"


@pytest.mark.parametrize("by", [1, 2, 3, 5, 7, 10, 20])
def test_chains_that_pass_agree(by, spoil):
    """However narrow the proposal is: what the gates let through has an R-hat below the limit of a warning."""
    spoil(lambda proposal: shrink(proposal, by))
    sampled, r_hat = chains_of_sleepstudy()

    assert r_hat.max() < 1.01 or sampled.run.refusal


@pytest.mark.parametrize("case", BAD)
def test_auto_goes_to_nuts_and_names_the_gate(case, spoil, fake_nuts):
    spoil(BAD[case])
    with pytest.warns(UserWarning, match="Falling back to NUTS, which is much slower: the proposal distribution "):
        est = MixedModelRegressor(FORMULA, random_state=0).fit(DATA, DATA["Reaction"])

    assert est.diagnostics_["sampler"] == "nuts"
    assert est.diagnostics_["reason"].startswith("the proposal distribution does not cover the posterior: Pareto k-hat")
    assert len(fake_nuts) == 1


def test_collapsed_raises_and_names_the_gate(spoil, fake_nuts):
    spoil(BAD["50 times too narrow"])
    est = MixedModelRegressor(FORMULA, sampler="collapsed", random_state=0)

    with pytest.raises(
        SamplerError,
        match=r"cannot sample this posterior: .*Pareto k-hat is [\d.]+ \(limit 0.7\); acceptance is 0.0.*"
        r'Use sampler="auto" or "nuts"\.',
    ):
        est.fit(DATA, DATA["Reaction"])
    assert fake_nuts == []


def test_chains_start_where_the_target_is_not_where_the_proposal_is(spoil):
    """Else the chains of a proposal beside the posterior would agree with each other."""
    spoil(BAD["as wide, beside the posterior"])
    log_joint = chains_of_sleepstudy()[0].run.evaluated.log_joint
    starts, proposals = log_joint[:4], log_joint[4:]

    assert starts.min() > np.quantile(proposals, 0.99)


def test_a_bad_proposal_learns_from_its_proposals(monkeypatch):
    """Where only the first proposal is bad, the run is done again and passes."""
    adapt = search.adapt

    def bad(*arguments):
        proposal, pool, centres, share = adapt(*arguments)
        return shift(shrink(proposal, 4), 3), pool, centres, share

    monkeypatch.setattr(search, "adapt", bad)
    sampled, r_hat = chains_of_sleepstudy()

    assert sampled.passes > 1
    assert sampled.run.refusal == ""
    assert r_hat.max() < 1.01


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, ""),
        ({"k_hat": 0.71}, "Pareto k-hat is 0.71 (limit 0.7)"),
        ({"k_hat": np.inf}, "Pareto k-hat is inf (limit 0.7)"),
        ({"k_hat": np.nan}, "Pareto k-hat is nan (limit 0.7)"),
        ({"acceptance": 0.14}, "acceptance is 0.14 (at least 0.15)"),
        ({"longest_stay": 0.049}, ""),
        ({"longest_stay": 0.06}, "a point is expected to last 6% of a chain (at most 5%)"),
        ({"at_edge": 0.0009}, ""),
        ({"at_edge": 0.02}, "2.0% of the draws have a group sd of more than 60,000 times sigma, or a correlation of 1"),
        (
            {"k_hat": 0.9, "acceptance": 0.01},
            "Pareto k-hat is 0.90 (limit 0.7); acceptance is 0.01 (at least 0.15)",
        ),
    ],
)
def test_each_gate_is_named(change, text):
    good = Run(None, None, k_hat=0.3, acceptance=0.6, longest_stay=0.002, at_edge=0.0, proposals_per_draw=2.0)

    assert replace(good, **change).refusal == text


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, True),
        ({"k_hat": 0.51}, False),
        ({"longest_stay": 0.011}, False),
        ({"longest_stay": 0.011, "proposals_per_draw": 0.5}, True),
    ],
)
def test_a_run_is_done_again_before_a_gate_closes(change, wanted):
    good = Run(None, None, k_hat=0.3, acceptance=0.6, longest_stay=0.002, at_edge=0.0, proposals_per_draw=2.0)

    assert replace(good, **change).wanted is wanted


class Costs:
    """A density of which only the price matters."""

    def __init__(self, flops):
        self.flops = flops
        self.dimension = 4


LEAST = search.MIN_RUN


@pytest.mark.parametrize(
    ("flops", "share", "draws", "expected"),
    [
        (1e3, 0.9, 1000, 1556),  # 1.4 / 0.9 per draw
        (1e3, 0.5, 1000, 2800),
        (1e3, 0.01, 1000, 1000 * search.THIN),
        (0.9 * search.FEW_FLOPS / 11_200, 0.5, 1000, 2800),
        (1.1 * search.FEW_FLOPS / 11_200, 0.5, 1000, 1400),  # fewer, as they are expensive
        (1.1 * search.FEW_FLOPS / 2800, 0.5, 250, 700),  # of a short run they are few as it is
        (search.RUN_FLOPS / 6000, 0.3, 1000, 1500),
        (search.RUN_FLOPS / 4000, 0.3, 1000, 1000),  # affordable, not the 2334 wanted
        (search.RUN_FLOPS / 2000, 0.5, 1000, LEAST),
        (1e15, 0.5, 4 * LEAST, LEAST),
        (1e3, 0.9, 10, search.MIN_PROPOSALS // 4),  # what the gates judge by
    ],
)
def test_proposals_are_as_many_as_the_draws_need_and_evaluations_allow(flops, share, draws, expected):
    assert Shape.of(Costs(flops), share, draws=draws, chains=4).proposals == expected


def test_dear_evaluations_make_the_rounds_smaller_but_not_tiny():
    assert search.round_size(Costs(1e3)) == 500
    assert search.round_size(Costs(search.ROUND_FLOPS / 300)) == 300
    assert search.round_size(Costs(1e15)) == 4 * search.MIN_ROUND


def test_held_chains_have_the_number_of_draws_that_was_asked_for(monkeypatch):
    """Where too few evaluations can be had, each of them is two or three draws."""
    density = learn(FORMULA, DATA, y=DATA["Reaction"].to_numpy()).density
    monkeypatch.setattr(search, "RUN_FLOPS", 0.0)
    draws = 3 * LEAST - 1
    rng = np.random.default_rng(0)
    run = sample_covariances(density, draws=draws, chains=4, rng=rng, advance=lambda n: None).run

    assert run.chains.state.shape == run.chains.acceptance.shape == (4, draws)
    assert run.proposals_per_draw == LEAST / draws
    times = np.bincount(-(-np.arange(1, draws + 1) * LEAST // draws) - 1)
    assert set(times) == {2, 3}
    first = np.cumsum(times) - times
    np.testing.assert_array_equal(run.chains.state, run.chains.state[:, first].repeat(times, axis=1))


@pytest.mark.parametrize(("draws", "chains"), [(1, 1), (2, 2), (7, 3)])
def test_few_draws_are_drawn_from_as_many_proposals_as_the_gates_need(draws, chains):
    density = learn(FORMULA, DATA, y=DATA["Reaction"].to_numpy()).density
    rng = np.random.default_rng(0)
    run = sample_covariances(density, draws=draws, chains=chains, rng=rng, advance=lambda n: None).run

    assert run.chains.state.shape == (chains, draws)
    assert len(run.evaluated.s) >= search.MIN_PROPOSALS
    assert run.refusal == ""
