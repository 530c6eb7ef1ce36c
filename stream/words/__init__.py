"""Recognizing speech: the interface of a recognizer, faster-whisper, and the words of recordings."""
