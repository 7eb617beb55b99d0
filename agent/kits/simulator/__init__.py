"""A terminal without a camera, for till developers."""
