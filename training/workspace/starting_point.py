"""What a training starts from: the folder build/<model>/start, made by the stage `start`, read by all later ones.

Its `start.json` is one of

    {}                                                  random weights
    {"weights": {"file": "x.pth", "sha256": "..."}}     a file of weights, named by params.yaml or by the model's spec
    {"version": 3, "digest": "..."}                     a champion, whose bundle lies beside it in `bundle/`

so that another content of the weights file, as well as another champion, makes another training of it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.core.files import digest_file, new_folder, write_file
from training.workspace import pretrained
from training.workspace.workspace import START, START_BUNDLE, START_FILE, Workspace, read_start

if TYPE_CHECKING:
    from registry.versions.mlflow_registry import Version


def start_from_champion(workspace: Workspace, champion: Version, bundle: Path) -> None:
    """Fine-tuning: `bundle` is the champion's folder. An equal start is left untouched."""
    _write(workspace, {"version": champion.number, "digest": champion.digest}, bundle)


def start_from_weights(workspace: Workspace) -> None:
    """From scratch, or from the weights file that there is now. An equal start is left untouched.

    Raises:
        NotFound: the file that params.yaml names is not there.
    """
    path = pretrained.weights_file(workspace)
    weights = {"weights": {"file": path.name, "sha256": digest_file(path)}} if path else {}
    _write(workspace, weights, None)


def keep_start(workspace: Workspace) -> None:
    """What the stage `start` does: a champion that an earlier run chose stays; weights are looked at again."""
    if "version" not in read_start(workspace.folder(START)):
        start_from_weights(workspace)


def _write(workspace: Workspace, content: dict[str, Any], bundle: Path | None) -> None:
    target = workspace.folder(START)
    if (target / START_FILE).is_file() and read_start(target) == content:
        return
    with new_folder(target) as draft:
        if bundle is not None:
            shutil.copytree(bundle, draft / START_BUNDLE)
        write_file(draft / START_FILE, json.dumps(content) + "\n")
