"""The steps of the loop as plain functions: each does one thing, journals it and returns what the next one needs.

`flows.loop` puts them in order; they know nothing of Prefect.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flows import versioning
from flows.versioning import DataVersion, Say
from registry import catalog, database, journal
from registry.bundle import Bundle, open_bundle
from registry.decision import Decision
from registry.errors import MissingService, NotFound, Refused, SettingsError
from registry.files import new_folder, write_file
from registry.settings import settings
from registry.versions import CHAMPION, Version, Versions

if TYPE_CHECKING:
    from monitoring.watch import Verdict
    from serving.releases import Endpoint

DRIFT_ORIGIN = "drift"


def parameters(model: str, section: str) -> dict[str, Any]:
    """One section of params.yaml. Raises SettingsError."""
    path = settings().root / "params.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(
            f"params.yaml cannot be read: {str(error).splitlines()[0]}",
            expected="one section per model",
            mend="restore it: git checkout params.yaml",
        ) from error
    return dict(found.get(model, {}).get(section) or {})


@contextmanager
def exclusive(model: str) -> Iterator[None]:
    """One run of a model's loop at a time on this machine; the second one waits, and says so."""
    path = settings().var / "run" / f"loop-{model}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            journal.fact("data", f"another run of {model} is under way; this one waits for it", model)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def prepare_data(model: str) -> DataVersion:
    """Makes the starter data where there is none, and versions data/ as it is."""
    spec = catalog.get(model)
    with journal.step("data", "Make and version the data", model, usually_s=10) as running:
        target, said = settings().data / model, versioning.recorded()
        made = not target.is_dir() or not any(target.iterdir())
        if made:
            with new_folder(target) as draft:
                spec.data.synthesise(draft, parameters(model, "data"))
        found = versioning.add()
        if not made and not found.changed:
            running.skip(f"unchanged: {found}")
        elif made and said and not found.changed:
            running.note = f"{found}: the starter data again, bit for bit what data.dvc records"
        else:
            running.note = str(found)
        if not running.note.startswith("unchanged"):
            cases = spec.data.cases(target)
            shown = _pictures(model, [case for case in cases if case.split == "val"][:4])
            per = {split: sum(case.split == split for case in cases) for split in ("train", "val")}
            text = f"{per['train']} training and {per['val']} held-out cases; DVC: {found}"
            journal.fact("data", text, model, pictures=shown)
    return found


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


def prepare_start(model: str, champion: Version | None) -> None:
    """Says what training starts from: the champion's bundle, or nothing. Leaves an equal start untouched."""
    target = settings().build / model / "start"
    wanted = {"version": champion.number, "digest": champion.digest} if champion else {}
    with_file = target / "start.json"
    if with_file.is_file() and json.loads(with_file.read_text() or "{}") == wanted:
        return
    with new_folder(target) as draft:
        if champion is not None:
            shutil.copytree(Versions().fetch(champion).path, draft / "bundle")
        write_file(draft / "start.json", json.dumps(wanted) + "\n")


def ensure_start(model: str) -> None:
    """From scratch, unless an earlier run chose a start."""
    if not (settings().build / model / "start" / "start.json").is_file():
        prepare_start(model, None)


def build(model: str, say: Say) -> Bundle:
    """validate -> train -> compress -> evaluate, as far as they are stale. Raises what a stage raised."""
    with disk_room(settings().build):
        versioning.build(model, say)
    return open_bundle(settings().build / model / "bundle")


@contextmanager
def disk_room(path: Path, least_mb: int = 300) -> Iterator[None]:
    """Refuses to begin on a disk that is as good as full: better now than after the training."""
    from registry.errors import StorageError

    path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path).free / 1e6
    if free < least_mb:
        raise StorageError(
            f"{free:.0f} MB are free under {path}",
            expected=f"at least {least_mb} MB",
            mend="free some space and run the same command again",
        )
    yield


def register(model: str, bundle: Bundle) -> Version:
    """The bundle as a version in MLflow; a bundle that is one already is not sent again."""
    with journal.step("register", "Register", model, usually_s=8) as running:
        stamp = settings().build / model / "registered.json"
        known = _known(stamp, bundle)
        if known is not None:
            running.skip(f"it is version {known.number} already")
            return known
        run = settings().build / model / "train" / "run.json"
        run_id = json.loads(run.read_text()).get("run_id") if run.is_file() else None
        version = Versions().register(bundle, run_id)
        write_file(stamp, json.dumps({**version.__dict__, "store": settings().mlflow_address}))
        running.note = f"version {version.number}"
        journal.fact(
            "register",
            f"version {version.number}, bundle {version.digest[:12]}",
            model,
            link=f"{settings().mlflow_address}/#/models/{model}/versions/{version.number}",
            label="in MLflow",
        )
        return version


def _known(stamp: Path, bundle: Bundle) -> Version | None:
    """The version that the stamp remembers, if MLflow still has it. Asks over HTTP: importing mlflow takes seconds."""
    import httpx

    try:
        said = json.loads(stamp.read_text())
        if said.pop("store") != settings().mlflow_address or said["digest"] != bundle.digest:
            return None
        version = Version(**{**said, "aliases": tuple(said["aliases"])})
        answer = httpx.get(
            f"{settings().mlflow_address}/api/2.0/mlflow/model-versions/get",
            params={"name": version.model, "version": str(version.number)},
            timeout=5,
            trust_env=False,
        )
        tags = {tag["key"]: tag["value"] for tag in answer.json()["model_version"].get("tags", [])}
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError, httpx.InvalidURL):
        return None
    return version if tags.get("visionloop.digest") == version.digest else None


def decided(version: Version) -> dict[str, Any] | None:
    """The latest decision about a version, as its JSON says; None if there was none."""
    found = [json.loads(path.read_text()) for path in (settings().var / "decisions" / version.model).glob("*.json")]
    mine = [one for one in found if one["challenger"] == version.number]
    return max(mine, key=lambda one: str(one["created"]), default=None)


def decide(version: Version, asked_by: str, why: str, must_win_on: str | None = None) -> bool:
    """The gate's word on a version, with its page; a version that was decided on keeps its decision."""
    model = version.model
    with journal.step("decide", "Decide", model, usually_s=15) as running:
        earlier = decided(version)
        if earlier is not None:
            running.skip(str(earlier["summary"]))
            return bool(earlier["granted"])
        from training import gate

        versions = Versions()
        champion = versions.find(model, CHAMPION)
        decision: Decision = gate.decide(
            version,
            versions.fetch(version),
            champion,
            versions.fetch(champion) if champion else None,
            asked_by=asked_by,
            why=why,
            must_win_on=must_win_on,
        )
        page = decision.save()
        for path in (page, page.with_suffix(".json")):
            versions.attach(version, path, "decisions")
        versions.note(version, decision="granted" if decision.granted else "refused", decision_page=page.name)
        if decision.granted:
            versions.promote(version)
        running.note = "promoted" if decision.granted else "refused"
        rows = [
            {"name": row.name, "before": row.champion.value, "after": row.challenger.value}
            for row in decision.slices
            if row.champion is not None
        ]
        before_after = {
            "compare": {
                "metric": catalog.get(model).metric.title,
                "rows": rows,
                "before": f"version {decision.champion}",
                "after": f"version {decision.challenger}",
            }
        }
        journal.fact(
            "decide",
            decision.summary,
            model,
            link=str(page.relative_to(settings().var)),
            label="the decision page",
            granted=decision.granted,
            reasons=[reason.__dict__ for reason in decision.reasons],
            **(before_after if rows else {}),
        )
        return decision.granted


def package(version: Version) -> str:
    """The Bento of a version; returns its tag."""
    from serving import packaging

    with journal.step("package", "Package", version.model, usually_s=8) as running:
        tag = packaging.package(version, Versions().fetch(version))
        running.note = tag
    return tag


def release(version: Version, tag: str) -> Endpoint:
    """Starts the Bento, checks its golden samples and gives it the traffic."""
    from flows.stack.control import Stack
    from serving import deploy, releases

    database.setup()
    database.migrate()
    with journal.step("release", "Release", version.model, usually_s=12) as running:
        live = releases.live(version.model)
        if live and (live.version, live.tag) == (version.number, tag) and deploy.answers(live):
            running.skip(f"version {version.number} gets the traffic already")
            return live
        endpoint = deploy.roll_out(version, tag, Stack())
        address = f"{settings().router_address}/v1/models/{version.model}"
        running.note = f"version {version.number} gets the traffic"
        journal.fact(
            "release",
            f"version {version.number} answers at {address}/predict"
            + (f"; version {live.version} had it until now and finished its requests" if live else ""),
            version.model,
            link=f"{address}/docs",
            label="the API page",
        )
    return endpoint


def released(version: Version) -> bool:
    """Whether this version gets the traffic and answers: then there is nothing to package or start."""
    from serving import deploy, releases

    database.setup()
    database.migrate()
    live = releases.live(version.model)
    if live is None or live.version != version.number or not deploy.answers(live):
        return False
    for name in ("package", "release"):
        with journal.step(name, name.capitalize(), version.model) as running:
            running.skip(f"version {version.number} gets the traffic already")
    return True


def watch(model: str, *, last: int | None = None, since: float | None = None, step: str = "verdict") -> Verdict:
    """The monitor's verdict on the live version's recent predictions. Raises NotFound when nothing is live."""
    from monitoring.watch import watch as look
    from serving import releases

    database.setup()
    database.migrate()
    titles = {"verdict": "Compare with the reference", "quiet": "Compare again"}
    with journal.step(step, titles.get(step, "Compare with the reference"), model, usually_s=20) as running:
        live = releases.live(model)
        if live is None:
            raise NotFound(
                f"no version of {model} is live", expected="a released version", mend=f"`visionloop run {model}`"
            )
        versions = Versions()
        bundle = versions.fetch(versions.get(model, live.version))
        verdict = look(model, live.version, bundle, last=last, since=since)
        running.note = f"version {verdict.version}: {'DRIFT' if verdict.drifted else 'no drift'}"
        pictures = [
            {"picture": str(path), "caption": path.stem.replace("-", " ")}
            for path in sorted(verdict.folder.glob("responsible-*.jpg"))
        ]
        journal.fact(
            step,
            verdict.why,
            model,
            link=str(verdict.page.relative_to(settings().var)),
            label="the drift report",
            alarm=verdict.drifted,
            pictures=pictures[:6] if verdict.drifted else [],
            verdict=verdict.id,
            action=verdict.action,
        )
    return verdict


def take_labels(model: str, verdict_id: str) -> tuple[int, str]:
    """Adds labelled predictions to the data set under an origin of their own; returns how many and the origin.

    Raises:
        Refused: there is no labelled prediction that the data set does not have already.
    """
    from monitoring import feedback

    database.setup()
    database.migrate()
    origin = f"{DRIFT_ORIGIN}-{verdict_id[:8]}"
    with journal.step("labels", "Add the labelled predictions to the data", model, usually_s=5) as running:
        items = feedback.labelled(model)
        added = catalog.get(model).data.add(settings().data / model, items, origin, val_share=0.4) if items else 0
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


def wait_for(address: str, name: str, seconds: float) -> None:
    """Waits until an HTTP address answers. Raises MissingService."""
    import httpx

    end = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(address, timeout=2, trust_env=False).status_code < 500:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > end:
            raise MissingService(
                f"{name} does not answer at {address}", expected="an answer", mend=f"`visionloop logs {name}` says why"
            )
        time.sleep(0.25)
