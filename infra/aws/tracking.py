"""MLflow, Prefect, and the one task of operations: guard, keeper, flows."""

from __future__ import annotations

from aws_cdk import aws_ecs as ecs
from database import NAME, USER
from network import MLFLOW, PREFECT, ROUTER
from options import Size
from tasks import DOMAIN, HOME, Before, Run, Tasks

# Runs before MLflow and Prefect. RDS makes one database; these make their own with the same role.
CREATE_DATABASE = """
import os, psycopg
name = os.environ["CREATE"]
with psycopg.connect("", autocommit=True) as db:
    if not db.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
        db.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))
"""
COPY_PROJECT = f'test -e "{HOME}/project/dvc.yaml" || cp -r . "{HOME}/project"'
"""Runs before operations: trainings write into the project folder, which must outlive the task."""


def mlflow(tasks: Tasks, size: Size, image: ecs.ContainerImage) -> ecs.FargateService:
    """MLflow's server. Its artifacts pass through it, so nobody else needs the bucket."""
    name = f"mlflow.{DOMAIN}"
    run = Run(
        "mlflow", image, MLFLOW, "/health",
        command=["python", "-m", "flows.stack.mlflow_server", "--host", "0.0.0.0", "--port", str(MLFLOW),
                 "--store", tasks.database.url("mlflow"),
                 "--artifacts", f"s3://{tasks.storage.data.bucket_name}/mlflow"],
        # Else it refuses requests that name it otherwise than by the address it listens on.
        settings={"MLFLOW_SERVER_ALLOWED_HOSTS": f"{name},{name}:{MLFLOW},localhost:*,127.0.0.1:*"},
    )  # fmt: skip
    task = tasks.define("mlflow", size.mlflow, [run], before=_database(tasks, "mlflow", image), var=False)
    tasks.storage.allow(task.task_role, "mlflow")
    return _service(tasks, "mlflow", task)


def prefect(tasks: Tasks, size: Size, image: ecs.ContainerImage) -> ecs.FargateService:
    """Prefect's server."""
    url = tasks.database.url("prefect", "postgresql+asyncpg", "ssl=require")
    run = Run(
        "prefect", image, PREFECT, "/api/health",
        command=["python", "-m", "prefect", "server", "start", "--host", "0.0.0.0", "--port", str(PREFECT),
                 "--analytics-off"],
        settings={"PREFECT_API_DATABASE_CONNECTION_URL": url, "PREFECT_HOME": "/tmp/prefect",
                  "PREFECT_UI_API_URL": f"http://prefect.{DOMAIN}:{PREFECT}/api"},
    )  # fmt: skip
    task = tasks.define("prefect", size.prefect, [run], before=_database(tasks, "prefect", image), var=False)
    return _service(tasks, "prefect", task)


def operations(tasks: Tasks, size: Size, image: ecs.ContainerImage, settings: dict[str, str]) -> ecs.FargateService:
    """The supervisor with guard, keeper, flows and a router of their own. One task: there may be one guard only.

    People with the right to do so enter it (`aws ecs execute-command`) to run visionloop's commands.
    """
    run = Run(
        "operations", image, ROUTER, "/healthz",
        command=["python", "-m", "flows.stack.supervisor", "router", "keeper", "flows", "guard"],
        settings={**settings, "VISIONLOOP_ROOT": f"{HOME}/project"},
    )  # fmt: skip
    task = tasks.define("operations", size.operations, [run], before=Before(image, ["sh", "-c", COPY_PROJECT]))
    tasks.storage.allow(task.task_role, "dvc", "batch")
    return tasks.service("operations", task, "operations", alone=True, desired_count=1, enable_execute_command=True)


def _database(tasks: Tasks, name: str, image: ecs.ContainerImage) -> Before:
    host = tasks.database.instance.db_instance_endpoint_address
    environment = {"PGHOST": host, "PGUSER": USER, "PGDATABASE": NAME, "PGSSLMODE": "require", "CREATE": name}
    return Before(image, ["python", "-c", CREATE_DATABASE], environment)


def _service(tasks: Tasks, name: str, task: ecs.FargateTaskDefinition) -> ecs.FargateService:
    return tasks.service(name, task, "tracking", desired_count=1, cloud_map_options=ecs.CloudMapOptions(name=name))
