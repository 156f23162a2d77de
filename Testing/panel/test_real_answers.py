"""What a real Slicer 5.13 (Qt 5.15) answered, row by row: the layer must answer the same."""

from __future__ import annotations

import sys

import pytest
import user


@pytest.fixture
def qt(slicer):
    import qt

    return qt


@pytest.fixture
def ctk(slicer):
    import ctk

    return ctk


@pytest.fixture
def button(qt):
    return qt.QPushButton("Segment")


class TestProperties:
    def test_the_text_of_a_button_is_an_attribute(self, button):
        assert button.text == "Segment"
        with pytest.raises(TypeError):
            button.text()

    def test_enabled_is_set_by_assignment(self, button):
        button.enabled = False
        assert button.enabled is False

    def test_what_is_no_property_cannot_be_set(self, button):
        with pytest.raises(AttributeError):
            button.notAProperty = 3

    def test_a_combo_box_has_text_and_index_as_attributes(self, qt):
        combo = qt.QComboBox()
        combo.addItem("a")
        combo.addItem("b")
        combo.currentIndex = 1
        assert combo.currentText == "b"

    def test_a_tool_tip_comes_back_as_a_paragraph(self, button):
        button.toolTip = "tip"
        assert button.toolTip == "<p>tip</p>"

    def test_count_of_a_layout_and_children_of_a_widget_are_methods(self, qt):
        widget = qt.QWidget()
        layout = qt.QVBoxLayout(widget)
        layout.addWidget(qt.QLabel("one"))
        assert layout.count() == 1
        assert len(widget.children()) == 2

    def test_a_table_is_a_qobject_and_an_item_is_none(self, qt):
        table = qt.QTableWidget()
        table.rowCount = 2
        item = qt.QTableWidgetItem("cell")
        assert (table.rowCount, item.text()) == (2, "cell")

    def test_a_progress_bar_has_a_text_that_follows_its_format(self, qt):
        bar = qt.QProgressBar()
        bar.value = 40
        bar.format = "%p% left 3 s"
        assert (bar.value, bar.text) == (40, "40% left 3 s")

    def test_accessible_names_can_be_set(self, button):
        button.accessibleName = "Segment the volume"
        assert button.accessibleName == "Segment the volume"


class TestSignals:
    def test_clicked_bool_gives_one_bool(self, button):
        heard = []
        assert button.connect("clicked(bool)", lambda checked: heard.append(checked)) is True
        button.click()
        assert heard == [False]

    def test_clicked_gives_nothing(self, button):
        heard = []
        assert button.connect("clicked()", lambda: heard.append("clicked")) is True
        button.click()
        assert heard == ["clicked"]

    def test_an_unknown_signal_is_refused_and_told(self, button, capfd):
        assert button.connect("nonsense()", lambda: None) is False
        sys.stderr.flush()
        assert "nonsense()" in capfd.readouterr().err

    def test_signals_are_attributes_with_connect(self, button):
        heard = []
        button.clicked.connect(lambda *checked: heard.append(checked))
        button.click()
        assert len(heard) == 1

    def test_a_spin_box_tells_its_value(self, qt):
        spin, heard = qt.QDoubleSpinBox(), []
        spin.maximum = 0.9
        assert spin.connect("valueChanged(double)", heard.append)
        spin.value = 0.5
        assert heard == [0.5]

    def test_a_timer_is_active_as_an_attribute(self, qt):
        timer, heard = qt.QTimer(), []
        assert timer.connect("timeout()", lambda: heard.append("timeout"))
        assert timer.active is False
        timer.start(1)
        assert timer.active is True
        assert user.pump(lambda: heard, 2)
        timer.stop()

    def test_the_application_tells_that_it_is_about_to_quit(self, slicer):
        quit_ = lambda: None  # noqa: E731
        assert slicer.app.connect("aboutToQuit()", quit_) is True
        slicer.app.disconnect("aboutToQuit()", quit_)


class TestObjects:
    def test_children_are_found_by_class_and_by_the_name_of_a_class(self, qt):
        widget = qt.QWidget()
        button = qt.QPushButton("x", widget)
        button.objectName = "x"
        assert widget.findChild(qt.QPushButton, "x") == button
        assert widget.findChild("QPushButton", "x") == button

    def test_enums_are_numbers(self, qt):
        assert (int(qt.Qt.Vertical), int(qt.QMessageBox.Ok)) == (2, 1024)

    def test_a_widget_class_of_python_has_attributes_of_its_own(self, qt):
        class Own(qt.QWidget):
            def __init__(self):
                qt.QWidget.__init__(self)
                self.own = 3

        assert Own().own == 3

    def test_short_cuts_and_signal_blockers_can_be_made(self, qt, slicer, button):
        assert qt.QShortcut(qt.QKeySequence("Ctrl+Alt+G"), slicer.util.mainWindow())
        heard = []
        button.connect("toggled(bool)", heard.append)
        button.checkable = True
        blocker = qt.QSignalBlocker(button)
        button.checked = True
        assert heard == []
        blocker.unblock()
        button.checked = False
        assert heard == [False]

    def test_paths_are_texts(self, qt, slicer):
        documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
        assert all(
            isinstance(each, str) for each in (documents, slicer.app.temporaryPath, slicer.app.slicerHome)
        )

    def test_settings_give_back_what_was_set_in_the_same_run(self, qt):
        settings = qt.QSettings()
        for value, answer in ((3, 3), (True, True), ([1, 2], (1, 2))):
            settings.setValue("a", value)
            assert settings.value("a") == answer


class TestProcesses:
    @pytest.fixture
    def process(self, qt):
        process = qt.QProcess()
        yield process
        if process.state() != qt.QProcess.NotRunning:
            process.kill()
            process.waitForFinished(5000)

    def test_the_signals_that_the_module_uses_exist(self, process):
        for signal in (
            "readyReadStandardOutput()",
            "finished(int,QProcess::ExitStatus)",
            "errorOccurred(QProcess::ProcessError)",
        ):
            assert process.connect(signal, lambda *_values: None) is True

    def test_bytes_texts_and_byte_arrays_can_be_written_and_are_counted(self, process, qt):
        process.start(sys.executable, ["-c", "import sys; sys.stdout.write(sys.stdin.read())"])
        assert process.waitForStarted(5000)
        written = [process.write(each) for each in (b"abc", "de", qt.QByteArray(b"f"))]
        process.closeWriteChannel()
        assert process.waitForFinished(10000)
        assert written == [3, 2, 1]
        output = process.readAllStandardOutput()
        assert output.data() == b"abcdef"
        with pytest.raises(TypeError):
            bytes(output)
        with pytest.raises(TypeError):
            str(output, "utf-8")

    def test_state_and_ends_are_methods(self, process, qt):
        process.start(sys.executable, ["-c", "import time; time.sleep(60)"])
        assert process.waitForStarted(5000)
        assert process.state() == qt.QProcess.Running
        assert process.processId() > 0
        assert process.canReadLine() is False
        process.kill()
        assert process.waitForFinished(5000)
        assert process.exitStatus() == qt.QProcess.CrashExit
        assert isinstance(process.exitCode(), int)


class TestSlicersWidgets:
    def test_a_node_selector_has_types_signal_node_and_id(self, slicer):
        combo, heard = slicer.qMRMLNodeComboBox(), []
        combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        assert combo.nodeTypes == ("vtkMRMLScalarVolumeNode",)
        combo.noneEnabled = True
        combo.setMRMLScene(slicer.mrmlScene)
        assert combo.connect("currentNodeChanged(vtkMRMLNode*)", heard.append) is True
        assert (combo.currentNode(), combo.currentNodeID) == (None, "")
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        combo.setCurrentNode(volume)
        assert (combo.currentNode(), combo.currentNodeID) == (volume, volume.GetID())
        assert heard[-1] is volume

    def test_collapsible_buttons_paths_and_sliders_have_attributes_and_signals(self, ctk):
        section, path, slider = ctk.ctkCollapsibleButton(), ctk.ctkPathLineEdit(), ctk.ctkSliderWidget()
        heard = []
        assert section.connect("contentsCollapsed(bool)", heard.append)
        section.collapsed = True
        assert (section.collapsed, heard) == (True, [True])
        assert path.connect("currentPathChanged(QString)", heard.append)
        path.filters = ctk.ctkPathLineEdit.Dirs
        path.currentPath = "/a folder"
        assert heard[-1] == "/a folder"
        slider.value = 40
        assert slider.value == 40

    def test_a_chart_can_be_shown_in_the_layout(self, slicer):
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode")
        chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode")
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        slicer.modules.plots.logic().ShowChartInLayout(chart)
        assert chart.GetNumberOfPlotSeriesNodes() == 1
