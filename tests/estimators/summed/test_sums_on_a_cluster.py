"""Dask's workers sum their partitions: no rows travel, and a worker that dies changes nothing."""

import os
import signal
from functools import partial

import dask.dataframe as dd
import pandas as pd
import pytest

import bayesmixed as bm
from helpers.summed_cases import FAST, largest_difference, make_frame

FRAME = make_frame(600)
FORMULA = "y ~ x*k + (1 | pupil)"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(**workers) as cluster, Client(cluster) as client:
        yield client


def rows(at, flag=None):
    """Rows of a partition; where a flag is to be left, the first to come leaves it, and is killed."""
    if flag is not None and at == 7 and not os.path.exists(flag):
        with open(flag, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return make_frame(600)[at * 50 : (at + 1) * 50]


def partitions(flag=None):
    return dd.from_map(partial(rows, flag=flag), range(12), meta=FRAME.head(0))


def fit(source):
    return bm.MixedModelRegressor(FORMULA, **FAST).fit(source)


def test_a_fit_on_a_cluster_is_the_fit_in_memory(client):
    assert largest_difference(fit(partitions()), fit(FRAME)) < 1e-8


def test_a_worker_that_is_killed_in_the_middle_changes_no_draw(client, tmp_path):
    known = fit(partitions())
    flag = tmp_path / "killed"
    est = fit(partitions(str(flag)))

    assert flag.exists()
    assert largest_difference(est, known) == 0


def test_no_task_returns_rows(client):
    """What workers send, and what they keep for others, are sums, levels and specs."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    class Watch(SchedulerPlugin):
        def __init__(self):
            self.types = []

        def transition(self, key, start, finish, *args, **kwargs):
            if finish == "memory":
                self.types.append(kwargs.get("typename") or "")

    client.register_plugin(Watch(), name="watch")
    fit(partitions())
    types = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.plugins["watch"].types)

    assert len(types) > 24
    assert not [name for name in types if "DataFrame" in name or "ndarray" in name], set(types)


def test_an_error_on_a_worker_says_which_partition_it_is_of(client):
    frame = FRAME.assign(x=FRAME["x"].where(FRAME.index != 333))
    with pytest.raises(ValueError, match=r"^row 33 of partition 3: column 'x' has 1 missing values"):
        fit(dd.from_pandas(frame, npartitions=6))
    frame = FRAME.assign(k=pd.Series(["a", "b"] * 300).where(FRAME.index < 500, None))
    with pytest.raises(ValueError, match=r"^row 0 of partition 5: column 'k' has 100 missing values"):
        fit(dd.from_pandas(frame, npartitions=6))
