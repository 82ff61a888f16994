"""Files of people come in: checked before they are sent, encrypted while they come, on from where they stopped.

A run begins with an upload. Imports runs.
"""
