"""A fitted estimator as one file: a zip of a JSON document and arrays. Nothing in it is executed.

``state.json`` names the program, the version of the format, the naming contract of the draws and the estimator. It
holds plain values, and references to arrays (``arrays/<n>.npy``) and to values of the kinds in `KINDS`, whose parts are
named as their class declares in ``STORED``. Reading builds only these classes and loads no pickles.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bayesmixed.design.statistics import CrossProducts, Pairs, Sums
from bayesmixed.distributions import PRIORS, Truncated
from bayesmixed.errors import FormulaError, StorageError, quoted
from bayesmixed.estimators.inputs import Rows
from bayesmixed.families import CLASS_FAMILIES, FAMILIES
from bayesmixed.families.links import LINKS
from bayesmixed.gaussian.common import Residual
from bayesmixed.gaussian.covariance import Covariances, FactorPrior
from bayesmixed.gaussian.density import CollapsedDensity
from bayesmixed.gaussian.effects import Coefficients, FirstEffects, Points
from bayesmixed.gaussian.units import Units
from bayesmixed.posterior.draws import CONTRACT_VERSION, Draws
from bayesmixed.priors.priors import Priors
from bayesmixed.priors.scaling import Scaling
from bayesmixed.sampling.collapsed.regression import Regression, Rotated
from bayesmixed.sampling.collapsed.state import State
from bayesmixed.sampling.gibbs import state as gibbs
from bayesmixed.sampling.gibbs.joint.redraw import Cells
from bayesmixed.sampling.gibbs.replay import ReplayedEffects
from bayesmixed.sampling.independence.proposal import Warp
from bayesmixed.sampling.transport import state as transport
from bayesmixed.sampling.transport.adaptation import Warm
from bayesmixed.sampling.transport.coordinates import Coordinates, Parameters
from bayesmixed.sampling.transport.model import Prepared
from bayesmixed.sampling.transport.working import rows as transport_rows
from bayesmixed.sampling.transport.working.layout import Layout

VERSION = 5  # rises with the kinds and what is stored of them; files of other versions are rejected
_PROGRAM = "bayesmixed"
# the name in the file of each class that it may hold; a class declares what is stored of it and is built only from that
KINDS: dict[str, type[Any]] = {
    **{cls.__name__: cls for cls in (*PRIORS, Truncated)},
    "priors": Priors,
    "draws": Draws,
    "rows": Rows,
    "scaling": Scaling,
    "units": Units,
    "statistics": CrossProducts,
    "pairs": Pairs,
    "sums": Sums,
    "factor prior": FactorPrior,
    "covariances": Covariances,
    "residual": Residual,
    "density": CollapsedDensity,
    "collapsed": State,
    "effects": FirstEffects,
    "points": Points,
    "coefficients": Coefficients,
    "gibbs": gibbs.State,
    "cells": Cells,
    "replayed effects": ReplayedEffects,
    "transport": transport.State,
    "prepared": Prepared,
    "working rows": transport_rows.Rows,
    "layout": Layout,
    "parameters": Parameters,
    "warm": Warm,
    "coordinates": Coordinates,
    "warp": Warp,
    "reference": transport_rows.Reference,
    "regression": Regression,
    "rotated": Rotated,
}


def kinds() -> dict[str, type[Any]]:
    """All kinds, including all families and links."""
    families = {f"family {name}": family for name, family in (FAMILIES | CLASS_FAMILIES).items()}
    return KINDS | families | {f"link {name}": type(link) for name, link in LINKS.items()}


def write(path: str | os.PathLike[str], estimator: str, tree: Mapping[str, Any]) -> None:
    """Write a tree of plain values, arrays and values of `KINDS`; an existing file is replaced at the end.

    Parameters
    ----------
    path : path-like
    estimator : str
        Name of its class.
    tree : dict of str to object

    Raises
    ------
    TypeError
        For any other value.
    """
    encoder = _Encoder()
    document = {"program": _PROGRAM, "version": VERSION, "naming": CONTRACT_VERSION, "estimator": estimator}
    document |= {"tree": encoder.encode(dict(tree)), "objects": encoder.objects}
    with _replacing(Path(path)) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("state.json", json.dumps(document))
        for at, array in enumerate(encoder.arrays):
            with archive.open(f"arrays/{at}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read(path: str | os.PathLike[str], parts: Mapping[str, tuple[str, ...]]) -> tuple[str, dict[str, Any]]:
    """Read a file written by `write`.

    Parameters
    ----------
    path : path-like
    parts : dict of str to tuple of str
        By name of a class that can be read, what its tree must contain.

    Returns
    -------
    estimator : str
        One of those names.
    tree : dict of str to object

    Raises
    ------
    FileNotFoundError
    StorageError
        If the file is another program's, is damaged, has another version of the format or another naming contract, or
        holds an estimator that is not in `parts`.
    """
    with open(path, "rb") as file, damaged(path), zipfile.ZipFile(file) as archive:  # open's own errors are clear
        document = json.loads(archive.read("state.json"))
        refusal = _refuse(document, parts)
        if not refusal:
            tree = _Decoder(archive, document["objects"]).decode(document["tree"])
            return document["estimator"], {part: tree[part] for part in parts[document["estimator"]]}
    raise StorageError(f"{os.fspath(path)!r} has {refusal}.")


@contextmanager
def damaged(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn any error about the zip, the JSON, an array's header or a value's parts into one clear error.

    Raises
    ------
    StorageError
    """
    try:
        yield
    except FormulaError:  # of another version of formulae
        raise
    except Exception as error:
        raise StorageError(f"{os.fspath(path)!r} was not written by est.save, or it is damaged: {error}.") from error


def _refuse(document: Mapping[str, Any], estimators: Collection[str]) -> str:
    """What in a file cannot be read, what can be read, and what to do; empty if the file can be read."""
    version = document["version"]
    if document["program"] != _PROGRAM or version != VERSION:
        found = f"version {version} of the format of {document['program']!r}"
        cure = "update bayesmixed" if version > VERSION else "fit and save again"
        return f"{found}, which this bayesmixed cannot read ({VERSION}); {cure}"
    if document["naming"] != CONTRACT_VERSION:
        found = f"draws named by contract {document['naming']!r}"
        return f"{found}, which this bayesmixed cannot read ({CONTRACT_VERSION!r}); update bayesmixed, or fit again"
    if document["estimator"] not in estimators:
        found = f"an estimator of class {document['estimator']!r}"
        if len(estimators) == 1:  # a class reads only its own files
            return f"{found}, not of {quoted(estimators)}; bayesmixed.load reads the files of every class"
        return f"{found}, which this bayesmixed cannot read ({quoted(estimators)}); update bayesmixed"
    return ""


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file next to `path` that takes its place and permissions once complete, and is deleted on failure."""
    path = Path(os.path.realpath(path))  # a link stays, its target is replaced
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path.name!r}: there is no folder {str(path.parent)!r}.")
    if path.exists() and not path.is_file():
        raise OSError(f"cannot write to {str(path)!r}: it is a folder, or not a regular file.")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"cannot write to {str(path)!r}: it is read-only.")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with beside.open("xb") as file:  # with the usual permissions of a new file: others may have to read it
        try:
            yield file
            file.close()
            if path.exists():
                shutil.copymode(path, beside)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):  # closing tries again to write what could not be written
                file.close()
            beside.unlink()
            raise


class _Encoder:
    """Plain JSON of a tree; arrays and objects are kept once, however often they are referenced."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.objects: list[Any] = []
        self._names = {cls: kind for kind, cls in kinds().items()}
        self._known: dict[int, Any] = {}
        self._alive: list[Any] = []  # a value known by its id must not be freed

    def encode(self, value: Any) -> Any:
        """JSON for a value."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.generic) and value.dtype.kind in "biufU":
            return value.item()
        if isinstance(value, range):
            return {"range": [value.start, value.stop]}
        if isinstance(value, (list, tuple)):
            return {type(value).__name__: [self.encode(item) for item in value]}
        if isinstance(value, Mapping):
            return {"dict": [[self.encode(key), self.encode(item)] for key, item in value.items()]}
        if id(value) not in self._known:
            self._alive.append(value)
            self._known[id(value)] = self._reference(value)
        return self._known[id(value)]

    def _reference(self, value: Any) -> dict[str, int]:
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufUMm":
            self.arrays.append(value)
            return {"array": len(self.arrays) - 1}
        if type(value) not in self._names:
            dtype = f" of dtype {value.dtype}" if isinstance(value, np.ndarray) else ""
            raise TypeError(f"a file cannot hold a value of type {type(value).__name__}{dtype}: {repr(value)[:80]}.")
        stored = {name: self.encode(getattr(value, name)) for name in type(value).STORED}
        self.objects.append([self._names[type(value)], stored])
        return {"object": len(self.objects) - 1}


class _Decoder:
    """Inverse of `_Encoder`."""

    def __init__(self, archive: zipfile.ZipFile, objects: list[Any]) -> None:
        self._archive = archive
        self._kinds = kinds()
        self._objects = objects
        self._known: dict[tuple[str, int], Any] = {}

    def decode(self, node: Any) -> Any:
        """The value of a node."""
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        if kind == "range":
            return range(*content)
        if kind in ("list", "tuple"):
            items = [self.decode(item) for item in content]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            return {self.decode(key): self.decode(item) for key, item in content}
        if (kind, content) not in self._known:
            self._known[kind, content] = {"array": self._array, "object": self._object}[kind](content)
        return self._known[kind, content]

    def _array(self, at: int) -> np.ndarray:
        with self._archive.open(f"arrays/{at}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    def _object(self, at: int) -> Any:
        kind, stored = self._objects[at]
        cls = self._kinds[kind]
        if set(stored) != set(cls.STORED):
            raise ValueError(f"{kind!r} consists of {quoted(stored)}, expected {quoted(cls.STORED)}")
        return cls(**{name: self.decode(node) for name, node in stored.items()})
