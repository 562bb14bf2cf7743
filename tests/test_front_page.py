"""The figures of README and the pages beside it are those of the results that are kept, and the version is one."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bayesmixed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = "\n".join([README, *((ROOT / folder / "README.md").read_text() for folder in ("examples", "benchmarks"))])


@pytest.fixture(scope="module")
def lines():
    """What ``front_page.py`` prints."""
    command = [sys.executable, ROOT / "benchmarks" / "front_page.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in printed.splitlines() if line]


def test_tables_of_the_readme_come_from_the_kept_results(lines):
    assert len(lines) > 30
    assert [line for line in lines if line not in PAGES] == []


def test_the_headline_of_the_readme_is_a_part_of_these_tables(lines):
    headline = re.search(r"^<!-- tables -->\n(.*?)^<!-- end of tables -->$", README, re.MULTILINE | re.DOTALL)

    assert headline.group(1).count("\n") >= 5
    assert [line for line in headline.group(1).splitlines() if line and line not in lines] == []


def test_calibration_is_as_the_readme_says():
    tables = [pd.read_csv(ROOT / f"benchmarks/results/calibration_{name}.csv") for name in ("collapsed", "nuts")]

    for table, replications in zip(tables, (500, 100), strict=True):
        left = (table["outside"] > 0).sum()
        assert f"{replications} replications for each group prior, {left} of {len(table)}" in " ".join(PAGES.split())
        assert (table["replications"] == replications).all()


def test_files_that_have_to_repeat_the_version_agree_with_the_package():
    version = bayesmixed.__version__

    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert (ROOT / "CHANGELOG.md").read_text().startswith(f"# Changelog\n\n## {version} ")
