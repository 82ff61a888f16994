"""The gate: whether a version may become champion, by the same test cases for both versions.

Imports `training.export` and `training.workspace`.
"""
