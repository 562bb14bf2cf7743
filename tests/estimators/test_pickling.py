"""A fit travels: copies of every kind, made after fit, after predictions and after `idata_`, are the fit bit by bit."""

import copy
import dataclasses
import pickle
from contextlib import nullcontext

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from test_storage import FRAME, NEW, Y, assert_equal

from bayesmixed import MixedModelRegressor, Normal, StudentT
from bayesmixed.chunks import allow
from bayesmixed.datasets import load_sleepstudy
from helpers.twins import in_new_process

SLEEP = load_sleepstudy()
CASES = {
    "splines": ("bs(x, df=4) + C(k, Sum) * poly(z, 2) + (scale(x) | school)", {}),
    "no groups": ("x * k + bs(z, df=4)", {"random_state": np.random.RandomState(3)}),
    "nested": ("x + (1 | town/pupil)", {"new_groups": {"town": "zero"}}),
    "crossed": ("x + (z | pupil) + (1 | item)", {"priors": {"x": Normal(0, 2)}, "lkj_eta": {"pupil": 3.0}}),
    "not stored": ("x + (z | pupil)", {}),
    "crossed, not stored": ("x + (z | pupil) + (1 | item)", {}),
    "nuts": ("x + (z | pupil)", {"sampler": "nuts", "priors": {"x": StudentT(3, 0, 1)}}),
    "conditioned": ("x + (1 | school/pupil)", {"draws": 1000}),
}
WAYS = {
    "pickle": lambda est, folder: pickle.loads(pickle.dumps(est)),
    "oldest protocol": lambda est, folder: pickle.loads(pickle.dumps(est, protocol=2)),
    "joblib": lambda est, folder: joblib.load(joblib.dump(est, folder / "est.joblib")[0]),
    "deepcopy": lambda est, folder: copy.deepcopy(est),
    "cloudpickle": lambda est, folder: pickle.loads(cloudpickle.dumps(est)),
}
OTHERS = [way for way in WAYS if way != "pickle"]

pytestmark = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # the chains are short


@pytest.fixture
def fit(fake_nuts):
    """A new fit of a case, which has not been asked for anything."""

    def made(case):
        formula, options = CASES[case]
        with allow(stored=0) if "not stored" in case else nullcontext():
            est = MixedModelRegressor(formula, **{"draws": 250, "random_state": 0, **options}).fit(FRAME, Y)
        return est.condition(NEW[:5], Y[:5]) if case == "conditioned" else est

    return made


def ask(est):
    """Ask for whatever might leave something behind in the estimator."""
    for X in (FRAME, NEW):
        est.predict(X, return_std=True)
        est.predict_interval(X)
        est.predict_draws(X, n_draws=40)
    est.predict(NEW, new_groups="donor")
    est.summary()


def along_the_way(est, take):
    """What is taken of a new fit, of one that was asked for predictions and of one whose posterior was looked at."""
    found = [take(est)]
    ask(est)
    found.append(take(est))
    assert est.idata_ is not None
    return [*found, take(est)]


@pytest.mark.parametrize(
    ("case", "way"),
    [*((case, "pickle") for case in CASES), *((case, way) for case in ("splines", "not stored") for way in OTHERS)],
)
def test_a_copy_is_the_fit(case, way, fit, tmp_path):
    est = fit(case)
    for copied in along_the_way(est, lambda est: WAYS[way](est, tmp_path)):
        assert set(vars(copied)) == set(vars(est))
        assert_equal(est, copied)
        for group in est.design_spec_.groups:
            assert copied.draw_group_effects(group.name).identical(est.draw_group_effects(group.name))


@pytest.mark.parametrize(
    ("case", "way"), [("nested", "pickle"), ("crossed, not stored", "deepcopy"), ("no groups", "joblib")]
)
def test_a_copy_learns_on_as_the_fit(case, way, fit, tmp_path):
    est = fit(case)
    ask(est)

    assert_equal(WAYS[way](est, tmp_path).condition(NEW[:5], Y[:5]), est.condition(NEW[:5], Y[:5]))


def test_a_deep_copy_shares_nothing_that_can_be_written_to(fit):
    est = fit("crossed")
    copied = copy.deepcopy(est)
    expected = est.predict(FRAME, return_std=True)
    for values in copied._posterior.draws.values.values():
        values[...] = 0
    for values in copied._posterior.draws.means.values():
        values[...] = 0

    np.testing.assert_array_equal(est.predict(FRAME, return_std=True), expected)


def test_an_estimator_that_is_not_fitted_travels_too(tmp_path):
    est = MixedModelRegressor("x + (1 | school)", priors={"x": Normal(0, 2)}, lkj_eta={"school": 3.0})
    for way in WAYS.values():
        copied = way(est, tmp_path)
        assert copied.get_params() == est.get_params() == clone(copied).get_params()
        with pytest.raises(NotFittedError):
            copied.predict(FRAME)


# ---- in another process

READ = """
import json, pickle, sys
import numpy as np
paths, data = json.load(sys.stdin)
with open(data, "rb") as file:
    frame, new = pickle.load(file)
found = {}
for name, path in paths.items():
    with open(path, "rb") as file:
        est = pickle.load(file)
    told = [np.stack(est.predict(X, return_std=True)).tolist() for X in (frame, new)]
    told += [est.predict_interval(X).tolist() for X in (frame, new)]
    found[name] = [told, est.predict(new, new_groups="donor").tolist()]
heavy = sorted({"pymc", "pytensor", "arviz", "numba", "matplotlib", "xarray"} & set(sys.modules))
print(json.dumps([found, heavy]))
"""


def test_a_new_process_reads_a_pickle_predicts_the_same_and_loads_nothing_heavy(fit, tmp_path):
    fits = {case: fit(case) for case in CASES}
    paths = {case: str(tmp_path / f"{at}.pickle") for at, case in enumerate(CASES)}
    for case, est in fits.items():
        (tmp_path / paths[case]).write_bytes(pickle.dumps(est))
    (tmp_path / "data.pickle").write_bytes(pickle.dumps([FRAME, NEW]))
    found, heavy = in_new_process(READ, [paths, str(tmp_path / "data.pickle")])

    assert heavy == []
    for case, est in fits.items():
        told, donor = found[case]
        np.testing.assert_array_equal(told[:2], [est.predict(X, return_std=True) for X in (FRAME, NEW)])
        np.testing.assert_array_equal(told[2:], [est.predict_interval(X) for X in (FRAME, NEW)])
        np.testing.assert_array_equal(donor, est.predict(NEW, new_groups="donor"))


# ---- how large it is


def size(est):
    return len(pickle.dumps(est))


def size_of_draws(est):
    return sum(values.nbytes for values in est._posterior.draws.values.values())


def test_a_pickle_is_little_more_than_its_draws():
    est = MixedModelRegressor("Days + (Days | Subject)", random_state=0).fit(SLEEP, SLEEP["Reaction"])

    assert size_of_draws(est) == 8 * 4000 * (1 + 1 + 36 + 2 + 1 + 1)
    assert size(est) < 1.5 * size_of_draws(est)


def test_a_pickle_has_no_more_than_the_fields():
    """From the statistics, all that the sampler has made of them follows."""
    est = MixedModelRegressor("bs(x, df=4) + (z | pupil) + (1 | item)", draws=250, random_state=0).fit(FRAME, Y)
    used, copied = est._posterior, pickle.loads(pickle.dumps(est))._posterior
    est.predict(FRAME)

    assert "elimination" in vars(used.draws.state.density)
    assert "_calls" in vars(used.spec.common)
    for one in (copied.draws.state.density, copied.spec.common):
        assert set(vars(one)) == {field.name for field in dataclasses.fields(one)}


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")  # by ArviZ, of a few rows
@pytest.mark.parametrize("case", CASES)
def test_a_pickle_does_not_grow_with_use(case, fit):
    """What is kept for the next call is made again in the copy."""
    est = fit(case)
    sizes = along_the_way(est, size)
    if case not in ("nuts", "conditioned"):
        est.condition(NEW[:5], Y[:5])
        est.loo(FRAME, Y)
        sizes.append(size(est))

    assert len(set(sizes)) == 1
