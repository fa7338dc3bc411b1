"""One judge host for the whole red team."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.judge.host.host_bench import Bench
from tests.judge.redteam.suite import Suite
from tests.unit.judge.test_gpu_rounds import job

__all__ = ["job", "suite"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with Bench(tmp_path_factory.mktemp("redteam")) as bench:
        yield Suite.on(bench)
