"""Crash images: what a power cut could leave of one real node's data folder.

    load.py         a real node, driven through several lives while it is recorded
    serve.py        the node: the product, with small segment files and a boot id of ours
    recorder.c      records every write and sync, from inside the process
    strace.py       records them from outside, where there is no C compiler
    recording.py    what a trace holds, and how it is read
    disk.py         what a disk that was told all this may hold after a power cut
    history.py      what the node logged and acknowledged, in truth
    check.py        starts from an image, and says what is wrong with it
    runs.py         draws the images, and tries each in a process of its own

`scripts/crash-images` runs it. Start reading at `disk`.
"""
