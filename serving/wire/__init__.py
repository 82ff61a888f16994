"""HTTP without a model: reading bodies within bounds, negotiating formats, writing answers and errors.

Imports no other room of this package.
"""
