"""Keys, quotas and usage of the router's callers.

Imports `serving.wire` and `serving.client`.
"""
