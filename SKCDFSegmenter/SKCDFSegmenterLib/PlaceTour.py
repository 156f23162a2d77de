"""The way through the places where the model was unsure, there and back."""

from __future__ import annotations

import slicer

from .MissingOrgan import organTitle
from .SegmentRecord import isCompleted
from .Texts import _, plural
from .UnsurePlaces import Place, jumpTo, nextPlace, places


class PlaceTour:
    """Where the user is among a segmentation's places.

    Args:
        segmentationNode: the segmentation; ``None``: there are no places.
    """

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
        self._segmentationNode = segmentationNode
        self._visited: list[Place] = []
        self._looksBack = False  # at places of organs that are all completed

    @property
    def here(self) -> Place | None:
        """Where the user is; ``None`` before the first."""
        return self._visited[-1] if self._visited else None

    @property
    def canGoOn(self) -> bool:
        """Whether there is a place of an organ that is not completed."""
        return nextPlace(self._segmentationNode, self.here) is not None

    @property
    def canGoBack(self) -> bool:
        """Whether there was a place before."""
        return len(self._path()) > 1

    @property
    def missingOrgan(self) -> str:
        """The organ of the place where the user is, if it has no segment; empty: it has one."""
        if self.here is None or self.here not in places(self._segmentationNode):
            return ""
        segment = self._segmentationNode.GetSegmentation().GetSegment(self.here.organ)
        return self.here.organ if segment is None else ""

    def goOn(self) -> Place | None:
        """Brings the views to the next place; ``None``: there is none."""
        place = nextPlace(self._segmentationNode, self.here)
        self._looksBack = False
        if place is not None:
            self._visited = [*self._path(), place] if place != self.here else self._visited
            jumpTo(place, self._segmentationNode)
        return place

    def goBack(self) -> Place | None:
        """Brings the views to the place before; ``None``: there was none."""
        path = self._path()
        if len(path) < 2:
            return None
        self._looksBack = not self.canGoOn
        self._visited = path[:-1]
        jumpTo(self._visited[-1], self._segmentationNode)
        return self._visited[-1]

    def words(self) -> str:
        """Where the user is, and why; before the first place, what there is to see; in the end, that it is the end."""
        everything = places(self._segmentationNode)
        if self._segmentationNode is None:
            return ""
        if not everything:
            return _("No model has named places of this segmentation that it was unsure of.")
        if not self.canGoOn and not (self._looksBack and self.here in everything):
            return self._endWords()
        if self.here in everything:
            return _("{k} of {n}: {organ}: {reason}.").format(
                k=everything.index(self.here) + 1,
                n=len(everything),
                organ=self._title(self.here),
                reason=self.here.reason.rstrip("."),
            )
        n = len(everything)
        text = plural(
            _("{n} place where the model was unsure."),
            _("{n} places where the model was unsure, the most useful first."),
            n,
        )
        return text.format(n=n)

    def _endWords(self) -> str:
        segmentation = self._segmentationNode.GetSegmentation()
        organs = [segmentation.GetSegment(segmentID) for segmentID in segmentation.GetSegmentIDs()]
        if all(isCompleted(organ) for organ in organs):
            return _("All organs are completed: nothing is left to check. Reopen takes an organ back.")
        return _("All organs with unsure places are completed; the list below has those that are not.")

    def _path(self) -> list[Place]:
        """Where the user was, as far as the places are still there: another run has others."""
        everything = places(self._segmentationNode)
        return [place for place in self._visited if place in everything]

    def _title(self, place: Place) -> str:
        segment = self._segmentationNode.GetSegmentation().GetSegment(place.organ)
        return organTitle(place.organ) if segment is None else segment.GetName()
