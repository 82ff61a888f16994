"""Data steps: starter data, its version in DVC, and labels that become cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flows.steps import data_versions
from flows.steps.data_versions import DataVersion
from registry.cases.splits import SPLITS, Shares
from registry.contract import catalog
from registry.core import database, journal
from registry.core.errors import NotFound, Refused
from registry.core.files import new_folder, write_file
from registry.core.settings import settings
from training.workspace.parameters import models_of, read_file, read_params

if TYPE_CHECKING:
    from monitoring.log.models import Verdict

DRIFT_ORIGIN = "drift"
LABEL_SHARES = Shares(val=0.15, test=0.35)
"""Shares of labelled predictions. The gate needs enough held-out ones to see whether the next version is better."""


def active_models() -> list[str]:
    """The models that DVC has stages for and that can draw their own data. Raises SettingsError."""
    models = models_of(read_file(settings().root / "params.yaml"))
    return [name for name in models if catalog.get(name).data.has_starter or (settings().data / name).is_dir()]


def synthesise(model: str) -> None:
    """Draws the starter data of a model. Raises SettingsError, StorageError."""
    params = read_params(settings().root / "params.yaml", model)["data"]
    with new_folder(settings().data / model) as draft:
        catalog.get(model).data.synthesise(draft, params)


def has_data(model: str) -> bool:
    """Whether there is anything in the model's data folder."""
    folder = settings().data / model
    return folder.is_dir() and any(folder.iterdir())


def prepare_data(model: str) -> DataVersion:
    """Draws the starter data if the model has no data, and versions data/<model> as it is."""
    spec = catalog.get(model)
    with journal.step("data", "Make and version the data", model, usually_s=10) as running:
        target, earlier = settings().data / model, data_versions.recorded(model)
        made = not has_data(model) or not data_versions.was_pushed(model)
        if not has_data(model):
            synthesise(model)
        found = data_versions.add(model)
        if lack := spec.data.lacks(target):
            journal.fact("data", lack, model)
        if not made and not found.changed:
            running.skip(f"unchanged: {found}")
        elif made and earlier and not found.changed:
            running.note = f"{found}: bit for bit what data.dvc records"
        else:
            running.note = str(found)
        if not running.note.startswith("unchanged"):
            cases = spec.data.cases(target)
            shown = _pictures(model, [case for case in cases if case.split == "test"][:4])
            per = {split: sum(case.split == split for case in cases) for split in SPLITS}
            text = f"{per['train']} training, {per['val']} validation and {per['test']} test cases; DVC: {found}"
            journal.fact("data", text, model, pictures=shown)
    return found


def _pictures(model: str, cases: Sequence[Any]) -> list[dict[str, str]]:
    """Draws cases with their labels for the story page."""
    spec = catalog.get(model)
    found = []
    for case in cases:
        sample = spec.inference.decode(case.input.read_bytes(), settings().max_voxels)
        raw = spec.render.picture(sample, None, spec.score.truth(case.truth))
        path = write_file(settings().var / "story" / "data" / f"{case.id}.jpg", raw)
        found.append({"picture": str(path), "caption": case.id})
    return found


def take_labels(model: str, verdict_id: str) -> tuple[int, str]:
    """Adds the labels of a verdict's window to the data set, as cases of their own origin.

    If an earlier run added them and failed before a version was trained, its origin is used again. data.dvc is right
    afterwards, whatever crashed before.

    Args:
        verdict_id: the verdict that asks for the retraining. "": the model's latest.

    Returns:
        How many cases were added, and their origin.

    Raises:
        NotFound: there is no such verdict.
        Refused: every label of the window was learned already, or the window's inputs are broken.
    """
    from monitoring.feedback import labels

    verdict = find_verdict(model, verdict_id)
    part, root = catalog.get(model).data, settings().data / model
    origin = f"{DRIFT_ORIGIN}-{verdict.id[:8]}"
    with journal.step("labels", "Add the labelled predictions to the data", model, usually_s=5) as running:
        if verdict.action == "bad_input":
            raise Refused(
                f"verdict {verdict.id} says that the inputs are broken: {verdict.why}",
                expected="a verdict on inputs that are worth learning from",
                fix=f"fix their source; `visionloop monitor {model}` judges what comes after it",
            )
        items = labels.labels_of_window(verdict)
        added = part.add(root, items, origin, LABEL_SHARES)
        for line in added.refused:
            journal.fact("labels", f"left out: {line}", model)
        problems = dict(line.split(": ", 1) for line in added.refused)
        origins = {case.id: case.origin for case in part.cases(root)}
        labels.note_cases(model, origins, [item.id for item in items], problems)
        found = data_versions.add(model)  # even if nothing was added: an earlier run may have ended before this line
        if added.new:
            running.note = f"{added.new} cases, {found}"
            text = f"{added.new} labelled predictions became cases of origin {origin}; DVC: {found}"
            journal.fact("labels", text, model)
            return added.new, origin
        origin = _waiting_origin(model, origin, verdict.id)
        running.note = f"the cases of origin {origin} are there already"
        return 0, origin


def _waiting_origin(model: str, origin: str, verdict_id: str) -> str:
    """The origin of cases that no version was trained with: `origin` if it has such cases, else the latest.

    Raises Refused if there are none.
    """
    from monitoring.feedback import labels

    waiting = labels.unlearned(model)
    if not waiting:
        raise Refused(
            f"the window of verdict {verdict_id} has no new labels of {model}",
            expected="labels that no version was trained with yet",
            fix=f"label some (docs/watching.md), then `visionloop monitor {model}` looks again",
        )
    return origin if origin in waiting else waiting[-1]


def find_verdict(model: str, identity: str = "") -> Verdict:
    """The verdict with this id; "": the model's latest. Raises NotFound."""
    database.migrate()
    from monitoring.log.models import Verdict

    rows = Verdict.objects.filter(model=model)
    found = (rows.filter(id=identity) if identity else rows.order_by("-time")).first()
    if found is None:
        raise NotFound(
            f"there is no drift verdict {identity} on {model}" if identity else f"there is no drift verdict on {model}",
            expected="the id on a verdict's page or in its `verdict.json`",
            fix=f"`visionloop monitor {model}` gives one",
        )
    return found


def note_learned(model: str, version: int) -> None:
    """Notes, for each labelled prediction in the data set, that this version was trained with it."""
    from monitoring.feedback import labels

    database.migrate()
    labels.note_learned(
        model, {case.origin for case in catalog.get(model).data.cases(settings().data / model)}, version
    )
