"""Widgets that stand in for those of CTK and Slicer, on the real scene."""

from __future__ import annotations

import numpy as np
import pytest
import user


@pytest.fixture
def ct(slicer):
    return slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="CT")


@pytest.fixture
def selector(slicer):
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(slicer.mrmlScene)
    box.show()
    return box


@pytest.fixture
def segmentation(slicer, ct):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for name in ("liver", "spleen"):
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


class TestNodeSelector:
    def test_it_is_disabled_without_a_scene(self, slicer):
        assert not slicer.qMRMLNodeComboBox().children()[1].enabled

    def test_the_first_node_of_an_empty_list_is_chosen_where_none_is_no_choice(self, selector, ct, slicer):
        assert selector.currentNode() is ct and selector.currentNodeID == ct.GetID()
        slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="MR")
        assert selector.currentNode() is ct and selector.nodeCount() == 2

    def test_none_stays_chosen_where_it_is_a_choice(self, selector, slicer):
        selector.noneEnabled = True
        slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16))
        assert selector.currentNode() is None and selector.currentNodeID == ""

    def test_a_node_that_goes_is_chosen_no_more(self, selector, ct, slicer):
        other = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="MR")
        slicer.mrmlScene.RemoveNode(ct)
        assert selector.currentNode() is other
        selector.noneEnabled = True
        slicer.mrmlScene.RemoveNode(other)
        assert selector.currentNode() is None

    def test_a_new_name_is_shown(self, selector, ct):
        ct.SetName("Patient 7")
        assert selector.children()[1].currentText == "Patient 7"

    def test_a_closed_scene_leaves_an_empty_list(self, selector, ct):
        user.closeScene()
        assert selector.nodeCount() == 0 and selector.currentNode() is None

    def test_derived_types_are_shown_unless_they_are_excluded(self, selector, slicer):
        labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
        assert labels in selector.nodes()
        selector.showChildNodeTypes = False
        assert labels not in selector.nodes()
        selector.showChildNodeTypes = True
        selector.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
        assert labels not in selector.nodes()

    def test_hidden_nodes_are_hidden(self, selector, ct):
        ct.SetHideFromEditors(True)
        selector.setMRMLScene(ct.GetScene())
        assert selector.nodes() == []

    def test_nodes_can_be_filtered_by_attribute(self, selector, ct):
        selector.addAttribute("vtkMRMLScalarVolumeNode", "SKCDF", "yes")
        assert selector.nodes() == []
        ct.SetAttribute("SKCDF", "yes")
        selector.setMRMLScene(ct.GetScene())
        assert selector.nodes() == [ct]

    def test_all_signals_of_a_change_come(self, selector, ct, slicer):
        other, seen = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16)), []
        selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
        selector.connect("currentNodeChanged(bool)", seen.append)
        selector.connect("currentNodeIDChanged(QString)", seen.append)
        selector.setCurrentNode(other)
        selector.setCurrentNode(other)
        assert seen == [other, True, other.GetID()]

    def test_a_node_is_created_chosen_and_named(self, slicer):
        box = slicer.qMRMLNodeComboBox()
        box.nodeTypes, box.baseName = ["vtkMRMLSegmentationNode"], "Organs"
        box.noneEnabled = True
        box.setMRMLScene(slicer.mrmlScene)
        created = []
        box.connect("nodeAddedByUserAction(vtkMRMLNode*)", created.append)
        node = box.addNode()
        assert box.currentNode() is node and created == [node] and node.GetName() == "Organs"
        assert box.addNode().GetName() == "Organs_1"

    def test_a_node_can_be_renamed_and_deleted(self, selector, ct, slicer, dialogs):
        dialogs.answer("Rename", "Patient 8")
        selector.renameCurrentNode()
        assert ct.GetName() == "Patient 8"
        selector.removeCurrentNode()
        assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []

    def test_a_user_chooses_by_name(self, selector, ct, slicer):
        other = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="MR")
        user.choose(selector, "MR")
        assert selector.currentNode() is other
        with pytest.raises(AssertionError, match="no choice"):
            user.choose(selector, "PET")

    def test_a_deleted_selector_is_left_alone(self, slicer, selector):
        selector.delete()
        slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16))


class TestCheckableNodeSelector:
    def test_marks_follow_the_nodes(self, slicer, ct):
        box, changes = slicer.qMRMLCheckableNodeComboBox(), []
        box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        box.setMRMLScene(slicer.mrmlScene)
        box.connect("checkedNodesChanged()", lambda: changes.append(len(box.checkedNodes())))
        box.check(ct)
        assert box.checkedNodes() == [ct] and box.allChecked() and changes == [1]
        slicer.mrmlScene.RemoveNode(ct)
        assert box.checkedNodes() == [] and box.noneChecked()


class TestSegmentEditor:
    @pytest.fixture
    def editor(self, slicer, segmentation, ct):
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(slicer.mrmlScene)
        widget.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
        return widget

    def test_nothing_can_be_drawn_before_both_nodes_are_chosen(self, editor, segmentation, ct):
        editor.setActiveEffectByName("Paint")
        assert editor.activeEffect() is None
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(ct)
        editor.setActiveEffectByName("Paint")
        assert editor.activeEffect().name == "Paint"
        assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == "Paint"

    def test_without_a_parameter_node_nothing_can_be_chosen(self, slicer, segmentation):
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(slicer.mrmlScene)
        widget.setSegmentationNode(segmentation)
        assert widget.segmentationNode() is None

    def test_the_first_segment_is_chosen(self, editor, segmentation):
        editor.setSegmentationNode(segmentation)
        assert editor.currentSegmentID() == "liver"
        editor.setCurrentSegmentID("spleen")
        assert editor.mrmlSegmentEditorNode().GetSelectedSegmentID() == "spleen"

    def test_what_a_panel_leaves_behind_can_be_seen(self, editor, segmentation, ct):
        import left_behind

        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(ct)
        editor.setActiveEffectByName("Draw")
        editor.setupViewObservations()
        editor.installKeyboardShortcuts()
        assert left_behind.byEditor(editor) == ["active effect", "view observations", "keyboard shortcuts"]
        editor.setActiveEffect(None)
        editor.removeViewObservations()
        editor.uninstallKeyboardShortcuts()
        assert left_behind.byEditor(editor) == []

    def test_a_closed_scene_ends_the_drawing(self, editor, segmentation, ct):
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(ct)
        editor.setActiveEffectByName("Draw")
        user.closeScene()
        assert editor.activeEffect() is None

    def test_its_table_shows_the_segments(self, slicer, segmentation):
        view = slicer.qMRMLSegmentsTableView()
        view.setMRMLScene(slicer.mrmlScene)
        view.setSegmentationNode(segmentation)
        assert view.displayedSegmentIDs() == ["liver", "spleen"] and view.segmentCount == 2
        view.setSelectedSegmentIDs(["spleen"])
        assert view.selectedSegmentIDs() == ["spleen"]
        view.setSelectedSegmentsStatus(2)
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        assert logic.GetSegmentStatus(segmentation.GetSegmentation().GetSegment("spleen")) == logic.Completed
        segmentation.GetSegmentation().RemoveSegment("liver")
        assert view.displayedSegmentIDs() == ["spleen"]

    def test_the_3d_button_makes_and_removes_surfaces(self, slicer, segmentation, ct):
        segment = np.zeros((4, 5, 6), np.uint8)
        segment[1:3, 1:4, 1:5] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(segment, segmentation, "liver", ct)
        button = slicer.qMRMLSegmentationShow3DButton()
        assert not button.enabled
        button.setSegmentationNode(segmentation)
        button.click()
        assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
        button.click()
        assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")


class TestTableView:
    def test_it_follows_its_table(self, slicer):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Organs")
        view = slicer.qMRMLTableView()
        view.setMRMLTableNode(node)
        slicer.util.updateTableFromArray(node, (np.array([1500.0, 200.0]),), ["mL"])
        table = view.findChild("QTableWidget")
        assert (table.rowCount, table.columnCount) == (2, 1)
        assert table.item(0, 0).text() == "1500"
        assert table.horizontalHeaderItem(0).text() == "mL"
