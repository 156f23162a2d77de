"""Files are written whole or not at all, and Windows' refusals are outlasted or told."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skcdf
from skcdf import files
from skcdf.errors import SkcdfError
from skcdf.files import atomic_write, read_json, replace, sha256, write_json, write_text

PACKAGE = Path(skcdf.__file__).parent
POSIX_ONLY_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "posix", "multiprocessing"}
POSIX_ONLY_CALLS = {
    "os": {
        "fork",
        "forkpty",
        "kill",
        "killpg",
        "setsid",
        "getuid",
        "geteuid",
        "wait",
        "waitpid",
        "nice",
        "mkfifo",
    },
    "signal": {
        "SIGKILL",
        "SIGTERM",
        "SIGALRM",
        "SIGHUP",
        "SIGUSR1",
        "SIGUSR2",
        "alarm",
        "setitimer",
        "pthread_kill",
    },
}


@pytest.fixture
def lock(monkeypatch):
    """Makes renaming fail a number of times, as Windows does while another program holds the target open."""

    def fail(times: float) -> list[Path]:
        really_replace, attempts = os.replace, []

        def refuse(source, target):
            attempts.append(target)
            if len(attempts) <= times:
                raise PermissionError(13, "The process cannot access the file", str(target))
            really_replace(source, target)

        monkeypatch.setattr(files.os, "replace", refuse)
        return attempts

    return fail


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(text=st.text(), name=st.sampled_from(["a.json", "b.nii.gz", "c", "d.e.f", "ü ß.txt"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_text_is_written_as_it_is_in_folders_made_on_the_way(text, name, tmp_path):
    target = tmp_path / "deep" / "folder" / name
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        return
    write_text(target, text)
    assert contents(target.parent)[name] == encoded


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "a.json", {"ü": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json", "thing") == {"ü": [1, 2.5, None]}
    assert b"\r" not in (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SkcdfError])
def test_a_failed_writing_leaves_the_old_file_and_nothing_else(failure, tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(failure), atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of the n")
        raise failure("stop")
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_what_is_no_json_is_not_written(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert contents(tmp_path) == {"a.json": b"1\n"}


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    told = pytest.raises(SkcdfError, match=r"a\.txt: cannot be written \(No space left.*disk space")
    with told, atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert contents(tmp_path) == {}


def test_a_writer_that_wrote_nothing_is_told(tmp_path):
    with pytest.raises(SkcdfError, match="cannot be written"), atomic_write(tmp_path / "a.txt"):
        pass
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("below", ["file/a.txt", "file/b/a.txt"])
def test_a_file_where_the_folder_should_be_is_told(below, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SkcdfError, match="cannot be written"):
        write_text(tmp_path / below, "text")
    assert contents(tmp_path) == {"file": b"in the way"}


def test_a_folder_where_the_file_should_be_is_told(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(SkcdfError, match=r"a\.txt: cannot be"):
        write_text(tmp_path / "a.txt", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("target", "suffix", "expected"),
    [("a.nii.gz", None, ".nii.gz"), ("a.nrrd", None, ".nrrd"), ("a", None, ""), ("a.json", ".bin", ".bin")],
)
def test_the_temporary_file_lies_beside_the_target_and_has_its_ending(target, suffix, expected, tmp_path):
    with atomic_write(tmp_path / target, suffix) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(f".tmp{expected}")
        temporary.touch()


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    texts = [str(number) * 100_000 for number in range(4)]
    threads = [
        threading.Thread(target=lambda text=text: [write_text(tmp_path / "a.txt", text) for _ in range(5)])
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(tmp_path)["a.txt"].decode() in texts
    assert len(contents(tmp_path)) == 1


def test_a_file_that_is_open_elsewhere_for_an_instant_is_waited_for(lock, tmp_path):
    (tmp_path / "a.txt").write_text("old")
    attempts = lock(3)
    write_text(tmp_path / "a.txt", "new")
    assert len(attempts) == 4
    assert contents(tmp_path) == {"a.txt": b"new"}


def test_a_file_that_stays_open_elsewhere_is_told(lock, tmp_path, monkeypatch):
    attempts = lock(float("inf"))
    (tmp_path / "a").write_text("new")
    with pytest.raises(SkcdfError, match=r"b: cannot be replaced .*Close the program"):
        replace(tmp_path / "a", tmp_path / "b", patience_s=0.1)
    assert len(attempts) > 2
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN,"])
def test_what_is_no_json_is_refused_by_name(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(SkcdfError, match=r"a\.json: this plan cannot be read"):
        read_json(tmp_path / "a.json", "plan")


def test_json_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SkcdfError, match=r"a\.json: there is no such plan"):
        read_json(tmp_path / "a.json", "plan")


def test_a_drive_that_knows_no_permissions_takes_files_all_the_same(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    write_json(tmp_path / "a.json", [1])
    assert read_json(tmp_path / "a.json", "numbers") == [1]


@pytest.mark.skipif(shutil.which("ps") is None or not hasattr(time, "tzset"), reason="there is no ps here")
def test_where_ps_tells_when_a_process_began_all_who_ask_hear_the_same(monkeypatch):
    monkeypatch.setattr(files.sys, "platform", "darwin")
    heard = set()
    for zone in ("UTC", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        heard.add(files.process_start(os.getpid()))
    assert len(heard) == 1 and None not in heard


def test_the_hash_is_that_of_all_bytes(tmp_path):
    content = os.urandom((1 << 20) + 5)
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell how much memory a process held")
def test_the_most_memory_a_process_held_is_its_own_and_not_that_of_the_program_that_started_it():
    child = (
        "from skcdf.files import peak_resident_bytes as peak; before = peak(); x = bytearray(50_000_000); "
        "print(before, peak())"
    )
    held = bytearray(os.urandom(1)) * 300_000_000  # by this process
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, timeout=60)
    before, after = map(int, done.stdout.split())
    assert before < len(held) / 2 and 45_000_000 < after - before < 100_000_000


def posix_only(tree: ast.AST) -> list[str]:
    """What a module uses that Windows lacks."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in POSIX_ONLY_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = (node.module or "").split(".")[0]
            names = {name.name for name in node.names} & POSIX_ONLY_CALLS.get(module, set())
            found += [module] if module in POSIX_ONLY_MODULES else [f"{module}.{name}" for name in names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in POSIX_ONLY_CALLS.get(node.value.id, ()):
                found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.keyword) and node.arg in ("preexec_fn", "start_new_session"):
            found.append(node.arg)
    return found


def test_the_scan_for_posix_only_code_finds_it():
    code = "import fcntl\nfrom os import fork\nos.kill(1, signal.SIGKILL)\nPopen(preexec_fn=print)\nsignal.SIGINT"
    found = {"fcntl", "os.fork", "preexec_fn", "os.kill", "signal.SIGKILL"}
    assert set(posix_only(ast.parse(code))) == found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_only_files_knows_what_one_platform_can_do(path):
    if path != PACKAGE / "files.py":
        assert posix_only(ast.parse(path.read_text("utf-8"))) == []
