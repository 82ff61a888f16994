"""Bento services, their packaging, and the router in front of them. Imports monitoring and registry."""
