"""The back office: what happened, and the buttons that steer it. A Django app.

Imports operations, which asks and reads what the pages show, and runs and accounts.
"""
