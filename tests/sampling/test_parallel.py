"""Fits inside the workers of others: joblib's processes and threads, daemons, Dask. A processor each, nothing left."""

import multiprocessing
import os
import pickle
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import psutil  # comes with distributed
import pytest
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from threadpoolctl import threadpool_info

from bayesmixed import ConvergenceWarning, MixedModelRegressor
from bayesmixed.chunks import allow
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.sampling.nuts import engine as nuts
from bayesmixed.sampling.nuts.engine import resolve_cores
from helpers.twins import in_new_process

pytestmark = pytest.mark.slow

DATA = load_sleepstudy().assign(Shift=lambda frame: frame["Days"] % 3)
Y = DATA["Reaction"]
FORMULAS = [
    "Days + (Days | Subject)",
    "bs(Days, df=4) + (1 | Subject)",
    "scale(Days) + (1 | Subject) + (1 | Shift)",
    "poly(Days, 2) + C(Shift)",
]
GRID = {"group_prior": ["lkj", "independent"]}
SHORT = {"sampler": "nuts", "draws": 30, "tune": 50, "chains": 2}
SECONDS = 120  # after which a process is taken for stuck

# so short a run of NUTS has not converged
UNCONVERGED = pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")


def make(formula=FORMULAS[0], **options):
    return MixedModelRegressor(formula, **{"draws": 500, "random_state": 0, **options})


def predicted(formula, **options):
    """Draws of predictions of one fit, with and without new subjects."""
    est = make(formula, **options).fit(DATA, Y)
    return np.stack([est.predict_draws(X, n_draws=20) for X in (DATA.head(9), DATA.head(9).assign(Subject=1))])


class Watched(MixedModelRegressor):
    """Notes in a worker what a fit asks of the machine, and what it leaves."""

    def fit(self, X, y=None, sample_weight=None):
        asked, run = [], nuts.run_nuts

        def run_nuts(model, **settings):
            asked.append(settings["cores"])
            return run(model, **settings)

        nuts.run_nuts = run_nuts
        try:
            before = os.times()
            super().fit(X, y, sample_weight)
            after = os.times()
        finally:
            nuts.run_nuts = run
        busy = sum(after[:4]) - sum(before[:4])
        self.seen_ = {
            "process": os.getpid(),
            "cores": asked,
            "processors": busy / (after.elapsed - before.elapsed),
            "children": [child.name() for child in psutil.Process().children(recursive=True)],
            "threads_of_blas": [pool["num_threads"] for pool in threadpool_info()],
        }
        return self


# ---- joblib


def assert_a_processor_each(seen):
    """In another process, on one processor at a time, on its share of them in linear algebra, and nothing is left."""
    assert seen["process"] != os.getpid()
    assert seen["processors"] < 1.3
    assert max(seen["threads_of_blas"]) <= max(1, joblib.cpu_count() // 2)
    assert seen["children"] == []


@pytest.mark.slow
@UNCONVERGED
def test_folds_fitted_by_nuts_in_two_workers_take_a_processor_each():
    est = Watched("Days + (1 | Subject)", random_state=0, nuts_backend="pymc", **SHORT)
    found = cross_validate(est, DATA, Y, cv=2, n_jobs=2, return_estimator=True)

    assert np.isfinite(found["test_score"]).all()
    for one in found["estimator"]:
        assert one.diagnostics_["backend"] == "pymc"
        assert one.seen_["cores"] == [1]
        assert_a_processor_each(one.seen_)


def test_collapsed_folds_in_two_workers_take_a_processor_each():
    est = Watched(FORMULAS[0], random_state=0)
    found = cross_validate(est, DATA, Y, cv=2, n_jobs=2, return_estimator=True)

    for one in found["estimator"]:
        assert one.diagnostics_["sampler"] == "collapsed"
        assert_a_processor_each(one.seen_)


def test_threads_find_what_one_does():
    alone = cross_val_score(make(), DATA, Y, cv=3)
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(cross_val_score(make(), DATA, Y, cv=3, n_jobs=2), alone)


@pytest.fixture
def switching():
    """Threads take turns so often that whatever they shared would be mixed up."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_do_not_disturb_each_other(switching):
    """Different models at a time."""
    alone = [predicted(formula) for formula in FORMULAS]
    found = Parallel(n_jobs=4, backend="threading")(delayed(predicted)(formula) for formula in 3 * FORMULAS)

    for ours, theirs in zip(found, 3 * alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_threads_may_share_a_fit(switching):
    """What a fit makes when it is first asked is the same for all who ask at once."""
    with allow(stored=0):  # effects and their means are made on demand, too
        fitted = pickle.dumps(make("bs(Days, df=4) + (Days | Subject)").fit(DATA, Y))
    expected = pickle.loads(fitted).predict(DATA, return_std=True)
    together = threading.Barrier(4)

    def ask(est):
        together.wait(timeout=SECONDS)
        return est.predict(DATA, return_std=True)

    for _ in range(5):
        shared = pickle.loads(fitted)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(ask, 4 * [shared]):
                np.testing.assert_array_equal(found, expected)


# ---- daemons, which may have no children


def in_a_daemon(function, *arguments):
    """What a function returns in a new process of `multiprocessing`."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply_async(function, arguments).get(timeout=SECONDS)


def fit_here(options):
    """One fit, and whether the process is a daemon."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        est = Watched("Days + (1 | Subject)", random_state=0, **options).fit(DATA, Y)
    return est, multiprocessing.current_process().daemon


def test_a_daemon_fits_by_the_collapsed_sampler():
    est, is_daemon = in_a_daemon(fit_here, {"draws": 500})

    assert is_daemon
    assert est.diagnostics_["sampler"] == "collapsed"
    np.testing.assert_array_equal(est.predict(DATA), make("Days + (1 | Subject)").fit(DATA, Y).predict(DATA))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["pymc", "nutpie"])
def test_a_daemon_fits_by_nuts(backend):
    est, is_daemon = in_a_daemon(fit_here, {"nuts_backend": backend, "cores": 2, **SHORT})

    assert is_daemon
    assert est.seen_["cores"] == [1]
    assert est.seen_["children"] == []
    assert np.isfinite(est.predict(DATA)).all()


# ---- Dask


def where():
    """The process, whether it is a daemon, and the processes for four chains there."""
    cores = [resolve_cores(asked, 4) for asked in (None, 3)]
    return {"process": os.getpid(), "daemon": multiprocessing.current_process().daemon, "cores": cores}


def search():
    return GridSearchCV(make(), GRID, cv=3).fit(DATA, Y)


def on_dask(processes):
    """A search on a cluster of two workers, and what these are."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=":0")
    with cluster, Client(cluster, timeout=SECONDS) as client:
        with joblib.parallel_config("dask"):
            found = search()
            inside = Parallel()(delayed(where)() for _ in range(8))
        inside += client.gather([client.submit(where, pure=False) for _ in range(8)])
    return {
        "scores": found.cv_results_["mean_test_score"].tolist(),
        "best": found.best_params_,
        "predicted": found.predict(DATA).tolist(),
        "inside": inside,
        "outside": where(),
    }


@pytest.fixture(scope="module")
def searches_on_dask():
    """Of workers that are processes and of some that are threads; in a process that can be stopped, loops and all."""
    here = Path(__file__).parent
    code = (
        f"import json, sys; sys.path += [{str(here.parent)!r}]; import test_parallel as t; "
        "print(json.dumps([t.on_dask(processes) for processes in (True, False)]))"
    )
    found = in_new_process(code, None, "-W", "error", cwd=here, timeout=SECONDS)
    return dict(zip(("processes", "threads"), found, strict=True))


@pytest.mark.parametrize("workers", ["processes", "threads"])
def test_a_search_on_dask_finds_what_one_process_does(workers, searches_on_dask):
    found, alone = searches_on_dask[workers], search()

    np.testing.assert_allclose(found["scores"], alone.cv_results_["mean_test_score"], rtol=1e-8)
    np.testing.assert_allclose(found["predicted"], alone.predict(DATA), rtol=1e-8)
    assert found["best"] == alone.best_params_


@pytest.mark.parametrize("workers", ["processes", "threads"])
def test_inside_a_worker_of_dask_a_fit_has_one_process(workers, searches_on_dask):
    inside, outside = searches_on_dask[workers]["inside"], searches_on_dask[workers]["outside"]

    assert {one["process"] == outside["process"] for one in inside} == {workers == "threads"}
    assert {one["daemon"] for one in inside} == {workers == "processes"}
    assert [one["cores"] for one in inside] == [[1, 1]] * 16
    assert outside["cores"] == [min(4, joblib.cpu_count()), 3]
