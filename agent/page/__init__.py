"""The diagnostics page and the screen for the payer, each in a browser. Imported only when switched on."""
