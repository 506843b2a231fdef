"""Every party dies at every moment, and another finishes: see `test_crash_at_every_step`.

`stage` is where they meet: one state machine, its log, and the outside. `parties` is what
they do, and `scenarios` what happens in one run.
"""
