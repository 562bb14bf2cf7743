"""The figures of README and the pages beside it are those of the results that are kept, and the version is one."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import bayesmixed

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("page", "options"), [("README.md", []), ("benchmarks/README.md", ["--long"])])
def test_tables_come_from_the_kept_results(page, options):
    tables = re.search(r"^<!-- tables -->$(.*?)^<!-- end of tables -->$", read(page), re.MULTILINE | re.DOTALL)
    lines = printed(*options)

    assert len(lines) > 5
    assert [line for line in tables.group(1).splitlines() if line] == lines


def test_the_table_of_the_guide_comes_from_the_kept_results():
    guide = [line for line in read("examples/README.md").splitlines() if line.startswith("|")]
    start = guide.index(next(line for line in guide if line.startswith("| sleepstudy | seconds")))
    lines = printed("--long")

    assert [line for line in guide[start : start + 7] if line not in lines] == []


def read(page):
    return (ROOT / page).read_text()


@cache
def printed(*options):
    """What ``front_page.py`` prints."""
    command = [sys.executable, ROOT / "benchmarks" / "front_page.py", *options]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line for line in run.stdout.splitlines() if line]


def test_calibration_is_as_the_readme_says():
    tables = [pd.read_csv(ROOT / f"benchmarks/results/calibration_{name}.csv") for name in ("collapsed", "nuts")]
    page = " ".join(read("benchmarks/README.md").split())

    for table, replications in zip(tables, (500, 100), strict=True):
        left = (table["outside"] > 0).sum()
        assert f"{replications} replications for each group prior, {left} of {len(table)}" in page
        assert (table["replications"] == replications).all()


def test_all_calibration_is_as_the_readme_says():
    table = pd.read_csv(ROOT / "benchmarks/results/calibration_overview.csv")
    page = " ".join(read("README.md").split())
    counted = f"{table['outside'].sum()} of {table['quantities'].sum()} quantities"

    assert f"{counted} leave their 95 % band, where {table['expected'].sum():.1f}" in page


def test_files_that_have_to_repeat_the_version_agree_with_the_package():
    version = bayesmixed.__version__

    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert (ROOT / "CHANGELOG.md").read_text().startswith(f"# Changelog\n\n## {version} ")
