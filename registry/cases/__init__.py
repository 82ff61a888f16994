"""The cases of a data set: the table `cases.csv`, splits, groups, labels, and data checks.

Imports `registry.vision` and `registry.core`.
"""
