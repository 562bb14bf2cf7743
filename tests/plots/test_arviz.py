"""What the guide says of ArviZ's own plots holds on ArviZ 0.x and on 1.x."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from bayesmixed import MixedModelRegressor
from bayesmixed._compat import import_arviz
from bayesmixed.datasets import load_sleepstudy

mpl.use("Agg")
GUIDE = (Path(__file__).parents[2] / "examples/README.md").read_text()
DATA = load_sleepstudy()
# ArviZ warns of its own affairs
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def est():
    return MixedModelRegressor("Days + (Days | Subject)", draws=100, random_state=0).fit(DATA, DATA["Reaction"])


@pytest.fixture
def az():
    arviz = import_arviz()
    yield arviz
    plt.close("all")


def test_the_call_of_the_guide_draws(est, az):
    calls = re.findall(r"^az\.plot_\w+\(.*\)$", GUIDE, flags=re.MULTILINE)

    assert 'az.plot_trace(est.idata_, var_names=["~b_Subject"])' in calls
    for call in calls:
        eval(call, {"az": az, "est": est})
    assert plt.get_fignums()


@pytest.mark.parametrize("name", ["plot_rank", "plot_ess", "plot_pair", "plot_autocorr", "plot_mcse"])
def test_plots_with_a_panel_per_parameter_draw_without_the_group_effects(name, est, az):
    getattr(az, name)(est.idata_, var_names=["~b_Subject"])

    assert plt.get_fignums()


def test_plots_with_a_panel_per_parameter_draw_under_a_higher_limit(est, az):
    with az.rc_context({"plot.max_subplots": 100}):
        az.plot_trace(est.idata_)

    assert plt.get_fignums()


def test_a_forest_takes_all_parameters(est, az):
    az.plot_forest(est.idata_)

    assert plt.get_fignums()


def test_plots_of_replicated_data_draw_from_the_posterior_predictive(est, az):
    idata = est.sample_posterior_predictive(DATA, DATA["Reaction"])
    getattr(az, "plot_ppc_dist" if hasattr(az, "plot_ppc_dist") else "plot_ppc")(idata)

    assert plt.get_fignums()
