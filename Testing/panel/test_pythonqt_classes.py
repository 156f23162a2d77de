"""Classes, enums and values of `pythonqt`, and the modules ``qt`` and ``ctk``, against PythonQt's
sources and Slicer's own scripts."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def qt(slicer):
    import qt

    return qt


class TestModules:
    @pytest.mark.parametrize(
        "name",
        ["Signal", "Slot", "Property", "QtCore", "QtWidgets", "QtGui", "SIGNAL", "QEnum", "qVersion"],
    )
    def test_names_of_pyside_are_not_in_qt(self, qt, name):
        with pytest.raises(AttributeError):
            getattr(qt, name)

    @pytest.mark.parametrize("name", ["QPermission", "QStringConverter", "QEnterEvent"])
    def test_what_only_qt_6_has_is_not_there(self, qt, name):
        with pytest.raises(AttributeError):
            getattr(qt, name)

    def test_what_moved_between_qt_5_and_6_is_there(self, qt):
        assert qt.QAction("a").text == "a" and qt.QShortcut and qt.QRegularExpression

    def test_ctk_has_widgets(self, slicer):
        import ctk

        assert ctk.ctkCollapsibleButton().className() == "ctkCollapsibleButton"
        with pytest.raises(AttributeError):
            _ = ctk.ctkNoSuchWidget


class TestEnums:
    def test_values_are_integers(self, qt):
        assert int(qt.QMessageBox.Ok) == 1024 and qt.QMessageBox.Ok == 1024
        assert isinstance(qt.Qt.AlignLeft, int)
        assert qt.Qt.AlignLeft | qt.Qt.AlignTop == 33

    def test_a_type_has_no_members_so_scoped_names_fail(self, qt):
        assert qt.QMessageBox.StandardButton(1024) == qt.QMessageBox.Ok
        with pytest.raises(AttributeError, match="type object 'StandardButton' has no attribute 'Ok'"):
            _ = qt.QMessageBox.StandardButton.Ok
        with pytest.raises(AttributeError):
            _ = qt.Qt.AlignmentFlag.AlignLeft

    def test_objects_know_the_values_of_their_class(self, qt):
        process = qt.QProcess()
        assert process.state() == process.NotRunning == qt.QProcess.NotRunning

    @pytest.mark.parametrize("alignment", [132, 4 | 128])
    def test_a_function_and_a_property_take_a_plain_number(self, qt, alignment):
        label = qt.QLabel()
        label.setAlignment(alignment)
        assert label.alignment == qt.Qt.AlignCenter
        label.alignment = qt.Qt.AlignRight | qt.Qt.AlignTop
        assert label.alignment == 34

    def test_values_come_back_as_numbers(self, qt):
        item = qt.QTableWidgetItem("liver")
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
        item.setCheckState(qt.Qt.Checked)
        assert item.checkState() == qt.Qt.Checked == 2
        assert not item.flags() & qt.Qt.ItemIsEditable

    def test_of_an_overloaded_function_the_fitting_one_is_called(self, qt):
        widget = qt.QWidget()
        widget.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        assert widget.sizePolicy.horizontalPolicy() == qt.QSizePolicy.Expanding
        table = qt.QTableWidget(1, 2)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        assert table.horizontalHeader().sectionResizeMode(0) == qt.QHeaderView.Stretch


class TestClasses:
    def test_types_are_compared_as_slicer_does(self, qt):
        label = qt.QLabel()
        assert type(label) == qt.QLabel and type(label) in (qt.QPushButton, qt.QLabel)
        assert isinstance(label, qt.QWidget) and not isinstance(label, qt.QPushButton)
        assert {qt.QLabel: 1}[type(label)] == 1

    def test_an_object_that_qt_made_is_of_the_class_too(self, qt):
        table = qt.QTableWidget()
        assert isinstance(table.horizontalHeader(), qt.QHeaderView)

    def test_one_can_derive_twice(self, qt):
        class Base(qt.QObject):
            def __init__(self, parent=None):
                qt.QObject.__init__(self, parent)
                self.seen = []

        class Filter(Base):
            def eventFilter(self, watched, event):
                if event.type() == qt.QEvent.Close:
                    self.seen.append(watched.name)
                return False

        widget, watcher = qt.QWidget(), Filter()
        widget.name = "window"
        widget.installEventFilter(watcher)
        widget.show()
        widget.close()
        assert watcher.seen == ["window"]

    def test_nothing_can_be_put_into_a_class(self, qt):
        with pytest.raises(AttributeError):
            qt.QLabel.text = "a"


class TestByteArrays:
    def test_bytes_come_from_data(self, qt):
        array = qt.QByteArray(b"hello")
        assert array.data() == b"hello" and array.size() == 5 and str(array) == "hello"
        with pytest.raises(TypeError):
            bytes(array)


class TestProcess:
    @pytest.fixture
    def run(self, qt, pump):
        def run(program, *arguments, write=b""):
            process, said = qt.QProcess(), {"output": b"", "error": b"", "end": None, "trouble": None}
            process.connect(
                "readyReadStandardOutput()",
                lambda: said.update(output=said["output"] + process.readAllStandardOutput().data()),
            )
            process.connect(
                "readyReadStandardError()",
                lambda: said.update(error=said["error"] + process.readAllStandardError().data()),
            )
            process.connect("finished(int,QProcess::ExitStatus)", lambda *end: said.update(end=end))
            process.connect("errorOccurred(QProcess::ProcessError)", lambda error: said.update(trouble=error))
            process.start(program, list(arguments))
            if write:
                process.write(write)
                process.closeWriteChannel()
            assert pump(lambda: said["end"] is not None or said["trouble"] is not None)
            return said

        return run

    def test_output_input_and_end_arrive(self, qt, run):
        script = "import sys; print(input()); print('e', file=sys.stderr); sys.exit(3)"
        said = run(sys.executable, "-c", script, write=b"x\n")
        assert (said["output"].strip(), said["error"].strip()) == (b"x", b"e")
        assert said["end"] == (3, qt.QProcess.NormalExit)

    def test_a_program_that_is_not_there_is_told(self, qt, run):
        assert run("/no/such/program")["trouble"] == qt.QProcess.FailedToStart

    def test_slicers_python_is_a_launcher_with_a_child(self, slicer, qt, pump):
        process = qt.QProcess()
        process.start(f"{slicer.app.slicerHome}/bin/PythonSlicer", ["-c", "import os; print(os.getpid())"])
        launcher = process.processId()
        assert process.waitForFinished(20000)
        assert int(process.readAllStandardOutput().data()) != launcher > 0


class TestTimers:
    def test_a_timer_ticks_and_stops(self, qt, pump):
        timer, ticks = qt.QTimer(), []
        timer.setInterval(1)
        timer.connect("timeout()", lambda: ticks.append(timer.active))
        timer.start()
        assert pump(lambda: len(ticks) > 2)
        timer.stop()
        assert ticks[0] is True and not timer.isActive()

    def test_a_single_shot_comes_once(self, qt, pump):
        shots = []
        qt.QTimer.singleShot(0, lambda: shots.append(1))
        assert pump(lambda: shots)
        assert not pump(lambda: len(shots) > 1, 0.05)

    def test_what_a_single_shot_raises_is_seen(self, qt, pump, capfd):
        from pythonqt import signals

        qt.QTimer.singleShot(0, lambda: 1 / 0)
        assert pump(lambda: signals.failures)
        signals.failures.clear()


class TestSettings:
    def test_they_lie_in_a_folder_of_the_tests(self, qt, slicer):
        settings = qt.QSettings()
        settings.setValue("SKCDF/Project", "/data/liver")
        settings.sync()
        assert "skcdf-panel-" in settings.fileName()
        assert slicer.util.settingsValue("SKCDF/Project", "") == "/data/liver"
        assert slicer.app.userSettings().value("SKCDF/Project") == "/data/liver"

    def test_each_test_finds_them_empty(self, qt):
        assert not qt.QSettings().contains("SKCDF/Project")
        assert qt.QSettings().value("SKCDF/Project", "none") == "none"
        assert qt.QSettings().value("SKCDF/Project") is None

    def test_standard_paths_are_there(self, qt):
        path = qt.QStandardPaths.writableLocation(qt.QStandardPaths.GenericDataLocation)
        assert "skcdf-panel-" in path


class TestSmallThings:
    def test_a_signal_blocker_blocks_until_it_goes_and_is_no_context_manager(self, qt):
        box, seen = qt.QSpinBox(), []
        box.connect("valueChanged(int)", seen.append)
        blocker = qt.QSignalBlocker(box)
        box.value = 3
        del blocker
        box.value = 4
        assert seen == [4]
        with pytest.raises(TypeError), qt.QSignalBlocker(box):
            pass

    def test_a_short_cut_is_made_as_in_slicers_scripts(self, qt, slicer):
        window = slicer.util.mainWindow()
        shortcut, seen = qt.QShortcut(window), []
        shortcut.setKey(qt.QKeySequence("Ctrl+Shift+N"))
        shortcut.connect("activated()", lambda: seen.append(1))
        shortcut.activated()
        assert seen == [1] and shortcut.key.toString() == "Ctrl+Shift+N"
        shortcut.setParent(None)

    def test_a_wait_cursor_is_shown_and_taken_back(self, qt, slicer):
        with slicer.util.WaitCursor():
            assert qt.QApplication.overrideCursor().shape() == qt.Qt.WaitCursor
        assert qt.QApplication.overrideCursor() is None

    def test_the_clip_board_keeps_a_text(self, qt):
        qt.QApplication.clipboard().setText("PythonSlicer -m skcdf")
        assert qt.QApplication.clipboard().text() == "PythonSlicer -m skcdf"

    def test_icons_and_pixmaps_are_made(self, qt):
        pixmap = qt.QPixmap(8, 8)
        pixmap.fill(qt.QColor(255, 0, 0))
        button = qt.QPushButton()
        button.icon = qt.QIcon(pixmap)
        assert not button.icon.isNull()
