"""The examples in docstrings do what they show."""

import doctest
import importlib
import pkgutil

import pytest

import bayesmixed

NAMES = ["bayesmixed", *(module.name for module in pkgutil.walk_packages(bayesmixed.__path__, "bayesmixed."))]
FOUND = {name: doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name) for name in NAMES}
EXAMPLES = {name: tests for name, tests in FOUND.items() if any(test.examples for test in tests)}
# docstrings of which some example is not run
SKIPPED = {"bayesmixed.posterior.container.split_group_effects"}


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_print_what_they_show(module):
    runner, report = doctest.DocTestRunner(verbose=False), []
    for test in EXAMPLES[module]:
        runner.run(test, out=report.append)

    assert runner.failures == 0, "".join(report)


def test_examples_are_run():
    skipped = {
        test.name
        for tests in EXAMPLES.values()
        for test in tests
        if any(doctest.SKIP in example.options for example in test.examples)
    }

    assert sum(len(test.examples) for tests in EXAMPLES.values() for test in tests) > 100
    assert skipped <= SKIPPED
