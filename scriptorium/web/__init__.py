"""The server and the page of demo.py."""
