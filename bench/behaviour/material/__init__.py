"""What the sections measure on: pictures, portraits and sounds."""
