"""Which sampler draws, what it says of it, and what it is refused for."""

import json

import numpy as np
import pytest

import bayesmixed as bm
from bayesmixed import Exponential, HalfNormal, MixedModelRegressor, Normal, StudentT
from bayesmixed._compat import dataset
from bayesmixed.chunks import allow
from bayesmixed.datasets import load_sleepstudy
from bayesmixed.design.spec import DesignSpec
from bayesmixed.errors import SamplerError
from bayesmixed.formula.parse import parse
from bayesmixed.posterior.posterior import Model
from bayesmixed.priors.defaults import default_priors
from bayesmixed.sampling import choose as sampling
from bayesmixed.sampling.collapsed import engine, limits, state
from bayesmixed.sampling.engine import Settings
from helpers.collapsed_twins import learn, make_frame
from helpers.made import make_draws
from helpers.waiting import Log, Waiting

DATA = load_sleepstudy()
Y = DATA["Reaction"]
FRAME = make_frame()
FORMULA = "Days + (Days | Subject)"
SIX = "c0 + c1 + c2 + c3 + c4"
KEYS = {
    "sampler",
    "reason",
    "acceptance",
    "seconds",
    "divergences",
    "max_r_hat",
    "max_r_hat_of",
    "min_ess_bulk",
    "min_ess_bulk_of",
    "min_ess_tail",
    "min_ess_tail_of",
    "undefined",
}


def fit(formula=FORMULA, frame=DATA, y=Y, **options):
    return MixedModelRegressor(formula, random_state=0, **options).fit(frame, y)


def fit_frame(formula, **options):
    return fit(formula, FRAME, FRAME["x"] * FRAME["z"] + FRAME["pupil"] % 3 + FRAME["item"], **options)


@pytest.fixture
def small():
    """A limit of four columns for crossed factors."""
    with allow(columns=4):
        yield


# ---- the collapsed sampler


@pytest.mark.parametrize("sampler", ["auto", "collapsed"])
def test_what_collapses_is_collapsed(sampler, fake_nuts):
    est = fit(sampler=sampler)

    assert est.diagnostics_["sampler"] == "collapsed"
    assert est.diagnostics_["reason"] == f"sampler={sampler!r}"
    assert fake_nuts == []


def test_any_prior_of_sds_and_sigma_collapses(fake_nuts):
    priors = {"sd_Subject": {"Days": Exponential(0.2)}, "sigma": HalfNormal(30), "Intercept": Normal(250, 50)}

    assert fit(priors=priors).diagnostics_["sampler"] == "collapsed"
    assert fake_nuts == []


def test_diagnostics_of_a_collapsed_fit():
    diagnostics = fit().diagnostics_

    own = {"k_hat", "longest_stay", "proposals_per_draw", "passes", "modes", "evaluations"}
    assert set(diagnostics) == KEYS | own
    assert set(diagnostics["seconds"]) == {"statistics", "sample", "effects"}
    assert diagnostics["divergences"] == 0
    assert diagnostics["undefined"] == []
    assert diagnostics["max_r_hat"] <= 1.01
    assert min(diagnostics["min_ess_bulk"], diagnostics["min_ess_tail"]) >= 400
    assert 0.3 < diagnostics["acceptance"] < 1
    json.dumps(diagnostics)  # plain values, so that they can be stored


def test_diagnostics_of_a_fit_without_groups():
    diagnostics = fit(None, DATA[["Days"]]).diagnostics_

    assert set(diagnostics) == KEYS
    assert diagnostics["acceptance"] == 1
    json.dumps(diagnostics)


@pytest.mark.parametrize(("formula", "frame"), [(FORMULA, DATA), (None, DATA[["Days"]])])
def test_sample_stats_of_a_collapsed_fit(formula, frame):
    stats = dataset(fit(formula, frame, draws=500, chains=3).idata_, "sample_stats")

    assert set(stats.data_vars) == {"lp", "acceptance_rate", "diverging"}
    assert all(values.shape == (3, 500) for values in stats.data_vars.values())
    assert stats["diverging"].dtype == bool
    assert not stats["diverging"].any()
    assert np.isfinite(stats["lp"]).all()
    assert ((stats["acceptance_rate"] >= 0) & (stats["acceptance_rate"] <= 1)).all()


def test_the_acceptance_reported_is_that_of_the_chains():
    """A repeated lp is a rejection; thinned chains repeat less often than they reject."""
    est = fit()
    stats = dataset(est.idata_, "sample_stats")
    repeated = np.diff(stats["lp"].values, axis=1) == 0
    none_accepted = stats["acceptance_rate"].values[:, 1:] == 0

    assert repeated.any()
    np.testing.assert_array_equal(repeated, none_accepted)
    assert float(stats["acceptance_rate"].mean()) == pytest.approx(est.diagnostics_["acceptance"], abs=1e-12)


def test_same_seed_same_draws():
    first, again, other = (
        MixedModelRegressor(FORMULA, random_state=seed).fit(DATA, Y)._posterior.draws.values for seed in (3, 3, 4)
    )

    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
        assert not np.array_equal(values, other[name])


def test_a_quick_fit_shows_no_progress(capfd):
    fit(progressbar=True)

    assert capfd.readouterr() == ("", "")


# ---- NUTS instead


def test_nuts_by_name_never_calls_the_collapsed_sampler(fake_nuts, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("not to be called")

    monkeypatch.setattr(engine, "sample", refuse)
    est = fit(sampler="nuts", draws=600, tune=7, target_accept=0.7, cores=1, nuts_backend="pymc")

    assert (est.diagnostics_["sampler"], est.diagnostics_["reason"]) == ("nuts", "sampler='nuts'")
    asked = {"draws": 600, "chains": 4, "tune": 7, "target_accept": 0.7, "cores": 1, "backend": "pymc"}
    assert asked | {"progressbar": False} == {key: value for key, value in fake_nuts[0].items() if key != "seed"}


@pytest.mark.parametrize(
    ("formula", "prior"),
    [
        (FORMULA, {"Intercept": HalfNormal(100)}),
        (FORMULA, {"Days": StudentT(3, 0, 10)}),
        ("Days", {"Days": HalfNormal(10)}),
    ],
)
def test_a_prior_that_does_not_integrate_out_goes_to_nuts_with_one_warning(formula, prior, fake_nuts):
    with pytest.warns(UserWarning, match="Falling back to NUTS, which is much slower: ") as caught:
        est = fit(formula, priors=prior)
    (name, value), text = next(iter(prior.items())), str(caught[0].message)

    assert len(caught) == 1
    assert f"common effects need Normal priors to be integrated out; found {name!r}: {value!r}." in text
    assert caught[0].filename == __file__, "it points to the call of fit's caller"
    assert est.diagnostics_["sampler"] == "nuts"
    prefix = "Falling back to NUTS, which is much slower: "
    assert est.diagnostics_["reason"] == text.removeprefix(prefix).removesuffix(".")
    assert len(fake_nuts) == 1


TOO_LARGE = {
    "sds and correlations": (
        f"({SIX} + x | pupil)",
        "the model has 28 standard deviations and correlations, more than 21",
    ),
    "columns": ("(1 | pupil) + (1 | item)", "the crossed factors 'item' have 5 effects, more than 4"),
    "columns of two factors": (
        "(1 | pupil) + (1 | school) + (1 | item)",
        "the crossed factors 'item', 'school' have 9 effects, more than 4",
    ),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", TOO_LARGE)
def test_what_is_too_large_goes_to_nuts_and_says_so(case, fake_nuts):
    formula, reason = TOO_LARGE[case]
    with pytest.warns(UserWarning, match=f"Falling back to NUTS, which is much slower: {reason}.") as caught:
        est = fit_frame(formula)

    assert len(caught) == 1
    assert (est.diagnostics_["sampler"], est.diagnostics_["reason"]) == ("nuts", reason)
    assert len(fake_nuts) == 1


@pytest.mark.usefixtures("small")
def test_what_fits_the_limits_is_collapsed(fake_nuts):
    """Six correlated effects have 21 sds and correlations; nested factors are not limited in their levels."""
    model = learn(f"({SIX} | pupil)", FRAME)
    assert model.density.dimension == limits.MAX_DIMENSION
    assert limits.too_large(model.design, model.density.statistics) == ""
    for formula in ("(1 | school/pupil)", "(1 | pupil) + (1 | balanced)"):
        assert fit_frame(formula).diagnostics_["sampler"] == "collapsed"
    assert fake_nuts == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("formula", "options", "reason"),
    [
        *((formula, {}, reason) for formula, reason in TOO_LARGE.values()),
        ("x + (1 | pupil)", {"priors": {"Intercept": HalfNormal(9)}}, r"found 'Intercept': HalfNormal\(sigma=9\)"),
        ("x", {"priors": {"x": StudentT(3)}}, "common effects need Normal priors to be integrated out"),
    ],
)
def test_collapsed_raises_where_it_cannot_with_the_cure(formula, options, reason, fake_nuts):
    message = rf'sampler="collapsed" cannot sample this posterior: .*{reason}.*Use sampler="auto" or "nuts"\.'
    with pytest.raises(SamplerError, match=message) as caught:
        fit_frame(formula, sampler="collapsed", **options)

    assert isinstance(caught.value, ValueError)
    assert fake_nuts == []


def test_the_products_of_columns_are_limited(fake_nuts):
    """Each of 12 pupils meets some items, beside [1, y]: their pairs are kept, and [1, y]'s per distinct count."""
    met = FRAME.groupby("pupil")["item"].nunique()
    counts = FRAME["pupil"].value_counts().nunique()
    products = int((met * (met + 1) // 2 + 2 * met).sum()) + 3 * counts
    with allow(products=products):
        assert fit_frame("(1 | pupil) + (1 | item)").diagnostics_["sampler"] == "collapsed"
    with allow(products=products - 1), pytest.warns(UserWarning, match="Falling back to NUTS"):
        est = fit_frame("(1 | pupil) + (1 | item)")
    assert est.diagnostics_["sampler"] == "nuts"
    assert est.diagnostics_["reason"].startswith("the groups of 'pupil' occur with so many columns that ")


def test_where_the_linear_algebra_fails_nuts_takes_over(monkeypatch, fake_nuts):
    def fail(*arguments, **options):
        raise np.linalg.LinAlgError("Matrix is not positive definite")

    monkeypatch.setattr(state, "sample_covariances", fail)
    with pytest.warns(UserWarning, match="Falling back to NUTS"):
        est = fit()

    assert est.diagnostics_["sampler"] == "nuts"
    assert est.diagnostics_["reason"] == "the linear algebra failed: Matrix is not positive definite"
    with pytest.raises(SamplerError, match="the linear algebra failed"):
        fit(sampler="collapsed")


def test_another_family_does_not_collapse():
    design = DesignSpec.learn(parse(FORMULA), DATA, y=Y.to_numpy())[1]
    family = Waiting(Log())
    settings = Settings("collapsed", draws=10, chains=2, seed=0)
    model = Model(None, family, default_priors(design, family))

    assert not engine.takes(family)
    with pytest.raises(SamplerError, match="the collapsed sampler does not take family 'waiting'"):
        sampling.sample(model, design, settings)


def test_warnings_of_convergence_point_to_the_call_of_fit(monkeypatch):
    summarise = sampling.summarise
    monkeypatch.setattr(sampling, "summarise", lambda draws: summarise(draws) | {"max_r_hat": 1.2})
    with pytest.warns(UserWarning, match="R-hat of .* is 1.200.*Remedies: raise draws") as caught:
        fit()

    assert len(caught) == 1
    assert caught[0].filename == __file__


# ---- an engine is one module with a name and three functions


class OwnEngine:
    """Draws made by hand, for any model; the second way out where the collapsed sampler refuses."""

    NAME = "own"

    def __init__(self, refusal="", gives_up=False):
        self.refusal, self.gives_up, self.asked = refusal, gives_up, []

    def takes(self, family):
        return True

    def refuses(self, model, design, settings):
        return self.refusal

    def sample(self, model, design, settings):
        self.asked.append(settings)
        if self.gives_up:
            raise SamplerError("its draws are not to be trusted")
        made = make_draws(design, chains=settings.chains, draws=settings.draws, seed=settings.seed)
        made.diagnostics["sampler"] = self.NAME
        return made

    def advice(self, design, settings, diverged, mixes):
        return ["a cause of its own"], ["a remedy of its own"]


def with_engine(monkeypatch, own):
    monkeypatch.setattr(sampling, "ENGINES", (engine, own, sampling.ENGINES[-1]))
    return own


def test_another_engine_takes_what_the_first_refuses(monkeypatch, tmp_path, fake_nuts):
    own = with_engine(monkeypatch, OwnEngine())
    est = fit(priors={"Intercept": HalfNormal(100)}, draws=600)

    assert (est.diagnostics_["sampler"], len(own.asked), fake_nuts) == ("own", 1, [])
    assert est.diagnostics_["reason"].startswith("common effects need Normal priors to be integrated out")
    assert own.asked[0].draws == 600
    assert est.predict(DATA).shape == (180,)
    assert len(est.summary()) == 6
    est.save(tmp_path / "own.bm")
    np.testing.assert_array_equal(bm.load(tmp_path / "own.bm").predict(DATA), est.predict(DATA))
    with pytest.raises(SamplerError, match=r"condition works with .* transport samplers, but this fit used OWN"):
        est.condition(DATA.head(3), Y.head(3))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"refusal": "not mine"}, "not mine"), ({"gives_up": True}, "its draws are not to be trusted")],
)
def test_where_it_refuses_or_gives_up_the_next_one_is_asked(options, reason, monkeypatch, fake_nuts):
    with_engine(monkeypatch, OwnEngine(**options))
    with pytest.warns(UserWarning, match=f"Falling back to NUTS, which is much slower: {reason}"):
        est = fit(priors={"Intercept": HalfNormal(100)})

    assert (est.diagnostics_["sampler"], est.diagnostics_["reason"]) == ("nuts", reason)
    assert len(fake_nuts) == 1


def test_causes_and_cures_of_a_warning_come_from_the_engine_that_ran(monkeypatch):
    own = with_engine(monkeypatch, OwnEngine())
    with pytest.warns(bm.ConvergenceWarning, match="Usual causes: a cause of its own. Remedies: a remedy of its own"):
        fit(priors={"Intercept": HalfNormal(100)}, draws=3)
    assert len(own.asked) == 1
