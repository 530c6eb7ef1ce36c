"""The voices of a recording, told apart: who speaks when, where nobody is seen."""
