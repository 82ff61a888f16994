"""HTTP without a model: connections and bodies within bounds, formats of answers, answers and errors.

Imports no other room of this package.
"""
