"""Killed and competing processes: a store holds whole versions, and no change is lost."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_models import FACTS, age, start_child

from skcdf.model_store import ModelStore

KILLS = 100 if os.environ.get("SKCDF_SOAK") == "1" else 5
ADDED_BY_EACH = 50 if os.environ.get("SKCDF_SOAK") == "1" else 5


def _said_until_killed(child: subprocess.Popen[str], chance: random.Random) -> list[str]:
    """Kills a working child at a random instant; what it had said is what it had done."""
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(chance.uniform(0, 0.06))
    child.kill()
    rest = child.stdout.read()
    child.wait()
    child.stdout.close()
    return [line for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.slow
def test_a_killed_adding_leaves_whole_versions_only(store: ModelStore, bundle: Path) -> None:
    store.add("liver", bundle, **FACTS)
    code = f"""
import uuid
store = ModelStore.open({str(store.root)!r})
while True:
    print(store.add("liver", {str(bundle)!r}, **FACTS).version, flush=True)
    print(store.add(uuid.uuid4().hex, {str(bundle)!r}, **FACTS).name, flush=True)
"""
    chance = random.Random(1)
    for _ in range(KILLS):
        versions, lines = [each.version for each in store.versions("liver")], store.lines()
        said = [line.strip() for line in _said_until_killed(start_child(code), chance)]
        store = ModelStore.open(store.root)
        now, begun = [each.version for each in store.versions("liver")], set(store.lines()) - set(lines)
        assert now[: len(versions) + len(said[::2])] == versions + said[::2]
        assert set(said[1::2]) <= begun
        # One may be in place and not said.
        assert len(now) + len(begun) - len(versions) <= len(said) + 1
        assert store.add("next", bundle, **FACTS).name == "next"  # no lock of the dead is in the way
    assert store.verify() == ()
    for leftover in store.root.glob(".*.new"):
        age(leftover)
    store.add("liver", bundle, **FACTS)
    assert not list(store.root.glob(".*.new"))


@pytest.mark.slow
def test_a_killed_promoting_leaves_the_old_state_or_the_new_one(three: ModelStore) -> None:
    store = three
    changes = ("v1", "v2", "v3", "back", "v1", "back", "retire")
    code = f"""
store = ModelStore.open({str(store.root)!r})
while True:
    for change in {changes!r}:
        if change == "back":
            store.roll_back("liver")
        elif change == "retire":
            store.retire("liver", "v3")
        else:
            store.promote("liver", change)
        print(change, flush=True)
"""

    def after(state, count: int):
        for index in range(count):
            change = changes[index % len(changes)]
            if change == "back":
                state = state.roll_back("liver")
            else:
                state = state.retire("v3", "liver") if change == "retire" else state.promote(change)
        return state.promoted, state.before, state.retired

    chance = random.Random(2)
    for _ in range(KILLS):
        begin = store.state("liver")
        done = len(_said_until_killed(start_child(code), chance))
        store = ModelStore.open(store.root)
        now = store.state("liver")
        assert (now.promoted, now.before, now.retired) in (after(begin, done), after(begin, done + 1))
        assert store.find("liver").version == now.promoted
        assert store.promote("liver", "v1").state == "promoted"  # no lock of the dead is in the way
    assert store.verify() == ()


@pytest.fixture
def two_at_once() -> Iterator:
    """Runs one program in two processes that begin together; what they printed."""

    def run(code: str) -> list[str]:
        children = [start_child(f"{code.replace('NUMBER', str(number))}") for number in range(2)]
        for child in children:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        said = [child.communicate(timeout=300)[0] for child in children]
        assert [child.returncode for child in children] == [0, 0]
        return said

    return run


READY = 'print("ready", flush=True)\nsys.stdin.readline()\n'


@pytest.mark.parametrize("names", [("liver", "liver"), ("liver", "Liver")])
def test_two_processes_that_begin_a_line_at_once_lose_nothing(
    names: tuple[str, str], store: ModelStore, bundle: Path, two_at_once
) -> None:
    said = two_at_once(
        f"""
store = ModelStore.open({str(store.root)!r})
{READY}
try:
    for _ in range({ADDED_BY_EACH}):
        print(store.add({names!r}[NUMBER], {str(bundle)!r}, **FACTS).version)
except SkcdfError as error:
    print("refused", error)
"""
    )
    added = [line for each in said for line in each.splitlines()]
    (line,) = store.lines()
    found = [each.version for each in store.versions(line)]
    if names[0] == names[1]:
        assert sorted(added) == sorted(found) and len(found) == 2 * ADDED_BY_EACH
    else:
        assert sum("in capitals only" in each for each in added) == 1
        assert len(found) == ADDED_BY_EACH
    assert store.verify() == ()


def test_two_processes_that_promote_at_once_lose_no_change(three: ModelStore, two_at_once) -> None:
    two_at_once(
        f"""
store = ModelStore.open({str(three.root)!r})
{READY}
for _ in range({ADDED_BY_EACH}):
    store.promote("liver", ("v1", "v2")[NUMBER])
    store.promote("liver", "v3")
"""
    )
    state = three.state("liver")
    promotions = [change.version for change in state.history]
    # Every promotion is there but for those that found their version promoted by the other process.
    assert all(a != b for a, b in itertools.pairwise(promotions))
    assert promotions == [*state.before, state.promoted]
    assert {promotions.count(version) for version in ("v1", "v2")} == {ADDED_BY_EACH}
    assert not list(three.root.rglob("*.lock"))
