"""Versions in MLflow: registers bundles, moves aliases, fetches bundles.

Aliases: `champion` is the best granted version, `previous` the champion before it, `challenger` waits for a decision.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.core.errors import BundleError, MissingService, NotFound, Refused, did_you_mean, first_line
from registry.core.files import new_folder
from registry.core.settings import settings
from registry.versions.bundle import RUN_DIGEST, Bundle, open_bundle
from registry.versions.mlflow_client import experiment_id, open_client
from registry.versions.mlflow_texts import example, pyfunc_requirements, run_page

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
_DIGEST = "visionloop.digest"
_REPLACED = "visionloop.replaced"
"""Tag of a version: the number of the champion that it replaced."""


@dataclass(frozen=True)
class Version:
    """A registered bundle. `digest` is `Bundle.digest`; `created` is in seconds since 1970."""

    model: str
    number: int
    run_id: str
    digest: str
    aliases: tuple[str, ...]
    created: float

    def __str__(self) -> str:
        return f"{self.model}@{self.number}"


class Versions:
    """MLflow's model registry.

    Raises (every method):
        MissingService: the tracking server does not answer.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.uri = tracking_uri or settings().mlflow_address

    @property
    def _client(self) -> MlflowClient:
        return open_client(self.uri)

    def register(self, bundle: Bundle) -> Version:
        """Makes the bundle a version of its model, or returns the version that it is already.

        The version's run is the one that made the bundle, if this store has it: the training may be tracked elsewhere.
        """
        model, digest = bundle.manifest.model, bundle.digest
        for version in self.list(model):
            if version.digest == digest:
                return version
        with self._explained():
            import mlflow

            client = self._client
            run = self._run(model, digest) or client.create_run(
                experiment_id(client, model, self.uri, settings().artifact_store),
                run_name="register",
                tags={RUN_DIGEST: digest},
            )
            with mlflow.start_run(run_id=run.info.run_id):
                logged = mlflow.pyfunc.log_model(
                    name="bundle",
                    python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                    artifacts={"bundle": bundle.path.as_uri()},  # a plain path would lose its %XX
                    code_paths=[str(Path(__file__).parents[1])],
                    pip_requirements=pyfunc_requirements(model, bundle.manifest.engine),
                    metadata={"visionloop": {"digest": digest, "engine": bundle.manifest.engine}},
                    **example(bundle),
                )
            if not client.search_registered_models(f"name = '{model}'"):
                client.create_registered_model(model)
            score = bundle.manifest.score
            made = client.create_model_version(
                model,
                source=logged.model_uri,
                run_id=run.info.run_id,
                model_id=logged.model_id,
                tags={
                    _DIGEST: digest,
                    "visionloop.data_hash": bundle.manifest.data_hash,
                    f"metric.{bundle.manifest.metric}": f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]",
                    "engine": f"{bundle.manifest.engine} {bundle.manifest.numerics}",
                },
            )
            client.set_registered_model_alias(model, CHALLENGER, str(made.version))
            client.set_tag(run.info.run_id, "version", str(made.version))
            return self.get(model, int(made.version))

    def get(self, model: str, which: str | int = CHAMPION) -> Version:
        """A version by number or alias. Raises NotFound."""
        found = self.find(model, which)
        if found is None:
            known = [*(str(version.number) for version in reversed(self.list(model))), *self._aliases(model)]
            if not known:
                raise NotFound(f"{model} has no version yet", fix=f"`visionloop run {model}` makes one")
            raise NotFound(
                f"{model} has no version {which!r}",
                expected=f"one of {', '.join(known)}",
                fix=did_you_mean(str(which), known, f"`visionloop decisions {model}` says what each is"),
            )
        return found

    def find(self, model: str, which: str | int = CHAMPION) -> Version | None:
        text = str(which)
        for version in self.list(model):
            if str(version.number) == text or text in version.aliases:
                return version
        return None

    def list(self, model: str) -> list[Version]:
        """All versions, newest first; [] for a model that was never registered."""
        with self._explained():
            client = self._client
            aliases: dict[int, list[str]] = {}
            for alias, number in self._aliases(model).items():
                aliases.setdefault(number, []).append(alias)
            found = client.search_model_versions(f"name = '{model}'")
        versions = [
            Version(
                model=model,
                number=int(entry.version),
                run_id=entry.run_id or "",
                digest=entry.tags.get(_DIGEST, ""),
                aliases=tuple(sorted(aliases.get(int(entry.version), ()))),
                created=entry.creation_timestamp / 1000,
            )
            for entry in found
        ]
        return sorted(versions, key=lambda version: -version.number)

    def promote(self, version: Version) -> None:
        """Makes the version champion. The champion before it becomes `previous`.

        If it is killed at any point, calling it or `settle` finishes the change. `previous` is never the champion.
        """
        model, number = version.model, version.number
        self.settle(model)
        with self._explained():
            client, aliases = self._client, self._aliases(model)
            old = aliases.get(CHAMPION)
            if old == number:
                return
            # MLflow sets one alias at a time. From this tag `settle` knows what the others must become.
            client.set_model_version_tag(model, str(number), _REPLACED, str(old or ""))
            if aliases.get(PREVIOUS) == number:
                client.delete_registered_model_alias(model, PREVIOUS)
            client.set_registered_model_alias(model, CHAMPION, str(number))
        self.settle(model)

    def settle(self, model: str) -> None:
        """Finishes an interrupted promotion: sets the aliases by the champion's tag."""
        with self._explained():
            client, aliases = self._client, self._aliases(model)
            champion = aliases.get(CHAMPION)
            if champion is None:
                return
            if aliases.get(CHALLENGER) == champion:
                client.delete_registered_model_alias(model, CHALLENGER)
            replaced = client.get_model_version(model, str(champion)).tags.get(_REPLACED, "")
            if replaced and aliases.get(PREVIOUS) != int(replaced) and self.find(model, replaced):
                client.set_registered_model_alias(model, PREVIOUS, replaced)

    def refuse(self, version: Version) -> None:
        """Takes the alias `challenger` from a version that the gate refused. It asks for nothing any more."""
        with self._explained():
            if self._aliases(version.model).get(CHALLENGER) == version.number:
                self._client.delete_registered_model_alias(version.model, CHALLENGER)

    def _aliases(self, model: str) -> dict[str, int]:
        found = self._client.search_registered_models(f"name = '{model}'")
        return {alias: int(number) for entry in found for alias, number in entry.aliases.items()}

    def roll_back(self, model: str) -> Version:
        """Swaps champion and previous, and returns the new champion. Raises Refused if there is no previous."""
        self.settle(model)
        previous = self.find(model, PREVIOUS)
        if previous is None:
            raise Refused(
                f"{model} has no previous version to return to",
                fix=f"`visionloop release {model} VERSION` gives a version the traffic",
            )
        self.promote(previous)
        return self.get(model, CHAMPION)

    def fetch(self, version: Version) -> Bundle:
        """Downloads the bundle unless it is here already. Verifies it each time."""
        target = settings().var / "bundles" / version.model / str(version.number)
        if target.is_dir():
            try:
                bundle = open_bundle(target)
                if bundle.digest == version.digest:
                    return bundle
            except BundleError:
                pass  # a damaged copy is fetched again
        with self._explained():
            import mlflow

            self._client  # noqa: B018 (sets the tracking server)
            with new_folder(target) as draft:
                model = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"models:/{version.model}/{version.number}", dst_path=str(draft / "download")
                )
                for path in next(Path(model).rglob("bundle.json")).parent.iterdir():
                    shutil.move(path, draft / path.name)
                shutil.rmtree(draft / "download", ignore_errors=True)
                found = open_bundle(draft).digest
                if found != version.digest:
                    raise BundleError(
                        f"{self.uri} holds another bundle for {version}: {found[:12]}",
                        expected=f"{version.digest[:12]}, as it was registered",
                        fix="restore the artifact store from a backup, or train the version anew",
                    )
        return open_bundle(target, verify=False)

    def attach(self, version: Version, path: Path, folder: str) -> None:
        """Adds a file to the artifacts of the version's run."""
        with self._explained():
            self._client.log_artifact(version.run_id, str(path), folder)

    def note(self, version: Version, **tags: Any) -> None:
        """Sets tags of the version."""
        with self._explained():
            for key, value in tags.items():
                text = value if isinstance(value, str) else json.dumps(value)
                self._client.set_model_version_tag(version.model, str(version.number), key, text)

    def pages(self, version: Version) -> dict[str, str]:
        """Link text -> address in MLflow's UI, for the version and its run; {} without a server."""
        if not self.uri.startswith("http"):
            return {}
        with self._explained():
            run = self._client.get_run(version.run_id)
        version_page = f"{self.uri}/#/models/{version.model}/versions/{version.number}"
        return {f"version {version.number} in MLflow": version_page, "its run": f"{self.uri}/{run_page(run)}"}

    def describe(self, version: Version, text: str) -> None:
        """Sets the description of the version and of its run in MLflow's UI. Markdown."""
        with self._explained():
            run = self._client.get_run(version.run_id)
            words = f"{text} Made by the run [{run.info.run_name}]({run_page(run)})."
            self._client.update_model_version(version.model, str(version.number), words)
            page = f"#/models/{version.model}/versions/{version.number}"
            note = f"{text} It is [version {version.number}]({page})."
            self._client.set_tag(version.run_id, "mlflow.note.content", note)

    def tags(self, version: Version) -> dict[str, str]:
        """The version's current tags."""
        with self._explained():
            return dict(self._client.get_model_version(version.model, str(version.number)).tags)

    def _run(self, model: str, digest: str) -> Run | None:
        """The run that made the bundle."""
        experiment = self._client.get_experiment_by_name(model)
        if experiment is None:
            return None
        found = self._client.search_runs([experiment.experiment_id], f"tags.{RUN_DIGEST} = '{digest}'", max_results=1)
        return found[0] if found else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, ConnectionError) as error:
            text = first_line(error)
            if not any(sign in text for sign in ("API request to", "Connection", "timed out", "Max retries")):
                raise
            raise MissingService(
                f"MLflow does not answer at {self.uri}: {text[:160]}",
                expected="a tracking server",
                fix="start it with `visionloop up`, or run the command with --local",
            ) from error
