"""One file for a fitted estimator: what comes back, and what is refused."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import bayesmixed as bm
from bayesmixed import MixedModelRegressor, Normal, StorageError, StudentT
from bayesmixed._compat import dataset
from bayesmixed.chunks import allow
from bayesmixed.estimators import archive
from helpers.collapsed_twins import make_frame

FRAME = make_frame()
Y = np.random.default_rng(3).normal(5, 2, 40) + 1.5 * (FRAME["pupil"] % 3).to_numpy()
NEW = FRAME.assign(pupil=99, item=7)
CASES = {
    "slopes": ("x + k + (z | pupil)", {}),
    "nested": ("x + (1 | town/pupil)", {"new_groups": {"town": "zero"}}),
    "crossed": ("x + (z | pupil) + (1 | item)", {"priors": {"x": Normal(0, 2)}, "lkj_eta": {"pupil": 3.0}}),
    "no groups": ("x + bs(z, df=4)", {"random_state": np.random.RandomState(3)}),
}


def fit(formula, frame=FRAME, y=Y, **options):
    return MixedModelRegressor(formula, **{"draws": 250, "random_state": 0, **options}).fit(frame, y)


def round_trip(est, folder):
    est.save(folder / "est.bm")
    return bm.load(folder / "est.bm")


def assert_equal(a, b):
    """Bit by bit, wherever one looks."""
    for frame in (FRAME, NEW):
        np.testing.assert_array_equal(a.predict(frame, return_std=True), b.predict(frame, return_std=True))
        np.testing.assert_array_equal(a.predict_interval(frame), b.predict_interval(frame))
    np.testing.assert_array_equal(a.predict_draws(NEW, n_draws=40), b.predict_draws(NEW, n_draws=40))
    for group in ("posterior", "sample_stats", "observed_data"):
        assert dataset(a.idata_, group).identical(dataset(b.idata_, group))
    assert a.diagnostics_ | {"seconds": None} == b.diagnostics_ | {"seconds": None}
    assert a.priors_ == b.priors_
    assert a.design_spec_.state == b.design_spec_.state
    pd.testing.assert_frame_equal(a.variance_components(), b.variance_components())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "est.bm"
    fit("x + (1 | pupil)").save(path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_estimator_is_the_saved_one(case, tmp_path):
    formula, options = CASES[case]
    est = fit(formula, **options)
    loaded = round_trip(est, tmp_path)

    assert_equal(est, loaded)
    assert loaded.diagnostics_["seconds"] == est.diagnostics_["seconds"]
    np.testing.assert_array_equal(loaded.feature_names_in_, est.feature_names_in_)
    given = {name: value for name, value in est.get_params().items() if name != "random_state"}
    assert {name: value for name, value in loaded.get_params().items() if name != "random_state"} == given


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto:UserWarning")  # of loo, on 40 rows
@pytest.mark.parametrize("case", ["slopes", "crossed", "no groups"])
def test_a_loaded_estimator_learns_on_as_the_saved_one(case, tmp_path):
    est = fit(CASES[case][0], draws=1000)
    loaded = round_trip(est, tmp_path)

    assert_equal(est.condition(NEW[:5], Y[:5]), loaded.condition(NEW[:5], Y[:5]))
    assert_equal(est.condition(NEW[:5], Y[:5]), round_trip(loaded.condition(NEW[:5], Y[:5]), tmp_path))
    np.testing.assert_array_equal(est.loo(FRAME, Y).log_likelihood, loaded.loo(FRAME, Y).log_likelihood)


def test_effects_that_are_not_stored_are_drawn_from_the_file_too(tmp_path):
    with allow(stored=0):
        est = fit("x + (z | pupil)")
    loaded = round_trip(est, tmp_path)

    assert "b_pupil" not in dataset(loaded.idata_, "posterior")
    np.testing.assert_array_equal(loaded._posterior.draws.means["b_pupil"], est._posterior.draws.mean("b_pupil"))
    np.testing.assert_array_equal(est.draw_group_effects("pupil", [3, 1]), loaded.draw_group_effects("pupil", [3, 1]))
    assert_equal(est, loaded)


def test_a_fit_by_nuts_is_stored_too(fake_nuts, tmp_path):
    est = fit("x + (z | pupil)", sampler="nuts", priors={"x": StudentT(3, 0, 1)})

    assert_equal(est, round_trip(est, tmp_path))


def test_an_array_has_no_column_names(tmp_path):
    X = FRAME[["x", "z"]].to_numpy()
    est = fit(None, X)
    loaded = round_trip(est, tmp_path)

    assert not hasattr(loaded, "feature_names_in_")
    np.testing.assert_array_equal(loaded.predict(X), est.predict(X))


@pytest.mark.parametrize("kind", ["int64", "float64", "bool", "datetime64[ns]", "str"])
def test_labels_of_rows_and_levels_keep_their_type(kind, tmp_path):
    labels = pd.Series(np.arange(40) % 2).astype("int64").astype(kind)
    frame = FRAME.assign(g=labels).set_axis(labels.to_numpy())
    est = fit("x + (1 | g)", frame)

    assert dataset(round_trip(est, tmp_path).idata_, "posterior").identical(dataset(est.idata_, "posterior"))
    assert dataset(round_trip(est, tmp_path).idata_, "observed_data").identical(dataset(est.idata_, "observed_data"))


def test_a_generator_becomes_the_seed_that_was_drawn(tmp_path):
    est = fit("x", random_state=np.random.RandomState(3))
    loaded = round_trip(est, tmp_path)

    np.testing.assert_array_equal(loaded.predict_draws(FRAME), est.predict_draws(FRAME))
    assert loaded.random_state == est._posterior.seed


def test_only_a_fitted_estimator_can_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        MixedModelRegressor().save(tmp_path / "est.bm")


def test_a_file_has_the_permissions_of_any_new_file(tmp_path):
    fit("x").save(tmp_path / "est.bm")
    (tmp_path / "other").touch()

    assert (tmp_path / "est.bm").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_is_replaced_keeps_its_permissions_and_links_stay(file, tmp_path):
    est = bm.load(file)
    private, link = tmp_path / "private.bm", tmp_path / "current.bm"
    private.touch(mode=0o600)
    link.symlink_to("private.bm")
    est.save(link)

    assert link.is_symlink()
    assert private.stat().st_mode & 0o777 == 0o600
    np.testing.assert_array_equal(bm.load(private).predict(FRAME), est.predict(FRAME))


def test_paths_that_cannot_be_written_to_are_refused_by_name(file, tmp_path, monkeypatch):
    est = bm.load(file)
    with pytest.raises(OSError, match=r"cannot write to .*: it is a folder, or not a regular file"):
        est.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"cannot write 'est.bm': there is no folder '.*nowhere'"):
        est.save(tmp_path / "nowhere" / "est.bm")
    (tmp_path / "est.bm").touch()
    monkeypatch.setattr(archive.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="it is read-only"):
        est.save(tmp_path / "est.bm")
    assert [entry.name for entry in tmp_path.iterdir()] == ["est.bm"]


def test_a_subclass_is_not_saved_as_another_class(file, tmp_path):
    class Other(MixedModelRegressor):
        pass

    est = Other("x", random_state=0).fit(FRAME, Y)
    with pytest.raises(TypeError, match="Other is a subclass of MixedModelRegressor"):
        est.save(tmp_path / "est.bm")


def test_rows_may_be_labelled_by_durations(tmp_path):
    est = fit("x", FRAME.set_axis(pd.timedelta_range("1s", periods=40)))
    loaded = round_trip(est, tmp_path)

    assert dataset(loaded.idata_, "observed_data").identical(dataset(est.idata_, "observed_data"))


@pytest.mark.filterwarnings("ignore::bayesmixed.ConvergenceWarning")  # 40 draws keep the files small
@pytest.mark.parametrize("written_on", ["python3.11", "python3.13"])
def test_a_file_of_either_stack_is_read_by_this_one(written_on):
    """This version of the format, written by a fit on Python 3.11 with PyMC 5, and on 3.13 with PyMC 6."""
    stored = Path(__file__).parent / "stored" / written_on
    expected = json.loads(stored.with_name(f"{written_on}.json").read_text())
    est = bm.load(stored.with_name(f"{written_on}.bm"))
    rows = bm.datasets.load_sleepstudy().head(3).assign(k=[0, 1, 2], Subject=[308, 999, 335])

    mean, std = est.predict(rows, return_std=True)
    np.testing.assert_allclose(mean, expected["mean"], rtol=1e-10)
    np.testing.assert_allclose(std, expected["std"], rtol=1e-10)
    np.testing.assert_allclose(est.predict_interval(rows), expected["interval"], rtol=1e-10)
    assert est.lkj_eta == {"Subject": 3.0}
    assert est.priors_.common["Days"] == Normal(0, 20)
    names = ["Intercept", "beta", "b_Subject", "sd_Subject", "corr_Subject", "sigma"]
    assert list(dataset(est.idata_, "posterior")) == names
    assert np.isfinite(est.condition(rows, [250.0, 260.0, 270.0]).predict(rows)).all()


# ---- what is in it


def names_in(node):
    """All names of parts and entries in a document."""
    if isinstance(node, list):
        return {name for item in node for name in names_in(item)}
    if not isinstance(node, dict):
        return set()
    entries = {name for name, _ in node["dict"] if isinstance(name, str)} if "dict" in node else set()
    return set(node) | entries | {name for item in node.values() for name in names_in(item)}


def test_a_file_names_nothing_private(tmp_path):
    found = set()
    for formula in ["x + (z | pupil)", "x + (z | pupil) + (1 | item)", "poly(x, 2) + bs(z, df=4)"]:
        with allow(stored=0):
            fit(formula).save(tmp_path / "est.bm")
        with zipfile.ZipFile(tmp_path / "est.bm") as file:
            found |= names_in(json.loads(file.read("state.json")))

    assert {"statistics", "coefficients", "directions", "knots", "checksum"} <= found
    assert not [name for name in found if name.startswith("_")]


def test_the_format_is_that_of_its_version():
    """Where this changes, raise VERSION, and write the files of both stacks again."""
    kinds = {kind: " ".join(cls.STORED) for kind, cls in archive.KINDS.items()}

    assert archive.VERSION == 5
    assert kinds == {
        "Normal": "mu sigma",
        "StudentT": "nu mu sigma",
        "HalfNormal": "sigma",
        "HalfStudentT": "nu sigma",
        "Exponential": "rate",
        "LogNormal": "mu sigma",
        "Gamma": "alpha beta",
        "InverseGamma": "alpha beta",
        "Truncated": "prior lower",
        "priors": "intercept common group_sd lkj_eta auxiliary swept group_swept threshold",
        "draws": "values sample_stats diagnostics means state lazy",
        "rows": "y obs n_rows weight total squares checksum",
        "scaling": "y_location y_scale x_location x_scale T",
        "units": "scaling has_intercept location scale T intercept_at",
        "statistics": "n VV S T pairs n_rows counts",
        "pairs": "first second products counts",
        "sums": "origin effect_origins intercept_at products is_binary",
        "factor prior": "blocks eta sds scale at_zero intercept_at",
        "covariances": "factors",
        "residual": "n prior prior_log_det sigma_prior sd_priors y_scale log_floor",
        "density": "statistics units covariances residual",
        "collapsed": "density theta s log_joint which",
        "effects": "density points coefficients key",
        "points": "roots s which",
        "coefficients": "gamma gamma_mean later later_mean",
        "gibbs": "density theta s cells",
        "cells": "codes Z",
        "replayed effects": "density theta s shared others key sweeps running mean",
        "transport": "prepared x warm",
        "prepared": "units rows parameters common_mean common_root",
        "working rows": "family layout y offset trials weights X Z codes",
        "layout": "factors nested n_effects n_levels offsets ancestors p",
        "parameters": "covariances priors floors",
        "warm": "layout coordinates reference step w x",
        "coordinates": "parameters warp mu V",
        "warp": "centre",
        "reference": "W a slopes at",
        "regression": "rotated units sigma_prior",
        "rotated": "n a c rss directions mean scale",
    }


# ---- what is refused


def test_a_truncated_file_is_refused_wherever_it_ends(file, tmp_path):
    content = file.read_bytes()
    short = tmp_path / "short.bm"
    for size in np.linspace(0, len(content) - 1, 250).astype(int):
        short.write_bytes(content[:size])
        with pytest.raises(StorageError, match=r"short.bm' was not written by est.save, or it is damaged"):
            bm.load(short)


def test_a_damaged_file_is_refused_or_says_the_same(file, tmp_path):
    content = bytearray(file.read_bytes())
    expected = bm.load(file).predict(FRAME)
    damaged, refused = tmp_path / "damaged.bm", 0
    for at in np.random.default_rng(0).choice(len(content), 200, replace=False):
        other = content.copy()
        other[at] ^= 0xFF
        damaged.write_bytes(other)
        try:
            found = bm.load(damaged).predict(FRAME)
        except StorageError:
            refused += 1
        else:  # a byte that does not matter, such as a member's time
            np.testing.assert_array_equal(found, expected)
    assert refused > 150


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


class Bomb:
    """A pickle of it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_files_of_others_are_refused_and_nothing_in_them_is_executed(tmp_path):
    planted = tmp_path / "planted"
    array = io.BytesIO()
    np.save(array, np.array([Bomb(planted)], dtype=object), allow_pickle=True)
    tree = {"program": "bayesmixed", "version": archive.VERSION, "naming": "1", "estimator": "MixedModelRegressor"}
    tree |= {"objects": []}
    others = [
        b"",
        b"not a zip",
        pickle.dumps(Bomb(planted)),
        zipped(other="x"),
        zipped(**{"state.json": "{"}),
        zipped(**{"state.json": "[]"}),
        zipped(**{"state.json": json.dumps(tree | {"tree": {"array": 0}}), "arrays/0.npy": array.getvalue()}),
        zipped(**{"state.json": json.dumps(tree | {"tree": {"object": 0}, "objects": [["Popen", {"args": "x"}]]})}),
        zipped(**{"state.json": json.dumps(tree | {"tree": {"object": 0}, "objects": [["Normal", {"mean": 1}]]})}),
        zipped(**{"state.json": json.dumps(tree | {"tree": {"array": "../../state"}})}),
        zipped(**{"state.json": json.dumps(tree | {"tree": {"dict": []}})}),
    ]
    for content in others:
        (tmp_path / "other.bm").write_bytes(content)
        with pytest.raises(StorageError):
            bm.load(tmp_path / "other.bm")
    assert not planted.exists()


def test_a_file_of_an_earlier_version_says_so(tmp_path):
    document = {"program": "bayesmixed", "version": 2, "anything": 1}
    (tmp_path / "earlier.bm").write_bytes(zipped(**{"state.json": json.dumps(document)}))

    with pytest.raises(StorageError, match=r"has version 2 of the format .* cannot read \(5\); fit and save again"):
        bm.load(tmp_path / "earlier.bm")


def test_a_file_of_a_later_version_says_so(tmp_path):
    document = {"program": "bayesmixed", "version": archive.VERSION + 1, "anything": 1}
    (tmp_path / "later.bm").write_bytes(zipped(**{"state.json": json.dumps(document)}))

    with pytest.raises(StorageError, match=r"has version 6 of the format .* cannot read \(5\); update bayesmixed"):
        bm.load(tmp_path / "later.bm")


def rewritten(file, path, **changes):
    """A copy of a file, with other entries in its document."""
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            copy.writestr(name, json.dumps(json.loads(content) | changes) if name == "state.json" else content)
    return path


def test_draws_named_by_another_contract_are_refused(file, tmp_path):
    other = rewritten(file, tmp_path / "other.bm", naming="2")

    with pytest.raises(
        StorageError, match=r"draws named by contract '2', .* cannot read \('1'\); update bayesmixed, or"
    ):
        bm.load(other)


def test_an_estimator_of_an_unknown_class_is_refused(file, tmp_path):
    other = rewritten(file, tmp_path / "other.bm", estimator="MixedModelRanker")

    with pytest.raises(
        StorageError, match=r"class 'MixedModelRanker', .* cannot read \('MixedModelRegressor', .*\); update"
    ):
        bm.load(other)


def test_a_value_with_other_parts_than_its_class_declares_is_refused(file, tmp_path):
    other = rewritten(file, tmp_path / "other.bm", objects=[["points", {"roots": 0, "s": 0}]], tree={"object": 0})

    with pytest.raises(StorageError, match="'points' consists of 'roots', 's', expected 'roots', 's', 'which'"):
        bm.load(other)


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        bm.load(tmp_path / "nothing.bm")


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(file, tmp_path):
    path = tmp_path / "est.bm"
    path.write_bytes(file.read_bytes())
    est = bm.load(path).set_params(nuts_backend=object())

    with pytest.raises(TypeError, match="a file cannot hold"):
        est.save(path)
    assert path.read_bytes() == file.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["est.bm"]


def test_a_file_is_little_more_than_its_draws(tmp_path):
    est = fit("x + (z | pupil)", draws=1000)
    est.save(tmp_path / "est.bm")
    draws = sum(values.nbytes for values in est._posterior.draws.values.values())

    assert (tmp_path / "est.bm").stat().st_size < 1.5 * draws
