"""Tools for developers of tills and compare services. No module of the device imports them."""
