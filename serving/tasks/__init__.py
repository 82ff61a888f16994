"""Predictions in the background: submitted now, fetched later.

Imports `serving.releases.models` and `serving.wire`.
"""
