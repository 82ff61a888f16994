"""What runs, and what it has left behind. For the back office, which shows it.

Asks supervisor, Prefect and MLflow over HTTP, for at most two seconds each; reads the pages that the loop writes, and
figures over time. Imports access, releases and router.
"""
