"""Alarms, the dashboard, and the budget. All of them write to one address."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as watch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from database import Database
from edge import Edge
from options import Size
from services import Services

QUIET, LOUD = watch.TreatMissingData.NOT_BREACHING, watch.TreatMissingData.BREACHING
GIB = 2**30


class Watching:
    def __init__(
        self, stack: Stack, size: Size, key: kms.IKey, *, address: str, edge: Edge, services: Services,
        database: Database, tasks: Sequence[ecs.FargateService],
    ) -> None:  # fmt: skip
        self._stack, self._widgets = stack, list[watch.IWidget]()
        self.topic = sns.Topic(stack, "Alarms", topic_name="visionloop-alarms", master_key=key, enforce_ssl=True)
        by_mail = sns.SubscriptionProtocol.EMAIL
        sns.Subscription(stack, "AlarmLetters", topic=self.topic, protocol=by_mail, endpoint=address)
        self._alarms = list(edge.alarms)
        self._edge(edge)
        self._services(services)
        self._database(database, size)
        for service in tasks:
            # No figure at all: no task runs.
            cpu = service.metric_cpu_utilization(period=Duration.minutes(1), statistic="SampleCount")
            name = service.node.id.removesuffix("Service")
            self._alarm(f"{name}Gone", cpu, 1, f"no task of {name} has run for 5 minutes", below=True, missing=LOUD)
        for alarm in self._alarms:
            alarm.add_alarm_action(actions.SnsAction(self.topic))
            alarm.add_ok_action(actions.SnsAction(self.topic))
        state = watch.AlarmStatusWidget(title="alarms", alarms=self._alarms, width=24, height=4)
        watch.Dashboard(stack, "Dashboard", dashboard_name="visionloop", widgets=[[state], self._widgets])
        _budget(stack, size, address)

    def _edge(self, edge: Edge) -> None:
        minute = Duration.minutes(1)
        p95 = edge.balancer.metrics.target_response_time(period=minute, statistic="p95")
        self._alarm("Slow", p95, 5, "95 % of answers take longer than 5 s")
        requests = edge.balancer.metrics.request_count(period=minute)
        self._chart("requests a minute", [requests])
        self._chart("seconds to an answer, 95 %", [p95])

    def _services(self, services: Services) -> None:
        minute = Duration.minutes(1)
        for name, group in services.targets.items():
            sick = group.metrics.unhealthy_host_count(period=minute, statistic="Maximum")
            self._alarm(f"{name}Sick", sick, 1, f"a task of {name} has not been ready for 5 minutes")
        shown = [(name, group.metrics) for name, group in services.targets.items()]
        self._chart("requests a minute by slot", [m.request_count(period=minute, label=name) for name, m in shown])
        self._chart(
            "seconds by slot, 95 %",
            [m.target_response_time(period=minute, statistic="p95", label=name) for name, m in shown],
        )
        self._chart("healthy tasks by slot", [m.healthy_host_count(period=minute, label=name) for name, m in shown])

    def _database(self, database: Database, size: Size) -> None:
        one, period = database.instance, Duration.minutes(5)
        cpu, free = one.metric_cpu_utilization(period=period), one.metric_free_storage_space(period=period)
        self._alarm("DatabaseBusy", cpu, 80, "PostgreSQL's processors are 80 % busy")
        self._alarm("DatabaseFull", free, 5 * GIB, "PostgreSQL has less than 5 GiB left", below=True)
        self._chart("PostgreSQL: processors, %", [cpu])
        self._chart("PostgreSQL: connections", [one.metric_database_connections(period=period)])
        self._chart("PostgreSQL: free bytes", [free])

    def _alarm(self, name: str, metric: watch.Metric, threshold: float, text: str, *, below: bool = False,
               missing: watch.TreatMissingData = QUIET) -> None:  # fmt: skip
        compare = watch.ComparisonOperator
        side = compare.LESS_THAN_THRESHOLD if below else compare.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
        self._alarms.append(
            metric.create_alarm(
                self._stack, name, alarm_name=f"visionloop-{name}", alarm_description=text, threshold=threshold,
                evaluation_periods=5, datapoints_to_alarm=5, treat_missing_data=missing,
                comparison_operator=side,
            )
        )  # fmt: skip

    def _chart(self, title: str, metrics: list[watch.IMetric]) -> None:
        self._widgets.append(watch.GraphWidget(title=title, left=metrics, width=12))


def _budget(stack: Stack, size: Size, address: str) -> None:
    """A letter at 80 % of the month's budget, and when the forecast is above it. The budget is the whole account's."""
    reader = budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=address)
    notes = [
        budgets.CfnBudget.NotificationWithSubscribersProperty(
            notification=budgets.CfnBudget.NotificationProperty(
                notification_type=kind, comparison_operator="GREATER_THAN", threshold=percent
            ),
            subscribers=[reader],
        )
        for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
    ]  # fmt: skip
    budgets.CfnBudget(
        stack, "Budget", notifications_with_subscribers=notes,
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_name="visionloop", budget_type="COST", time_unit="MONTHLY",
            budget_limit=budgets.CfnBudget.SpendProperty(amount=size.budget_usd, unit="USD"),
        ),
    )  # fmt: skip
