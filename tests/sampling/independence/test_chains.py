"""Independence Metropolis-Hastings over a table of proposals: stationary, visible repeats, what is kept."""

from itertools import pairwise

import numpy as np
import pytest

from bayesmixed.sampling.independence import chains
from bayesmixed.sampling.independence.chains import longest_stay, walk

accept_in_turn = chains._accept_in_turn


def steps(log_w, rng_seed=0, draws=None):
    """Chains over positions 0 (the start), 1, 2, ... of each row."""
    log_w = np.atleast_2d(np.asarray(log_w, dtype=float))
    start = np.tile(np.arange(log_w.shape[1]), (len(log_w), 1))
    return walk(log_w, start, np.random.default_rng(rng_seed), log_w.shape[1] - 1 if draws is None else draws)


def test_the_target_is_stationary_whatever_the_proposal():
    """Frequencies of five states under a proposal that prefers the wrong ones, within five standard errors."""
    rng = np.random.default_rng(0)
    target, proposal = np.array([0.4, 0.05, 0.3, 0.2, 0.05]), np.array([0.1, 0.3, 0.2, 0.1, 0.3])
    states = rng.choice(5, size=(4, 50_001), p=proposal)
    walked = walk(np.log(target / proposal)[states], states, rng, draws=50_000)
    for state, share in enumerate(target):
        per_block = (walked.state == state).reshape(-1, 500).mean(axis=1)
        assert abs(per_block.mean() - share) < 5 * per_block.std() / np.sqrt(len(per_block))


def test_a_better_proposal_is_always_taken_and_a_hopeless_one_never():
    np.testing.assert_array_equal(steps([0, 1, 2, 3]).state, [[1, 2, 3]])
    np.testing.assert_array_equal(steps([0, -800, -900, -1e300]).state, [[0, 0, 0]])
    np.testing.assert_array_equal(steps([0, 900, 1, 2]).state, [[1, 1, 1]])


def test_equal_weights_are_independent_draws():
    walked = steps(np.zeros((2, 101)))

    np.testing.assert_array_equal(walked.state, np.tile(np.arange(1, 101), (2, 1)))
    np.testing.assert_array_equal(walked.acceptance, np.ones((2, 100)))


def test_a_rejection_repeats_the_state_and_is_counted():
    walked = steps(np.random.default_rng(1).normal(size=(3, 1001)))
    repeated = np.diff(walked.state, prepend=0, axis=1) == 0

    assert 0.2 < repeated.mean() < 0.8
    np.testing.assert_array_equal(walked.acceptance, ~repeated)
    assert np.all(np.diff(walked.state, axis=1) >= 0), "a chain moves on to its newest proposal or stays"


def test_a_chain_begins_at_its_own_start():
    """The start is a state, not a draw; positions are those of the table of all points."""
    log_w = np.array([[5.0, -900, -900], [0.0, 1, -900]])
    walked = walk(log_w, np.array([[7, 10, 11], [8, 12, 13]]), np.random.default_rng(0), 2)

    np.testing.assert_array_equal(walked.state, [[7, 7], [12, 12]])


@pytest.mark.parametrize(("spread", "in_turn"), [(0.1, False), (0.3, False), (1.0, True), (3.0, True), (30.0, True)])
def test_proposals_all_at_once_are_accepted_as_one_after_the_other(spread, in_turn, monkeypatch):
    """Where weights differ, passes give up."""
    rng = np.random.default_rng(2)
    log_w = spread * rng.normal(size=(3, 501))
    bars = log_w[:, 1:] - np.log(rng.random((3, 500)))
    calls = []
    monkeypatch.setattr(chains, "_accept_in_turn", lambda *chain: calls.append(chain) or accept_in_turn(*chain))

    expected = [accept_in_turn(*chain) for chain in zip(log_w.tolist(), bars.tolist(), strict=True)]
    np.testing.assert_array_equal(chains._accept(log_w, bars), expected)
    assert len(calls) == 3 * in_turn
    np.testing.assert_array_equal(chains._accept(log_w[:, :1], bars[:, :0]), np.empty((3, 0)))


@pytest.mark.parametrize("thin", [1, 2, 3, 7])
def test_thinning_keeps_every_so_manyth_state(thin):
    log_w = np.random.default_rng(1).normal(size=(2, 43))
    every, thinned = steps(log_w), steps(log_w, draws=42 // thin)

    np.testing.assert_array_equal(thinned.state, every.state[:, thin - 1 :: thin])
    np.testing.assert_allclose(thinned.acceptance, every.acceptance.reshape(2, -1, thin).mean(axis=2))


@pytest.mark.parametrize(("draws", "kept"), [(4, [2, 4, 6, 7]), (5, [2, 3, 5, 6, 7]), (3, [3, 5, 7]), (1, [7])])
def test_between_whole_numbers_distances_differ_by_at_most_one(draws, kept):
    """Of 7 proposals, draws follow 7 / draws, 14 / draws, ..., rounded up."""
    log_w = np.random.default_rng(1).normal(size=(2, 8))
    every, thinned = steps(log_w), steps(log_w, draws=draws)

    np.testing.assert_array_equal(thinned.state, every.state[:, np.array(kept) - 1])
    shares = [every.acceptance[:, a:b].mean(axis=1) for a, b in pairwise([0, *kept])]
    np.testing.assert_allclose(thinned.acceptance, np.transpose(shares))


def test_with_few_proposals_every_state_is_several_draws():
    log_w = np.random.default_rng(1).normal(size=(2, 21))
    every, held = steps(log_w), steps(log_w, draws=60)

    np.testing.assert_array_equal(held.state, every.state.repeat(3, axis=1))
    np.testing.assert_array_equal(held.acceptance, every.acceptance.repeat(3, axis=1))

    uneven = steps(log_w, draws=50)
    times = np.bincount(-(-np.arange(1, 51) * 20 // 50) - 1)  # 2 or 3
    np.testing.assert_array_equal(uneven.state, every.state.repeat(times, axis=1))
    np.testing.assert_array_equal(uneven.acceptance, every.acceptance.repeat(times, axis=1))


def test_the_longest_stay_is_what_the_heaviest_point_takes():
    """In the stationary chain a point is expected to be left with probability mean weight / its weight."""
    weights = np.array([1.0, 1, 1, 5])

    assert longest_stay(np.log(weights)) == pytest.approx(2.5)
    assert longest_stay(np.log(weights) - 700) == pytest.approx(2.5)
    # a chain that is at the heaviest of many points stays that long on average
    rng = np.random.default_rng(0)
    log_w = np.minimum(rng.normal(size=20_000), 2.0)
    states = np.hstack([np.full((4000, 1), 2.0), rng.choice(log_w, size=(4000, 60))])
    moved = steps(states).state > 0
    stays = np.where(moved.any(axis=1), moved.argmax(axis=1) + 1, 61)
    assert abs(stays.mean() - longest_stay(log_w)) < 5 * stays.std() / np.sqrt(4000)
