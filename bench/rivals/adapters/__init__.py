"""One rival a file. Such a file is loaded in the rival's environment, where this package is not installed.

It states `NAME`, `COMPUTES` (what comes out), `REQUIREMENTS` (for pip; empty: it runs in our environment)
and, if it downloads something at run time, `NEEDS`. It has one of two functions, which import what they need:

    open_look(bundle)         returns a function that takes one picture (H, W, 3) uint8 BGR and returns how
                              many faces it found; OpenCV decodes the recording (`worker.watch`)
    open_score(clip, bundle)  returns a function without arguments that reads the recording itself and returns
                              its counts (`frames`, `looks`, `faces`)
"""
