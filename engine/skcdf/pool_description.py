"""``pool.json``: what makes a folder a labelled pool."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .case_record import CaseRecord
from .cases import MODALITIES, Modality
from .errors import SkcdfError
from .files import read_json, utc_now, write_json

SCHEMA = 1
POOL_FILE = "pool.json"


@dataclass(frozen=True)
class PoolDescription:
    """What is true of a whole pool.

    Attributes:
        modality: ``CT`` or ``MR``.
        salt: goes into the subject hashes, so that they cannot be guessed from lists of patients.
        synthetic: whether all its scans are phantoms.
        protocol: id of the published protocol whose cases it was made of, or ``None``.
        protocol_cases: `cases_hash` of those cases: with others it is another experiment.
        created: when the pool was made, UTC, ISO 8601.
    """

    modality: Modality
    salt: str = field(default_factory=lambda: secrets.token_hex(16))
    synthetic: bool = False
    protocol: str | None = None
    protocol_cases: str | None = None
    created: str = field(default_factory=utc_now)

    @classmethod
    def load(cls, root: Path) -> PoolDescription:
        """Reads that of the pool in ``root``.

        Raises:
            SkcdfError: the folder is no pool, or one of a newer version.
        """
        source = root / POOL_FILE
        content = read_json(source, "labelled pool")
        try:
            if content["schema"] != SCHEMA:
                raise SkcdfError(
                    f"{source}: pool schema {content['schema']} is not known.", "Update SKCDFSegmenter."
                )
            found = cls(
                content["modality"],
                content["salt"],
                content.get("synthetic") is True,
                content.get("protocol"),
                content.get("protocol_cases"),
                content["created"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise SkcdfError(f"{source}: not a labelled pool ({error!r}).", "Restore the file.") from error
        texts = (found.salt, found.created, found.protocol or "", found.protocol_cases or "")
        if found.modality not in MODALITIES or not all(isinstance(text, str) for text in texts):
            raise SkcdfError(f"{source}: not a labelled pool.", "Restore the file.")
        return found

    def save(self, root: Path) -> None:
        """Writes it.

        Raises:
            SkcdfError: the file cannot be written.
        """
        write_json(root / POOL_FILE, {"schema": SCHEMA, **asdict(self)})

    def followed_protocol(self, records: Sequence[CaseRecord]) -> str | None:
        """The protocol, as long as the pool holds its cases and no others, with their labels."""
        return self.protocol if self.protocol_cases == cases_hash(records) else None


def cases_hash(records: Sequence[CaseRecord]) -> str:
    """SHA-256 over what decides a training's outcome: scans, label maps, splits and what is withdrawn."""
    content = [
        [each.name, each.split, each.state, each.image_hash, each.current and each.current.voxel_hash]
        for each in records
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
