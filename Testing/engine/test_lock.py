"""Locks are held by one program at a time, say by whom, and outlive no program of this computer."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from skcdf import files, lock
from skcdf.errors import SkcdfError
from skcdf.lock import held, lock_owner

HOLD = """
import sys, time
from pathlib import Path
from skcdf.lock import held
with held(Path(sys.argv[1]), "adding case_07"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "locks" / "case.lock"


def holder(path: Path) -> subprocess.Popen:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    return child


def end(child: subprocess.Popen) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_lock_says_who_holds_it_for_what_and_is_gone_afterwards(path):
    with held(path, "adding case_07"):
        owner = lock_owner(path)
        assert (owner.process, owner.host, owner.what) == (os.getpid(), platform.node(), "adding case_07")
        assert not owner.is_dead
        assert str(owner.process) in str(owner) and owner.since in str(owner)
    assert lock_owner(path) is None
    assert list(path.parent.iterdir()) == []


def test_it_is_given_back_after_an_error(path):
    with pytest.raises(KeyError), held(path, "adding"):
        raise KeyError
    assert not path.exists()


def test_a_lock_that_another_program_holds_is_told_with_its_owner(path):
    child = holder(path)
    try:
        with (
            pytest.raises(SkcdfError, match=rf"process {child.pid}\) since .*: adding case_07"),
            held(path, "x", 0.1),
        ):
            pass
        assert child.poll() is None
    finally:
        end(child)


def test_a_lock_is_waited_for(path):
    order = []

    def first() -> None:
        with held(path, "first"):
            order.append("taken")
            time.sleep(0.2)
            order.append("given back")

    thread = threading.Thread(target=first)
    thread.start()
    while not order:
        time.sleep(0.01)
    with held(path, "second"):
        order.append("second")
    thread.join()
    assert order == ["taken", "given back", "second"]


def test_the_lock_of_a_program_that_was_killed_is_broken_at_once(path):
    end(holder(path))
    assert lock_owner(path).is_dead
    begin = time.monotonic()
    with held(path, "next", 0.0):
        assert lock_owner(path).what == "next"
    assert time.monotonic() - begin < 2


def test_the_number_of_a_dead_process_given_to_another_does_not_keep_its_lock(path):
    with held(path, "first"):
        rewrite(path, started="another time")
        with held(path, "next", 0.0):
            pass


@pytest.mark.parametrize(
    "changes",
    [{"host": "another-computer"}, {"machine": "another container"}, {"machine": ""}, {"started": ""}],
)
def test_a_lock_that_may_be_alive_is_never_broken(path, changes):
    """Nor one that a newer version wrote, with more to say."""
    with held(path, "first"):
        rewrite(path, **changes, process=2**22 + 1, more="of a newer version")
        os.utime(path, (0, 0))
        with (
            pytest.raises(SkcdfError, match=r"is locked by .*first.*delete this file"),
            held(path, "next", 0.1),
        ):
            pass
        assert lock_owner(path).what == "first"


def test_what_was_left_while_a_lock_was_made_is_broken_after_a_while(path, monkeypatch):
    path.parent.mkdir()
    path.write_text("")
    with pytest.raises(SkcdfError, match="an unknown program"), held(path, "next", 0.1):
        pass
    os.utime(path, (time.time() - 11, time.time() - 11))
    with held(path, "next", 0.1):
        pass


@pytest.mark.parametrize("content", ["{", "[1]", "\x00"])
def test_a_lock_that_cannot_be_read_is_told_however_old_it_is(path, content):
    path.parent.mkdir()
    path.write_text(content)
    os.utime(path, (0, 0))
    with pytest.raises(SkcdfError, match="an unknown program"), held(path, "next", 0.1):
        pass
    assert path.read_text() == content


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs unshare and root")
def test_the_lock_of_a_container_that_bears_this_computers_name_is_not_broken(path):
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", HOLD, str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if child.stdout.readline() != b"held\n":
        pytest.skip("this system makes no process namespaces")
    try:
        with pytest.raises(SkcdfError, match="adding case_07"), held(path, "next", 0.2):
            pass
    finally:
        end(child)
        child.stderr.close()


def test_a_lock_that_a_person_gave_to_another_is_not_taken_away_again(path):
    with held(path, "first"):
        path.unlink()
        second = held(path, "second")
        second.__enter__()
    assert lock_owner(path).what == "second"
    second.__exit__(None, None, None)
    assert not path.exists()


@pytest.mark.parametrize("links", [True, False])
def test_many_who_find_a_dead_lock_hold_it_one_after_the_other(path, links, monkeypatch):
    """Also on a file system without hard links."""
    if not links:

        def refuse(*paths: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(files.os, "link", refuse)
    end(holder(path))
    inside, most, done = [], [], []

    def work(number: int) -> None:
        for _ in range(10):
            with held(path, str(number), 30.0):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.001)
                inside.remove(number)
                done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 60
    assert max(most) == 1


def test_where_the_system_cannot_break_locks_safely_they_are_told(path, monkeypatch):
    end(holder(path))

    def refuse(*path: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "exclusive_on_this_computer", refuse)
    with pytest.raises(SkcdfError, match="which has ended"), held(path, "next", 0.1):
        pass


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "locks").write_text("in the way")
    with pytest.raises(SkcdfError, match="cannot be written"), held(tmp_path / "locks" / "a.lock", "x"):
        pass
