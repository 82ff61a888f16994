"""Which versions of a model get its traffic: plans, their tables, the commands that change them, and packaging.

Imports `serving.wire`.
"""
