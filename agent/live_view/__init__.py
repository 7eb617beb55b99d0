"""Camera pictures for a technician; never during a verification."""
