"""What is said of a fit's convergence: the worst of all parameters, and one warning for all that is wrong."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesmixed import ConvergenceWarning
from bayesmixed.datasets import load_dyestuff, load_sleepstudy
from bayesmixed.design.spec import DesignSpec
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.diagnostics import convergence, largest_r_hat
from bayesmixed.sampling.collapsed import engine as collapsed
from bayesmixed.sampling.engine import Settings
from bayesmixed.sampling.nuts import engine as nuts
from bayesmixed.sampling.report import summarise, warn_of_draws
from helpers.made import make_draws

DATA = load_sleepstudy()
DESIGN = DesignSpec.learn(parse("Days + (Days | Subject)"), DATA, y=DATA["Reaction"].to_numpy())[1]
FEW = DesignSpec.learn(parse("(1 | Batch)"), load_dyestuff().query("Batch < 'E'"))[1]


def report(change=None, *, design=DESIGN, draws=500, divergences=0, target_accept=None):
    """Summarise hand-made draws, four chains of them, and warn of what is wrong."""
    made = make_draws(design, chains=4, draws=draws)
    made.sample_stats["diverging"][0, :divergences] = True
    if change:
        change(made.values)
    summary = summarise(made)
    engine = collapsed if target_accept is None else nuts
    warn_of_draws(summary, design, made, engine, Settings(engine.NAME, draws, 4, 0, target_accept=target_accept or 0.9))
    return summary


def message(*arguments, **options):
    """The only warning's text."""
    with pytest.warns(ConvergenceWarning) as caught:
        report(*arguments, **options)
    assert len(caught) == 1
    return str(caught[0].message)


def test_sound_draws_are_summarised_in_silence():
    summary = report()

    assert summary["divergences"] == 0
    assert summary["undefined"] == []
    assert 1 <= summary["max_r_hat"] < 1.01
    assert summary["min_ess_bulk"] > 1000
    assert summary["min_ess_tail"] > 1000


def test_the_worst_parameter_is_named():
    def spoil(values):
        values["sd_Subject"][..., 1] += 5 * np.arange(4)[:, None]
        values["sigma"] += 0.01 * np.arange(4)[:, None]
        values["beta"] = np.repeat(values["beta"][:, ::10], 10, axis=1)

    with pytest.warns(ConvergenceWarning):
        summary = report(spoil)

    assert summary["max_r_hat_of"] == summary["min_ess_bulk_of"] == "sd_Subject"
    assert summary["max_r_hat"] > 1.5
    assert summary["min_ess_tail"] < 400


def test_divergences_are_warned_of_with_causes_and_remedies():
    text = message(divergences=37, target_accept=0.9)

    assert text == (
        "37 of 2000 draws diverged. Usual causes: a group standard deviation near zero. "
        "Remedies: raise target_accept (now 0.9); state a tighter prior for sd_<factor>."
    )


def test_few_levels_are_a_cause_of_divergences():
    text = message(design=FEW, divergences=37, target_accept=0.9)

    assert "few levels in 'Batch'" in text


def shift(values):
    values["beta"] += np.arange(4)[:, None, None]


def slow(values):
    values["sigma"] = np.repeat(values["sigma"][:, ::10], 10, axis=1)


def test_chains_that_disagree_are_warned_of():
    with pytest.warns(ConvergenceWarning, match=r"R-hat of 'beta' is [0-9.]+ \(should be below 1.01\)"):
        report(shift)


def test_slow_mixing_is_warned_of():
    with pytest.warns(ConvergenceWarning, match=r"effective sample size of 'sigma' is \d+ \(should be above 400\)"):
        report(slow)


@pytest.mark.parametrize(
    ("target_accept", "remedy"), [(0.9, "Remedies: raise tune and draws."), (None, "Remedies: raise draws.")]
)
def test_tuning_is_a_remedy_for_nuts_only(target_accept, remedy):
    assert remedy in message(slow, target_accept=target_accept)


def test_all_that_is_wrong_is_said_in_one_warning():
    def both(values):
        shift(values)
        slow(values)

    text = message(both, divergences=3, target_accept=0.8)

    assert text.startswith("3 of 2000 draws diverged; R-hat of 'beta' is ")
    assert "the effective sample size of 'beta' is" in text
    assert "raise target_accept (now 0.8)" in text
    assert "raise tune and draws" in text


def test_few_draws_lower_the_limit_of_the_effective_sample_size():
    """100 draws of 4 chains are held to 100, not to 400: thinned by ten they fail, as they are they pass."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report(draws=100)

    assert not [w for w in caught if "effective sample size" in str(w.message)]
    with pytest.warns(ConvergenceWarning, match=r"size of 'sigma' is \d+ \(should be above 100\)"):
        report(slow, draws=100)


@pytest.mark.parametrize(("chains", "draws"), [(4, 25), (4, 50), (2, 50), (1, 100)])
def test_independent_draws_exceed_the_limit_of_r_hat_once_in_a_thousand_fits(chains, draws):
    """Of 2,000 fits with three parameters each; ten or more would be seen with probability 5e-5."""
    values = np.random.default_rng(0).standard_t(5, size=(chains, draws, 6000))
    worst = convergence(values).r_hat.reshape(2000, 3).max(axis=1)

    assert np.sum(worst > largest_r_hat((chains, draws), 3)) < 10
    assert largest_r_hat((chains, draws), 3) == 1.01 or np.quantile(worst, 0.99) < largest_r_hat((chains, draws), 3)


def test_the_limit_of_r_hat_is_the_usual_one_where_draws_are_many():
    assert largest_r_hat((4, 1000), 10_000) == 1.01
    assert largest_r_hat((4, 50), 3) > 1.05
    assert largest_r_hat((4, 3), 3) == np.inf


def test_a_stuck_or_broken_parameter_does_not_hide_the_others():
    def break_some(values):
        values["sd_Subject"][..., 0] = 3.0
        values["b_Subject"][0, 0, 0, 0] = np.nan
        values["sd_Subject"][..., 1] += 5 * np.arange(4)[:, None]

    with pytest.warns(
        ConvergenceWarning, match=r"R-hat of 'sd_Subject' is [\d.]+.*R-hat of 'b_Subject', 'sd_Subject' is undefined"
    ):
        summary = report(break_some)
    assert summary["max_r_hat"] > 1.5
    assert summary["undefined"] == ["b_Subject", "sd_Subject"]


def test_a_single_stuck_effect_among_thousands_is_warned_of():
    design = DesignSpec.learn(parse("(1 | g)"), pd.DataFrame({"g": np.arange(3000) % 1500}), y=np.zeros(3000))[1]

    def stick(values):
        values["b_g"][2, :, 1234] += 3.0

    with pytest.warns(ConvergenceWarning, match=r"R-hat of 'b_g' is 1\.[\d]+") as caught:
        summary = report(stick, design=design)
    made = make_draws(design, chains=4, draws=500)
    stick(made.values)
    assert len(caught) == 1
    assert summary["max_r_hat"] == convergence(made.values["b_g"]).r_hat.max()


def test_what_is_drawn_exactly_given_the_others_is_not_diagnosed():
    made = make_draws(DESIGN, chains=4, draws=500)
    made.values["b_Subject"][2] += 3.0

    assert summarise(made)["max_r_hat_of"] == "b_Subject"
    found = summarise(replace(made, exact=frozenset(["b_Subject"])))
    others = [convergence(values).r_hat.max() for name, values in made.values.items() if name != "b_Subject"]
    assert found["max_r_hat"] == max(others)
