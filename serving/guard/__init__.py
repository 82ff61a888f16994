"""Watches releases with two versions and steps them on or back; starts and stops what the plans want.

Imports `serving.router`, `serving.releases` and `serving.wire`.
"""
