"""Which foreign label becomes which: by code and name, never by chance, and never the other side."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.label_mapping import (
    UNDECIDED,
    MappingFile,
    SourceLabel,
    map_labels,
    proposed_mapping_file,
    sides_in,
)
from skcdf.labels import Code, LabelSet
from skcdf.organ_list import extended, organs_from_text

LABELS = LabelSet.load("synapse13")
KIDNEY, LIVER = Code("SCT", "64033007", "Kidney"), Code("SCT", "10200004", "Liver")
RIGHT, LEFT = Code("SCT", "24028007", "Right"), Code("SCT", "7771000", "Left")
TISSUE = Code("SCT", "85756007", "Tissue")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def mapped(
    *labels: SourceLabel, file: MappingFile | None = None, values: bool = False
) -> dict[str, str | None]:
    """Targets by source name; there is nothing undecided and no contradiction."""
    mapping = map_labels(labels, LABELS, file or MappingFile(), values)
    assert not mapping.unmapped and not mapping.problems
    return {each.source.name: each.target for each in mapping.mapped}


def problem(*labels: SourceLabel, file: MappingFile | None = None, values: bool = False) -> str:
    """The one problem, in words."""
    (found,) = map_labels(labels, LABELS, file or MappingFile(), values).problems
    return found.message


class TestProposal:
    @pytest.mark.parametrize(
        "name",
        [
            "right_kidney",
            "kidney_right",
            "RightKidney",
            "Right kidney",
            "KIDNEY-RIGHT",
            "Kidney, right",
            "right kidneys",
        ],
    )
    def test_recognises_an_organ_however_it_is_spelt(self, name):
        assert mapped(SourceLabel(name)) == {name: "right_kidney"}

    @pytest.mark.parametrize(
        ("name", "target"),
        [("Oesophagus", "esophagus"), ("postcava", "inferior_vena_cava"), ("IVC", "inferior_vena_cava"),
         ("portal vein and splenic vein", "portal_and_splenic_veins"), ("adrenal_left", "left_adrenal_gland")],
    )  # fmt: skip
    def test_knows_other_usual_names(self, name, target):
        assert mapped(SourceLabel(name)) == {name: target}

    def test_takes_the_code_before_the_name(self):
        label = SourceLabel("Segment_1", None, KIDNEY, LEFT)
        assert mapped(label) == {"Segment_1": "left_kidney"}

    def test_takes_the_name_where_the_code_says_only_that_it_is_tissue(self):
        assert mapped(SourceLabel("Liver", None, TISSUE)) == {"Liver": "liver"}

    def test_takes_the_side_from_the_name_where_the_code_has_none(self):
        assert mapped(SourceLabel("Left kidney", None, KIDNEY)) == {"Left kidney": "left_kidney"}

    @pytest.mark.parametrize("name", ["kidney", "3", "Leber", "liver tumour", "", "肝", "左kidney", "renal"])
    def test_leaves_to_the_user_what_is_not_sure(self, name):
        assert map_labels([SourceLabel(name, 3)], LABELS, MappingFile()).unmapped == (SourceLabel(name, 3),)

    def test_does_not_take_names_in_other_scripts_for_one_another(self):
        labels = organs_from_text("左肾, 右肾", "kidneys")
        mapping = map_labels([SourceLabel("右肾"), SourceLabel("肾")], labels, MappingFile())
        assert [each.target for each in mapping.mapped] == ["右肾"]
        assert mapping.unmapped == (SourceLabel("肾"),)

    def test_never_goes_by_the_value(self):
        assert mapped(SourceLabel("liver", 1), SourceLabel("spleen", 6)) == {
            "liver": "liver",
            "spleen": "spleen",
        }

    def test_goes_by_the_value_where_the_user_says_so(self):
        assert mapped(SourceLabel("6", 6), values=True) == {"6": "liver"}

    def test_asks_for_a_value_that_the_pool_does_not_have(self):
        assert map_labels([SourceLabel("99", 99)], LABELS, MappingFile(), True).unmapped


class TestContradiction:
    @pytest.mark.parametrize("file", [MappingFile(), MappingFile({"left kidney": "right_kidney"})])
    def test_of_name_and_code_on_the_side(self, file):
        assert "its name says left, its code says right" in problem(
            SourceLabel("left kidney", None, Code("SCT", "1", "Some organ"), RIGHT), file=file
        )

    def test_of_name_and_code_on_the_organ(self):
        assert "its name says spleen, its code says liver" in problem(SourceLabel("Spleen", None, LIVER))

    def test_of_the_name_and_a_code_that_the_pool_does_not_have(self):
        label = SourceLabel("Liver", None, Code("SCT", "108369006", "Neoplasm"))
        assert "its name says liver, its code says Neoplasm" in problem(label)

    def test_of_name_and_value(self):
        assert "its name says liver, its value 1 is the pool's spleen" in problem(
            SourceLabel("liver", 1), values=True
        )

    @pytest.mark.parametrize(
        "name", ["left kidney", "kidney_l", "Niere links", "rein gauche", "LtKidney", "kidney (L)"]
    )
    def test_of_the_mapping_file_and_a_name_with_a_side(self, name):
        assert "cannot become right_kidney" in problem(
            SourceLabel(name), file=MappingFile({name: "right_kidney"})
        )

    def test_of_the_mapping_file_and_the_code(self):
        label = SourceLabel("Segment_1", None, LIVER)
        assert "its code says liver" in problem(label, file=MappingFile({"Segment_1": "spleen"}))

    def test_does_not_hide_the_other_labels(self):
        mapping = map_labels(
            [SourceLabel("Spleen", None, LIVER), SourceLabel("aorta")], LABELS, MappingFile()
        )
        assert [each.target for each in mapping.mapped] == ["aorta"]


class TestSharedTarget:
    TWO = (SourceLabel("liver", 1), SourceLabel("liver tumour", 2))

    def test_is_refused(self):
        assert "liver and liver tumour would all become liver" in problem(
            *self.TWO, file=MappingFile({"liver tumour": "liver"})
        )

    def test_is_taken_where_the_mapping_file_says_so(self):
        file = MappingFile({"liver tumour": "liver"}, merge=("liver",))
        assert mapped(*self.TWO, file=file) == {"liver": "liver", "liver tumour": "liver"}


class TestMappingFile:
    def test_leaves_a_label_out(self):
        assert mapped(SourceLabel("liver"), file=MappingFile({"liver": None})) == {"liver": None}

    def test_names_labels_by_name_or_value(self):
        file = MappingFile({"Leber": "liver", "7": "aorta"})
        assert mapped(SourceLabel("Leber"), SourceLabel("Ader", 7), file=file) == {
            "Leber": "liver",
            "Ader": "aorta",
        }

    def test_that_is_proposed_says_what_is_clear_and_asks_for_the_rest(self):
        labels = [SourceLabel("Kidney_R", 2), SourceLabel("LIVER", 1), SourceLabel("Spleen", None, LIVER)]
        proposed = proposed_mapping_file(labels, LABELS)
        assert proposed.labels == {"Kidney_R": UNDECIDED, "LIVER": "liver", "Spleen": UNDECIDED}
        assert map_labels(labels[:1], LABELS, proposed).unmapped

    def test_that_is_proposed_leaves_names_that_say_nothing_to_their_codes(self):
        labels = [SourceLabel("Segment_1", None, KIDNEY, LEFT), SourceLabel("Liver", None, LIVER)]
        assert proposed_mapping_file(labels, LABELS).labels == {"Liver": "liver"}
        assert proposed_mapping_file([SourceLabel("Leber", 1, LIVER)], LABELS).labels == {"Leber": "liver"}

    def test_comes_back_as_it_was_saved(self, tmp_path):
        file = MappingFile(
            {"Leber": "liver", "x": None},
            ("liver",),
            {"case": "Ada"},
            ("case",),
            ("liver",),
            {"case": ("liver", "spleen")},
            "unknown",
        )
        file.save(tmp_path / "m.json")
        assert MappingFile.load(tmp_path / "m.json") == file
        MappingFile().save(tmp_path / "n.json")
        assert MappingFile.load(tmp_path / "n.json") == MappingFile()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({}, "schema"),
            ({"schema": 2}, "schema"),
            ({"schema": 1, "label": {}}, "label is not known"),
            ({"schema": 1, "labels": {"a": 3}}, r"labels\.a must be a text or null, is 3"),
            ({"schema": 1, "annotated_in": {"a": "liver"}}, r"annotated_in\.a must be a list"),
            ({"schema": 1, "subjects": {"a": ""}}, r"subjects\.a must be a text"),
            ({"schema": 1, "without_voxels": "gone"}, "without_voxels"),
            ([], "must be an object"),
        ],
    )
    def test_that_is_none_names_the_field(self, tmp_path, content, message):
        (tmp_path / "m.json").write_text(json.dumps(content))
        with pytest.raises(SkcdfError, match=message) as error:
            MappingFile.load(tmp_path / "m.json")
        assert "m.json" in error.value.message

    @pytest.mark.parametrize(
        "file",
        [
            MappingFile({"a": "lung"}),
            MappingFile(merge=("lung",)),
            MappingFile(annotated_in={"c": ("lung",)}),
        ],
    )
    def test_that_names_a_label_the_pool_lacks_is_refused(self, file):
        with pytest.raises(SkcdfError, match="lung"):
            file.check(LABELS)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(key=st.sampled_from(["schema", *vars(MappingFile())]), value=json_values)
    def test_with_any_field_replaced_is_read_or_refused(self, tmp_path, key, value):
        (tmp_path / "m.json").write_text(json.dumps(MappingFile().to_json() | {key: value}), "utf-8")
        try:
            read = MappingFile.load(tmp_path / "m.json")
        except SkcdfError:
            return
        read.save(tmp_path / "n.json")
        assert MappingFile.load(tmp_path / "n.json") == read


SIDED_NAMES = [
    "right_kidney",
    "Kidney right",
    "RightKidney",
    "kidney_r",
    "Rt kidney",
    "Niere rechts",
    "R-Kidney",
]
PLAIN_NAMES = ["kidney", "Kidney", "Segment_1", "2", "organ", "renal", "肾"]
LEFT_NAMES = ["left_kidney", "Kidney left", "LeftKidney", "kidney_l", "Lt kidney", "Niere links", "L-Kidney"]
SETS = {
    "codes": LABELS,
    "exchanged": organs_from_text("right_kidney, left_kidney", "x"),
    "other way round": organs_from_text("left_kidney, right_kidney", "x"),
    "words": organs_from_text("kidney L, kidney R", "x"),
    "German": organs_from_text("Niere links=SCT:64033007/left, Niere rechts=SCT:64033007/right", "x"),
    "names": organs_from_text("left kidney=99X:1, right kidney=99X:2", "x"),
}


class TestSides:
    """Whatever says "left" of a label, it becomes no label that anything says "right" of."""

    def combinations(self):
        codes = [
            (None, None),
            (KIDNEY, LEFT),
            (KIDNEY, None),
            (Code("SRT", "T-71000", "Kidney"), Code("SRT", "G-A101", "Left")),
            (Code("SCT", "18639004", "Left kidney"), None),
            (TISSUE, None),
        ]
        for name, (code, modifier) in itertools.product([*LEFT_NAMES, *PLAIN_NAMES], codes):
            if name in LEFT_NAMES or sides_in(code.meaning if code else "") or modifier:
                yield SourceLabel(name, 2, code, modifier)

    @pytest.mark.parametrize("set_name", SETS)
    def test_a_left_kidney_never_becomes_a_right_one(self, set_name):
        labels, tried = SETS[set_name], 0
        rights = [label.name for label in labels.labels if sides_in(label.name) == {"right"}]
        for label in self.combinations():
            for file in (
                MappingFile(),
                *(MappingFile({key: right}, (right,)) for key in (label.name, "2") for right in rights),
            ):
                for values in (False, True):
                    mapping = map_labels([label], labels, file, values)
                    assert not set(mapping.targets) & set(rights), (label, file)
                    tried += 1
        assert tried > 300

    @settings(max_examples=120, deadline=None)
    @given(st.data())
    def test_no_table_of_labels_exchanges_sides(self, data):
        names = data.draw(st.permutations([*SIDED_NAMES, *LEFT_NAMES]))[:4]
        labels = SETS[data.draw(st.sampled_from(sorted(SETS)))]
        values = data.draw(st.permutations(range(1, 5)))
        file = MappingFile(
            data.draw(st.dictionaries(st.sampled_from([*names, "1", "2"]), st.sampled_from(labels.names))),
            labels.names,
        )
        table = [SourceLabel(name, value) for name, value in zip(names, values, strict=True)]
        for each in map_labels(table, labels, file, data.draw(st.booleans())).mapped:
            label = labels.labels[labels.value_of(each.target) - 1]
            said = sides_in(label.name) | (
                sides_in(label.modifier.meaning) if label.modifier else frozenset()
            )
            assert not said or said == sides_in(each.source.name)

    def test_a_side_can_be_given_up_on_purpose(self):
        kidneys = organs_from_text("kidneys", "x")
        file = MappingFile({"left kidney": "kidneys", "right kidney": "kidneys"}, ("kidneys",))
        mapping = map_labels([SourceLabel("left kidney"), SourceLabel("right kidney")], kidneys, file)
        assert mapping.targets == ("kidneys",) and not mapping.problems


class TestOrgansFromText:
    def test_known_names_bring_code_colour_and_partner(self):
        labels = organs_from_text("liver, right_kidney,left_kidney", "mine")
        shipped = {label.name: label for label in LABELS.labels}
        assert labels.names == ("liver", "right_kidney", "left_kidney")
        assert [label.color for label in labels.labels] == [shipped[name].color for name in labels.names]
        assert [label.partner for label in labels.labels] == [None, 3, 2]

    def test_a_known_code_makes_any_name_that_organ(self):
        (label,) = organs_from_text("Leber=SCT:10200004", "mine").labels
        assert (label.name, label.title, label.code) == ("Leber", "Leber", LIVER)

    def test_unknown_organs_of_two_sides_are_partners(self):
        labels = organs_from_text(
            "left lung=SCT:39607008/left, right lung=SCT:39607008/right, GTV", "mine"
        ).labels
        assert [label.partner for label in labels] == [2, 1, None]
        assert [label.modifier.value for label in labels[:2]] == [LEFT.value, RIGHT.value]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "no name"),
            ("liver,,spleen", "no name"),
            ("liver=10200004", "not a code"),
            ("left_kidney=SCT:64033007/right", "the name says left, the code right"),
            ("liver, Leber=SCT:10200004", "liver has the same code"),
            ("liver, liver", "same name"),
            ("background", "background"),
        ],
    )
    def test_what_cannot_be_is_refused(self, text, message):
        with pytest.raises(SkcdfError, match=message):
            organs_from_text(text, "mine")

    def test_an_extended_set_keeps_its_labels_and_may_gain_partners(self):
        before = organs_from_text("spleen, right_kidney", "mine")
        after = extended(before, "left_kidney, duodenum")
        assert after.names == ("spleen", "right_kidney", "left_kidney", "duodenum")
        assert [label.partner for label in after.labels] == [None, 3, 2, None]
        assert after.labels[0] == before.labels[0]
