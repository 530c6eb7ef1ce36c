"""The one emotion vocabulary. A bundle names the labels it has, in its own order."""

EMOTIONS = ("neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise", "contempt")
EMOTIONS_7 = EMOTIONS[:7]
