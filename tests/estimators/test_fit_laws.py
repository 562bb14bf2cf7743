"""Laws of a fit: a file holds all of it, and neither the order of rows nor the names of levels matter."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmixed as bm
from helpers.collapsed_twins import make_frame
from helpers.strategies import frames, models, weights

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # few draws
FEW = settings(max_examples=6)  # a fit takes its time


def fit(formula, frame, counts=None, **options):
    est = bm.MixedModelRegressor(
        f"y ~ {formula}", **{"sampler": "collapsed", "draws": 40, "random_state": 0, **options}
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # a column far from zero, a combination of others
        return est.fit(frame, sample_weight=counts)


def draws_of(est):
    return est._posterior.draws.values


@FEW
@given(models(), frames(), weights(24))
def test_a_file_holds_all_of_a_fit(formula, frame, counts):
    est = fit(formula, frame, counts)
    with tempfile.TemporaryDirectory() as folder:
        est.save(Path(folder) / "est.bm")
        loaded = bm.load(Path(folder) / "est.bm")
    new = frame.assign(g=np.roll(frame["g"], 1), z=frame["z"] / 2)

    for name, values in draws_of(est).items():
        np.testing.assert_array_equal(draws_of(loaded)[name], values, strict=True)
    for rows in (frame, new):
        np.testing.assert_array_equal(loaded.predict(rows, return_std=True), est.predict(rows, return_std=True))
        np.testing.assert_array_equal(loaded.predict_interval(rows), est.predict_interval(rows))
        np.testing.assert_array_equal(loaded.predict_draws(rows, n_draws=8), est.predict_draws(rows, n_draws=8))
    assert loaded.design_spec_.state == est.design_spec_.state
    assert loaded.priors_ == est.priors_


@FEW
@given(models(), frames(), weights(24), st.permutations(range(24)))
def test_the_order_of_rows_does_not_matter_to_the_draws(formula, frame, counts, order):
    est = fit(formula, frame, counts)
    turned = fit(formula, frame.iloc[order], None if counts is None else counts[order])

    for name, values in draws_of(est).items():
        np.testing.assert_allclose(draws_of(turned)[name], values, rtol=1e-6, atol=1e-8 * np.abs(values).max(initial=0))
    np.testing.assert_allclose(turned.predict(frame), est.predict(frame), rtol=1e-7)


NAMES = st.lists(st.text(max_size=5), min_size=12, max_size=12, unique=True).map(sorted)


@FEW
@given(st.sampled_from(["(1 | pupil)", "(z | pupil)", "(1 | pupil) + (1 | item)", "(1 | town/pupil)"]), NAMES)
def test_new_names_of_levels_in_the_same_order_leave_every_draw_as_it_is(bars, names):
    frame = make_frame().assign(y=lambda rows: rows["x"] + np.sin(7.0 * rows["z"]) + rows["pupil"] % 3)
    renamed = frame.assign(pupil=[names[pupil] for pupil in frame["pupil"]])
    ours, theirs = fit(f"x + {bars}", frame), fit(f"x + {bars}", renamed)

    for name, values in draws_of(ours).items():
        np.testing.assert_array_equal(draws_of(theirs)[name], values)
    np.testing.assert_array_equal(theirs.predict(renamed), ours.predict(frame))
    pd.testing.assert_frame_equal(theirs.common_effects(), ours.common_effects())
