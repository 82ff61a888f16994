"""Who may ask the router for what, how often, and what was asked: keys, quotas, usage."""
