"""The commands on versions of a model lead from a training to a model in use, and say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_models import change_a_byte

from skcdf.cli import main
from skcdf.model_store import ModelStore


class TestCommands:
    def test_lead_from_a_training_to_a_promoted_model_and_back(
        self, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store = str(tmp_path / "store")
        assert main(["model", "add", store, "liver", str(bundle), "--note", "first"]) == 0
        assert main(["model", "add", store, "liver", str(bundle), "--parent", "liver@v1"]) == 0
        assert main(["model", "promote", store, "liver", "v1"]) == 0
        assert main(["model", "promote", store, "liver", "v2"]) == 0
        assert main(["model", "versions", store]) == 0
        said = capsys.readouterr().out
        assert "v2 is promoted instead of v1" in said
        rows = [line.split() for line in said.splitlines()]
        assert ["v1", "retired"] in [row[:2] for row in rows] and ["v2", "promoted"] in [
            row[:2] for row in rows
        ]
        assert "liver@v1" in said and "first" in said and "0.500 (n = 1)" in said
        assert main(["model", "rollback", store, "liver"]) == 0
        assert main(["model", "retire", store, "liver", "v2"]) == 0
        assert main(["model", "verify", store]) == 0
        said = capsys.readouterr().out
        assert "back to v1 instead of v2" in said and "good, 2 versions" in said
        found = ModelStore.open(store).versions("liver")
        assert [each.state for each in found] == ["promoted", "retired"]
        assert found[1].config["method"] == "skcdf" and len(found[1].data_hash) == 64

    def test_end_with_an_error_that_says_what_to_do(
        self, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store = str(tmp_path / "store")
        assert main(["model", "versions", store]) == 1
        main(["model", "add", store, "liver", str(bundle)])
        assert main(["model", "rollback", store, "liver"]) == 1
        assert main(["model", "promote", store, "liver", "v2"]) == 1
        said = capsys.readouterr().err
        assert (
            "it lacks store.json" in said and "none was promoted yet" in said and "hint: It has v1." in said
        )
        change_a_byte(tmp_path / "store" / "liver" / "versions" / "v1" / "weights.safetensors")
        assert main(["model", "verify", store]) == 1
        shown = capsys.readouterr()
        assert "v1" in shown.out and "error:" in shown.err and "1 problem." in shown.err
