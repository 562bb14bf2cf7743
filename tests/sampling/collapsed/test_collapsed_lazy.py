"""Effects that are too many to store: every draw and every mean as if they were stored, to the last bit."""

import numpy as np
import pandas as pd
import pytest

from bayesmixed import MixedModelRegressor, split_group_effects
from bayesmixed._compat import dataset
from bayesmixed.chunks import allow
from bayesmixed.gaussian.effects import FirstEffects
from bayesmixed.prediction.new_groups import MODES
from helpers.collapsed_twins import make_frame

FRAME = make_frame(n=120)
Y = pd.Series(np.random.default_rng(0).normal(5, 2, 120) + FRAME["pupil"] % 3 + FRAME["item"] * FRAME["x"] / 4)
FORMULAS = {
    "one factor": "x + (x | pupil)",
    "nested": "x + (1 | school/pupil)",
    "crossed": "x + (x | pupil) + (1 | item)",
}
NEW = pd.concat(
    [
        FRAME.iloc[[5, 17, 3]],
        FRAME.iloc[[1, 2, 4]].assign(pupil=[50, 51, 50]),
        FRAME.iloc[[6]].assign(item=50, school=50),
        FRAME.iloc[[8]].assign(pupil=np.nan),
    ],
    ignore_index=True,
)

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the chains are short


@pytest.fixture(params=FORMULAS)
def pair(request):
    """The same fit, with its effects stored and with none."""
    est = MixedModelRegressor(FORMULAS[request.param], draws=200, chains=2, random_state=3)
    stored = est.fit(FRAME, Y)
    with allow(stored=0):
        lazy = MixedModelRegressor(**est.get_params()).fit(FRAME, Y)
    return stored, lazy


def leaf(est):
    """The factor that may be too large: the one that is integrated out first."""
    return max(est.design_spec_.groups, key=lambda group: len(group.levels) * len(group.effect_names)).name


@pytest.mark.parametrize("formula", FORMULAS.values())
def test_stored_effects_are_drawn_once_when_they_are_first_read(formula, monkeypatch):
    drawn, draw = [], FirstEffects.draw
    monkeypatch.setattr(FirstEffects, "draw", lambda self, levels: drawn.append(len(levels)) or draw(self, levels))
    est = MixedModelRegressor(formula, draws=50, chains=2, random_state=3).fit(FRAME, Y)
    factor = leaf(est)

    assert drawn == []
    assert f"b_{factor}" in est._posterior.draws.values
    assert dataset(est.idata_, "posterior")[f"b_{factor}"].shape[:2] == (2, 50)
    est.group_effects(factor)
    est.predict_draws(FRAME)
    assert drawn == [FRAME[factor.split(":")].drop_duplicates().shape[0]]


def test_only_the_first_factors_effects_are_left_out(pair):
    stored, lazy = (dataset(est.idata_, "posterior") for est in pair)
    factor = leaf(pair[0])

    assert "bayesmixed_lazy" not in stored.attrs
    assert lazy.attrs["bayesmixed_lazy"] == [factor]
    assert list(lazy) == [name for name in stored if name != f"b_{factor}"]
    for name in lazy:
        np.testing.assert_array_equal(lazy[name], stored[name])
    np.testing.assert_array_equal(lazy[factor], stored[factor])
    assert f"b_{factor}_Intercept" not in split_group_effects(pair[1].idata_)


def test_draw_group_effects_gives_the_stored_numbers(pair):
    stored, _ = pair
    posterior = dataset(stored.idata_, "posterior")
    for group in stored.design_spec_.groups:
        some = group.levels[[3, 0, 2]].tolist()
        expected = posterior[f"b_{group.name}"]
        for est in pair:
            assert est.draw_group_effects(group.name).identical(expected)
            assert est.draw_group_effects(group.name, some).identical(expected.sel({group.name: some}))


def test_predictions_are_the_same(pair):
    stored, lazy = pair
    for mode in (mode for mode in MODES if mode != "error"):
        (mean, std), (their_mean, their_std) = (
            est.predict(NEW, return_std=True, new_groups=mode) for est in (lazy, stored)
        )
        np.testing.assert_array_equal(mean, their_mean)
        # a sum over levels in another order; or exact moments instead of 400 draws of the effects
        exact = lazy._posterior.draws.state.coefficients is not None
        np.testing.assert_allclose(std, their_std, rtol=0.01 if exact else 1e-14)
        for kind in ("linear", "response"):
            options = {"kind": kind, "new_groups": mode}
            assert lazy.predict_draws(NEW, **options).identical(stored.predict_draws(NEW, **options))
    np.testing.assert_array_equal(lazy.predict(NEW, include_groups=False), stored.predict(NEW, include_groups=False))
    assert lazy.score(FRAME, Y) == stored.score(FRAME, Y)


def test_a_lazy_posterior_can_be_written_and_read(pair, tmp_path):
    import xarray as xr

    written = dataset(pair[1].idata_, "posterior")
    written.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    read = xr.load_dataset(tmp_path / "posterior.nc", engine="h5netcdf")

    assert read.equals(written)
    assert np.atleast_1d(read.attrs["bayesmixed_lazy"]).tolist() == [leaf(pair[0])]


def test_what_does_not_exist_is_refused(pair):
    for est in pair:
        with pytest.raises(ValueError, match=r"factor must be one of the grouping factors .*, got 'Site'"):
            est.draw_group_effects("Site")
        with pytest.raises(ValueError, match=r"grouping factor '.*' has no level 99; it has"):
            est.draw_group_effects(leaf(est), [99])


def test_the_limit_counts_the_numbers_of_a_factors_draws():
    """200 draws of 12 pupils with two effects are 4800 numbers."""
    for limit, lazy in [(4800, False), (4799, True)]:
        with allow(stored=limit):
            est = MixedModelRegressor(FORMULAS["one factor"], draws=100, chains=2, random_state=3).fit(FRAME, Y)
        assert bool(est._posterior.draws.lazy) == lazy
