"""Structured pruning: whole channels go, so that every engine gets faster.

Imports `training.workspace`.
"""
