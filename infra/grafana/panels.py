"""What the dashboards show. tests/flows/metrics/test_prometheus.py asks a real Prometheus each query."""

from __future__ import annotations

from dashboards import Panel, stat

M = 'model=~"$model"'


def rate(metric: str, by: str, more: str = "", window: str = "5m") -> str:
    return f"sum by ({by}) (rate(visionloop_{metric}{{{more}}}[{window}]))"


def quantile(share: float, metric: str, by: str, more: str = "") -> str:
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}, le', more)})"


OVERVIEW = [
    stat("Processes that do not run", "none", {"": "count(visionloop_process_up == 0) or vector(0)"}),
    stat("Alerts", "none", {"": 'count(ALERTS{alertstate="firing"}) or vector(0)'}),
    stat("Models that drifted", "none", {"": "sum(visionloop_drift)"}),
    Panel("Requests", "reqps", {"{{model}}": "sum by (model) (visionloop:requests:rate5m)"}),
    Panel("Requests that fail", "percentunit", {"{{model}}": "max by (model) (visionloop:errors:ratio5m)"}),
    Panel("Latency, 95th percentile", "s", {"{{model}}": quantile(0.95, "router_request_seconds", "model")}),
    Panel("All answers of the router", "reqps", {"{{status}}": rate("router_answers_total", "status")}),
    Panel("Pages", "reqps", {"{{status}}": rate("web_requests_total", "status")}),
    Panel("Pages, 95th percentile", "s", {"": quantile(0.95, "web_request_seconds", "job")}),
    Panel("What people wait for", "none", {"runs: {{state}}": "visionloop_web_runs", "letters: {{state}}": "visionloop_web_letters", "tasks: {{state}}": "sum by (state) (visionloop_tasks)"}),
    Panel("Predictions that wait for the database", "bytes", {"": "visionloop_spool_bytes"}),
    Panel("Free disk", "bytes", {"": "visionloop_disk_free_bytes"}),
]  # fmt: skip
MODEL = [
    Panel("Requests by version and role", "reqps", {"v{{version}} {{role}}": rate("router_requests_total", "model, version, role", M)}),
    Panel("By status", "reqps", {"{{status}}": rate("router_requests_total", "model, status", M)}),
    Panel("Latency", "s", {f"p{round(100 * q)}": quantile(q, "router_request_seconds", "model", M) for q in (0.5, 0.95)}),
    Panel("Score of labelled predictions", "none", {"{{model}} v{{version}}": f"visionloop_feedback_score{{{M}}}"}),
    Panel("Labels of 7 days", "none", {"{{model}} v{{version}}": f"visionloop_feedback_labels{{{M}}}"}),
    Panel("Predictions that wait for a label", "none", {"{{model}}": f"visionloop_label_queue{{{M}}}"}),
    Panel("Drift: statistic by threshold; above 1 it alarms", "none", {"{{model}} {{kind}}": f"visionloop_drift_score{{{M}}}"}),
    Panel("Age of the verdict", "s", {"{{model}}": f"time() - visionloop_drift_verdict_time_seconds{{{M}}}"}),
    Panel("What predictions say, means", "none", {"{{name}}": f"{rate('prediction_sum', 'model, name', M)} / {rate('prediction_count', 'model, name', M)}"}),
]  # fmt: skip
RELEASE = [
    Panel("Share of the requests", "percentunit", {"{{model}} v{{version}} {{role}}": f"visionloop_release_share{{{M}}}"}),
    Panel("Requests by role", "reqps", {"{{model}} v{{version}} {{role}}": rate("router_requests_total", "model, version, role", M)}),
    Panel("Failures by role", "reqps", {"{{model}} v{{version}} {{role}}": rate("router_errors_total", "model, version, role", M)}),
    Panel("Latency by role, 95th percentile", "s", {"{{model}} v{{version}} {{role}}": quantile(0.95, "router_request_seconds", "model, version, role", M)}),
    Panel("Agreement of the shadow", "percentunit", {"{{model}} v{{version}}": f"visionloop_router_shadow_agreement_total{{{M}}} / visionloop_router_shadow_compared_total{{{M}}}"}),
    Panel("Copies for shadows", "none", {"dropped": rate("router_shadow_dropped_total", "model", M), "waiting": "visionloop_router_shadow_queue"}),
    Panel("Asked again of another version", "reqps", {"{{model}} v{{version}}": rate("router_retried_total", "model, version", M)}),
    Panel("Services that do not answer the router", "none", {"{{model}} v{{version}}": f"visionloop_service_down{{{M}}}"}),
    Panel("Versions that run", "none", {"{{model}}": f"count by (model) (visionloop_version_info{{{M}}})"}),
]  # fmt: skip
SERVICE = [
    Panel("At work", "none", {"{{model}} v{{version}}": f"visionloop_requests_running{{{M}}}"}),
    Panel("Queue", "none", {"waiting": f"visionloop_queue_length{{{M}}}", "capacity": f"visionloop_queue_capacity{{{M}}}"}),
    Panel("Refused: too many wait", "reqps", {"{{model}} v{{version}}": rate("rejected_total", "model, version", M)}),
    Panel("Batch size, mean", "none", {"{{model}}": f"{rate('batch_size_sum', 'model', M)} / {rate('batch_size_count', 'model', M)}"}),
    Panel("Steps of a prediction, means", "s", {"{{model}} {{step}}": f"{rate('step_seconds_sum', 'model, step', M)} / {rate('step_seconds_count', 'model, step', M)}"}),
    Panel("Latency in the service, 95th percentile", "s", {"{{model}} v{{version}}": quantile(0.95, "request_seconds", "model, version", M)}),
    Panel("Cores", "none", {"{{process}}": "rate(visionloop_process_cpu_seconds_total[5m])"}),
    Panel("Memory", "bytes", {"{{process}}": "visionloop_process_memory_bytes"}),
    Panel("Restarts in an hour", "none", {"{{process}}": "increase(visionloop_process_restarts_total[1h])"}),
    Panel("Uploads in memory", "bytes", {"held": "visionloop_router_upload_bytes", "limit": "visionloop_router_upload_limit_bytes"}),
    Panel("Requests in flight", "none", {"in flight": "visionloop_router_in_flight", "held": "visionloop_router_held"}),
    Panel("Open files", "none", {"{{instance}}": "process_open_fds"}),
]  # fmt: skip
TRAINING = [
    stat("Time since the gate's last decision", "s", {"{{model}}": f"time() - visionloop_training_decided_time_seconds{{{M}}}"}),
    stat("Promoted", "bool_yes_no", {"{{model}}": f"visionloop_training_granted{{{M}}}"}),
    stat("Version of it", "none", {"{{model}}": f"visionloop_training_version{{{M}}}"}),
    Panel("Labels that no version was trained with", "none", {"{{model}}": f"visionloop_labels_unlearned{{{M}}}"}),
    Panel("What the latest verdict asks for", "none", {"{{model}} {{action}}": f"visionloop_drift_action{{{M}}} == 1"}),
    Panel("Cores of flows and trainings", "none", {"{{process}}": 'rate(visionloop_process_cpu_seconds_total{model=""}[5m])'}),
]  # fmt: skip
COST = [
    Panel("Cores by model", "none", {"{{model}}": f"visionloop:service_cores:rate5m{{{M}}}"}),
    Panel("Processor seconds of a request", "s", {"{{model}}": f"visionloop:cpu_seconds_per_request:rate5m{{{M}}}"}),
    Panel("Price of 1,000 requests", "none", {"{{model}}": f"visionloop:cpu_seconds_per_request:rate5m{{{M}}} * 1000 / 3600 * $price"}),
    Panel("Power, measured or estimated", "watt", {"{{source}}": "visionloop:power_watts"}),
    Panel("Energy of a request", "joule", {"{{source}}": "visionloop:power_watts / on () group_left () (sum(visionloop:requests:rate5m) > 0)"}),
    Panel("Size of the database and memory of all processes", "bytes", {"database": "visionloop_database_bytes", "memory": "sum(visionloop_process_memory_bytes)"}),
]  # fmt: skip
DASHBOARDS = {
    "overview": OVERVIEW, "model": MODEL, "release": RELEASE, "service": SERVICE, "training": TRAINING, "cost": COST,
}  # fmt: skip
