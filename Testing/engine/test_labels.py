"""Label sets: the shipped data, the file format, and sets made from bare names."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skcdf.errors import SkcdfError
from skcdf.labels import ANATOMICAL, Code, Label, LabelSet

RIGHT, LEFT = "24028007", "7771000"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _label(value: int, name: str, **more) -> Label:
    return Label(value, name, name, Code("99TEST", name, name), (value % 256, 0, 0), **more)


@pytest.fixture(params=ANATOMICAL)
def shipped(request) -> LabelSet:
    return LabelSet.load(request.param)


class TestShippedSets:
    @pytest.mark.parametrize(
        ("name", "count"), [("synapse13", 13), ("amos15", 15), ("openkbp7", 7), ("hippocampus2", 2)]
    )
    def test_have_their_organs_and_a_background(self, name, count):
        label_set = LabelSet.load(name)
        assert len(label_set.labels) == count
        assert label_set.number_of_classes == count + 1
        assert label_set.name == name

    def test_keep_the_order_of_the_published_benchmarks(self):
        assert LabelSet.load("synapse13").value_of("liver") == 6
        assert LabelSet.load("synapse13").value_of("left_adrenal_gland") == 13
        assert LabelSet.load("amos15").value_of("pancreas") == 10
        assert LabelSet.load("openkbp7").value_of("larynx") == 6

    def test_give_every_label_a_concept_of_its_own(self, shipped):
        concepts = {(label.code.value, label.modifier and label.modifier.value) for label in shipped.labels}
        assert len(concepts) == len(shipped.labels)
        assert {label.code.scheme for label in shipped.labels} == {"SCT"}

    def test_take_their_codes_from_the_dicom_context_groups(self, shipped):
        dictionary = pytest.importorskip("pydicom.sr._concepts_dict").concepts["SCT"]
        meanings: dict[str, set[str]] = {}
        for entries in dictionary.values():
            for code, (meaning, _) in entries.items():
                meanings.setdefault(code, set()).add(meaning.lower())
        for label in shipped.labels:
            for code in filter(None, (label.code, label.modifier)):
                # DICOM has no common code for portal and splenic vein; Slicer uses SNOMED CT's own.
                if code.value != "110765007":
                    assert any(code.meaning.lower() in meaning for meaning in meanings[code.value]), code

    def test_have_colours_that_can_be_told_apart(self, shipped):
        colors = np.array([label.color for label in shipped.labels], float)
        distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(colors, 2)]
        assert min(distances) >= 35

    def test_pair_exactly_the_organs_that_have_a_side(self, shipped):
        for label in shipped.labels:
            side = label.modifier.value if label.modifier else ""
            assert (label.partner is not None) == (side in (RIGHT, LEFT))
            if label.partner is not None:
                partner = shipped.labels[label.partner - 1]
                assert partner.code == label.code
                assert {side, partner.modifier.value} == {RIGHT, LEFT}

    def test_agree_on_the_organs_they_share(self):
        seen: dict[str, Label] = {}
        for label in itertools.chain.from_iterable(LabelSet.load(name).labels for name in ANATOMICAL):
            other = seen.setdefault(label.name, label)
            assert (label.code, label.modifier, label.color) == (other.code, other.modifier, other.color)

    def test_know_which_value_a_mirrored_scan_has(self):
        mirrored = LabelSet.load("synapse13").mirrored_values
        assert mirrored[:5] == (0, 1, 3, 2, 4)
        assert [mirrored[mirrored[value]] for value in range(14)] == list(range(14))


class TestFile:
    def test_comes_back_as_it_was_saved(self, shipped, tmp_path):
        shipped.save(tmp_path / "mine.json")
        assert LabelSet.load(tmp_path / "mine.json") == shipped

    def test_that_is_no_label_set_is_named_in_the_error(self, tmp_path):
        (tmp_path / "mine.json").write_text("[1, 2]")
        with pytest.raises(SkcdfError, match=r"mine\.json: not a label set"):
            LabelSet.load(tmp_path / "mine.json")

    def test_of_a_newer_schema_asks_for_an_update(self, tmp_path):
        (tmp_path / "mine.json").write_text('{"schema": 2}')
        with pytest.raises(SkcdfError, match="Update"):
            LabelSet.load(tmp_path / "mine.json")

    def test_that_is_missing_is_said_so(self, tmp_path):
        with pytest.raises(SkcdfError, match="no such label set"):
            LabelSet.load(tmp_path / "none.json")

    def test_name_that_is_not_built_in_lists_those_that_are(self):
        with pytest.raises(SkcdfError, match="synapse13"):
            LabelSet.load("abdomen")

    @settings(max_examples=150, deadline=None)
    @given(
        label=st.sampled_from(range(7)),
        key=st.sampled_from(["value", "name", "title", "code", "color", "partner", "modifier", "category"]),
        value=json_values,
    )
    def test_with_any_field_replaced_is_read_or_refused(self, label, key, value):
        content = json.loads(json.dumps(LabelSet.load("openkbp7").to_json()))
        content["labels"][label][key] = value
        try:
            read = LabelSet.from_json(content, "mine.json")
        except SkcdfError:
            return
        assert LabelSet.from_json(read.to_json(), "mine.json") == read


class TestRules:
    def test_values_without_gaps(self):
        with pytest.raises(SkcdfError, match=r"1, 3"):
            LabelSet("mine", "Mine", (_label(1, "a"), _label(3, "b")))

    def test_at_least_one_label(self):
        with pytest.raises(SkcdfError, match="no labels"):
            LabelSet("mine", "Mine", ())

    def test_no_name_twice(self):
        with pytest.raises(SkcdfError, match="same name"):
            LabelSet("mine", "Mine", (_label(1, "a"), _label(2, "a")))

    @pytest.mark.parametrize("name", ["", "background", "ignore"])
    def test_no_name_that_means_something_else(self, name):
        with pytest.raises(SkcdfError, match="can be called"):
            LabelSet("mine", "Mine", (_label(1, name),))

    @pytest.mark.parametrize("partners", [(2, None), (1, None), (3, None), (0, None)])
    def test_partners_name_each_other(self, partners):
        labels = (_label(1, "a", partner=partners[0]), _label(2, "b", partner=partners[1]))
        with pytest.raises(SkcdfError, match="partner"):
            LabelSet("mine", "Mine", labels)

    def test_an_unknown_name_is_answered_with_the_known_ones(self):
        with pytest.raises(SkcdfError, match="larynx"):
            LabelSet.load("openkbp7").value_of("liver")


class TestFromNames:
    @pytest.mark.parametrize(
        "spelling", ["right_kidney", "kidney_right", "RightKidney", "Right Kidney", "KIDNEY-RIGHT"]
    )
    def test_recognises_an_organ_however_it_is_spelt(self, spelling):
        (label,) = LabelSet.from_names("mine", [spelling]).labels
        assert label.name == spelling
        assert (label.code.value, label.modifier.value) == ("64033007", RIGHT)

    def test_pairs_the_sides_that_are_both_there(self):
        label_set = LabelSet.from_names("mine", ["LeftParotid", "SpinalCord", "RightParotid", "right_kidney"])
        assert label_set.mirrored_values == (0, 3, 2, 1, 4)

    def test_gives_unknown_names_local_codes_and_distinct_colours(self):
        label_set = LabelSet.from_names(
            "mine", ["tumour", "liver", "肝", *(f"muscle {n}" for n in range(60))]
        )
        assert label_set.labels[0].code.scheme == "99SKCDF"
        assert len({label.code.value for label in label_set.labels}) == 63
        assert max(len(label.code.value) for label in label_set.labels) <= 16
        assert len({label.color for label in label_set.labels}) == 63

    def test_takes_two_spellings_of_one_organ_for_two_organs(self):
        first, second = LabelSet.from_names("mine", ["Liver", "liver"]).labels
        assert (first.code.scheme, second.code.scheme) == ("99SKCDF", "SCT")

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.text(max_size=8) | st.sampled_from(["left kidney", "kidney_r", "RightKidney"]), max_size=6
        )
    )
    def test_makes_a_set_of_any_names_or_refuses_them(self, names):
        try:
            label_set = LabelSet.from_names("mine", names)
        except SkcdfError:
            return
        assert label_set.names == tuple(names)
        assert LabelSet.from_json(label_set.to_json(), "mine.json") == label_set
