"""Camera pictures: for a technician, never during a verification; for the payer, on a screen of the payer."""
