"""`python infra/grafana/dashboards.py`: writes the dashboards beside it as Grafana's JSON. `--check` only compares.

Each panel is a title, a unit and its queries; the rest of Grafana's JSON is the same for all.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, ACROSS = 24, 3


@dataclass(frozen=True)
class Panel:
    """`queries`: legend -> PromQL. `unit`: one of Grafana's names. `kind`: timeseries or stat."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"

    def to_json(self, number: int) -> dict[str, Any]:
        width, height = WIDTH // ACROSS, 8
        targets = [
            {"refId": chr(ord("A") + n), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
            for n, (legend, expr) in enumerate(self.queries.items())
        ]
        return {
            "id": number + 1,
            "title": self.title,
            "type": self.kind,
            "datasource": SOURCE,
            "gridPos": {"x": number % ACROSS * width, "y": number // ACROSS * height, "w": width, "h": height},
            "fieldConfig": {"defaults": {"unit": self.unit}, "overrides": []},
            "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if self.kind == "stat" else {},
            "targets": targets,
        }


def stat(title: str, unit: str, queries: dict[str, str]) -> Panel:
    return Panel(title, unit, queries, "stat")


def dashboard(name: str, panels: list[Panel]) -> dict[str, Any]:
    """Its uid stays the same, so that Grafana replaces the one of before."""
    model = {
        "name": "model", "type": "query", "datasource": SOURCE, "refresh": 2,
        "query": "label_values(visionloop_release_share, model)",
        "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
    price = {"name": "price", "type": "textbox", "label": "price of a core hour", "query": "0.05"}
    return {
        "uid": f"visionloop-{name}",
        "title": f"visionloop: {name}",
        "tags": ["visionloop"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, model, price]},
        "panels": [one.to_json(number) for number, one in enumerate(panels)],
    }


def files() -> dict[Path, str]:
    """Path -> content of each dashboard."""
    from panels import DASHBOARDS

    return {
        FOLDER / f"{name}.json": json.dumps(dashboard(name, panels), indent=1) + "\n"
        for name, panels in DASHBOARDS.items()
    }


def main() -> None:
    made = files()
    stale = [path for path in FOLDER.glob("*.json") if path not in made]
    changed = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        sys.exit(f"not as the code says: {[path.name for path in stale + changed]}" if stale + changed else 0)
    for path in stale:
        path.unlink()
    for path, text in made.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
