"""Insights to test with, and the databases: a SQLite file, and a real PostgreSQL server where one is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evolve_core.knowledge.model import Insight, Scope
from evolve_core.propose.proposal import Step

ROW = (
    "kind:reduction",
    "loads:1",
    "loops:0",
    "op:exp",
    "rank:1",
    "reduce:max",
    "reduce:sum",
    "shape:row-reduction",
    "stores:1",
)


@pytest.fixture
def make_insight() -> Callable[..., Insight]:
    def make(**changes: object) -> Insight:
        scope = Scope(
            language=str(changes.pop("language", "triton")),
            features=tuple(changes.pop("features", ROW)),  # type: ignore[arg-type]
            target=str(changes.pop("target", "sm_90")),
            device=str(changes.pop("device", "")),
            toolchain="triton 3.9.0",
        )
        fields: dict[str, object] = {
            "insight_id": "",
            "claim": "exp to exp2: 1.40× estimated on a row reduction (sm_90)",
            "scope": scope,
            "recipe": (Step("rewrite", "exp-to-exp2"), Step("tune", "launch", (("num_warps", "8"),))),
            "ratio": 1.4,
            "ratio_low": None,
            "ratio_high": None,
            "estimated": True,
            "kernel": "softmax_kernel",
            "before": "def a(): pass\n",
            "after": "def b(): pass\n",
            "evidence_sha256": "0" * 64,
            "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        }
        return Insight(**{**fields, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a throw-away PostgreSQL server on loopback."""
    # PostgreSQL refuses to run as root; its package brings a user for that.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="kernel-evolve-pg-"))
    if user:
        shutil.chown(folder, user, user)
    port = _free_port()
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder} -c fsync=off"
    data = folder / "data"

    def run(*command: str | Path) -> None:
        subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    try:
        run("initdb", "-D", data, "-A", "trust", "-E", "UTF8", "-U", "tester", "--no-sync")
        run("pg_ctl", "-w", "-D", data, "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "-D", data, "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# PostgreSQL has a target of its own (`make test-databases`), which installs the server and sets the variable.
DATABASES = ["sqlite", "postgresql"] if os.environ.get("KERNEL_EVOLVE_TEST_POSTGRES") else ["sqlite"]


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'knowledge.sqlite'}"
    import psycopg

    server = request.getfixturevalue("postgres_server")
    name = f"kb_{abs(hash(request.node.name))}"
    with psycopg.connect(server.replace("+psycopg", "") + "postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')  # type: ignore[arg-type]
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    return server + name
