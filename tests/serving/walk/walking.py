"""How a walk asks, and what it finds wrong with an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import httpx

from tests.serving.walk.belongings import Walkers
from tests.serving.walk.pages import WHO, Row

REFUSED = ("401", "403", "404", "405", "429", "login")


@dataclass(frozen=True)
class Step:
    """One request of a walk."""

    who: str
    method: str
    path: str
    row: Row
    address: str

    @property
    def expected(self) -> str:
        """The status that the table says; "": it says none; "-": nobody should ask."""
        by_method = {"GET": self.row.get, "POST": self.row.post, "PUT": self.row.put, "DELETE": self.row.delete}
        return dict(zip((*WHO, "owner"), by_method[self.method].split(), strict=False)).get(self.who, "")


def steps(table: Mapping[str, list[Row]], walkers: Walkers, who: str) -> list[Step]:
    """What somebody asks. The table has no changes by the owner."""
    found = []
    for path, rows in table.items():
        for row in rows:
            address = _filled(path, row, walkers)
            asked = [Step(who, method, path, row, address) for method in ("GET", "POST", "PUT", "DELETE")]
            # A method that the table does not have is tried by one person.
            found += [step for step in asked if step.expected != "-" and (step.expected or who == "other")]
    return found


def _filled(path: str, row: Row, walkers: Walkers) -> str:
    """The address of a row: each parameter with its value."""

    def value(found: re.Match[str]) -> str:
        name = row.values[found[1].rpartition(":")[2]]
        return walkers.values.get(name, name)

    return re.sub(r"<([^>]*)>", value, path) + row.query


def said(answer: httpx.Response) -> str:
    """The status as `Row` has it."""
    if answer.status_code != 302:
        return str(answer.status_code)
    return "login" if "/accounts/login/" in answer.headers["location"] else "302"


def faults(step: Step, answer: httpx.Response, walkers: Walkers) -> list[str]:
    """A wrong status, and what of the owner's is in an answer to somebody else."""
    where, status = f"{step.method} {step.address} as {step.who}", said(answer)
    found = []
    if step.expected and status != step.expected:
        found.append(f"{where}: {status}, not {step.expected}")
    if not step.expected and status not in (*REFUSED, *(replace(step, method=one).expected for one in ("GET", "POST"))):
        found.append(f"{where}: {status}, where the table has no such method")
    return [*found, *(f"{where}: shows the owner's {name}" for name in _shown(step, answer, walkers))]


def _shown(step: Step, answer: httpx.Response, walkers: Walkers) -> list[str]:
    """Names of the owner's secrets in an answer to somebody else, beside what the address itself had."""
    if step.who == "owner":
        return []
    allowed = set(step.row.shows) if step.who == "administrator" else set()
    if step.path.startswith("/office/") and step.who in ("viewer", "operator", "administrator"):
        allowed |= set(walkers.known)
    sent = f"{answer.headers}".encode() + answer.content
    return [
        name
        for name, text in walkers.secrets.items()
        if text.encode() in sent and text not in step.address and name not in allowed
    ]
