"""The judge as the search uses it, on a real GPU: host, sandboxed compile, conductor, bench, verdict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Correctness, Failure, Speed, Stage, Trust
from tests.gpu.candidates import CUDA_SOURCE, CUDA_TASK, EXTENSION, SCREENED
from tests.gpu.judges import Judges, Texts
from tests.gpu.variants import example, variants

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not list_devices(), reason="needs an NVIDIA GPU"),
]

KERNELS = ("softmax", "layernorm", "matmul", "swiglu", "row_dot")
FAILS = {
    "dishonest side stream": {Failure.CHEATING, Failure.CRASH, Failure.COMPILE_ERROR},
    "dishonest thread": {Failure.CHEATING},
    "dishonest lazy subclass": {Failure.CHEATING},
    "dishonest exit": {Failure.CRASH},
    "broken compile error": {Failure.COMPILE_ERROR},
    "broken raises": {Failure.CRASH, Failure.COMPILE_ERROR},
    "broken memory": {Failure.OUT_OF_MEMORY, Failure.CRASH},
    "broken stray access": {Failure.CRASH},
    "broken endless": {Failure.TIMEOUT},
}
CONFIRMED = [
    ("layernorm", "single-warps8", Speed.FASTER),
    ("matmul", "tile128x128x64-warps8-stages3", Speed.FASTER),
    ("swiglu", "block1024-warps4", Speed.FASTER),
    ("swiglu", "block128-warps4", Speed.SLOWER),
    ("softmax", "baseline", Speed.SAME),
]


def texts(name: str) -> Texts:
    return Texts(CUDA_SOURCE, CUDA_TASK, is_cuda=True) if name == "row_dot" else Texts(*example(name))


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    found = Judges(tmp_path_factory.mktemp("judges"), texts)
    yield found
    found.close()


@pytest.mark.parametrize("label", SCREENED)
def test_screening(judges: Judges, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, source, _ = SCREENED[label]
    if label == "broken endless":
        monkeypatch.setattr("evolve_core.judge.session.SCREENING_DEADLINE_S", 15.0)
    verdict = judges.judge(name, source or "", Stage.SCREENING)
    print(f"{label}: {verdict.correctness}, {verdict.failure}, ratio {verdict.ratio}, {verdict.reason}")
    assert not verdict.is_winner
    if label in FAILS:
        assert verdict.failure in FAILS[label]
        assert verdict.correctness is not Correctness.CORRECT
    elif label.startswith("wrong") or label == "dishonest cache by pointer":
        assert verdict.correctness is Correctness.WRONG
        assert verdict.reason
    else:
        # Honest ones, and one that patches a clock that nobody reads: right, and no faster for it.
        assert verdict.correctness is Correctness.CORRECT
        assert verdict.ratio is not None
        assert verdict.ratio < 3
        assert verdict.speed is Speed.UNMEASURED


@pytest.mark.parametrize(("name", "variant", "speed"), CONFIRMED)
def test_confirmation(judges: Judges, name: str, variant: str, speed: Speed) -> None:
    verdict = judges.judge(name, variants(name)[variant], Stage.CONFIRMATION)
    print(f"{name} {variant}: {verdict.speed}, {verdict.reason}")
    assert verdict.correctness is Correctness.CORRECT
    assert verdict.failure is None
    assert verdict.speed is speed
    assert verdict.interval is not None
    assert verdict.interval.low <= (verdict.ratio or 0) <= verdict.interval.high
    assert verdict.is_winner is (speed is Speed.FASTER)


def test_an_extension_is_built_and_judged_by_its_host_code(judges: Judges, monkeypatch: pytest.MonkeyPatch) -> None:
    # The compiler takes a minute, in the sandbox and again in the bench.
    monkeypatch.setattr("evolve_core.judge.session.SCREENING_DEADLINE_S", 300.0)
    verdict = judges.judge("softmax", EXTENSION, Stage.SCREENING)
    print(f"extension: {verdict.correctness}, {verdict.failure}, ratio {verdict.ratio}, {verdict.reason}")
    assert verdict.correctness is Correctness.CORRECT
    assert verdict.trust is Trust.HOST_CODE
    assert verdict.ratio is not None
    assert "an extension uses the device or a tensor's memory" in dict(verdict.environment)["host code ran because"]


def test_the_environment_names_device_and_toolchain(judges: Judges) -> None:
    verdict = judges.judge("softmax", variants("softmax")["warps8"], Stage.SCREENING)
    environment = dict(verdict.environment)
    assert environment["device"] == list_devices()[0]["name"]
    assert environment["torch"]
    assert environment["triton"]
