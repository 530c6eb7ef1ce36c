"""What waits between the threads that capture and the one that works, and what is dropped."""
