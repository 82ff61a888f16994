"""Watches plans with two versions, advances or rolls them back, and starts and stops the services that plans need.

Imports `serving.router` and `serving.releases`.
"""
