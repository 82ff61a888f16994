"""How dates are written, where Django's own forms would mislead: its English is American."""
