"""A version of a model: its bundle, its place in MLflow's registry, predictions and explanations with it, decisions.

Imports `registry.contract` and the rooms below it.
"""
