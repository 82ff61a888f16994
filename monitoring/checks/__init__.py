"""Checks of a data set with Great Expectations, before anything is trained on it: `python -m monitoring.checks MODEL`.

Imports no other room of this package. `expectations/` holds the committed suite of each model.
"""
