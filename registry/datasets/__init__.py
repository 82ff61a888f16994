"""Data sets of pictures on disk: made, imported and added to.

Imports `registry.formats` and the rooms below it.
"""
