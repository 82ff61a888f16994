"""`python -m tests.benchmarks.rivals fastapi|litserve --bundle FOLDER --port PORT`: other ways to serve a version.

Each is as small as in its own documentation. It runs the version's weights in the framework that trained them, with the
model's decoding, preprocessing and postprocessing, and answers the same JSON. `tests.benchmarks.services` starts them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, UploadFile

from registry.versions.bundle import Bundle, open_bundle
from tests.benchmarks.eager import eager


def fastapi(bundle: Bundle, port: int) -> None:
    """FastAPI: a plain function that takes an uploaded file. It runs in FastAPI's thread pool."""
    import uvicorn

    app, predict = FastAPI(), eager(bundle)

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/predict")
    def answer(request: UploadFile) -> dict[str, Any]:
        return dict(predict(request.file.read()).result.to_json())

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical")


def litserve(bundle: Bundle, port: int) -> None:
    """LitServe: one worker on the CPU, its default."""
    from litserve import LitServer

    from tests.benchmarks.rival_litserve import Api

    server = LitServer(Api(bundle.path), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="critical", generate_client_file=False)


def ultralytics(bundle: Bundle) -> Callable[[bytes], Any]:
    """ultralytics' own `predict`, called in a loop in this process: bytes -> its Results. For its detectors only."""
    import cv2
    import numpy as np
    from ultralytics import YOLO

    network = eager(bundle)._network.model  # type: ignore[attr-defined]
    network.head.export = network.head.xyxy = False
    architecture = str(bundle.manifest.training["params"].get("architecture") or _architecture(bundle))
    detector: Any = YOLO(architecture, task="detect")
    detector.model.model = network.model  # its own blocks, but for the split C2f
    detector.model.nc = len(bundle.manifest.classes)
    detector.model.names = dict(enumerate(bundle.manifest.classes))
    size, score = bundle.manifest.input_shape[-1], bundle.manifest.thresholds["score"]
    detector.model.eval()

    def predict(body: bytes) -> Any:
        picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        return detector.predict(picture, imgsz=size, conf=score, device="cpu", verbose=False)[0]

    return predict


def _architecture(bundle: Bundle) -> str:
    from registry.contract import catalog

    return str(catalog.get(bundle.manifest.model).network.ARCHITECTURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rival", choices=("fastapi", "litserve"))
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    {"fastapi": fastapi, "litserve": litserve}[options.rival](open_bundle(options.bundle), options.port)


if __name__ == "__main__":
    main()
