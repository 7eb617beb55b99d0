"""The checks of the doctor, one module per group. A check reads its ``CheckInputs`` and changes nothing."""
