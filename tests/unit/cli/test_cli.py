"""The commands that only read and write files, through the command line's own front door."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from evolve_core import __version__
from evolve_core.cli import doctor
from evolve_core.cli.run import _finish
from evolve_core.cli.selection import select
from evolve_core.errors import UsageError
from evolve_core.journal.lock import runner_lock
from evolve_core.journal.model import Control, RunSpec, RunState
from evolve_core.journal.reader import JournalReader
from evolve_core.journal.writer import JournalWriter
from evolve_core.judge.host.gpu.nvml import list_devices
from evolve_core.judge.verdict import Correctness, Speed, Stage, Trust, Verdict
from evolve_core.propose.proposal import Proposal, Step

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FAST = Verdict(Correctness.CORRECT, Speed.ESTIMATED, Trust.HOST_CODE, Stage.CONFIRMATION, "1.40× estimated", ratio=1.4)


def cli(*arguments: str, cwd: Path, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command; ``largest_file`` (bytes) has every longer write refused, as a full disk does."""
    command, environment = [sys.executable, "-m", "evolve_core", *arguments], dict(os.environ)
    if largest_file is not None:
        command = ["prlimit", f"--fsize={largest_file}", *command]
        # Else it leaves bytecode behind that is cut off there, and whoever imports that later fails.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    for name in ("softmax.py", "softmax.evolve.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    return tmp_path


def spec_of(workspace: Path, task_sha256: str = "") -> RunSpec:
    """What `run softmax.py` would be asked to do in this workspace."""
    selection = select(str(workspace / "softmax.py"))
    (kernel,) = selection.kernels
    return RunSpec(
        source_file=str(workspace / "softmax.py"),
        kernels=(kernel.qualified_name,),
        versions=(kernel.version,),
        base_source=selection.text,
        task_file=str(workspace / "softmax.evolve.py"),
        entry="softmax",
        target="sm_90",
        seed=1,
        task_sha256=task_sha256,
    )


@pytest.fixture
def finished(workspace: Path) -> Path:
    """A workspace with one run that has ended with a winner: num_warps=8 at the launch."""
    spec = spec_of(workspace)
    source = spec.base_source.replace("BLOCK=BLOCK)", "BLOCK=BLOCK, num_warps=8)")
    proposal = Proposal(source, "num_warps 4 → 8", (Step("tune", "launch", (("num_warps", "8"),)),))
    with runner_lock(workspace, "r1"), closing(JournalWriter(workspace)) as journal:
        journal.create_run("r1", spec, 1)
        candidate = journal.add_candidate("r1", proposal)
        journal.add_verdict(candidate, FAST, {"seeds": [3]})
        journal.set_best("r1", candidate, 1.4, estimated=True)
        journal.set_state("r1", RunState.DONE, "num_warps 4 → 8")
    return workspace


def test_kernels_as_text_and_json(workspace):
    text = cli("kernels", "softmax.py", cwd=workspace)
    assert text.returncode == 0 and "softmax_kernel (softmax)" in text.stdout
    (file,) = json.loads(cli("kernels", "softmax.py", "--json", cwd=workspace).stdout)
    assert file["kernels"][0]["qualified_name"] == "softmax_kernel" and file["language"] == "triton"


def test_the_place_that_kernels_prints_names_a_kernel(workspace):
    place, _, named = cli("kernels", "softmax.py", cwd=workspace).stdout.partition(": ")
    selected = select(place)
    assert [k.name for k in selected.kernels] == ["softmax_kernel"] and named.startswith("softmax_kernel")
    last = selected.kernels[0].span.end_line + 1
    assert select(f"{workspace / 'softmax.py'}:{last}:5").kernels == selected.kernels
    with pytest.raises(UsageError, match=r"There is no kernel k{300} in"):  # More than a file's name can have.
        select(f"{workspace / 'softmax.py'}::{'k' * 300}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kernels", "nothere.py"), "nothere.py: No such file or directory; check the path"),
        (("kernels", "notes.txt"), "notes.txt is neither Python (.py) nor CUDA (.cu, .cuh)."),
        (("kernels", "binary.py"), "binary.py holds NUL bytes: it is not source text"),
        (("run", "softmax.py:0"), "Line 0 of softmax.py is in no kernel (kernels there: softmax_kernel at 9)."),
        (("run", "softmax.py:2"), "Line 2 of softmax.py is in no kernel (kernels there: softmax_kernel at 9)."),
        (("run", "empty.py:1"), "There are no kernels in empty.py; a kernel is a function under @triton.jit"),
        (("run", "softmax.py::nope"), "There is no kernel nope in softmax.py (kernels there: softmax_kernel)."),
        (("run", "softmax.py", "--budget", "soon"), "'soon' is no budget."),
        (("run", "softmax.py", "--budget", "0c"), "A budget of 0c leaves nothing to search with."),
        (("run", "softmax.py", "--python", "/no/python"), "asked for cannot be used: /no/python does not exist. Name "),
        (("run", "softmax.py", "--python", "/no/python"), "another with --python, or the setting kernelEvolve.python"),
        (("run", "softmax.py", "--python", "."), " is a folder."),
        (("run", "softmax.py", "--proposers", "magic"), "no proposer is called 'magic'"),
        (("run", "softmax.py", "--models", "nonsense"), "nonsense"),
        (("run", "softmax.py", "--workspace", "nowhere"), "Directory 'nowhere' does not exist."),
        (("run",), "Name a file: kernel-evolve run FILE[::KERNEL|:LINE]"),
        (("task", "check", "empty.py"), "There are no kernels in empty.py; a kernel is a function under @triton.jit"),
        (("task", "new", "empty.py"), "There are no kernels in empty.py; a kernel is"),
        (("run", "empty.py"), "There are no kernels in empty.py; a kernel is"),
        (("show", "r9", "--workspace", "a b"), "run r9 in a b; `kernel-evolve runs --workspace '/"),
        (("cancel", "r9", "--workspace", "a b"), "run r9 in a b; `kernel-evolve runs --workspace '/"),
        (("run", "--resume", "r9", "--workspace", "a b"), "run r9 in a b; `kernel-evolve runs --workspace '/"),
        (("show", "r9"), "There is no run r9 in "),
        (("apply", "r9"), "There is no run r9 in "),
        (("cancel", "r9"), "There is no run r9 in "),
    ],
)
def test_one_clear_message_and_exit_code_2(workspace, arguments, message):
    (workspace / "notes.txt").write_text("hello")
    (workspace / "empty.py").write_text("")
    (workspace / "a b").mkdir()
    (workspace / "binary.py").write_bytes(b"\xff\xfe\x00\x80" * 50)
    ended = cli(*arguments, cwd=workspace)
    assert ended.returncode == 2
    assert message in ended.stderr and "Traceback" not in ended.stderr
    assert not (workspace / ".kernel-evolve" / "journal.sqlite").exists()


def test_task_check_says_what_is_missing(workspace):
    assert cli("task", "check", "softmax.py", cwd=workspace).returncode == 0
    (workspace / "softmax.evolve.py").unlink()
    ended = cli("task", "check", "softmax.py", cwd=workspace)
    assert ended.returncode == 1 and "softmax_kernel:" in ended.stdout


def test_task_new_writes_once(workspace):
    (workspace / "softmax.evolve.py").unlink()
    assert cli("task", "new", "softmax.py", cwd=workspace).returncode == 0
    written = (workspace / "softmax.evolve.py").read_text()
    assert 'entry = "softmax"' in written
    again = cli("task", "new", "softmax.py", cwd=workspace)
    assert again.returncode == 2 and "left as it is" in again.stderr
    assert (workspace / "softmax.evolve.py").read_text() == written
    assert cli("task", "check", "softmax.py", cwd=workspace).returncode == 0


def test_task_new_goes_on_with_the_kernels_that_have_none(workspace):
    source = (workspace / "softmax.py").read_text()
    second = source[source.index("@triton.jit") :].replace("softmax", "other")
    (workspace / "softmax.py").write_text(f"{source}\n\n{second}")
    ended = cli("task", "new", "softmax.py", cwd=workspace)
    assert ended.returncode == 0 and "kernel-evolve run softmax.py::other_kernel" in ended.stdout
    assert 'entry = "other"' in (workspace / "softmax.other_kernel.evolve.py").read_text()
    assert cli("task", "check", "softmax.py", cwd=workspace).returncode == 0


def test_a_terminal_that_knows_little_gets_a_question_mark(finished):
    command = [sys.executable, "-m", "evolve_core", "show", "r1"]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, cwd=finished, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and "1.40?" in ended.stdout, ended.stderr


def test_a_file_without_kernels_says_so(workspace):
    ended = cli("kernels", "softmax.evolve.py", cwd=workspace)
    assert ended.returncode == 0 and "softmax.evolve.py: no kernels" in ended.stderr


def test_runs_and_show_say_estimated(finished):
    assert "best 1.40× (estimated)" in " ".join(cli("runs", cwd=finished).stdout.split())
    shown = json.loads(cli("show", "r1", "--json", cwd=finished).stdout)
    assert shown["run"]["best_estimated"] is True and len(shown["candidates"]) == 1
    diff = cli("show", "r1", "--diff", cwd=finished).stdout
    assert "+    softmax_kernel" in diff and "num_warps=8" in diff
    for name in ("1", "r1-1"):
        assert json.loads(cli("show", "r1", "--evidence", name, cwd=finished).stdout) == {"seeds": [3]}


def test_reasons_keep_their_brackets(finished):
    with closing(JournalWriter(finished)) as journal:
        journal.set_state("r1", RunState.FAILED, "or [tool.kernel-evolve] python")
    assert "or [tool.kernel-evolve] python" in cli("runs", cwd=finished).stdout


def test_runs_without_any(workspace):
    assert "No runs in" in cli("runs", cwd=workspace).stdout
    assert json.loads(cli("runs", "--json", cwd=workspace).stdout) == []


def test_apply_changes_what_the_winner_changes(finished):
    path = finished / "softmax.py"
    path.write_text("# a comment of mine\n" + path.read_text())
    ended = cli("apply", "r1", cwd=finished)
    assert ended.returncode == 0, ended.stderr
    text = path.read_text()
    assert text.startswith("# a comment of mine\n") and "num_warps=8)" in text
    assert [p.name for p in finished.iterdir() if p.name.startswith(".softmax")] == []


def test_apply_refuses_a_kernel_that_was_edited(finished):
    path = finished / "softmax.py"
    edited = path.read_text().replace("tl.exp(x)", "tl.exp(x) + 0.0")
    path.write_text(edited)
    ended = cli("apply", "r1", cwd=finished)
    assert ended.returncode == 2 and "edited or removed since" in ended.stderr
    assert ended.stderr.endswith(f"see the winner: kernel-evolve show r1 --diff --workspace {finished}\n")
    assert path.read_text() == edited


def test_report_is_one_file_without_network(finished):
    path = Path(cli("report", "r1", cwd=finished).stdout.strip())
    text = path.read_text()
    assert "<svg" in text and "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    assert "estimated" in text


def test_knowledge_goes_around(finished, tmp_path):
    url = f"sqlite:///{tmp_path}/kb.sqlite"
    assert cli("kb", "add", "r1", "--url", url, cwd=finished).returncode == 0
    exported = tmp_path / "kb.jsonl"
    assert cli("kb", "export", str(exported), "--url", url, cwd=finished).returncode == 0
    other = f"sqlite:///{tmp_path}/other.sqlite"
    assert "1 insights read, 1 new" in cli("kb", "import", str(exported), "--url", other, cwd=finished).stdout
    suggested = json.loads(cli("kb", "suggest", "softmax.py", "--url", other, "--json", cwd=finished).stdout)
    assert [s["kernel"] for s in suggested] == ["softmax_kernel"] and suggested[0]["estimated"] is True
    assert "1" in cli("kb", "stats", "--url", other, cwd=finished).stdout


def test_apply_keeps_line_ends_and_links(finished, tmp_path):
    path = finished / "softmax.py"
    elsewhere = finished / "elsewhere.py"
    elsewhere.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    path.unlink()
    path.symlink_to(elsewhere)
    ended = cli("apply", "r1", cwd=finished)
    assert ended.returncode == 0, ended.stderr
    assert path.is_symlink()
    written = elsewhere.read_bytes()
    assert b"num_warps=8)\r\n" in written and written.count(b"\n") == written.count(b"\r\n")


def test_apply_keeps_a_byte_order_mark_and_changes_nothing_twice(finished):
    path = finished / "softmax.py"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert cli("apply", "r1", cwd=finished).returncode == 0
    written = path.read_bytes()
    assert written.startswith(b"\xef\xbb\xbf") and b"num_warps=8)" in written
    again = cli("apply", "r1", cwd=finished)
    assert again.returncode == 0 and "already; nothing was changed" in again.stdout
    assert path.read_bytes() == written


def test_a_dead_run_is_not_paused_and_not_resumed_under_another_task(workspace):
    spec = spec_of(workspace, task_sha256="of another text")
    with closing(JournalWriter(workspace)) as journal:
        journal.create_run("r2", spec, 1)
    paused = cli("pause", "r2", cwd=workspace)
    assert paused.returncode == 2 and "run --resume r2" in paused.stderr
    # The file on disk may be gone: the run has its own copy of what it evolves.
    (workspace / "softmax.py").unlink()
    resumed = cli("run", "--resume", "r2", cwd=workspace)
    assert resumed.returncode == 2 and "softmax.evolve.py was changed since run r2" in resumed.stderr


def test_a_workspace_that_cannot_be_written_is_one_message(finished):
    (finished / ".kernel-evolve" / "reports").write_text("a file where a folder should be")
    ended = cli("report", "r1", cwd=finished)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr and "reports" in ended.stderr


def test_evidence_of_nothing(finished):
    ended = cli("show", "r1", "--evidence", "r1-99", cwd=finished)
    assert ended.returncode == 2 and "no evidence on a candidate r1-99 (1 judged;" in ended.stderr


def test_verifying_a_run_is_told_how_to_get_its_evidence(finished):
    ended = cli("verify", "r1", cwd=finished)
    assert ended.returncode == 2 and "kernel-evolve show RUN --evidence N > file.json" in ended.stderr


def test_a_cancelled_run_gives_what_it_had_confirmed(finished):
    with closing(JournalWriter(finished)) as journal:
        journal.set_state("r1", RunState.CANCELLED, "Cancelled by the user.")
    assert cli("apply", "r1", cwd=finished).returncode == 0
    assert "num_warps=8" in (finished / "softmax.py").read_text()


def test_what_a_run_ends_with_can_be_pasted_anywhere(finished, capsys, monkeypatch):
    monkeypatch.chdir(finished)
    with closing(JournalReader(finished)) as reader:
        record = reader.run("r1")
    assert record is not None
    _finish(record, finished, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "run r1: done. num_warps 4 → 8",
        f"see it:   kernel-evolve show r1 --workspace {finished}",
        f"apply it: kernel-evolve apply r1 --workspace {finished}",
    ]


def test_a_cancelled_run_gives_nothing_that_was_only_screened(finished):
    with closing(JournalWriter(finished)) as journal:
        journal.add_verdict("r1-1", replace(FAST, stage=Stage.SCREENING), {})
        journal.set_state("r1", RunState.CANCELLED, "Cancelled by the user.")
    said = cli("apply", "r1", cwd=finished)
    assert (said.returncode, said.stderr) == (
        2,
        "kernel-evolve: Run r1 has no winner: it is cancelled. Cancelled by the user.\n",
    )


def test_runs_say_what_was_asked_of_them(finished):
    with runner_lock(finished, "r1"), closing(JournalWriter(finished)) as journal:
        journal.set_state("r1", RunState.BASELINE)
        journal.request("r1", Control.PAUSE)
        assert "baseline 1 · asked to pause" in cli("runs", cwd=finished).stdout


@pytest.mark.parametrize(
    "arguments",
    [("runs",), ("show", "r1"), ("run", "softmax.py"), ("run", "--resume", "r1"), ("pause", "r1"), ("apply", "r1")],
)
def test_a_journal_of_a_newer_version_is_said_once(finished, arguments):
    path = finished / ".kernel-evolve" / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    said = cli(*arguments, cwd=finished)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        f"kernel-evolve: The journal {path} was written by a newer kernel-evolve (its format is 7; {__version__}, "
        "which runs here, reads up to 1). Upgrade with: pip install --upgrade kernel-evolve, "
        f"or move the folder {path.parent} away to start without its runs.\n"
    )


@pytest.mark.parametrize("arguments", [("runs",), ("show", "r1"), ("cancel", "r1"), ("run", "--resume", "r1")])
def test_a_state_that_nobody_knows_is_said_with_those_there_are(finished, arguments):
    path = finished / ".kernel-evolve" / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE run SET state = 'confused'")
        connection.commit()
    said = cli(*arguments, cwd=finished)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        f"kernel-evolve: The journal {path} cannot be read: its run r1 is in the state 'confused', and there are only "
        "queued, baseline, evolving, verifying, done, failed, cancelled, paused, interrupted. Correct that, "
        "or move journal.sqlite away to start a new one.\n"
    )


def test_doctor_looks_at_the_journal(finished):
    def journal() -> tuple[bool | None, str]:
        said = cli("doctor", "--json", "--python", "/nowhere/python", cwd=finished)
        [found] = [f for f in json.loads(said.stdout) if f["what"] == "journal"]
        return found["ok"], found["detail"]

    path = finished / ".kernel-evolve" / "journal.sqlite"
    assert journal() == (True, f"{path}: 1 run")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    ok, detail = journal()
    assert ok is False and "its format is 7" in detail and "pip install --upgrade" in detail
    path.unlink()
    assert journal() == (None, f"no runs in {finished} yet")


def test_nul_bytes_far_behind_are_named_instead_of_missing_kernels(workspace):
    (workspace / "far.py").write_text((workspace / "softmax.py").read_text() + "#" * 9_000 + "\0")
    said = cli("run", "far.py", cwd=workspace)
    assert said.returncode == 2
    assert "no kernels in far.py: this file holds NUL bytes" in said.stderr and "save it as UTF-8" in said.stderr


@pytest.mark.parametrize("name", ["softmax.py", "softmax.evolve.py"])
def test_a_file_in_utf_16_is_named_as_such(workspace, name):
    (workspace / name).write_text((workspace / name).read_text(), encoding="utf-16")
    said = cli("run", "softmax.py", cwd=workspace)
    assert said.returncode == 2
    assert f"{name} is not UTF-8 (it looks like UTF-16): save it as UTF-8" in said.stderr


FULL_AT = 100
"""Bytes: less than anything that a command writes."""


def everything(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but SQLite's own."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".sqlite" not in p.name}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("task", "new", "softmax.py"), "softmax.evolve.py"),
        (("report", "r1"), "r1.html"),
        (("report", "r1", "--output", "mine.html"), "mine.html"),
        (("apply", "r1"), "softmax.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_room_a_file_is_left_as_it_was(finished, arguments, named):
    if "new" in arguments:
        (finished / "softmax.evolve.py").unlink()
    before = everything(finished)
    ended = cli(*arguments, cwd=finished, largest_file=FULL_AT)
    assert ended.returncode == 2
    (message,) = ended.stderr.splitlines()
    assert (
        message.startswith("kernel-evolve: ")
        and f"{named} was not written: it would be larger than files may be here" in message
    )
    assert everything(finished) == before
    assert cli(*arguments, cwd=finished).returncode == 0


def test_runs_can_be_read_without_room_for_sqlites_index(finished):
    ended = cli("runs", cwd=finished, largest_file=FULL_AT)
    assert ended.returncode == 0 and "num_warps 4 → 8" in ended.stdout, ended.stderr


def test_a_device_is_written_to_and_not_replaced(finished):
    assert cli("kb", "add", "r1", "--url", "kb.sqlite", cwd=finished).returncode == 0
    ended = cli("kb", "export", "/dev/stdout", "--url", "kb.sqlite", cwd=finished)
    assert ended.returncode == 0 and json.loads(ended.stdout.splitlines()[1])["kind"] == "insight"
    full = cli("kb", "export", "/dev/full", "--url", "kb.sqlite", cwd=finished)
    assert (
        full.returncode == 2
        and full.stderr
        == "kernel-evolve: /dev/full was not written: the disk is full. Free some space, then try again.\n"
    )
    assert not Path("/dev/full").is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x8d\xff\x00", "given.jsonl, line 1: this is not JSON ("),
        (b"", "given.jsonl, line 1: the file is empty"),
        (
            b'{"kind": "kernel-evolve-knowledge", "version": 1}\n{"kind": "ins',
            "given.jsonl, line 2: this is not JSON (",
        ),
    ],
    ids=["binary", "empty", "truncated"],
)
def test_what_is_no_export_is_not_imported(workspace, content, message):
    (workspace / "given.jsonl").write_bytes(content)
    ended = cli("kb", "import", "given.jsonl", "--url", "kb.sqlite", cwd=workspace)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert message in ended.stderr and "Nothing was imported." in ended.stderr


def test_calibrate_without_a_gpu_says_so_once_and_cannot_run(workspace: Path) -> None:
    if list_devices():
        pytest.skip("this machine has a GPU: tests/gpu has the other side")
    done = cli("calibrate", cwd=workspace)
    assert (done.returncode, done.stdout) == (2, "")
    (message,) = done.stderr.splitlines()
    assert "no NVIDIA GPU here" in message and "run this on the machine that has one" in message


def test_doctor_says_whether_finalists_are_sanitized():
    there, absent = doctor._sanitizer("/usr/local/cuda/bin/compute-sanitizer"), doctor._sanitizer(None)
    assert (there.ok, there.detail) == (True, "/usr/local/cuda/bin/compute-sanitizer")
    assert absent.ok is None and "nvidia-cuda-sanitizer-api" in absent.next_step
