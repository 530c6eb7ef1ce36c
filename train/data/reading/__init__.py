"""What the readers of data sets share: tables, clips, crops, prepared sets, and what they return."""
