"""Data sets of pictures on disk: drawing, importing and extending them.

Imports `registry.formats` and the rooms below it.
"""
