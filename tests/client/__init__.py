"""The SDK, against members that do exactly what a script says."""
