"""The testing kit, used as the author of an agent would use it."""
