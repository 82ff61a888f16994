"""The runs of a person: handed out with all else that is kept of them, and deleted with the account."""

from __future__ import annotations

import json
from collections.abc import Iterator

from serving.accounts.models import User
from serving.accounts.zip_stream import Entry
from serving.runs import downloads, files, store
from serving.runs.models import Run


class Runs:
    """`serving.accounts.own_data.Holder`."""

    def entries(self, user: User) -> Iterator[Entry]:
        for run in Run.objects.filter(owner=user):
            folder = f"runs/{run.created:%Y-%m-%d}-{run.id[:8]}"
            yield f"{folder}/run.json", [json.dumps(downloads.described(run), indent=2).encode()]
            for name in files.present(run.id):
                if run.received == run.size:  # an unfinished upload cannot be read
                    yield f"{folder}/{downloads.download_name(run, name)}", files.pieces(run.id, name)

    def erase(self, user: User, callers: list[str]) -> None:
        for run in Run.objects.filter(owner=user):
            store.delete(run)
