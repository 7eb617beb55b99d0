"""A reference till: sends requests, verifies results, decides which results to act on."""
