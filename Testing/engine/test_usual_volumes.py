"""Usual volumes in a model's description: kept, checked, told, and worked out afterwards from its training cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skcdf.cases import Case
from skcdf.cli import main
from skcdf.errors import SkcdfError
from skcdf.files import read_json, write_json
from skcdf.image import read_image, read_label_map
from skcdf.image_hash import voxel_hash
from skcdf.labels import LabelSet
from skcdf.models import ModelBundle, UsualOrgan, describe, save_bundle
from skcdf.pool import LabelledPool

SPLEEN = UsualOrgan("spleen", (21.5, 34.25), 1, 8)
ORGANS = ["spleen", "right_kidney", "left_kidney"]


@pytest.fixture
def knowing(model: Callable[..., ModelBundle]) -> ModelBundle:
    """A model that says what is usual."""
    bundle = model("knowing")
    return save_bundle(bundle.folder, replace(bundle, usual=(SPLEEN,)), bundle.load_weights())


@pytest.fixture
def cases(tmp_path: Path, toy_case: Callable[..., Case]) -> list[Case]:
    """Four cases whose organs have 8 mL each."""
    (tmp_path / "cases").mkdir()
    return [toy_case(tmp_path / "cases", seed) for seed in range(4)]


@pytest.fixture
def pool(tmp_path: Path, cases: list[Case], label_set: LabelSet) -> str:
    """A pool of these cases, one of them for validation."""
    pool = LabelledPool.create(tmp_path / "pool", label_set, "CT")
    for case in cases:
        split = "validation" if case is cases[3] else "training"
        scan, labels = read_image(case.image), read_label_map(case.label)
        pool.add_case(case.name, scan, labels, subject=case.subject, split=split)
    return str(pool.root)


class TestInTheDescription:
    def test_they_are_stored_and_told(self, knowing):
        assert ModelBundle.load(knowing.folder).usual == (SPLEEN,)
        assert "spleen  21.5 to 34.25 mL (n = 8)" in describe(knowing)

    def test_a_model_without_them_loads_and_says_so(self, knowing):
        file = knowing.folder / "model.json"
        content = read_json(file, "model")
        del content["usual"]
        write_json(file, content)
        assert ModelBundle.load(knowing.folder).usual == ()
        assert "Usual volumes: not known" in describe(ModelBundle.load(knowing.folder))

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("volume_ml", [2, 1], r"usual\[0\].volume_ml must be a positive rising range"),
            ("volume_ml", [0, 1], r"usual\[0\].volume_ml must be a positive rising range"),
            ("pieces", 0, r"usual\[0\].pieces must be at least 1"),
            ("n", 0, r"usual\[0\].n must be at least 1"),
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, knowing, field, value, words):
        file = knowing.folder / "model.json"
        content = read_json(file, "model")
        content["usual"][0][field] = value
        write_json(file, content)
        with pytest.raises(SkcdfError, match=words):
            ModelBundle.load(knowing.folder)


class TestAfterwards:
    """`skcdf model usual`."""

    def test_they_come_from_the_cases_that_it_was_trained_on(self, model, pool, cases, capsys):
        trained = model("trained", trained_on=[voxel_hash(read_image(case.image)) for case in cases[:3]])
        weights = (trained.folder / "weights.safetensors").read_bytes()
        assert main(["model", "usual", str(trained.folder), "--data", pool]) == 0
        assert "from 3 training cases" in capsys.readouterr().out
        found = ModelBundle.load(trained.folder)
        assert found.usual == tuple(UsualOrgan(name, (8.0, 8.0), 1, 3) for name in sorted(ORGANS))
        assert replace(found, usual=()) == trained
        assert (trained.folder / "weights.safetensors").read_bytes() == weights

    def test_two_cases_say_nothing_of_what_is_usual(self, model, pool, cases):
        trained = model("trained", trained_on=[voxel_hash(read_image(case.image)) for case in cases[:2]])
        assert main(["model", "usual", str(trained.folder), "--data", pool]) == 0
        assert ModelBundle.load(trained.folder).usual == ()

    def test_cases_that_it_does_not_know_are_taken_only_where_the_user_says_so(self, model, pool, capsys):
        stranger = model("stranger")
        assert main(["model", "usual", str(stranger.folder), "--data", pool]) == 1
        assert "trained on none of its labelled cases" in capsys.readouterr().err
        assert main(["model", "usual", str(stranger.folder), "--data", pool, "--trust"]) == 0
        assert {each.n for each in ModelBundle.load(stranger.folder).usual} == {3}  # not the validation case

    def test_cases_with_other_organs_are_refused(self, model, pool, capsys):
        other = model("other", labels=LabelSet.from_names("other", ["liver", *ORGANS[1:]]))
        assert main(["model", "usual", str(other.folder), "--data", pool, "--trust"]) == 1
        assert "its organs are not those of model other" in capsys.readouterr().err
