"""CTK's sections that open and close: ``ctkCollapsibleButton`` and ``ctkCollapsibleGroupBox``."""

from __future__ import annotations

from PySide6.QtCore import Property, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QAbstractButton, QGroupBox, QProxyStyle, QStyle, QStyleOption, QWidget


class ctkCollapsibleButton(QAbstractButton):
    """A header that opens and closes what is laid out below it; ``checked`` means open."""

    CPP = True
    contentsCollapsed = Signal(bool)
    MARGIN = 4

    def __init__(self, parent: QWidget | str | None = None) -> None:
        super().__init__(None if isinstance(parent, str) else parent)
        if isinstance(parent, str):
            self.setText(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(self.sizePolicy.Preferred, self.sizePolicy.Preferred)
        self.setContentsMargins(self.MARGIN, self._headerHeight(), self.MARGIN, self.MARGIN)
        self._hidden: list[QWidget] = []
        self.toggled.connect(self._onToggled)

    def _headerHeight(self) -> int:
        return self.fontMetrics().height() + 2 * self.MARGIN

    def _isCollapsed(self) -> bool:
        return not self.checked

    def _setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    def _collapsedHeight(self) -> int:
        return 0

    def _setCollapsedHeight(self, height: int) -> None:
        pass

    collapsed = Property(bool, _isCollapsed, _setCollapsed)
    collapsedHeight = Property(int, _collapsedHeight, _setCollapsedHeight)
    flat = Property(bool, lambda self: False, lambda self, flat: None)

    def _onToggled(self, isOpen: bool) -> None:
        if isOpen:
            shown, self._hidden = self._hidden, []
            for child in shown:
                child.setVisible(True)
            self.setMaximumHeight(16777215)
        else:
            for child in self.children():
                if isinstance(child, QWidget) and not child.isHidden():
                    child.setVisible(False)
                    self._hidden.append(child)
            self.setMaximumHeight(self._headerHeight() + 2)
        self.updateGeometry()
        self.contentsCollapsed.emit(not isOpen)

    def hitButton(self, position: QPoint) -> bool:
        """Only the header is a button."""
        return position.y() <= self._headerHeight()

    def sizeHint(self) -> QSize:
        """The header's size, and what the layout needs."""
        width = self.fontMetrics().horizontalAdvance(self.text) + 40
        layout = self.layout()
        if layout is None or not self.checked:
            return QSize(width, self._headerHeight() + 2)
        hint = layout.totalSizeHint() if hasattr(layout, "totalSizeHint") else layout.sizeHint()
        return QSize(max(width, hint.width()), max(self._headerHeight() + 2, hint.height()))

    def minimumSizeHint(self) -> QSize:
        """Small enough to close."""
        layout = self.layout()
        if layout is None or not self.checked:
            return QSize(0, self._headerHeight() + 2)
        return layout.totalMinimumSize()

    def paintEvent(self, event: object) -> None:
        """Draws the header with an arrow, and a frame around what is open."""
        painter = QPainter(self)
        header = self.rect
        header.setHeight(self._headerHeight())
        painter.fillRect(header, self.palette.button())
        painter.setPen(self.palette.mid().color())
        painter.drawRect(self.rect.adjusted(0, 0, -1, -1))
        option = QStyleOption()
        option.initFrom(self)
        option.rect = header.adjusted(4, 3, 0, -3)
        option.rect.setWidth(option.rect.height())
        arrow = QStyle.PrimitiveElement.PE_IndicatorArrowDown
        if not self.checked:
            arrow = QStyle.PrimitiveElement.PE_IndicatorArrowRight
        self.style().drawPrimitive(arrow, option, painter, self)
        painter.setPen(self.palette.buttonText().color())
        text = header.adjusted(header.height() + 4, 0, 0, 0)
        painter.drawText(text, int(Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextShowMnemonic), self.text)
        if self.hasFocus():
            painter.drawRect(header.adjusted(2, 2, -3, -3))
        painter.end()


class _ArrowStyle(QProxyStyle):
    """Draws an arrow in place of a group box's check mark, as CTK's does."""

    CPP = True

    def drawPrimitive(
        self, element: object, option: object, painter: QPainter, widget: object = None
    ) -> None:
        """Called by Qt for each part."""
        if element == QStyle.PrimitiveElement.PE_IndicatorCheckBox and isinstance(widget, QGroupBox):
            isOpen = widget.checked
            arrows = QStyle.PrimitiveElement
            element = arrows.PE_IndicatorArrowUp if isOpen else arrows.PE_IndicatorArrowDown
        QProxyStyle.drawPrimitive(self, element, option, painter, widget)


class ctkCollapsibleGroupBox(QGroupBox):
    """A group box that opens and closes; ``checked`` means open."""

    CPP = True

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._style = _ArrowStyle()
        self.setStyle(self._style)
        self.setCheckable(True)
        self.toggled.connect(self._onToggled)

    def _onToggled(self, isOpen: bool) -> None:
        for child in self.children():
            if isinstance(child, QWidget):
                child.setVisible(isOpen)
        self.setFlat(not isOpen)
        self.setMaximumHeight(16777215 if isOpen else self.fontMetrics().height() + 6)

    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))
