"""What the readers of data sets share: tables, clips, crops, labels, and what they return."""
