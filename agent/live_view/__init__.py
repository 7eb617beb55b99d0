"""What a technician sees through the agent's camera; never while a payer is served."""
