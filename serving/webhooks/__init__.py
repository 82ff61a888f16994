"""Calls to an address of the caller's own when a task is over, signed as Standard Webhooks defines.

Imports `serving.tasks`, `serving.access` and `serving.wire`.
"""
