"""The checks, one file per family. Each reads the world it is handed and changes nothing."""
