"""The back office: what happened, and the buttons that steer it. A Django app. Imports gallery and accounts."""
