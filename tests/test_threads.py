"""One thread of BLAS while small matrices are many, and as many as before afterwards."""

import os
import subprocess
import sys

import joblib
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from bayesmixed import MixedModelRegressor
from bayesmixed._compat import one_blas_thread
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.sampling.collapsed import search, state


def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def two():
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("this BLAS has one thread")
        yield


def test_the_number_of_threads_comes_back(two):
    with one_blas_thread():
        assert threads() == {1}
    assert threads() == {2}


def test_nothing_changes_where_it_is_not_wanted(two):
    with one_blas_thread(False):
        assert threads() == {2}


THREADS_OF_THEIR_OWN = """
from threading import Barrier, Thread
from threadpoolctl import threadpool_info
from bayesmixed._compat import one_blas_thread

inside = Barrier(4, timeout=10)

def threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

def work():
    for _ in range(20):
        with one_blas_thread():
            inside.wait()

before = threads()
workers = [Thread(target=work) for _ in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(before, threads())
"""


def test_the_number_of_threads_comes_back_where_several_threads_ask_for_one():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, "2")
    command = [sys.executable, "-c", THREADS_OF_THEIR_OWN]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    many = min(2, joblib.cpu_count())  # BLAS takes no more threads than it has processors
    assert run.stdout.strip() == f"{{{many}}} {{{many}}}"


def test_a_fit_of_small_matrices_takes_one_thread_and_one_of_large_ones_as_many_as_there_are(two, monkeypatch):
    seen = []
    found = search.locate
    monkeypatch.setattr(search, "locate", lambda *args: (seen.append(threads()), found(*args))[1])
    frame = load_sleepstudy()
    est = MixedModelRegressor("Reaction ~ Days + (Days | Subject)", draws=100, random_state=0)
    est.fit(frame)
    monkeypatch.setattr(state, "are_small", lambda density: False)
    est.fit(frame)

    assert seen == [{1}, {2}]
    assert threads() == {2}
