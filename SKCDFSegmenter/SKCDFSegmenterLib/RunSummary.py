"""What became of a run, in lines for the panel."""

from __future__ import annotations

from collections.abc import Sequence

from .ResultWords import deviceName, durationWords, errorWords, foundWords, placesWords
from .SegmentationQueue import QueuedOutcome
from .Texts import _, plural
from .VolumeSegmenter import SegmentationOutcome


def summaryLines(outcomes: Sequence[QueuedOutcome]) -> list[str]:
    """What is in the scene now, and what went wrong beside it; none where nothing came into the scene."""
    done = [each for each in outcomes if each.outcome.segmentationNode is not None]
    if not done:
        return []
    if len(outcomes) == 1:
        return _oneScan(done[0].outcome)
    n = len(done)
    lines = [plural(_("{n} scan segmented."), _("{n} scans segmented."), n).format(n=n)]
    lines += [_failure(each) for each in outcomes if each.outcome.error is not None]
    for each in done:
        n = len(each.outcome.found)
        text = plural(_("{scan}: {n} organ"), _("{scan}: {n} organs"), n)
        lines.append(text.format(scan=each.volumeName, n=n))
    if any(each.outcome.cancelled for each in outcomes):
        lines.append(_("The others were cancelled."))
    return lines


def failureLines(outcomes: Sequence[QueuedOutcome]) -> list[str]:
    """Why nothing came into the scene; none where something did."""
    if any(each.outcome.segmentationNode is not None for each in outcomes):
        return []
    failed = [each for each in outcomes if each.outcome.error is not None]
    if not failed:
        return [_("Cancelled. The scene is as it was.")] if outcomes else []
    if len(outcomes) > 1:
        return [_failure(each) for each in failed]
    return [_("Not segmented: {reason}").format(reason=_reason(failed[0]))]


def _oneScan(outcome: SegmentationOutcome) -> list[str]:
    found, notFound, kept = (
        [label.title for label in group] for group in (outcome.found, outcome.notFound, outcome.kept)
    )
    how = _("{model}, {duration} on {device}.").format(
        model=outcome.modelTitle, duration=durationWords(outcome.seconds), device=deviceName(outcome.device)
    )
    return [
        " ".join(foundWords(found, notFound, kept)),
        how,
        *(_("Warning: {text}").format(text=f"{each['message']} {each['hint']}") for each in outcome.warnings),
        *(_("Note: {text}").format(text=note) for note in outcome.notes),
        placesWords(len(outcome.places)),
    ]


def _failure(each: QueuedOutcome) -> str:
    reason = _reason(each)
    if not reason.startswith(each.volumeName):
        reason = f"{each.volumeName}: {reason}"
    return _("Not segmented: {reason}").format(reason=reason)


def _reason(each: QueuedOutcome) -> str:
    error = each.outcome.error
    return "" if error is None else errorWords(error)
