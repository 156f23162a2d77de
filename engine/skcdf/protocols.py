"""Published protocols: which cases are for what, and how results are counted.

Figures "on Synapse, 20 % labelled" come from several test sets, training lists and ways of counting, and cannot
be compared across them. So each has an id, which every report prints. ``Resources/Protocols`` holds one file for
each published set of lists; a file's protocols differ in the share of labelled cases:
``synapse-skcdf-20p`` is share ``20p`` of ``synapse-skcdf.json``. ``docs/protocols.md`` describes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from .errors import SkcdfError
from .files import read_json
from .published_metrics import MetricConvention
from .records import FieldError, record_from_plain
from .resources import resource

CT_ONLY = "-ct"
"""Ending of the id of a protocol from which the MR cases were taken."""

# Names become file names: nothing in them may lead to another folder.
_CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class CaseLists:
    """Names of the cases of a data set, by what they are for. No case is in two lists, and no list is empty.

    Attributes:
        labelled: to train on, with label map.
        unlabelled: to train on, without; a label map that exists is not looked at.
        validation: to choose a model by.
        test: for the final figures only.
    """

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        lists: dict[str, tuple[str, ...]] = {each.name: getattr(self, each.name) for each in fields(self)}
        empty = [name for name, cases in lists.items() if not cases]
        if empty:
            raise SkcdfError(f"There are no {' and no '.join(empty)} cases.", "Name at least one.")
        for case in self.all:
            if not _CASE_NAME.fullmatch(case):
                raise SkcdfError(f"{case!r} cannot be a case's name.", "Take letters, digits, '.', '-', '_'.")
        twice = [case for case, count in Counter(self.all).items() if count > 1]
        if twice:
            where = [name for name, cases in lists.items() if twice[0] in cases]
            raise SkcdfError(
                f"{len(twice)} cases are listed twice: {twice[0]} is for {' and '.join(where)}.",
                "A case is for one purpose only: what was trained on or chosen by says nothing in a test.",
            )

    @property
    def all(self) -> tuple[str, ...]:
        """All cases, list by list."""
        return (*self.labelled, *self.unlabelled, *self.validation, *self.test)


@dataclass(frozen=True)
class Protocol:
    """A published experiment: its cases and how its results are counted.

    Attributes:
        id: printed in every report: ``synapse-skcdf-20p``.
        title: what people read.
        dataset: whose cases they are: ``synapse`` or ``amos``.
        label_set: name of the label set.
        source: repositories and commits that the lists come from.
        cases: the lists.
        conventions: ways in which results on these lists were published.
        remarks: what is odd about it, one sentence each.
    """

    id: str
    title: str
    dataset: str
    label_set: str
    source: str
    cases: CaseLists
    conventions: tuple[MetricConvention, ...]
    remarks: tuple[str, ...]

    @classmethod
    def load(cls, protocol_id: str) -> Protocol:
        """The shipped protocol with this id.

        Raises:
            SkcdfError: there is none.
        """
        shipped = shipped_protocols()
        for protocol in shipped:
            if protocol.id == protocol_id:
                return protocol
        raise SkcdfError(
            f"There is no protocol {protocol_id}.",
            f"Take one of {', '.join(protocol.id for protocol in shipped)}.",
        )


def shipped_protocols() -> tuple[Protocol, ...]:
    """All protocols that travel with the program."""
    files = sorted(resource("Protocols").glob("*.json"))
    return tuple(protocol for path in files for protocol in read_protocols(path))


@dataclass(frozen=True)
class _Share:
    share: str
    cases: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """What a protocol file holds; its cases are numbers, which ``case_prefix`` makes names of.

    Cases with a number above ``mr_above`` are MR.
    """

    schema: Literal[1]
    title: str
    dataset: str
    label_set: str
    source: str
    case_prefix: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    labelled: tuple[_Share, ...]
    conventions: tuple[MetricConvention, ...]
    remarks: tuple[str, ...]
    mr_above: int | None = None


def read_protocols(path: Path) -> tuple[Protocol, ...]:
    """The protocols of one file: one for each share and, where there are MR cases, one without them.

    Raises:
        SkcdfError: it is not a protocol file, a case is in two lists, or a list is empty.
    """
    content = read_json(path, "protocol file")
    try:
        file = record_from_plain(_File, content, path.name)
        return tuple(each for share in file.labelled for each in _protocols(file, path.stem, share))
    except (FieldError, ValueError) as error:
        raise SkcdfError(
            f"{path}: not a protocol file ({error}).", "Compare it with a shipped one."
        ) from error
    except SkcdfError as error:
        raise SkcdfError(f"{path}: {error.message}", error.hint) from error


def _protocols(file: _File, name: str, share: _Share) -> Iterator[Protocol]:
    protocol = _protocol(file, f"{name}-{share.share}", share.cases)
    yield protocol
    if file.mr_above is not None:
        yield _without_mr(protocol, file.case_prefix, file.mr_above)


def _protocol(file: _File, protocol_id: str, labelled: tuple[str, ...]) -> Protocol:
    strangers = sorted(set(labelled) - set(file.training))
    if strangers:
        raise SkcdfError(
            f"The labelled cases of {protocol_id} are not all among the training cases: {', '.join(strangers)}.",
            "A labelled case must be a training case; a validation or test case must never be.",
        )

    def names(numbers: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{file.case_prefix}{number}" for number in numbers)

    unlabelled = names(number for number in file.training if number not in labelled)
    cases = CaseLists(names(labelled), unlabelled, names(file.validation), names(file.test))
    return Protocol(
        protocol_id,
        file.title,
        file.dataset,
        file.label_set,
        file.source,
        cases,
        file.conventions,
        file.remarks,
    )


def _without_mr(protocol: Protocol, case_prefix: str, mr_above: int) -> Protocol:
    def ct(cases: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(case for case in cases if int(case.removeprefix(case_prefix)) <= mr_above)

    lists = protocol.cases
    return replace(
        protocol,
        id=f"{protocol.id}{CT_ONLY}",
        title=f"{protocol.title}; without the MR cases",
        cases=CaseLists(ct(lists.labelled), ct(lists.unlabelled), ct(lists.validation), ct(lists.test)),
        remarks=("Leaving out the MR cases is no published experiment.", *protocol.remarks),
    )
