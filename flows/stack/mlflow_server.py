"""`python -m flows.stack.mlflow_server --host H --port P --store URI --artifacts FOLDER`: MLflow in one process.

`mlflow server` imports MLflow, prepares the database, and starts a second Python that imports MLflow again for
uvicorn: 12.7 s until it answers, two processes of 264 MB each (2 cores). This takes the same steps with the same
application in one process: 7.2 s, 280 MB. It is written for MLflow 3.17, which pyproject.toml pins; `test_stack_real`
starts it.
"""

from __future__ import annotations

import json
import os

import click

from registry.buckets import encryption, regions
from registry.versions.mlflow_client import allow_percent, make_store


@click.command()
@click.option("--host", required=True)
@click.option("--port", type=int, required=True)
@click.option("--store", required=True, help="database URI of runs and versions")
@click.option("--artifacts", required=True, help="folder or bucket for artifacts")
def serve(host: str, port: int, store: str, artifacts: str) -> None:
    """Prepares the database (creates or migrates it), then serves UI and API until a signal comes."""
    regions.check(artifacts)
    os.environ["MLFLOW_S3_UPLOAD_EXTRA_ARGS"] = json.dumps(encryption.put_options())
    from mlflow import server

    os.environ[server.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[server.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[server.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[server.SERVE_ARTIFACTS_ENV_VAR] = "true"
    os.environ[server.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    # The server's own stores must not use the address that its clients use.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if host not in ("127.0.0.1", "localhost"):
        os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", f"{host},{host}:{port},localhost:*,127.0.0.1:*")

    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    allow_percent()
    make_store(store)
    initialize_backend_stores(store, store, "mlflow-artifacts:/")
    uvicorn.run("mlflow.server.fastapi_app:app", host=host, port=port, log_level="warning", timeout_graceful_shutdown=3)


if __name__ == "__main__":
    serve()
