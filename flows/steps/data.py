"""Data steps: starter data, DVC, and labels that become cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import versioning
from flows.versioning import DataVersion
from registry import catalog, database, journal, learned
from registry.errors import BadInput, DataError, Refused
from registry.files import new_folder, write_file
from registry.parts import DataPart, Labelled
from registry.settings import settings
from registry.splits import SPLITS, Shares
from training.parameters import MODELS, read_file, read_params

DRIFT_ORIGIN = "drift"
LABELLED = Shares(val=0.15, test=0.35)
"""Of labelled predictions: enough held out for the gate to see by how much the next version is better on them."""


def parameters(model: str, section: str) -> dict[str, Any]:
    """One section of params.yaml. Raises SettingsError."""
    return dict(read_params(settings().root / "params.yaml", model)[section])


def active() -> list[str]:
    """The models that params.yaml lists: those that DVC has stages for. Raises SettingsError."""
    return list(read_file(settings().root / "params.yaml").get(MODELS) or ())


def synthesise(model: str) -> None:
    """Writes the starter data of a model that has none. Raises SettingsError, StorageError."""
    with new_folder(settings().data / model) as draft:
        catalog.get(model).data.synthesise(draft, parameters(model, "data"))


def prepare_data(model: str) -> DataVersion:
    """Makes the starter data where there is none, and versions data/ as it is.

    Where data/ is empty, as in a fresh clone, every model of params.yaml gets its starter data: only all of it together
    has the hash that data.dvc records.
    """
    spec = catalog.get(model)
    with journal.step("data", "Make and version the data", model, usually_s=30) as running:
        target, said = settings().data / model, versioning.recorded()
        made = _missing(model)
        for number, name in enumerate(made, start=1):
            journal.progress(
                "data", number - 1, len(made), unit="data sets", note=f"starter data of {name}", model=model
            )
            synthesise(name)
        found = versioning.add()
        if not made and not found.changed:
            running.skip(f"unchanged: {found}")
        elif made and said and not found.changed:
            running.note = f"{found}: the starter data again, bit for bit what data.dvc records"
        else:
            running.note = str(found)
        if not running.note.startswith("unchanged"):
            cases = spec.data.cases(target)
            shown = _pictures(model, [case for case in cases if case.split == "test"][:4])
            per = {split: sum(case.split == split for case in cases) for split in SPLITS}
            text = f"{per['train']} training, {per['val']} validation and {per['test']} test cases; DVC: {found}"
            journal.fact("data", text, model, pictures=shown)
    return found


def _missing(model: str) -> list[str]:
    """The models to make starter data for: this one if it has none, all of them if nobody has any."""

    def empty(folder: Path) -> bool:
        return not folder.is_dir() or not any(folder.iterdir())

    if empty(settings().data):
        return active()
    return [model] if empty(settings().data / model) else []


def _pictures(model: str, cases: Sequence[Any]) -> list[dict[str, str]]:
    """Draws cases with their truth for the story page."""
    spec = catalog.get(model)
    found = []
    for case in cases:
        sample = spec.inference.decode(case.input.read_bytes(), settings().max_voxels)
        raw = spec.render.picture(sample, None, spec.score.truth(case.truth))
        path = write_file(settings().var / "story" / "data" / f"{case.id}.jpg", raw)
        found.append({"picture": str(path), "caption": case.id})
    return found


def _add(part: DataPart, root: Path, items: Sequence[Labelled], origin: str) -> tuple[int, list[str]]:
    """How many of `items` became cases, and what is wrong with those that cannot: one of them must not keep the rest
    from being learnt. Raises DataError if there is no data set at `root`."""
    part.cases(root)

    def add(some: Sequence[Labelled]) -> tuple[int, list[str]]:
        try:
            return (part.add(root, some, origin, LABELLED) if some else 0), []
        except (BadInput, DataError) as error:
            if len(some) == 1:
                return 0, [f"{some[0].id}: {error.found}"]
        left, right = add(some[: len(some) // 2]), add(some[len(some) // 2 :])
        return left[0] + right[0], left[1] + right[1]

    return add(items)


def _unlearned(model: str) -> list[str]:
    """Origins of labelled predictions that are in the data set, and that the champion was not trained with."""
    from registry.versions import CHAMPION, Versions

    versions = Versions()
    champion = versions.find(model, CHAMPION)
    known = learned.of(versions.fetch(champion)).origins if champion else ()
    cases = catalog.get(model).data.cases(settings().data / model)
    teaching = (case.origin for case in cases if case.split == "train")
    found = dict.fromkeys(origin for origin in teaching if origin.startswith(f"{DRIFT_ORIGIN}-"))
    return [origin for origin in found if origin not in known]


def take_labels(model: str, verdict_id: str) -> tuple[int, str]:
    """Adds labelled predictions to the data set under an origin of their own; returns how many and the origin.

    Where an earlier run added them and then failed, or was refused, that run's origin is gone on with.

    Raises:
        Refused: there is no labelled prediction that the champion has not learned from already.
    """
    from monitoring import feedback

    database.setup()
    database.migrate()
    origin = f"{DRIFT_ORIGIN}-{verdict_id[:8]}"
    with journal.step("labels", "Add the labelled predictions to the data", model, usually_s=5) as running:
        items = feedback.labelled(model)
        added, refused = _add(catalog.get(model).data, settings().data / model, items, origin)
        for said in refused:
            journal.fact("labels", f"left out: {said}", model)
        if not added and (waiting := _unlearned(model)):
            origin = origin if origin in waiting else waiting[-1]
            running.note = f"the cases of origin {origin} are there already"
            return 0, origin
        if not added:
            raise Refused(
                f"there are no new labelled predictions of {model} to learn from",
                expected="predictions with feedback that the data set does not hold yet",
                mend="give labels (monitoring.feedback.give; `visionloop break --label` does it for its stream)",
            )
        found = versioning.add()
        running.note = f"{added} cases, {found}"
        journal.fact("labels", f"{added} labelled predictions became cases of origin {origin}; DVC: {found}", model)
    return added, origin
