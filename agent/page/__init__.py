"""The diagnostics page: numbers, words and, on request, a live picture, in a browser. Loaded only when on."""
