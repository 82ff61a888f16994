"""The loop as Prefect flows: deployments, the worker that runs them, and what they show in Prefect's UI.

Imports `flows.steps` and `flows.stack`.
"""
