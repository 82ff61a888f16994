"""The lists of the back office: what their rows, columns, filters and bulk actions are. Their pages are in office.

Imports operations, runs, accounts and access.
"""
