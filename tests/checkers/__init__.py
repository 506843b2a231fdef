"""The checkers themselves: what they let pass, and what they do not."""
