"""A simulated terminal without a camera, for till developers."""
