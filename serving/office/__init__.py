"""The back office: what happened, and the buttons that steer it. A Django app. Imports gallery and accounts.

It asks the supervisor, Prefect and MLflow over HTTP, for at most two seconds each. What is away is named on the page.
"""
