"""The diagnostics page: status, doctor and live preview in a browser. Imported only when switched on."""
