"""What stock PySyncObj 0.3.17 gets wrong, each driven to its bad end, and ours through the
same script without it."""
