"""Why a reading is as it is: what changes when parts of its input are hidden from the same engines."""
