"""Which version of a model is in use: it is promoted, rolled back and retired, and nothing else changes."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_models import FACTS, change_a_byte, snapshot, states_of

from skcdf import files
from skcdf.errors import SkcdfError
from skcdf.model_store import ModelStore


class TestPromote:
    def test_nothing_is_promoted_at_first(self, three: ModelStore) -> None:
        assert three.promoted("liver") is None
        with pytest.raises(SkcdfError, match=r"no version is promoted.*liver@v1, liver@v2, liver@v3"):
            three.find("liver")
        assert set(states_of(three).values()) == {"candidate"}

    def test_takes_one_into_use_and_retires_the_one_before(self, three: ModelStore) -> None:
        assert three.promote("liver", "v2").state == "promoted"
        three.promote("liver", "v3")
        assert states_of(three) == {"v1": "candidate", "v2": "retired", "v3": "promoted"}
        assert three.find("liver").version == "v3"
        promoted = ModelStore.open(three.root).promoted("liver")
        assert promoted is not None and promoted.version == "v3"

    def test_of_what_is_promoted_changes_nothing(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        three.promote("liver", "v2")
        before = snapshot(three.root)
        three.promote("liver", "v2")
        assert snapshot(three.root) == before

    def test_takes_a_retired_one_again(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v1"):
            three.promote("liver", version)
        assert states_of(three) == {"v1": "promoted", "v2": "retired", "v3": "candidate"}
        three.retire("liver", "v3")
        three.promote("liver", "v3")
        assert states_of(three)["v3"] == "promoted"

    def test_refuses_a_damaged_version_and_keeps_the_one_in_use(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        change_a_byte(three.root / "liver" / "versions" / "v2" / "weights.safetensors")
        with pytest.raises(SkcdfError, match=r"v2.weights\.safetensors: the checksum"):
            three.promote("liver", "v2")
        assert three.find("liver").version == "v1"

    @pytest.mark.parametrize(
        ("name", "version"), [("liver", "v9"), ("liver", "../v1"), ("lung", "v1"), ("..", "v1")]
    )
    def test_refuses_what_is_not_there(self, name: str, version: str, three: ModelStore) -> None:
        with pytest.raises(SkcdfError, match="there is no"):
            three.promote(name, version)

    @pytest.mark.parametrize("code", [28, 30])
    def test_that_the_disk_refuses_leaves_the_old_one_in_use(
        self, code: int, three: ModelStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        three.promote("liver", "v1")
        before = snapshot(three.root)

        def refuse(source: Path, target: Path) -> None:
            raise OSError(code, os.strerror(code), str(target))

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "replace", refuse)
            with pytest.raises(SkcdfError, match=r"current\.json: cannot be written"):
                three.promote("liver", "v2")
        assert snapshot(three.root) == before
        assert three.promote("liver", "v2").state == "promoted"

    def test_outlasts_a_virus_scanner(self, store: ModelStore, bundle: Path, monkeypatch) -> None:
        """Windows refuses for an instant to rename a folder whose files are being read."""
        really_rename, refused = os.rename, []

        def refuse(source: Path, target: Path) -> None:
            if len(refused) < 3:
                refused.append(target)
                raise PermissionError(13, "Access is denied", str(target))
            really_rename(source, target)

        monkeypatch.setattr(files.os, "rename", refuse)
        assert store.add("liver", bundle, **FACTS).version == "v1"
        assert len(refused) == 3


class TestRollBack:
    def test_goes_back_one_by_one_and_says_when_there_is_none(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v3"):
            three.promote("liver", version)
        assert [three.roll_back("liver").version for _ in range(2)] == ["v2", "v1"]
        before = snapshot(three.root)
        with pytest.raises(SkcdfError, match="no version was promoted before; v1 is the first one"):
            three.roll_back("liver")
        assert snapshot(three.root) == before

    def test_without_any_promotion_says_so(self, three: ModelStore) -> None:
        with pytest.raises(SkcdfError, match="none was promoted yet"):
            three.roll_back("liver")

    def test_passes_over_what_was_retired(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v1", "v3"):
            three.promote("liver", version)
        three.retire("liver", "v1")
        assert three.roll_back("liver").version == "v2"
        assert not three.state("liver").before

    def test_refuses_a_damaged_version_until_it_is_retired(self, three: ModelStore) -> None:
        for version in ("v1", "v2", "v3"):
            three.promote("liver", version)
        shutil.rmtree(three.root / "liver" / "versions" / "v2")
        with pytest.raises(SkcdfError, match=r"no version v2.*Retire v2 to roll back past it"):
            three.roll_back("liver")
        three.retire("liver", "v2")
        assert three.roll_back("liver").version == "v1"

    def test_the_promoted_version_cannot_be_retired(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        with pytest.raises(SkcdfError, match="v1 is promoted and cannot be retired"):
            three.retire("liver", "v1")
        assert states_of(three)["v1"] == "promoted"


operations = st.one_of(
    st.tuples(st.sampled_from(["promote", "retire", "try"]), st.integers(0, 3)),
    st.tuples(st.just("roll back"), st.just(0)),
)


@given(st.lists(operations, max_size=14))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_changes_keeps_what_must_hold(
    four: ModelStore, changes: list[tuple[str, int]]
) -> None:
    store = four
    (store.root / "liver" / "current.json").unlink(missing_ok=True)
    ever, given_up = set(), set()
    for action, index in changes:
        version, before = f"v{index + 1}", store.state("liver")
        if action == "promote":
            store.promote("liver", version)
            assert store.state("liver").promoted == version
            ever.add(version)
            given_up.discard(version)
        elif (
            action == "try"
        ):  # promoting and rolling back at once changes nothing, but for the first promotion
            if before.promoted in (None, version):
                continue
            store.promote("liver", version)
            given_up.discard(version)
            ever.add(version)
            assert store.roll_back("liver").version == before.promoted
            assert store.state("liver").before == before.before
        elif action == "retire":
            with contextlib.nullcontext() if version != before.promoted else pytest.raises(SkcdfError):
                store.retire("liver", version)
                given_up.add(version)
            assert store.state("liver").promoted == before.promoted
        else:
            with contextlib.nullcontext() if before.before else pytest.raises(SkcdfError):
                assert store.roll_back("liver").version == before.before[-1]
        states = states_of(store)
        now = store.state("liver")
        assert list(states) == ["v1", "v2", "v3", "v4"]
        assert [v for v, state in states.items() if state == "promoted"] == ([now.promoted] if ever else [])
        assert {v for v, state in states.items() if state == "retired"} == (ever | given_up) - {now.promoted}
        assert not given_up & {now.promoted, *now.before}
        assert set(now.before) <= ever
        if now.promoted:
            assert store.find("liver").version == now.promoted
    assert [each.action for each in store.state("liver").history].count("promote") >= len(ever)


@pytest.fixture(scope="module")
def four(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A store with four versions of one model, used again and again."""
    store = ModelStore.open(tmp_path_factory.mktemp("four") / "store", create=True)
    for _ in range(4):
        store.add("liver", bundle, **FACTS)
    return store
