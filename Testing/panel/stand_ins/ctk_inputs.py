"""CTK's fields: paths, sliders with a number, combo boxes, and its message box."""

from __future__ import annotations

import enum

from PySide6.QtCore import Property, QDir, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QToolButton,
    QWidget,
)


class PathFilter(enum.IntFlag):
    """The values of ``QDir::Filter``."""

    Dirs = QDir.Filter.Dirs.value
    Files = QDir.Filter.Files.value
    Drives = QDir.Filter.Drives.value
    NoSymLinks = QDir.Filter.NoSymLinks.value
    AllEntries = QDir.Filter.AllEntries.value
    Readable = QDir.Filter.Readable.value
    Writable = QDir.Filter.Writable.value
    Executable = QDir.Filter.Executable.value
    NoDot = QDir.Filter.NoDot.value
    NoDotDot = QDir.Filter.NoDotDot.value
    NoDotAndDotDot = QDir.Filter.NoDotAndDotDot.value
    Hidden = QDir.Filter.Hidden.value


class ctkPathLineEdit(QWidget):
    """A path with its history and a button that browses."""

    CPP = True

    Filter = PathFilter
    locals().update(PathFilter.__members__)  # a value is a member of the class, too
    currentPathChanged = Signal(str)
    currentTextChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._filters = int(PathFilter.AllEntries | PathFilter.NoDotAndDotDot | PathFilter.Readable)
        self._nameFilters: list[str] = []
        self._path, self._label, self._settingKey = "", "", ""
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setSizePolicy(self._combo.sizePolicy.Expanding, self._combo.sizePolicy.Fixed)
        self._button = QToolButton(self)
        self._button.setText("…")
        layout.addWidget(self._combo)
        layout.addWidget(self._button)
        self.setFocusProxy(self._combo)
        self._combo.connect("editTextChanged(QString)", self._onText)
        self._button.connect("clicked()", self.browse)

    def _onText(self, text: str) -> None:
        self.currentTextChanged.emit(text)
        if text != self._path:
            self._path = text
            self.currentPathChanged.emit(text)

    def _setPath(self, path: str) -> None:
        self._combo.setEditText(path)

    def _setFilters(self, filters: int) -> None:
        self._filters = int(filters)

    def _setNameFilters(self, filters: list[str]) -> None:
        self._nameFilters = list(filters)

    def _setSettingKey(self, key: str) -> None:
        self._settingKey = key

    currentPath = Property(str, lambda self: self._path, _setPath, user=True)
    filters = Property(int, lambda self: self._filters, _setFilters)
    nameFilters = Property("QStringList", lambda self: self._nameFilters, _setNameFilters)
    settingKey = Property(str, lambda self: self._settingKey, _setSettingKey)
    showBrowseButton = Property(
        bool, lambda self: not self._button.isHidden(), lambda self, shown: self._button.setVisible(shown)
    )
    showHistoryButton = Property(bool, lambda self: True, lambda self, shown: None)
    validInput = Property(bool, lambda self: bool(self._path))

    def setCurrentPath(self, path: str) -> None:
        """Shows a path."""
        self._setPath(path)

    def comboBox(self) -> QComboBox:
        """The field with the history."""
        return self._combo

    def browse(self) -> None:
        """What the button does: asks for a file, or for a folder where only folders fit."""
        if self._filters & PathFilter.Files:
            path = QFileDialog.getOpenFileName(
                self, "Select a file", self._path, ";;".join(self._nameFilters)
            )
        else:
            path = QFileDialog.getExistingDirectory(self, "Select a folder", self._path)
        if path:
            self._setPath(path)

    def addCurrentPathToHistory(self) -> None:
        """Remembers the path."""
        if self._path and self._combo.findText(self._path) < 0:
            self._combo.addItem(self._path)

    def retrieveHistory(self) -> None:
        """Reads the remembered paths; there are none here."""


class ctkDirectoryButton(QPushButton):
    """A button that shows a folder, and asks for another one when clicked."""

    CPP = True
    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._directory = ""
        self.connect("clicked()", self.browse)

    def _setDirectory(self, directory: str) -> None:
        if directory != self._directory:
            self._directory = directory
            self.setText(directory)
            self.directoryChanged.emit(directory)

    directory = Property(str, lambda self: self._directory, _setDirectory)

    def browse(self) -> None:
        """Asks for a folder."""
        path = QFileDialog.getExistingDirectory(self, "Select a folder", self._directory)
        if path:
            self._setDirectory(path)
            self.directorySelected.emit(path)


class ctkSliderWidget(QWidget):
    """A slider beside its number."""

    CPP = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    STEPS = 10000

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, self.STEPS)
        self._spinBox = QDoubleSpinBox(self)
        self._spinBox.setRange(0, 99)
        self._spinBox.setDecimals(2)
        layout.addWidget(self._slider)
        layout.addWidget(self._spinBox)
        self.setFocusProxy(self._spinBox)
        self._spinBox.connect("valueChanged(double)", self._onNumber)
        self._slider.connect("valueChanged(int)", self._onSlider)

    def _onNumber(self, value: float) -> None:
        self._follow()
        self.valueChanged.emit(value)

    def _onSlider(self, position: int) -> None:
        low, high = self._spinBox.minimum, self._spinBox.maximum
        value = low + (high - low) * position / self.STEPS
        self.valueIsChanging.emit(value)
        self._spinBox.setValue(value)

    def _follow(self) -> None:
        """Puts the slider where the number is, silently."""
        low, high = self._spinBox.minimum, self._spinBox.maximum
        self._slider.blockSignals(True)
        self._slider.setValue(round(self.STEPS * (self._spinBox.value - low) / (high - low or 1)))
        self._slider.blockSignals(False)

    def setRange(self, low: float, high: float) -> None:
        """Sets the smallest and the largest value."""
        self._spinBox.setRange(low, high)
        self._follow()

    def setValue(self, value: float) -> None:
        """Sets the value."""
        self._spinBox.setValue(value)

    def spinBox(self) -> QDoubleSpinBox:
        """The number's field."""
        return self._spinBox

    value = Property(
        float, lambda self: self._spinBox.value, lambda self, value: self._spinBox.setValue(value), user=True
    )
    minimum = Property(
        float,
        lambda self: self._spinBox.minimum,
        lambda self, value: self.setRange(value, self._spinBox.maximum),
    )
    maximum = Property(
        float,
        lambda self: self._spinBox.maximum,
        lambda self, value: self.setRange(self._spinBox.minimum, value),
    )
    singleStep = Property(
        float, lambda self: self._spinBox.singleStep, lambda self, step: self._spinBox.setSingleStep(step)
    )
    pageStep = Property(float, lambda self: 10.0, lambda self, step: None)
    decimals = Property(
        int, lambda self: self._spinBox.decimals, lambda self, count: self._spinBox.setDecimals(count)
    )
    prefix = Property(
        str, lambda self: self._spinBox.prefix, lambda self, text: self._spinBox.setPrefix(text)
    )
    suffix = Property(
        str, lambda self: self._spinBox.suffix, lambda self, text: self._spinBox.setSuffix(text)
    )
    tracking = Property(bool, lambda self: True, lambda self, tracking: None)
    spinBoxVisible = Property(
        bool, lambda self: not self._spinBox.isHidden(), lambda self, shown: self._spinBox.setVisible(shown)
    )


class ctkDoubleSpinBox(QWidget):
    """A number's field that CTK wraps."""

    CPP = True
    valueChanged = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._spinBox = QDoubleSpinBox(self)
        layout.addWidget(self._spinBox)
        self.setFocusProxy(self._spinBox)
        self._spinBox.connect("valueChanged(double)", self.valueChanged.emit)

    value = Property(
        float, lambda self: self._spinBox.value, lambda self, value: self._spinBox.setValue(value), user=True
    )
    minimum = Property(
        float, lambda self: self._spinBox.minimum, lambda self, value: self._spinBox.setMinimum(value)
    )
    maximum = Property(
        float, lambda self: self._spinBox.maximum, lambda self, value: self._spinBox.setMaximum(value)
    )
    decimals = Property(
        int, lambda self: self._spinBox.decimals, lambda self, count: self._spinBox.setDecimals(count)
    )


class ctkComboBox(QComboBox):
    """A combo box with a text for no choice."""

    CPP = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._defaultText = ""

    def _setDefaultText(self, text: str) -> None:
        self._defaultText = text
        self.setPlaceholderText(text)

    defaultText = Property(str, lambda self: self._defaultText, _setDefaultText)
