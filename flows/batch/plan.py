"""The plan of a run: the slices of a listing, each of which becomes one part.

The plan is in the output. A run continues the plan that it finds there if all that the parts depend on is the same,
since the same parts come out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from flows.batch.listing import Item, Listing

SCHEMA = 2
LEAST, MOST, PARTS = 32, 1024, 16
"""Bounds of the files in a part, which has whole batches of `LEAST`. Workers share up to `PARTS` parts."""


@dataclass(frozen=True)
class Plan:
    """All that the parts depend on.

    Attributes:
        work: `features` or `predictions`; `media`: of the file that is rendered for each prediction, "" for none.
        version, digest: of the model, e.g. `fruit_features@3`.
        listing: the listing's digest; `pictures`: how many it has.
        part: pictures in each part but the last.
    """

    work: str
    media: str
    source: str
    version: str
    digest: str
    listing: str
    pictures: int
    part: int
    schema: int = SCHEMA

    @classmethod
    def of(cls, work: str, media: str, source: str, version: str, digest: str, listing: Listing) -> Plan:
        count = len(listing.items)
        part = min(MOST, max(1, -(-count // (PARTS * LEAST))) * LEAST)
        return cls(work, media, source, version, digest, listing.digest, count, part)

    @classmethod
    def from_json(cls, text: str) -> Plan | None:
        """None if that is no plan of this version of the program."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @property
    def parts(self) -> int:
        return -(-self.pictures // self.part)

    @property
    def id(self) -> str:
        """Eight letters in the names of its parts: what another plan's late worker writes is told apart."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]

    def name(self, number: int) -> str:
        return f"part-{number:05d}-{self.id}.parquet"

    def slice(self, items: Sequence[Item], number: int) -> Sequence[Item]:
        return items[number * self.part : (number + 1) * self.part]

    def size(self, number: int) -> int:
        """How many pictures the part has."""
        return min(self.part, self.pictures - number * self.part)


def difference(found: Plan, plan: Plan) -> str:
    """Why the parts of `found` are not those of `plan`, in words."""
    if (found.work, found.media) != (plan.work, plan.media):
        return f"{found.work} {found.media}".strip() + f", not {plan.work} {plan.media}".rstrip()
    if found.source != plan.source:
        return f"of {found.source}, not {plan.source}"
    if (found.version, found.digest) != (plan.version, plan.digest):
        return f"with {found.version}, not {plan.version}" + (" (registered anew)" * (found.version == plan.version))
    if found.listing != plan.listing:
        return f"the pictures have changed since ({found.pictures} then, {plan.pictures} now)"
    return "by another version of this program"
