"""Adapters: what all of them share, without the frameworks."""
