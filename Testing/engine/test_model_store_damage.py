"""A damaged store: what is broken is named with the way out, and hinders nothing else."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from stored_models import FACTS, change_a_byte, states_of

from skcdf.errors import SkcdfError
from skcdf.model_store import ModelStore


class TestDamage:
    @pytest.mark.parametrize(
        "content",
        [
            *("", "[]", "{", '{"schema": 1, "promoted": "v1", "retired": ["v1"]}', '{"schema": 1, "x": 0}'),
            '{"schema": 1, "history": [{"action": "promote", "version": "../../etc", "when": ""}]}',
        ],
    )
    def test_a_damaged_record_is_named_and_hinders_nothing_else(
        self, content: str, three: ModelStore, bundle: Path
    ) -> None:
        three.promote("liver", "v1")
        three.add("lung", bundle, **FACTS)
        record = three.root / "liver" / "current.json"
        record.write_text(content)
        for action in (three.find, three.versions, three.promoted, three.roll_back):
            with pytest.raises(SkcdfError, match=r"current\.json.*delete it"):
                action("liver")
        assert record.read_text() == content
        assert three.lines() == ("liver", "lung")
        assert three.find("liver@v2").version == "v2"
        assert three.promote("lung", "v1").state == "promoted"
        assert three.add("liver", bundle, **FACTS).version == "v4"
        (problem,) = three.verify()
        assert "current.json" in problem
        record.unlink()
        assert set(states_of(three).values()) == {"candidate"}

    def test_that_the_promoted_version_is_gone_is_told_with_the_ways_out(self, three: ModelStore) -> None:
        three.promote("liver", "v1")
        three.promote("liver", "v2")
        shutil.rmtree(three.root / "liver" / "versions" / "v2")
        for action in (three.find, three.promoted):
            with pytest.raises(SkcdfError, match="promoted version v2 is missing") as caught:
                action("liver")
            assert "Restore" in caught.value.hint and "roll back" in caught.value.hint
        assert three.roll_back("liver").version == "v1"
        assert three.find("liver").version == "v1"

    def test_that_the_only_promoted_version_is_gone_names_those_that_can_be_promoted(
        self, three: ModelStore
    ) -> None:
        three.promote("liver", "v2")
        shutil.rmtree(three.root / "liver" / "versions" / "v2")
        with pytest.raises(SkcdfError, match="promoted version v2 is missing") as caught:
            three.find("liver")
        assert "roll back" not in caught.value.hint and "liver@v1, liver@v3" in caught.value.hint
        assert three.promote("liver", "v3").state == "promoted"

    @pytest.mark.parametrize("file", ["version.json", "model.json", "weights.safetensors"])
    @pytest.mark.parametrize("how", ["missing", "broken"])
    def test_a_damaged_version_is_named_and_the_others_are_used(
        self, file: str, how: str, three: ModelStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        damaged = three.root / "liver" / "versions" / "v2" / file
        if how == "missing":
            damaged.unlink()
        else:
            damaged.write_bytes(damaged.read_bytes()[:-3])
        (problem,) = three.verify()
        assert str(Path("versions", "v2")) in problem
        with pytest.raises(SkcdfError, match="v2"):
            three.promote("liver", "v2")
        with caplog.at_level(logging.WARNING):
            assert {"v1", "v3"} <= set(states_of(three))
        if file == "version.json":
            assert "v2" in caplog.text and "v2" not in states_of(three)
        assert three.promote("liver", "v3").state == "promoted"

    def test_verify_finds_changed_weights_missing_and_misplaced_versions(
        self, three: ModelStore, bundle: Path
    ) -> None:
        for version in ("v1", "v2", "v3"):
            three.promote("liver", version)
        assert three.verify() == ()
        versions = three.root / "liver" / "versions"
        change_a_byte(versions / "v1" / "weights.safetensors")
        shutil.move(versions / "v2", versions / "v7")
        problems = three.verify()
        assert len(problems) == 3
        assert any("v1" in each and "checksum" in each for each in problems)
        assert any("v2: is missing" in each for each in problems)
        assert any("v7: calls itself liver v2" in each for each in problems)

    def test_verify_finds_two_lines_that_windows_takes_for_one(self, three: ModelStore) -> None:
        if (three.root / "LIVER").exists():
            pytest.skip("this disk does not tell capitals apart")
        shutil.copytree(three.root / "liver", three.root / "LIVER")
        assert sum("in capitals only" in each for each in three.verify()) == 2

    def test_what_is_no_store_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SkcdfError, match=r"no model store, it lacks store\.json"):
            ModelStore.open(tmp_path)
        (tmp_path / "thesis.txt").touch()
        with pytest.raises(SkcdfError, match="is not empty"):
            ModelStore.open(tmp_path, create=True)
        (tmp_path / "store.json").write_text('{"schema": 2}')
        with pytest.raises(SkcdfError, match="schema 2 is not known"):
            ModelStore.open(tmp_path)

    def test_a_drive_that_is_gone_is_told(self, three: ModelStore, bundle: Path) -> None:
        shutil.rmtree(three.root)
        for action in (
            three.lines,
            three.verify,
            lambda: three.add("liver", bundle, **FACTS),
            lambda: three.promote("liver", "v1"),
            lambda: three.find("liver"),
        ):
            with pytest.raises(SkcdfError, match="Check that the drive is there"):
                action()

    def test_no_name_leads_out_of_the_store(self, three: ModelStore) -> None:
        for reference in ("../store/liver@v1", "liver@../v1", "liver@", "@v1", "", "liver@v01"):
            with pytest.raises(SkcdfError):
                three.find(reference)
