"""The prediction log: from the hot path to the database, inputs kept for a while, and how all of it leaves again.

Imports no other room of this package.
"""
