"""The cases of a data set: the table `cases.csv`, its parts, groups and labels, and what must hold of them.

Imports `registry.vision` and `registry.core`.
"""
