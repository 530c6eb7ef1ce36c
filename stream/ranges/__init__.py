"""Long recordings in ranges of time: other processes decode the pictures and perceive them, each its range.

What one picture shows does not depend on others, so only decoding has to begin earlier, at a key frame.
Tracks, windows and readings follow in order in one process. The results are byte for byte those of a
recording that is not cut.
"""
