"""What a field engineer asks a terminal: how it does now (status), and what is wrong with it (doctor)."""
