"""The checks of the doctor, one module per group. A check reads its ``World`` and changes nothing."""
