"""Models and lengths at the edge of the transport sampler: from the fit to what comes after it."""

import copy
import pickle
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

import bayesmixed as bm
from bayesmixed import ConvergenceWarning, MixedModelRegressor
from helpers.transport_twins import make_rows

FRAME = make_rows()
pytestmark = pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")  # of 200 draws


def fit(family, formula, frame=FRAME, **options):
    options = {"random_state": 0, "sampler": "transport", "draws": 50} | options
    if family == "binomial":
        options["trials"] = "n"
    return MixedModelRegressor(formula, family=family, **options).fit(frame, frame[family])


@pytest.mark.parametrize(
    ("family", "formula"),
    [
        ("poisson", "x"),
        ("binomial", "1"),
        ("poisson", "0 + (1 | a)"),
        ("binomial", "0 + (1 | a) + (1 | b)"),
        ("t", "0 + (1 | a) + (1 | h)"),
    ],
)
def test_models_without_groups_or_common_effects_are_fitted_kept_and_left_out_of(family, formula, tmp_path):
    est = fit(family, formula)
    est.save(tmp_path / "est.bm")
    loaded = bm.load(tmp_path / "est.bm")
    new, expected = FRAME.head(3), est.predict(FRAME)
    found = est.loo(FRAME, FRAME[family])

    assert np.isfinite(expected).all()
    for other in (loaded, pickle.loads(pickle.dumps(est)), copy.deepcopy(est)):
        np.testing.assert_array_equal(other.predict(FRAME), expected)
    updated = [fitted.condition(new, new[family]).predict(FRAME) for fitted in (est, loaded)]
    np.testing.assert_array_equal(updated[1], updated[0])
    assert np.isfinite(found.log_likelihood).all()
    assert (found.pareto_k < 1).all()


def test_a_pickle_has_no_matrices_that_are_made_again():
    rows = fit("poisson", "x + (1 | a) + (1 | b) + (1 | h)")._posterior.draws.state.prepared.rows

    assert "_matrix" in vars(rows)
    for value in (rows, rows.layout):
        assert set(vars(pickle.loads(pickle.dumps(value)))) == {field.name for field in fields(value)}


@pytest.mark.numerical
def test_new_levels_of_several_factors_come_one_after_the_other():
    known = FRAME[(FRAME["a"] < 8) & (FRAME["h"] < 4)]
    first = FRAME[(FRAME["a"] == 8) & (FRAME["h"] < 4)]
    second = FRAME[FRAME["h"] == 4].assign(b=99)  # `a` is not nested in `b` any more
    est = fit("poisson", "x + (1 | a) + (1 | b) + (1 | h)", known)
    updated = est.condition(first, first["poisson"]).condition(second, second["poisson"])
    state, every = (
        updated._posterior.draws.state,
        np.concatenate([known["poisson"], first["poisson"], second["poisson"]]),
    )

    assert [len(group.levels) for group in updated.design_spec_.groups] == [9, 6, 5]
    np.testing.assert_array_equal(np.sort(state.prepared.rows.y[:, 0]), np.sort(every))
    assert state.prepared.rows.layout.nested < est._posterior.draws.state.prepared.rows.layout.nested
    assert np.isfinite(updated.predict(second)).all()


def test_a_row_whose_columns_are_zero_is_left_out_too():
    """Nothing is learned of its linear predictor, which is its offset: its density is the family's there."""
    frame = FRAME.assign(x=np.where(np.arange(len(FRAME)) < 3, 0.0, FRAME["x"]))
    found = fit("poisson", "0 + x + (0 + x | a)", frame).loo(frame, frame["poisson"])

    expected = bm.families.get_family("poisson").log_density(frame["poisson"].to_numpy(float)[:3], np.zeros(3))
    np.testing.assert_allclose(found.log_likelihood[..., :3], np.broadcast_to(expected, (4, 50, 3)), rtol=1e-6)


@pytest.mark.parametrize(("chains", "draws"), [(1, 50), (2, 51), (6, 20)])
def test_any_number_of_chains_and_draws_is_kept(chains, draws):
    est = fit("gamma", "x + (1 | a)", chains=chains, draws=draws)

    assert {values.shape[:2] for values in est._posterior.draws.values.values()} == {(chains, draws)}
    assert est._posterior.draws.sample_stats["lp"].shape == (chains, draws)


@pytest.mark.parametrize("draws", [1, 3])
def test_draws_too_few_for_an_r_hat_are_returned_with_a_warning(draws):
    with pytest.warns(ConvergenceWarning, match="is undefined"):
        est = fit("gamma", "x + (1 | a)", draws=draws)

    assert est.diagnostics_["thinning"] == 1
    assert est._posterior.draws.shape == (4, draws)


def test_a_model_with_nothing_but_the_familys_parameter_is_sampled():
    counts = pd.DataFrame({"y": [0, 3, 1, 7, 0, 2, 12, 0, 1, 4]})

    est = bm.MixedModelRegressor("y ~ 0", family="negativebinomial", draws=200, random_state=0).fit(counts)

    assert np.array_equal(est.predict(counts), np.ones(10))
    assert est.diagnostics_["sampler"] == "transport"


@pytest.mark.parametrize("formula", ["y ~ 0", "y ~ 0 + offset(z)"])
def test_a_model_without_any_parameter_is_an_error(formula):
    counts = pd.DataFrame({"y": [0, 3, 1, 7], "z": [0.0, 1.0, 0.5, 2.0]})

    with pytest.raises(bm.FormulaError, match="leaves nothing to estimate"):
        bm.MixedModelRegressor(formula, family="poisson").fit(counts)
