"""Sources of rows are told apart, and give the rows that were put in, in chunks that fit."""

from collections import deque

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from bayesmixed.chunks import allow
from bayesmixed.design.sources.find import find_source
from bayesmixed.design.sources.source import Chunk, refuse_other_number

N = 1000
FRAME = pd.DataFrame({"a": np.arange(N), "b": np.linspace(0, 1, N), "c": ["x", "y"] * (N // 2)})
HALVES = (FRAME.iloc[:600], FRAME.iloc[600:])


CONNECTION = duckdb.connect()  # relations of old versions do not keep theirs


class Stream:
    """An object that has Arrow's C stream, and nothing else."""

    def __init__(self, frame):
        self._table = pa.table(frame)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.fixture
def folder(tmp_path):
    for name, half in zip(("p", "q"), HALVES, strict=True):
        half.to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


KINDS = {
    "a path": ("Parquet", lambda folder: FRAME.to_parquet(folder / "all.pq") or folder / "all.pq"),
    "a folder": ("Parquet", str),
    "paths": ("Parquet", lambda folder: [f"{folder}/p.parquet", folder / "q.parquet"]),
    "pandas": ("Frame", lambda folder: FRAME),
    "polars": ("Frame", lambda folder: pl.DataFrame(FRAME)),
    "an Arrow table": ("Frame", lambda folder: pa.table(FRAME)),
    "Dask": ("Partitions", lambda folder: dd.from_pandas(FRAME, npartitions=3)),
    "a dataset": ("Dataset", ds.dataset),
    "a dataset in memory": ("Dataset", lambda folder: ds.dataset(pa.table(FRAME))),
    "a dataset with a filter": ("Dataset", lambda folder: ds.dataset(folder).filter(ds.field("a") >= 0)),
    "a reader": ("Stream", lambda folder: ds.dataset(folder).scanner().to_reader()),
    "a stream": ("Stream", lambda folder: Stream(FRAME)),
    "DuckDB": ("Lazy", lambda folder: CONNECTION.sql(f"select * from '{folder}/*.parquet'")),
    "a LazyFrame": ("Lazy", lambda folder: pl.scan_parquet(folder / "*.parquet")),
    "a list of frames": ("Frames", lambda folder: list(HALVES)),
    "a generator of batches": ("Frames", lambda folder: ds.dataset(folder).to_batches()),
    "a callable": ("Made", lambda folder: lambda: iter(HALVES)),
    "a callable of a dataset": ("Made", lambda folder: lambda: ds.dataset(folder)),
}
ONCE = ("a reader", "a stream", "a generator of batches")
NOT_SAID = ("a list of frames", "a generator of batches", "a callable", "a callable of a dataset")
UNCOUNTED = (*NOT_SAID, *ONCE, "Dask", "a dataset with a filter", "DuckDB", "a LazyFrame")


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_gives_its_rows_in_order_in_chunks_that_fit(kind, folder):
    name, make = KINDS[kind]
    with allow(chunk=8 * 250):
        source = find_source(make(folder))
        chunks = list(source.chunks(["a", "c"]))

    assert type(source).__name__ == name
    assert source.columns == (None if kind in NOT_SAID else ("a", "b", "c"))
    assert source.n_rows == (None if kind in UNCOUNTED else N)
    assert source.rereadable == (kind not in ONCE)
    assert source.in_memory == (name == "Frame")
    found = pd.concat([chunk.frame for chunk in chunks])
    np.testing.assert_array_equal(found["a"], FRAME["a"])
    np.testing.assert_array_equal(found["c"], FRAME["c"])
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.start for chunk in chunks] == [0, *np.cumsum([len(chunk.frame) for chunk in chunks])[:-1]]
    if name in ("Parquet", "Dataset", "Stream", "Lazy"):
        assert len(chunks) >= 4
        assert "b" not in found
        assert max(len(chunk.frame) for chunk in chunks) <= 250


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(ONCE)))
def test_what_can_be_read_again_gives_the_same_rows(kind, folder):
    source = find_source(KINDS[kind][1](folder))

    for _ in range(2):
        assert sum(chunk.frame["a"].sum() for chunk in source.chunks(["a"])) == FRAME["a"].sum()


@pytest.mark.parametrize(
    "X",
    [
        *(None, 3, [[1.0, 2.0]], {"a": [1]}, {"a"}, int, b"rows", range(3), deque([[1.0]])),
        *(np.zeros((2, 2)), FRAME["a"], pl.Series([1]), pa.array([1]), pa.chunked_array([[1]])),
    ],
    ids=lambda X: type(X).__name__,
)
def test_what_has_no_named_columns_is_no_source(X):
    assert find_source(X) is None


def test_a_stream_may_have_a_shape():
    class Table(Stream):
        shape = (N, 3)

    for X in (Table(FRAME), pa.RecordBatch.from_pandas(FRAME)):
        assert [len(chunk.frame) for chunk in find_source(X).chunks(["a"])] == [N]


def test_a_path_is_read_as_parquet_and_the_folders_name_columns(tmp_path):
    FRAME.to_parquet(tmp_path / "rows", partition_cols=["c"])

    found = pd.concat([chunk.frame for chunk in find_source(tmp_path / "rows").chunks(["c", "a"])])
    assert sorted(found["a"]) == list(range(N))
    assert found.set_index("a")["c"].sort_index().tolist() == FRAME["c"].tolist()


def test_other_files_are_refused_with_the_cure(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv")

    with pytest.raises(ValueError, match=r"cannot be read as Parquet.*dataset\(path, format='csv'\)"):
        list(find_source(tmp_path / "rows.csv").chunks(["a"]))
    with pytest.raises(FileNotFoundError):
        list(find_source(str(tmp_path / "nothing.parquet")).chunks(["a"]))


def test_a_file_that_lacks_a_column_is_named(folder):
    FRAME[["a", "c"]].to_parquet(folder / "r.parquet")

    with pytest.raises(ValueError, match=r"r\.parquet has no column 'b' \(columns: 'a', 'c'\)"):
        list(find_source(folder).chunks(["a", "b"]))


def test_a_file_of_other_types_is_read_as_it_is(folder):
    FRAME.assign(a=FRAME["a"].astype(str)).to_parquet(folder / "r.parquet")

    *_, last = find_source(folder).chunks(["a"])
    assert last.frame["a"].tolist()[:2] == ["0", "1"]
    assert last.files == ((0, str(folder / "r.parquet")),)


def test_rows_that_are_not_as_many_as_was_said_are_refused():
    refuse_other_number(3, 3, "r.parquet")
    with pytest.raises(ValueError, match=r"r\.parquet has delivered 2 rows, but its metadata say 3: it is damaged"):
        refuse_other_number(2, 3, "r.parquet")


def test_a_chunk_says_where_a_row_is():
    chunk = Chunk(FRAME, 2, 5000, ((0, "p.parquet"), (600, "q.parquet")))

    assert chunk.where() == "chunk 2 ('p.parquet', 'q.parquet')"
    assert chunk.where(599) == "row 5599 of the source, in chunk 2 ('p.parquet')"
    assert chunk.where(600) == "row 5600 of the source, in chunk 2 ('q.parquet')"
    assert Chunk(FRAME, 3, unit="partition").where(4) == "row 4 of partition 3"


def test_a_part_that_is_no_frame_is_refused():
    with pytest.raises(TypeError, match="part 1 of source must be a DataFrame, got a str"):
        list(find_source([FRAME, "x"]).chunks())
    with pytest.raises(TypeError, match="a callable source must return frames or another source, got a int"):
        list(find_source(lambda: 3).chunks())


def test_a_file_in_a_folder_named_like_a_column_is_that_file(tmp_path):
    folder = tmp_path / "year=3"
    folder.mkdir()
    FRAME.assign(year=7.5).to_parquet(folder / "a.parquet")

    assert find_source(folder / "a.parquet").columns == (*FRAME.columns, "year")


def test_a_folder_without_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="has no files to read"):
        find_source(tmp_path).columns  # noqa: B018
