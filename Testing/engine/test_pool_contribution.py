"""One corrected scan into a pool: a new case or a revision, told before, whatever the scan is called."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_scans import GEOMETRY, LABELS, ORGANS, drawn, scan, snapshot

from skcdf.case_names import CaseNames
from skcdf.errors import Cancelled, SkcdfError
from skcdf.geometry import AxisOrder
from skcdf.image import Image, read_label_map
from skcdf.pool import LabelledPool
from skcdf.pool_contribution import (
    Contributed,
    Contribution,
    contribute,
    preview_contribution,
    with_number,
)
from skcdf.pool_entry import Preview


@pytest.fixture
def pool(tmp_path: Path) -> LabelledPool:
    return LabelledPool.create(tmp_path / "pool", LABELS, "CT")


def turned(image: Image, order: AxisOrder) -> Image:
    return Image(np.ascontiguousarray(order.apply(image.array)), order.apply_to_geometry(image.geometry))


class TestNew:
    def test_what_is_previewed_is_what_comes(self, pool: LabelledPool) -> None:
        given = Contribution(
            scan(0), drawn(1, 2, 3), "archive 4711", model="liver@v3", proposal=drawn(1, 2, 3, size=3)
        )
        before = snapshot(pool)
        preview = preview_contribution(pool, given)
        assert snapshot(pool) == before
        assert contribute(pool, given) == preview
        assert (preview.action, preview.case, preview.split) == ("add", "case_001", "training")
        assert preview.volumes_ml == dict.fromkeys(ORGANS, pytest.approx(18 * 0.002))
        assert preview.proposal_dice == dict.fromkeys(ORGANS, 0.8)
        record = pool.record("case_001")
        assert record.current is not None and record.current.model == "liver@v3"
        assert record.current.proposal_dice == preview.proposal_dice
        assert record.subject == pool.subject_hash("archive 4711")

    def test_a_name_a_split_and_the_annotated_organs_can_be_chosen(self, pool: LabelledPool) -> None:
        given = Contribution(
            scan(0), drawn(1), "a", "first", annotated=("spleen", "left_kidney"), split="validation"
        )
        done = contribute(pool, given)
        assert (done.case, done.split, set(done.volumes_ml)) == (
            "first",
            "validation",
            {"spleen", "left_kidney"},
        )
        assert done.warnings == ("left_kidney counts as absent: it is annotated and has no voxel",)

    def test_it_is_told_why_a_case_trains_or_validates(self, pool: LabelledPool) -> None:
        def reason(given: Contribution) -> tuple[str, str]:
            preview = preview_contribution(pool, given)
            assert contribute(pool, given) == preview
            return preview.split, preview.split_reason

        first = Contribution(scan(0), drawn(1), "a", split="validation")
        assert reason(first) == ("validation", "choice")
        assert reason(Contribution(scan(1), drawn(1), "a")) == ("validation", "subject")
        assert reason(Contribution(scan(2), drawn(1), "b")) == ("training", "rule")
        assert reason(replace(first, label=drawn(1, 2), split=None)) == ("validation", "case")

    def test_without_a_subject_it_is_refused(self, pool: LabelledPool) -> None:
        with pytest.raises(SkcdfError, match="no subject"):
            preview_contribution(pool, Contribution(scan(0), drawn(1, 2, 3)))

    def test_the_pools_rule_lets_the_third_person_validate(self, pool: LabelledPool) -> None:
        splits = [contribute(pool, Contribution(scan(n), drawn(1, 2, 3), f"p{n}")).split for n in range(4)]
        assert splits == ["training", "training", "validation", "training"]

    def test_what_is_raised_before_the_writing_leaves_the_pool_as_it_was(self, pool: LabelledPool) -> None:
        def stop() -> None:
            raise Cancelled

        before = snapshot(pool)
        with pytest.raises(Cancelled):
            contribute(pool, Contribution(scan(0), drawn(1, 2, 3), "a"), stop)
        assert snapshot(pool) == before


class TestRevision:
    @pytest.fixture
    def present(self, pool: LabelledPool) -> LabelledPool:
        pool.add_case("first", scan(0), drawn(1, 2, 3), subject="a")
        return pool

    def test_a_scan_that_the_pool_has_is_revised(self, present: LabelledPool) -> None:
        given = Contribution(scan(0), drawn(1, 2, 3, size=3), "a", model="m@v1", proposal=drawn(1, 2, 3))
        preview = preview_contribution(present, given)
        assert (preview.action, preview.case, preview.warnings) == ("revise", "first", ())
        assert contribute(present, given) == preview
        record = present.record("first")
        assert len(record.revisions) == 2 and len(present.records()) == 1
        assert record.revisions[-1].proposal_dice == preview.proposal_dice == dict.fromkeys(ORGANS, 0.8)

    def test_an_axis_order_of_its_own_does_not_hide_it(self, present, axis_order: AxisOrder) -> None:
        new = drawn(1, 2, 3, size=3)
        given = Contribution(turned(scan(0), axis_order), turned(new, axis_order), "a")
        assert (
            contribute(present, replace(given, proposal=turned(drawn(1, 2, 3), axis_order))).case == "first"
        )
        stored = read_label_map(present.root / present.record("first").revisions[-1].file)
        assert stored.geometry.same_grid(GEOMETRY)
        assert np.array_equal(stored.array, new.array)

    def test_the_same_again_stores_nothing_and_says_so(self, present: LabelledPool) -> None:
        before = snapshot(present)
        done = contribute(present, Contribution(scan(0), drawn(1, 2, 3), "a"))
        assert done.unchanged and "nothing is stored" in done.warnings[-1]
        assert snapshot(present) == before

    def test_other_names_and_lost_organs_are_told(self, present: LabelledPool) -> None:
        given = Contribution(scan(0), drawn(1), "somebody else", "other", annotated=("spleen",))
        warnings = preview_contribution(present, given).warnings
        assert warnings == (
            "the pool has this scan as first, and keeps that name",
            "the pool knows this scan as another subject's, and keeps that",
            "would no longer be annotated: right_kidney, left_kidney",
        )
        contribute(present, given)
        assert present.record("first").subject == present.subject_hash("a")

    def test_what_a_case_is_for_never_changes(self, present: LabelledPool) -> None:
        with pytest.raises(SkcdfError, match="first, which is for training"):
            contribute(present, Contribution(scan(0), drawn(1, 2, 3), "a", split="validation"))

    def test_a_withdrawn_case_stays_withdrawn(self, present: LabelledPool) -> None:
        present.withdraw("first")
        with pytest.raises(SkcdfError, match="withdrawn"):
            preview_contribution(present, Contribution(scan(0), drawn(1, 2, 3, size=3), "a"))

    def test_a_label_map_on_another_grid_is_refused(self, present: LabelledPool) -> None:
        moved = replace(GEOMETRY, origin=(0.0, 0.0, 0.0))
        with pytest.raises(SkcdfError, match="not on the image's grid"):
            preview_contribution(present, Contribution(scan(0), replace(drawn(1), geometry=moved), "a"))


class TestSubjects:
    """A scan that came without its person's name gets it with the first correction."""

    @pytest.fixture
    def bare(self, pool: LabelledPool) -> LabelledPool:
        for number in range(4):
            pool.add_case(f"case_{number}", scan(number), None, subject=f"case_{number}")
        return pool

    def test_later_scans_of_that_person_are_then_not_validated_on(self, bare: LabelledPool) -> None:
        for number in range(2):
            contribute(bare, Contribution(scan(10 + number), drawn(1, 2, 3), f"p{number}"))
        contribute(bare, Contribution(scan(0), drawn(1, 2, 3), "archive 4711"))
        assert bare.record("case_0").subject == bare.subject_hash("archive 4711")
        done = contribute(bare, Contribution(scan(20), drawn(1, 2, 3), "archive 4711"))
        assert done.split == "training", "the pool's rule alone would have taken it to validate"

    def test_a_person_who_validates_already_is_refused(self, bare: LabelledPool) -> None:
        bare.add_case("val", scan(30), drawn(1, 2, 3), subject="archive 4711", split="validation")
        before = snapshot(bare)
        for do in (preview_contribution, contribute):
            with pytest.raises(SkcdfError, match="same subject as val, which is for validation") as raised:
                do(bare, Contribution(scan(0), drawn(1, 2, 3), "archive 4711"))
            assert "Withdraw case_0" in raised.value.hint
        assert snapshot(bare) == before


class TestNumbers:
    def test_they_go_on_after_the_highest(self) -> None:
        names = CaseNames(["case_007", "Case_0012", "case_x", "case_", "CASE_3", "other"])
        assert [names.numbered(), names.numbered()] == ["case_013", "case_014"]
        assert CaseNames(()).numbered() == "case_001"

    @pytest.mark.slow
    def test_two_who_add_at_once_get_two(self, pool: LabelledPool) -> None:
        def add_all(start: int) -> Callable[[], None]:
            def work() -> None:
                for number in range(start, start + 6):
                    contribute(pool, Contribution(scan(number), drawn(1, 2, 3), f"p{number}"))

            return work

        threads = [threading.Thread(target=add_all(start)) for start in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        names = [record.name for record in pool.records()]
        assert names == [f"case_{number:03d}" for number in range(1, 19)]

    @pytest.mark.parametrize("do", [preview_contribution, contribute])
    def test_a_number_that_another_takes_meanwhile_is_left_to_it(
        self, pool: LabelledPool, monkeypatch: pytest.MonkeyPatch, do: Callable[..., Contributed]
    ) -> None:
        own_preview = LabelledPool.preview

        def late(self: LabelledPool, name: str, *arguments: Any, **options: Any) -> Preview:
            monkeypatch.setattr(LabelledPool, "preview", own_preview)
            self.add_case(name, scan(1), drawn(1, 2, 3), subject="the other's")
            return self.preview(name, *arguments, **options)

        monkeypatch.setattr(LabelledPool, "preview", late)
        assert do(pool, Contribution(scan(2), drawn(1, 2, 3), "mine")).case == "case_002"

    def test_another_reason_is_told_and_not_tried_again(self, pool: LabelledPool) -> None:
        tries = []

        def add(name: str):
            tries.append(name)
            raise SkcdfError("The disk is full.")

        with pytest.raises(SkcdfError, match="disk is full"):
            with_number(pool, add)
        assert tries == ["case_001"]
