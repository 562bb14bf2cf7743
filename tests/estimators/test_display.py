"""What is seen of an estimator and its priors, as text and as HTML."""

import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version

from bayesmixed import HalfNormal, MixedModelRegressor, Normal, StudentT
from bayesmixed.datasets import load_pastes, load_sleepstudy
from bayesmixed.estimators import summaries as posterior_mixin
from bayesmixed.estimators.display import MAX_LINES
from bayesmixed.estimators.inputs import learn
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.resolve import resolve_priors

DATA = load_sleepstudy()
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def fitted():
    return MixedModelRegressor(FORMULA, random_state=0).fit(DATA)


def lines_of(text):
    """Names and values of a block, by section."""
    found, section = {}, None
    for line in text[text.index("Model\n") :].splitlines():
        if line.startswith("  "):
            name, value = re.split(r"\s{2,}", line.strip(), maxsplit=1)
            found[section][name] = value
        elif line.isalpha():
            section, found[line] = line, {}
    return found


class Cells(HTMLParser):
    """Texts of the cells of all tables."""

    def __init__(self, html):
        super().__init__()
        self.cells, self.inside = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.inside = tag in ("th", "td")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.cells.append(data)


def test_an_estimator_that_is_not_fitted_is_shown_as_scikit_learn_shows_it():
    est = MixedModelRegressor(
        FORMULA, draws=500, nuts_backend="nutpie", priors={"Days": Normal(0, 20), "sigma": HalfNormal(3)}
    )

    assert repr(MixedModelRegressor()) == "MixedModelRegressor()"
    assert repr(est) == (
        "MixedModelRegressor(draws=500, formula='Reaction ~ Days + (Days | Subject)',\n"
        "                    nuts_backend='nutpie',\n"
        "                    priors={'Days': Normal(mu=0, sigma=20),\n"
        "                            'sigma': HalfNormal(sigma=3)})"
    )
    assert "Priors</b>" not in est._repr_html_()


def test_a_fitted_one_adds_its_formula_priors_and_diagnostics(fitted):
    shown, found = lines_of(repr(fitted)), fitted.diagnostics_

    assert repr(fitted).partition("\nModel\n")[0] == repr(clone(fitted))
    assert list(shown) == ["Model", "Priors", "Sampling"]
    assert shown["Model"] == {
        "formula": FORMULA,
        "family": "gaussian, identity link",
        "rows": "180",
        "Subject": "18 levels of (Intercept, Days)",
    }
    assert shown["Priors"] == dict(fitted.priors_.rows)
    assert shown["Sampling"]["sampler"] == "collapsed (sampler='auto')"
    assert shown["Sampling"]["draws"] == "1,000 in each of 4 chains"
    assert shown["Sampling"]["largest R-hat"] == f"{found['max_r_hat']:.3f}, {found['max_r_hat_of']}"
    assert shown["Sampling"]["smallest tail ESS"] == f"{found['min_ess_tail']:,.0f}, {found['min_ess_tail_of']}"
    assert shown["Sampling"]["Pareto k-hat"] == f"{found['k_hat']:.2f}"
    assert "divergences" not in shown["Sampling"]
    assert str(fitted) == repr(fitted)


def test_html_has_the_same_names_and_values(fitted):
    html = fitted._repr_html_()
    expected = [text for lines in lines_of(repr(fitted)).values() for line in lines.items() for text in line]

    assert Cells(html[html.rindex("</script>") :]).cells == expected
    assert fitted._repr_mimebundle_()["text/plain"] == repr(fitted)
    assert Cells(fitted._repr_mimebundle_()["text/html"].rpartition("</script>")[2]).cells == expected


def test_showing_does_not_assemble_the_posterior(fitted, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("assembled")

    monkeypatch.setattr(posterior_mixin, "container", refuse)
    est = pickle.loads(pickle.dumps(fitted))

    assert "idata_" not in est._repr_html_()
    # earlier ones show no attributes
    assert "coef_" in est._repr_html_() or parse_version(sklearn.__version__) < parse_version("1.9")
    assert repr(est)
    with pytest.raises(AssertionError, match="assembled"):
        est.idata_  # noqa: B018


def test_names_are_escaped_in_html():
    X = pd.DataFrame({"<b>&": np.arange(20.0), "x": np.sin(np.arange(20))})
    est = MixedModelRegressor(random_state=0).fit(X, np.cos(np.arange(20.0)))
    ours = est._repr_html_().rpartition("</script>")[2]

    assert "beta[&lt;b&gt;&amp;]" in ours
    assert "beta[<b>&]" not in ours
    assert "beta[<b>&]" in repr(est)


def test_blocks_factors_and_weights_are_told():
    batches = load_pastes()
    nested = MixedModelRegressor("strength ~ 1 + (1 | batch/cask)", random_state=0).fit(batches)
    apart = MixedModelRegressor("Days + (Days || Subject)", random_state=0)
    apart.fit(DATA, DATA["Reaction"], sample_weight=np.arange(180) % 3)

    assert lines_of(repr(nested))["Model"]["batch:cask"] == "30 levels of Intercept"
    model = lines_of(repr(apart))["Model"]
    assert model["rows"] == "120, of weight 180"
    assert model["Subject"] == "18 levels of Intercept, Days"
    assert "corr_Subject" not in lines_of(repr(apart))["Priors"]


def test_a_fit_by_nuts_counts_its_divergences(fake_nuts):
    est = MixedModelRegressor(FORMULA, sampler="nuts", random_state=0).fit(DATA)

    assert lines_of(repr(est))["Sampling"]["divergences"] == "0"
    assert "Pareto k-hat" not in lines_of(repr(est))["Sampling"]


@pytest.mark.parametrize("p", [MAX_LINES - 2, MAX_LINES - 1, MAX_LINES, 40])
def test_many_priors_are_cut_and_the_rest_is_counted(p):
    X = np.random.default_rng(0).normal(size=(80, p))
    est = MixedModelRegressor(random_state=0).fit(X, X @ np.ones(p) + np.cos(np.arange(80)))
    shown, every = lines_of(repr(est))["Priors"], dict(est.priors_.rows)

    assert len(every) == p + 2  # and the intercept, and sigma
    if len(every) <= MAX_LINES + 1:
        assert shown == every
    else:
        assert shown.pop("...") == f"{len(every) - MAX_LINES} more in priors_"
        assert shown.items() <= every.items()
        assert len(shown) == MAX_LINES
        assert {"sigma", "beta[x0]"} <= set(shown)
    assert len(str(est.priors_).splitlines()) == len(every)


def test_a_conditioned_estimator_shows_all_rows(fitted):
    updated = fitted.condition(DATA.head(5))

    assert lines_of(repr(updated))["Model"]["rows"] == "185"


def test_in_a_pipeline_or_a_search_the_estimator_has_scikit_learns_form():
    est = MixedModelRegressor("Days", priors={"Days": Normal(0, 20), "sigma": HalfNormal(3)}, nuts_backend="nutpie")
    pipe = make_pipeline(est.fit(DATA, DATA["Reaction"]))

    assert repr(pipe) == (
        "Pipeline(steps=[('mixedmodelregressor',\n"
        "                 MixedModelRegressor(formula='Days', nuts_backend='nutpie',\n"
        "                                     priors={'Days': Normal(mu=0, sigma=20),\n"
        "                                             'sigma': HalfNormal(sigma=3)}))])"
    )
    assert repr(GridSearchCV(est, {})).count("Model\n") == 0
    assert "sk-estimator" in pipe._repr_html_()


def test_a_subclass_is_shown_without_being_made_again():
    class Final(MixedModelRegressor):
        def __init_subclass__(cls):
            raise TypeError("final")

    assert repr(Final("Days")) == "Final(formula='Days')"


def test_long_runs_and_single_chains_are_told_plainly(fitted, monkeypatch):
    short = MixedModelRegressor("Days", chains=1, draws=1000, random_state=0).fit(DATA, DATA["Reaction"])
    monkeypatch.setitem(short.diagnostics_, "seconds", {"sample": 1234.5})

    assert lines_of(repr(short))["Sampling"]["draws"] == "1,000 in one chain"
    assert lines_of(repr(short))["Sampling"]["seconds"] == "1,234"


@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")
def test_figures_that_are_undefined_are_left_out():
    est = MixedModelRegressor("Days", chains=1, draws=2, random_state=0).fit(DATA, DATA["Reaction"])

    assert "inf" not in repr(est)
    assert "largest R-hat" not in lines_of(repr(est))["Sampling"]


def test_print_of_priors_is_a_table_on_the_users_scale(fitted):
    est = MixedModelRegressor(
        FORMULA,
        priors={"Intercept": Normal(250, 100), "Days": StudentT(3, 0, 2.5), "sd_Subject": HalfNormal(50)},
        lkj_eta=4,
        random_state=0,
    )
    learned = learn(est, DATA, None, None, reset=None)
    design, family = learned.design, learned.model[1]

    assert str(resolve_priors(design, family, est.priors, est.lkj_eta)) == (
        "Intercept              Normal(250, 100)\n"
        "beta[Days]             StudentT(3, 0, 2.5)\n"
        "sd_Subject[Intercept]  HalfNormal(50)\n"
        "sd_Subject[Days]       HalfNormal(50)\n"
        "corr_Subject           LKJ(4)\n"
        "sigma                  HalfStudentT(4, 56.17)"
    )
    assert str(fitted.priors_) == (
        "Intercept at Days = 4.5              Normal(298.5, 140.4)\n"
        "beta[Days]                           Normal(0, 48.89)\n"
        "sd_Subject[Intercept] at Days = 4.5  HalfNormal(140.4)\n"
        "sd_Subject[Days]                     HalfNormal(48.89)\n"
        "corr_Subject at Days = 4.5           LKJ(2)\n"
        "sigma                                HalfStudentT(4, 56.17)"
    )
    assert str(Priors(None, {}, {}, {}, {})) == ""
    assert repr(fitted.priors_).startswith("Priors(intercept=Normal(mu=298.5")  # as it was: exact
