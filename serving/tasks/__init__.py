"""Predictions in the background: submitted now, fetched later.

Imports `serving.releases.models`, `serving.query` and `serving.wire`.
"""
