"""Whether the world has moved: the tests, what they find, and the diagnosis that picks the action.

Imports `monitoring.log`.
"""
