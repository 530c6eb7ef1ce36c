"""What teaching did for people who were held out, and the bundle that is written."""
