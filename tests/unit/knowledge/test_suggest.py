"""From a winner to an insight, through a real store, to suggestions for other kernels."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evolve_core.journal.model import CandidateRecord, RunSpec
from evolve_core.judge.verdict import Correctness, Interval, Speed, Stage, Trust, Verdict
from evolve_core.knowledge.errors import BadExchangeFile
from evolve_core.knowledge.exchange import export_lines, import_lines
from evolve_core.knowledge.insight import NotAWinner, insight_from_winner
from evolve_core.knowledge.redact import redact
from evolve_core.knowledge.store import KnowledgeStore, open_store
from evolve_core.knowledge.suggest import suggest, suggestions_json
from evolve_core.propose.proposal import Step
from evolve_core.source.model import Language

EXAMPLES = Path(__file__).parents[3] / "examples"
SOFTMAX = (EXAMPLES / "softmax.py").read_text()
FASTER_SOFTMAX = SOFTMAX.replace("tl.exp(x)", "tl.exp2(x * 1.4426950408889634)").replace(
    "n_cols, BLOCK=BLOCK)", "n_cols, BLOCK=BLOCK, num_warps=8)"
)
# The same idea in other words: what a colleague's file may look like.
COLLEAGUE = SOFTMAX.replace("softmax_kernel", "probabilities").replace("numerator", "weights").replace("row", "line")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ESTIMATED = Verdict(
    correctness=Correctness.CORRECT,
    speed=Speed.ESTIMATED,
    trust=Trust.KERNEL_ONLY,
    stage=Stage.SCREENING,
    reason="estimated 1.40× on sm_90",
    ratio=1.4,
    environment=(("target", "sm_90"), ("triton", "3.9.0"), ("python", "/home/ada/env/bin/python")),
)
MEASURED = replace(
    ESTIMATED,
    speed=Speed.FASTER,
    stage=Stage.CONFIRMATION,
    interval=Interval(1.31, 1.47),
    environment=(("device", "NVIDIA H100"), ("triton", "3.9.0"), ("driver", "580.10")),
)
RECIPE = (
    Step("rewrite", "exp-to-exp2", (("kernel", "softmax_kernel"),)),
    Step("tune", "launch", (("num_warps", "8"),)),
)


def spec(source: str = SOFTMAX) -> RunSpec:
    return RunSpec(
        source_file="/home/ada/project/softmax.py",
        kernels=("softmax_kernel",),
        versions=("v",),
        base_source=source,
        task_file="/home/ada/project/softmax.evolve.py",
        entry="softmax",
        target="sm_90",
        seed=1,
    )


def winner(verdict: Verdict | None = ESTIMATED, source: str = FASTER_SOFTMAX) -> CandidateRecord:
    return CandidateRecord("c7", "r1", 7, (), "exp → exp2, num_warps 4 → 8", RECIPE, source, 1.0, verdict, 2.0)


@pytest.fixture
def store(tmp_path: Path) -> KnowledgeStore:
    return open_store(str(tmp_path / "kb.sqlite"))


def test_a_claim_reads_as_a_sentence_and_says_which_kind_of_number() -> None:
    estimated = insight_from_winner(spec(), winner(), NOW)
    measured = insight_from_winner(spec(), winner(MEASURED), NOW)
    assert estimated.claim == "exp to exp2 and num_warps 8: 1.40× estimated on a row reduction (sm_90)"
    assert measured.claim == "exp to exp2 and num_warps 8: 1.40× (1.31–1.47) measured on a row reduction (NVIDIA H100)"
    assert (estimated.estimated, estimated.scope.device) == (True, "")
    assert (measured.estimated, measured.scope.device) == (False, "NVIDIA H100")
    assert measured.scope.toolchain == "triton 3.9.0, driver 580.10"
    assert (measured.ratio_low, measured.ratio_high) == (1.31, 1.47)


@pytest.mark.parametrize(
    "verdict", [None, replace(MEASURED, correctness=Correctness.WRONG), replace(MEASURED, stage=Stage.SCREENING)]
)
def test_only_a_winner_founds_an_insight(verdict: Verdict | None) -> None:
    with pytest.raises(NotAWinner, match="c7 is no winner"):
        insight_from_winner(spec(), winner(verdict))


def test_the_evidence_depends_on_sources_and_verdict() -> None:
    hashes = {
        insight_from_winner(spec(), candidate, NOW).evidence_sha256
        for candidate in (winner(), winner(MEASURED), winner(source=FASTER_SOFTMAX + "# more\n"))
    }
    assert len(hashes) == 3


def test_before_and_after_hold_the_kernel_and_what_launches_it_and_nothing_else() -> None:
    other = "\n\ndef unrelated():\n    return 1\n"
    insight = insight_from_winner(spec(SOFTMAX + other), winner(source=FASTER_SOFTMAX + other), NOW)
    assert "import torch" not in insight.before and "unrelated" not in insight.before
    assert "@triton.jit\ndef softmax_kernel" in insight.before
    assert "softmax_kernel[(n_rows,)]" in insight.before
    assert "num_warps=8" in insight.after and "exp2" in insight.after


def test_a_colleagues_kernel_gets_the_suggestion(store: KnowledgeStore) -> None:
    store.add(insight_from_winner(spec(), winner(), NOW))
    (found,) = suggest(store, COLLEAGUE, Language.TRITON, "sm_90")
    assert found.kernel == "probabilities"
    (suggestion,) = found.suggestions
    assert suggestion.similarity == 1.0
    assert suggestion.insight.recipe == RECIPE


def test_the_kernel_it_came_from_gets_it_until_it_is_applied(store: KnowledgeStore) -> None:
    store.add(insight_from_winner(spec(), winner(), NOW))
    assert suggest(store, SOFTMAX, Language.TRITON, "sm_90") != ()
    assert suggest(store, FASTER_SOFTMAX, Language.TRITON, "sm_90") == ()
    commented = FASTER_SOFTMAX.replace("    row = tl", "    # one program per row\n    row = tl")
    assert suggest(store, commented, Language.TRITON, "sm_90") == ()
    half = SOFTMAX.replace("n_cols, BLOCK=BLOCK)", "n_cols, BLOCK=BLOCK, num_warps=8)")
    assert suggest(store, half, Language.TRITON, "sm_90") != ()


def test_a_transplant_that_won_is_the_recipe_it_replayed() -> None:
    transplanted = replace(winner(), recipe=(*RECIPE, Step("transplant", "a" * 32)))
    assert insight_from_winner(spec(), transplanted, NOW).recipe == RECIPE


@pytest.mark.parametrize("name", ["matmul", "swiglu"])
def test_unrelated_kernels_get_nothing(store: KnowledgeStore, name: str) -> None:
    store.add(insight_from_winner(spec(), winner(), NOW))
    assert suggest(store, (EXAMPLES / f"{name}.py").read_text(), Language.TRITON, "sm_90") == ()


def test_no_more_than_the_limit_and_only_this_language(store: KnowledgeStore) -> None:
    for number in range(5):
        recipe = (Step("rewrite", f"rule-{number}"),)
        store.add(replace(insight_from_winner(spec(), winner(), NOW), recipe=recipe, after=f"def a{number}(): pass"))
    found = insight_from_winner(spec(), winner(), NOW)
    store.add(replace(found, scope=replace(found.scope, language="cuda"), claim="cuda"))
    (three,) = suggest(store, COLLEAGUE, Language.TRITON, "sm_90")
    (all_,) = suggest(store, COLLEAGUE, Language.TRITON, "sm_90", limit=9)
    assert (len(three.suggestions), len(all_.suggestions)) == (3, 5)
    assert suggest(store, COLLEAGUE, Language.TRITON, "sm_90", limit=0) == ()


def test_an_applied_change_of_two_kernels_is_recognised(store: KnowledgeStore) -> None:
    second = SOFTMAX[SOFTMAX.index("@triton.jit") : SOFTMAX.index("def softmax(")]
    two = SOFTMAX.replace("def softmax(", second.replace("softmax_kernel", "scale_kernel") + "def softmax(")
    two = two.replace(
        "    return out", "    scale_kernel[(n_rows,)](x, out, 1, 1, n_cols, BLOCK=BLOCK)\n    return out"
    )
    faster = two.replace("tl.exp(x)", "tl.exp2(x * 1.4426950408889634)")
    store.add(
        insight_from_winner(replace(spec(two), kernels=("softmax_kernel", "scale_kernel")), winner(source=faster), NOW)
    )
    assert len(suggest(store, two, Language.TRITON, "sm_90")) == 2
    assert suggest(store, faster, Language.TRITON, "sm_90") == ()


def test_a_file_that_does_not_parse_still_gets_an_answer(store: KnowledgeStore) -> None:
    store.add(insight_from_winner(spec(), winner(), NOW))
    broken = COLLEAGUE.replace("denominator = tl.sum(weights, axis=0)", "denominator = tl.sum(weights,")
    assert [k.kernel for k in suggest(store, broken, Language.TRITON, "sm_90")] == ["probabilities"]
    assert suggest(store, "def \x00 (((", Language.TRITON, "sm_90") == ()


def test_the_json_is_what_the_server_parses(store: KnowledgeStore) -> None:
    insight_id = store.add(insight_from_winner(spec(), winner(MEASURED), NOW))
    store.record_outcome(insight_id, held=False)
    (record,) = json.loads(json.dumps(suggestions_json(suggest(store, COLLEAGUE, Language.TRITON, "sm_80"))))
    assert record == {
        "kernel": "probabilities",
        "insight_id": insight_id,
        "claim": "exp to exp2 and num_warps 8: 1.40× (1.31–1.47) measured on a row reduction (NVIDIA H100)",
        "ratio": 1.4,
        "ratio_low": 1.31,
        "ratio_high": 1.47,
        "estimated": False,
        "similarity": 1.0,
        "because": "both: row reduction, exp, max reduction, sum reduction; seen on sm_90, not sm_80",
        "target": "sm_90",
        "device": "NVIDIA H100",
        "toolchain": "triton 3.9.0, driver 580.10",
        "recipe": [
            {"proposer": "rewrite", "rule": "exp-to-exp2", "parameters": {"kernel": "softmax_kernel"}},
            {"proposer": "tune", "rule": "launch", "parameters": {"num_warps": "8"}},
        ],
        "successes": 1,
        "failures": 1,
        "evidence_sha256": record["evidence_sha256"],
    }


def test_neither_keys_nor_paths_reach_the_store(tmp_path: Path) -> None:
    key = "sk-" + "ant-api03-abcdefghijklmnop"
    leaky = FASTER_SOFTMAX.replace(
        "    n_rows, n_cols = x.shape\n",
        f'    n_rows, n_cols = x.shape\n    token = "{key}"\n'
        '    log = open("/home/ada/secret-project/log.txt")  # see /Users/ada/notes.md\n',
    )
    path = tmp_path / "kb.sqlite"
    with open_store(str(path)) as store:
        store.add(insight_from_winner(spec(), winner(source=leaky), NOW))
        exported = "\n".join(export_lines(store))
    compile(json.loads(exported.splitlines()[1])["after"], "after", "exec")
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in (key, "ada", "secret-project", "/home", "notes.md"):
        assert secret not in exported
        assert secret.encode() not in on_disk


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api_key = 'abcd1234'", "api_key = 'REDACTED'"),
        ('os.environ["HF_TOKEN"] = "hf_abcd"', 'os.environ["HF_TOKEN"] = "REDACTED"'),
        ("postgresql://me:hunter2@host/db", "postgresql://me:REDACTED@host/db"),
        ('load("/models/x/y.bin")', 'load("PATH")'),
        (r"# C:\Users\ada\k.py", "# PATH"),
        ("offset = a /b/ c + x//data//y", "offset = a /b/ c + x//data//y"),
        ('tl.load(x, eviction_policy="evict_first")', 'tl.load(x, eviction_policy="evict_first")'),
        ("n_tokens = 4; token = tokens[i]", "n_tokens = 4; token = tokens[i]"),
    ],
)
def test_redaction(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: "{", "line 2: this is not JSON"),
        (lambda r: "[]", "line 2: this is not a JSON object"),
        (lambda r: json.dumps({**r, "kind": "other"}), "there is no kind 'other'"),
        (lambda r: json.dumps({**r, "ratio": "fast"}), "`ratio` must be a positive number"),
        (lambda r: json.dumps({**r, "recipe": [{"proposer": "tune"}]}), "`parameters` must be a list"),
        (lambda r: json.dumps({**r, "created_at": "yesterday"}), "`created_at` must be an ISO 8601 time"),
        (lambda r: json.dumps({**r, "ratio": 9.0}), "not the hash of its content"),
    ],
)
def test_a_damaged_export_names_the_line_and_imports_nothing(store: KnowledgeStore, change, complaint: str) -> None:  # type: ignore[no-untyped-def]
    store.add(insight_from_winner(spec(), winner(), NOW))
    head, line = export_lines(store)
    with open_store("sqlite://") as other:
        with pytest.raises(BadExchangeFile, match=complaint):
            import_lines(other, [head, change(json.loads(line))], "team.jsonl")
        assert other.all() == ()


def test_an_export_of_a_newer_format_says_so(store: KnowledgeStore) -> None:
    with pytest.raises(BadExchangeFile, match="this export has version 9"):
        import_lines(store, ['{"kind": "kernel-evolve-knowledge", "version": 9}'])


def test_an_outcome_needs_its_insight(store: KnowledgeStore) -> None:
    line = json.dumps({"kind": "outcome", "outcome_id": "a" * 32, "insight_id": "b" * 32, "held": True, "at": "2026"})
    with pytest.raises(BadExchangeFile, match="which is not above it"):
        import_lines(store, [line])
