"""The way of a request through the router: choose a version, forward, copy, count.

Imports `serving.releases` and `serving.wire`; neither `serving.service` nor `serving.tasks`.
"""
