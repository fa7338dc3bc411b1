"""The store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from evolve_core.knowledge.errors import KnowledgeTooNew, KnowledgeUnavailable, MissingDriver, UnknownInsight
from evolve_core.knowledge.exchange import export_lines, import_lines
from evolve_core.knowledge.model import Insight
from evolve_core.knowledge.store import default_url, open_store

Make = Callable[..., Insight]


def test_an_insight_comes_back_as_it_went_in(url: str, make_insight: Make) -> None:
    given = make_insight(ratio_low=1.31, ratio_high=1.47, kernel="größe", claim='quotes " and \\ and %')
    with open_store(url) as store:
        insight_id = store.add(given)
    with open_store(url) as store:
        (found,) = store.all()
    assert found == _with(given, insight_id=insight_id)
    assert found.created_at.tzinfo is not None


def test_adding_the_same_content_again_changes_nothing(url: str, make_insight: Make) -> None:
    with open_store(url) as store:
        first = store.add(make_insight())
        store.record_outcome(first, held=True)
        again = store.add(_with(make_insight(), successes=7))
        assert again == first
        assert store.all()[0].successes == 2


def test_another_measurement_of_the_same_change_is_another_insight(url: str, make_insight: Make) -> None:
    with open_store(url) as store:
        assert store.add(make_insight()) != store.add(make_insight(evidence_sha256="1" * 64))
        assert len(store.all()) == 2


def test_outcomes_are_counted_for_the_insight_they_belong_to(url: str, make_insight: Make) -> None:
    with open_store(url) as store:
        one, other = store.add(make_insight()), store.add(make_insight(kernel="layernorm_kernel"))
        for held in (True, True, False):
            store.record_outcome(one, held)
        found, untouched = store.get(one), store.get(other)
    assert found is not None and (found.successes, found.failures) == (3, 1)
    assert untouched is not None and (untouched.successes, untouched.failures) == (1, 0)


def test_an_outcome_of_nothing_known_is_refused(url: str) -> None:
    with open_store(url) as store, pytest.raises(UnknownInsight, match="kb search"):
        store.record_outcome("0" * 32, held=True)


def test_search_wants_every_word_somewhere(url: str, make_insight: Make) -> None:
    with open_store(url) as store:
        store.add(make_insight(claim="several ROWS per program"))
        store.add(make_insight(claim="100% occupancy", target="gfx942"))
        assert [i.claim for i in store.search("rows softmax")] == ["several ROWS per program"]
        assert [i.claim for i in store.search("GFX942 occupancy")] == ["100% occupancy"]
        assert store.search("rows gfx942") == ()
        assert len(store.search("")) == 2
        assert len(store.search("exp2", limit=1)) == 1


@pytest.mark.parametrize("wildcard", ["%", "_", "1_0"])
def test_search_takes_wildcards_literally(url: str, make_insight: Make, wildcard: str) -> None:
    with open_store(url) as store:
        store.add(make_insight(claim="100 rows", kernel="k", features=("shape:tile",)))
        found = store.search(wildcard)
    # "_" does occur in the target's name, sm_90, and in the recipe.
    assert len(found) == (1 if wildcard == "_" else 0)


def test_stats_count_measured_and_estimated_apart(url: str, make_insight: Make) -> None:
    with open_store(url) as store:
        first = store.add(make_insight())
        store.add(make_insight(estimated=False, device="NVIDIA H100", language="cuda", target="sm_80"))
        store.record_outcome(first, held=False)
        stats = store.stats()
    assert (stats.insights, stats.measured, stats.estimated, stats.held, stats.failed) == (2, 1, 1, 0, 1)
    assert dict(stats.by_target) == {"sm_90": 1, "sm_80": 1}
    assert dict(stats.by_language) == {"triton": 1, "cuda": 1}


def test_a_newer_schema_is_refused_and_left_alone(url: str, make_insight: Make) -> None:
    with open_store(url) as store:
        store.add(make_insight())
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE knowledge_meta SET value = '99' WHERE name = 'schema'"))
    with pytest.raises(KnowledgeTooNew, match=r"schema version 99.*Upgrade"):
        open_store(url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM insight")).scalar() == 1
    engine.dispose()


def _add_many(url: str, start: int, make_insight: Make) -> None:
    with open_store(url) as store:
        for number in range(start, start + 20):
            store.record_outcome(store.add(make_insight(kernel=f"kernel_{number}")), held=number % 2 == 0)


def test_two_processes_open_and_write_at_once(url: str, make_insight: Make) -> None:
    context = multiprocessing.get_context("fork")
    # They overlap in ten insights, and both find an empty database.
    children = [context.Process(target=_add_many, args=(url, start, make_insight)) for start in (0, 10)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    with open_store(url) as store:
        assert len(store.all()) == 30
        assert store.stats().held + store.stats().failed == 40


def _fill(path: str, make_insight: Make) -> None:
    with open_store(path) as store:
        store.add(make_insight())
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        with pytest.raises(
            KnowledgeUnavailable, match=r"kb\.sqlite cannot be used: .*(full|disk I/O error) [(]free some space"
        ):
            for number in range(200):
                store.add(make_insight(kernel=f"kernel_{number}", before="x" * 10_000))


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path, make_insight: Make) -> None:
    path = str(tmp_path / "kb.sqlite")
    child = multiprocessing.get_context("fork").Process(target=_fill, args=(path, make_insight))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    with open_store(path) as store:
        kept = store.all()
        assert 1 < len(kept) < 200
        store.add(make_insight(kernel="after"))


def test_exports_merge_by_union_in_either_order(url: str, tmp_path: Path, make_insight: Make) -> None:
    with open_store(url) as mine, open_store(str(tmp_path / "theirs.sqlite")) as theirs:
        shared = mine.add(make_insight())
        theirs.add(make_insight())
        theirs.add(make_insight(kernel="theirs"))
        mine.record_outcome(shared, held=True)
        theirs.record_outcome(shared, held=False)
        given = list(export_lines(theirs))
        assert import_lines(mine, given).new == 1
        assert import_lines(mine, given).new == 0
        import_lines(theirs, list(export_lines(mine)))
        found = mine.get(shared)
        assert found is not None and (found.successes, found.failures) == (2, 1)
        assert list(export_lines(mine)) == list(export_lines(theirs))


def test_a_plain_path_is_a_sqlite_file_and_its_folders_are_made(tmp_path: Path, make_insight: Make) -> None:
    path = tmp_path / "new" / "folder" / "kb.sqlite"
    with open_store(str(path)) as store:
        store.add(make_insight())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_default_follows_the_environment(tmp_path: Path) -> None:
    assert default_url({"KERNEL_EVOLVE_KNOWLEDGE": "postgresql://h/d"}) == "postgresql://h/d"
    at_home = default_url({"XDG_DATA_HOME": str(tmp_path)})
    assert at_home == f"sqlite:///{tmp_path}/kernel-evolve/knowledge.sqlite"
    assert default_url({}).endswith("/.local/share/kernel-evolve/knowledge.sqlite")


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kb.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(KnowledgeUnavailable, match=r"kb\.sqlite cannot be used: file is not a database"):
        open_store(str(path))
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(KnowledgeUnavailable, match="Permission denied"):
        open_store(str(tmp_path / "in" / "kb.sqlite"))


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KnowledgeUnavailable, match=r"(Not a directory|File exists).*KERNEL_EVOLVE_KNOWLEDGE"):
        open_store(str(tmp_path / "file" / "kb.sqlite"))


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(KnowledgeUnavailable) as caught:
        open_store("postgresql+psycopg://me:hunter2@127.0.0.1:9/kb")
    assert "127.0.0.1:9" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_driver_that_is_missing_is_named() -> None:
    with pytest.raises(MissingDriver, match=r"pg8000.*kernel-evolve\[postgres\]"):
        open_store("postgresql+pg8000://127.0.0.1/kb")


def test_nonsense_for_a_url_is_not_repeated() -> None:
    with pytest.raises(KnowledgeUnavailable) as caught:
        open_store("pass word://hunter2:::")
    assert "hunter2" not in str(caught.value)


def _with(insight: Insight, **changes: object) -> Insight:
    from dataclasses import replace

    return replace(insight, **changes)  # type: ignore[arg-type]
